"""The memory of a gateway that has just started."""

from __future__ import annotations

import compileall
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import ferry
from gateway_process import Gateway

MB = 1_000_000
OF_ITS_OWN = 46 * MB  # 45.2 measured, CPython 3.11: heap, stacks and what the loader changed
RESIDENT = 75 * MB  # 73 measured; 97 with SQLAlchemy, Alembic and uvicorn
LATER = {"alembic", "anyio", "fastapi", "prometheus_client", "rich", "sqlalchemy", "starlette", "uvicorn"}


def anonymous(gateway: Gateway) -> int:
    """Memory that no file backs, in bytes: the same whoever else uses the same libraries."""
    rollup = Path(f"/proc/{gateway.running.process.pid}/smaps_rollup").read_text()
    return next(int(line.split()[1]) * 1024 for line in rollup.splitlines() if line.startswith("Pss_Anon:"))


def libraries(gateway: Gateway) -> str:
    return Path(f"/proc/{gateway.running.process.pid}/maps").read_text()


def test_memory_at_the_first_and_the_second_start(tmp_path: Path) -> None:
    compileall.compile_dir(Path(ferry.__file__).parent, quiet=1)  # as an installation does: compiling takes memory
    with closing(Gateway(tmp_path, makes_rsa_key=True)) as gateway:
        for start in ("first", "second"):
            gateway.start()
            assert anonymous(gateway) <= OF_ITS_OWN, start
            assert gateway.memory() <= RESIDENT, start
            assert "/httptools/" in libraries(gateway)  # loaded modules do show there
            assert "/sqlalchemy/" not in libraries(gateway), start
            gateway.stop()


def test_the_modules_that_the_gateway_imports() -> None:
    code = (
        "import sys, ferry.cli.main, ferry.config.file, ferry.gateway.serve\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    loaded = set(done.stdout.split())
    assert {"asyncssh", "httptools", "uvloop"} <= loaded
    assert loaded & LATER == set()


def test_the_operators_api_is_loaded_on_first_use(start_gateway: Callable[..., Gateway]) -> None:
    gateway = start_gateway()
    before = gateway.memory()
    assert gateway.ask("status")["counts"]["connections"] == 0
    assert gateway.memory() > before + 4 * MB  # so it was not there before
