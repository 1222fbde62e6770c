"""The tests, bounds and files that docs/threat-model.md names exist."""

from __future__ import annotations

import re
from pathlib import Path

from ferry import limits

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "threat-model.md").read_text("utf-8")
NAMED = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)


def test_every_test_that_is_named_exists() -> None:
    assert len(NAMED) > 80
    missing = []
    for path, function in NAMED:
        file = ROOT / path
        if not file.is_file() or not re.search(rf"^(?:async )?def {function}\(", file.read_text("utf-8"), re.MULTILINE):
            missing.append(f"{path}::{function}")
    assert missing == []
    assert PAGE.count("::") == len(NAMED)  # none is written in another way


def test_bounds_and_files_that_are_named_exist() -> None:
    bounds = set(re.findall(r"\b[A-Z]+(?:_[A-Z]+)+\b|\bUNIDENTIFIED\b", PAGE))
    assert len(bounds) > 8
    assert {bound for bound in bounds if not hasattr(limits, bound)} == set()
    files = re.findall(r"`((?:src|tests)/[\w/.]+)`", PAGE)
    assert [path for path in files if not (ROOT / path).exists()] == []


def test_every_section_of_a_party_shows_something_or_says_why_not() -> None:
    """A claim ends with the tests that show it, or is a remainder."""
    for section in PAGE.split("\n## ")[1:]:
        title = section.partition("\n")[0]
        if title in ("What is worth protecting", "The parties", "The operator"):
            continue
        claims = re.split(r"\n\n(?=\*\*)", section)[1:]
        assert claims, title
        for claim in claims:
            assert "*Shown by* `tests/" in claim or "*Remains" in claim, (title, claim[:80])
