"""Some of OpenSSH's own regression scripts, against Ferry. `make conformance` runs all of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from conformance.regress.scripts import REGRESS, SCRIPTS, Script, run, shaped_sshd

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "differences-from-sshd.md"


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    with shaped_sshd() as made:
        yield made


@pytest.mark.parametrize("script", [script for script in SCRIPTS if script.quick], ids=lambda script: script.name)
def test_a_script_passes(script: Script, place: Path) -> None:
    outcome = run(script, place)
    assert outcome.passed, outcome.text


def test_each_script_of_the_package_runs_or_has_a_reason_not_to() -> None:
    text = (REGRESS / "Makefile").read_text("utf-8").replace("\\\n", " ")
    named = re.findall(r"^(?:LTESTS|INTEROP_TESTS|EXTRA_TESTS)=(.*)$", text, re.MULTILINE)
    known = {name for line in named for name in line.split()}
    section = PAGE.read_text("utf-8").partition("## OpenSSH's own scripts")[2]
    excused = {
        name for row in re.findall(r"^\| (`.*?) \|", section, re.MULTILINE) for name in re.findall(r"`([\w-]+)`", row)
    }
    runs = {script.name for script in SCRIPTS}
    assert len(known) > 80
    assert known - runs - excused == set()
    assert excused <= known - runs
