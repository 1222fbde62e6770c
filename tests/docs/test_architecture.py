"""docs/architecture.md describes the code of today."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "ferry"
PAGE = (ROOT / "docs" / "architecture.md").read_text("utf-8")


def test_files_that_are_named_exist() -> None:
    named = set(re.findall(r"`(src/ferry/[\w/]+\.py)`", PAGE))
    named |= {f"src/ferry/{path}" for path in re.findall(r"`((?:\w+/)+\w+\.py)`", PAGE) if not path.startswith("src/")}
    named -= {path for path in named if path.startswith("src/ferry/tests/")}
    assert len(named) > 15
    assert [path for path in sorted(named) if not (ROOT / path).is_file()] == []


def test_every_package_and_module_at_the_top_is_named() -> None:
    listed = PAGE.partition("## Packages")[2].partition("\n## ")[0]
    packages = {f"{path.parent.relative_to(SOURCE)}/" for path in SOURCE.rglob("__init__.py") if path.parent != SOURCE}
    modules = {path.stem for path in SOURCE.glob("*.py") if path.stem != "__init__"}
    unnamed = {f"`{name}" for name in packages | modules if f"`{name}`" not in listed}
    assert unnamed - {"`store/migrations/", "`store/migrations/versions/"} == set()


def test_the_layers_are_those_of_the_import_linter() -> None:
    import tomllib

    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    in_layers = [contract for contract in contracts if contract["type"] == "layers"]
    assert len(in_layers) == 4
    for contract in in_layers:
        layers = [re.split(r" [|:] ", layer.replace("ferry.", "")) for layer in contract["layers"]]
        assert "```\n" + "\n".join(" · ".join(layer) for layer in layers) + "\n```" in PAGE, contract["name"]
        # A module without a layer may import everything.
        assert contract.get("exhaustive") or "containers" not in contract, contract["name"]
