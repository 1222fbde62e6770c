"""A copy of the clone that holds all mutants: the files as they are now, and a virtual environment that imports them."""

from __future__ import annotations

import compileall
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Mapping
from pathlib import Path

from .instrument import instrumented
from .sites import Site

ROOT = Path(__file__).resolve().parents[1]
Numbered = Mapping[int, Site]


def make_tree(folder: Path, sites: Numbered) -> None:
    """Fill `folder` with every file that git knows or would take, and `.venv`, which borrows this clone's packages."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, os.fsdecode(listed.stdout).split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    by_module: dict[str, dict[int, Site]] = {}
    for number, site in sites.items():
        by_module.setdefault(site.path, {})[number] = site
    for path, inside in by_module.items():
        module = folder / "src/ferry" / path
        module.write_bytes(instrumented(module.read_bytes(), inside))
    compileall.compile_dir(folder / "src", quiet=2)
    _make_venv(folder / ".venv", folder)


def _make_venv(target: Path, tree: Path) -> None:
    own = Path(sys.prefix)
    venv.EnvBuilder(with_pip=False).create(target)
    packages = Path("lib", f"python{sys.version_info.major}.{sys.version_info.minor}", "site-packages")
    (target / packages / "a_ferry.pth").write_text(
        f"{tree}/src\nimport site; site.addsitedir({str(own / packages)!r})\n{tree}\n"  # for mutants.switch
    )
    for program in (own / "bin").iterdir():
        copied = target / "bin" / program.name
        if copied.exists() or program.is_symlink():
            continue
        content = program.read_bytes()
        copied.write_bytes(content.replace(f"{own}/bin/python".encode(), f"{target}/bin/python".encode(), 1))
        copied.chmod(0o755)
