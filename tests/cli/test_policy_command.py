"""`ferry policy`, as an operator runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ferry_command import ferry

PAGE = Path(__file__).parents[2] / "docs/reference/policy.md"
POLICY = """\
[[rule]]
name = "fleet"
who = ["web-*"]
publish.ports = ["21000-21999"]

[[test]]
who = "web-1"
accept = ["publish 21023"]
deny = ["publish 22"]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "policy.toml"
    path.write_text(POLICY)
    return path


def test_a_right_file_is_counted(file: Path) -> None:
    ran = ferry("policy", "check", file, cwd=file.parent)
    assert (ran.code, ran.out) == (0, f"{file}: 1 rule, 0 tags, 2 tests passed\n")
    ran = ferry("policy", "check", file, "--json", cwd=file.parent)
    assert json.loads(ran.out) == {"file": str(file), "rules": 1, "tags": 0, "tests": 2, "failures": []}


def test_a_failing_test_is_told_with_its_line_and_the_rule(file: Path) -> None:
    file.write_text(POLICY.replace('deny = ["publish 22"]', 'deny = ["publish 21000"]'))
    ran = ferry("policy", "check", file, cwd=file.parent)
    assert ran.code == 1
    said = " ".join(ran.out.split())
    assert "line 9: the test of web-1 denies 'publish 21000', and the rule 'fleet' (line 1) allows it" in said
    assert said.endswith(": 1 rule, 0 tags, 1 of 2 tests failed")
    found = json.loads(ferry("policy", "check", file, "-o", "json", cwd=file.parent).out)
    [failure] = found["failures"]
    assert {key: failure[key] for key in ("line", "who", "asked", "expected")} == {
        "line": 9,
        "who": "web-1",
        "asked": "publish 21000",
        "expected": "deny",
    }


def test_all_mistakes_of_a_file_are_told_at_once(file: Path) -> None:
    file.write_text(POLICY.replace("web-*", "web *").replace("21000-21999", "x"))
    ran = ferry("policy", "check", file, cwd=file.parent)
    assert ran.code == 2
    said = " ".join(ran.err.split())
    assert "line 3: who: 'web *' is nobody: write a name" in said
    assert "line 4: publish.ports: 'x' is no port: write" in said
    ran = ferry("policy", "check", "none.toml", "--json", cwd=file.parent)
    assert ran.code == 2
    assert json.loads(ran.err)["error"].startswith("none.toml: cannot be read: No such file or directory")


def test_the_examples_of_the_manual_are_right(tmp_path: Path) -> None:
    examples = [part.partition("```")[0] for part in PAGE.read_text().split("```toml\n")[1:]]
    assert examples
    for example in examples:
        (tmp_path / "policy.toml").write_text(example)
        ran = ferry("policy", "check", "policy.toml", cwd=tmp_path)
        assert ran.code == 0, ran.out + ran.err
