"""`survivors.md`: the mutants that the tests do not notice, each with a reason or `open`."""

from __future__ import annotations

from pathlib import Path

from .sites import Site

PAGE = Path(__file__).with_name("survivors.md")
OPEN = "open"
Key = tuple[str, str, str, str]
_HEAD = """# Guards that the tests do not notice

`make mutants` removes one guard, one part of a condition or one bound from the code at a time. It runs the tests that
reach that code, the likeliest to fail first, for six seconds. If none fails, it runs more of them, for thirty seconds
in all. A failure counts if the test passes without the mutant and fails again with it; a test that failed after ten
seconds is not repeated with it. A mutant survives if no failure counts, or if the tests do not end in time.

This page lists the survivors, each with a reason. `equal` means that the program does the same without the guard; the
reason says why, and what the guard saves. `not equal` means that the tests do not end in time. `open` means that a test
is missing, and a run with such a survivor fails. A survivor with a reason is tried for the first six seconds only.
People check the reasons; the runner does not. `scripts/mutants --write` adds new survivors as `open`, and removes those
that a test notices by now.

"""
_TABLE = "| Function | Taken out | Code | Reason |\n|---|---|---|---|\n"


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
    """Write the page with these rows, by module."""
    text = _HEAD
    for path in sorted({key[0] for key in rows}):
        text += f"## `{path}`\n\n{_TABLE}"
        for (_, where, kind, code), why in sorted((key, why) for key, why in rows.items() if key[0] == path):
            cells = (f"`{where}`", kind, f"`` {code} ``", why)
            text += "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"
        text += "\n"
    PAGE.write_text(text.rstrip("\n") + "\n")


def merged(rows: dict[Key, str], ran: list[Site], survived: set[Key]) -> dict[Key, str]:
    """The page after a run: reasons stay, a survivor without one is `open`, and mutants that a test noticed are removed."""
    kept = {key: why for key, why in rows.items() if key not in {site.key for site in ran} or key in survived}
    return kept | {key: rows.get(key, OPEN) for key in survived}
