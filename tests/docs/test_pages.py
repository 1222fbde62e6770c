"""Links in the pages resolve; their commands and configuration keys exist."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from pydantic import BaseModel
from typer.core import TyperGroup

from ferry.cli.main import program
from ferry.config.model import Config

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def keys_of(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield prefix + name
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from keys_of(field.annotation, f"{prefix}{name}.")


KEYS = set(keys_of(Config))


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text("utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere(name: str) -> None:
    page = ROOT / name
    dead = []
    for target in LINK.findall(FENCE.sub("", page.read_text("utf-8"))):
        if target.startswith(("https://", "http://")):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            dead.append(target)
    assert dead == []


def commands_of(text: str) -> set[tuple[str, str]]:
    """`ferry COMMAND --option …` wherever it is typed: (command, its options)."""
    typed = re.findall(r"(?:^|[`/ ])ferry ((?:[a-z]+-?)+(?: [^`\n#|]*)?)", "\n".join(_code(text)), re.MULTILINE)
    return {(command.split()[0], command) for command in typed}


def _code(text: str) -> Iterator[str]:
    """Code spans, and lines of blocks that are typed."""
    for block in FENCE.findall(text):
        for line in block.splitlines():
            if re.match(r"(?:\$ )?(?:sudo )?(?:\./)?ferry ", line):
                yield line.removeprefix("$ ")
    yield from re.findall(r"`((?:\./)?ferry [^`]+)`", FENCE.sub("", text))


@pytest.mark.parametrize("name", NAMES)
def test_commands_that_are_named_exist(name: str) -> None:
    group = typer.main.get_command(program())
    assert isinstance(group, TyperGroup)
    unknown = []
    for command, typed in commands_of((ROOT / name).read_text("utf-8")):
        known = group.commands.get(command)
        options = {option for parameter in known.params for option in parameter.opts} | {"--help"} if known else set()
        wrong = [option for option in re.findall(r"(?<= )--[a-z-]+", typed) if option not in options]
        if known is None or wrong:
            unknown.append(typed)
    assert unknown == []


def test_commands_are_found_in_the_pages() -> None:
    found = {command for page in PAGES for command, _ in commands_of(page.read_text("utf-8"))}
    assert {"serve", "init", "check-config", "install-service", "status", "ls", "close", "events", "ca"} <= found


@pytest.mark.parametrize("name", NAMES)
def test_configuration_keys_that_are_named_exist(name: str) -> None:
    sections = "|".join(sorted(key for key in KEYS if any(other.startswith(f"{key}.") for other in KEYS)))
    named = set(re.findall(rf"`((?:{sections})\.[a-z_]+)(?: = [^`]+)?`", (ROOT / name).read_text("utf-8")))
    files = {key for key in named if key.endswith((".py", ".example", ".localhost"))}
    assert named - files - KEYS == set()


@pytest.mark.parametrize("name", ["README.md", "docs/quickstart.md"])
def test_configuration_that_is_shown_is_valid(name: str) -> None:
    shown = re.findall(r"^```toml\n(.*?)^```", (ROOT / name).read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert shown
    for text in shown:
        document = tomllib.loads(text)
        document.setdefault("access", {"mode": "anyone"})
        Config.model_validate(document)


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 120
