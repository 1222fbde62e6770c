"""A copy of the clone to take guards out of: the files as they are now, and a virtual environment that imports them."""

from __future__ import annotations

import compileall
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def make_tree(folder: Path) -> None:
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
    compileall.compile_dir(folder / "src", quiet=2)
    compileall.compile_dir(folder / "tests", quiet=2)
    _make_venv(folder / ".venv", folder)


def _make_venv(target: Path, tree: Path) -> None:
    own = Path(sys.prefix)
    venv.EnvBuilder(with_pip=False).create(target)
    packages = Path("lib", f"python{sys.version_info.major}.{sys.version_info.minor}", "site-packages")
    shutil.copy(ROOT / "mutants/lines.py", target / packages / "ferry_lines.py")
    (target / packages / "a_ferry.pth").write_text(
        f"{tree}/src\n"
        "import sys; sys.dont_write_bytecode = True\n"  # two mutants may have the same size in the same second
        f"import site; site.addsitedir({str(own / packages)!r})\n"
        "import ferry_lines\n"
    )
    for program in (own / "bin").iterdir():
        copied = target / "bin" / program.name
        if copied.exists() or program.is_symlink():
            continue
        content = program.read_bytes()
        copied.write_bytes(content.replace(f"{own}/bin/python".encode(), f"{target}/bin/python".encode(), 1))
        copied.chmod(0o755)
