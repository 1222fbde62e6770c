"""The clients of `make interop`: exact versions, no registry named, and a complete table."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
from interop.page import Row, page
from interop.stacks import CLIENTS, STACKS
from interop.steps import STEPS, Verdict

EXACT = re.compile(r"=?v?\d+\.\d+\.\d+")


def versions(manifest: Path) -> list[str]:
    text = manifest.read_text("utf-8")
    match manifest.name:
        case "Cargo.toml":
            return [str(crate["version"]) for crate in tomllib.loads(text)["dependencies"].values()]
        case "package.json":
            return [str(version) for version in json.loads(text)["dependencies"].values()]
        case "go.mod":
            return re.findall(r"^(?:require )?\s*\S+/\S+ (\S+)", text, re.MULTILINE)
        case _:
            return re.findall(
                r"<artifactId>\S+</artifactId>\s*<version>(\S+)</version>\s*</(?:dependency|plugin)>", text
            )


@pytest.mark.parametrize(
    "manifest", ["russh/Cargo.toml", "node/package.json", "go/go.mod", "jsch/pom.xml", "mina/pom.xml"]
)
def test_a_manifest_names_exact_versions(manifest: str) -> None:
    found = versions(CLIENTS / manifest)
    assert found
    assert [version for version in found if not EXACT.fullmatch(version)] == []


def test_no_registry_is_named() -> None:
    files = [path for path in CLIENTS.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    named = [path for path in files if re.search(rb"registry|resolved|repositor", path.read_bytes(), re.IGNORECASE)]
    assert len(files) > 10
    assert named == []


def test_the_table_gives_the_reason_of_each_failed_or_skipped_step() -> None:
    verdicts = dict.fromkeys(STEPS, Verdict("ok")) | {"-R 0": Verdict("failed", "no port came")}
    text = page([Row(STACKS[0], "1.2.3", verdicts), Row(STACKS[1], "", {}, "`dbclient` is missing")], minutes=1)
    first, second = (
        next(line for line in text.splitlines() if line.startswith(f"| {stack.name}")) for stack in STACKS[:2]
    )
    assert first.count("| ok") == len(STEPS) - 1
    assert "**failed**" in first
    assert "not run: `dbclient` is missing" in second
    assert f"| {STACKS[0].name} | -R 0 | no port came |" in text
