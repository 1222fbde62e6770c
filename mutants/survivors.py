"""`survivors.md`: the mutants that no test notices, each with the reason why that is right, or `open`."""

from __future__ import annotations

from pathlib import Path

from .sites import Site

PAGE = Path(__file__).with_name("survivors.md")
OPEN = "open"
Key = tuple[str, str, str, str]
_HEAD = """# Guards that no test misses

`make mutants` takes one guard or bound out of the code at a time and runs the tests that speak for its module. What
they do not notice is listed here. A reason says why the code may as well be without it; `open` says that a test is
missing. The runner reads this page: it names what is new, and with `--write` adds it and drops what is noticed by now.

"""
_TABLE = "| Function | Taken out | Code | Why no test misses it |\n|---|---|---|---|\n"


def read() -> dict[Key, str]:
    """Every row, by the key of its site."""
    rows: dict[Key, str] = {}
    path = ""
    for line in PAGE.read_text().splitlines() if PAGE.exists() else []:
        if line.startswith("## "):
            path = line[3:].strip().strip("`")
        elif line.startswith("| `"):
            cells = [cell.strip().replace("\0", "|") for cell in line.replace("\\|", "\0").strip("|").split("|")]
            where, kind, code, why = cells
            rows[path, where.strip("`"), kind, code.removeprefix("`` ").removesuffix(" ``")] = why
    return rows


def write(rows: dict[Key, str]) -> None:
    """All rows anew, by module."""
    text = _HEAD
    for path in sorted({key[0] for key in rows}):
        text += f"## `{path}`\n\n{_TABLE}"
        for (_, where, kind, code), why in sorted((key, why) for key, why in rows.items() if key[0] == path):
            cells = (f"`{where}`", kind, f"`` {code} ``", why)
            text += "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"
        text += "\n"
    PAGE.write_text(text.rstrip("\n") + "\n")


def merged(rows: dict[Key, str], ran: list[Site], survived: set[Key]) -> dict[Key, str]:
    """The page after a run: reasons stay, survivors without one are open, and what was noticed is no longer there."""
    kept = {key: why for key, why in rows.items() if key not in {site.key for site in ran} or key in survived}
    return kept | {key: rows.get(key, OPEN) for key in survived}
