from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from console_commands import run, running
from ferry.cli.status import describe, status
from ferry.console.models import PolicyStatus
from ferry.errors import FerryError
from ferry_command import clean_environment
from small_gateway import KEY, SmallGateway


async def test_for_people(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    async with running(folder):
        result = await run(status, "--state", str(folder))
    assert result.lines == [
        "Ferry 0.1.0, up 1d 2h, process 4711",
        "  domain      example.com",
        "  ssh         127.0.0.1:2222, [::1]:2222",
        "  http        127.0.0.1:8080",
        "  https       off",
        "  admin       off",
        "  connections 2",
        "  tunnels     4 (alias 2, http 1, tcp 1)",
        "  database    ok",
        "  state       /var/lib/ferry",
        f"  host key    ED25519 {KEY}",
    ]
    assert result.code == 0


async def test_status_shows_trouble_escaped(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    async with running(folder, SmallGateway(draining=True, store_error="disk \x1b[2J full", open_tunnels=[])):
        result = await run(status, "--state", str(folder))
    assert result.lines[0].endswith("process 4711, draining")
    assert "  database    failed: disk \\x1b[2J full" in result.lines
    assert "  tunnels     0" in result.lines


async def test_what_is_not_in_force_is_told_with_the_reason(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    async with running(folder, SmallGateway(access_error="/revoked: cut short", config_error="ferry.toml, line 3: no")):
        result = await run(status, "--state", str(folder))
    assert "  access      failed: /revoked: cut short" in result.lines
    assert "  config      the last reload was refused: ferry.toml, line 3: no" in result.lines


def test_a_policy_file_that_is_not_in_force_is_told() -> None:
    for error, told in (("", ""), ("line 3: no", ", and not as the file is now: line 3: no")):
        policy = PolicyStatus(file="/p.toml", rules=2, error=error)
        document = SmallGateway().status().model_copy(update={"policy": policy}).model_dump()
        assert f"  policy      /p.toml, 2 rules{told}" in describe(document, 80)


def test_a_gateway_of_an_earlier_version_tells_less() -> None:
    document = SmallGateway().status().model_dump()
    assert describe({name: document[name] for name in document if name not in ("access", "config", "policy")}, 80) == (
        describe(document, 80)
    )


async def test_json_is_one_document(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    async with running(folder):
        result = await run(status, "--json", "--state", str(folder))
    assert result.json["counts"] == {
        "connections": 2,
        "tunnels": {"http": 1, "tls": 0, "tcp": 1, "alias": 2},
        "handshakes": 0,
        "blocked": 0,
    }


async def test_no_gateway_lists_where_it_looked(tmp_path: Path) -> None:
    result = await run(status, "--state", str(tmp_path))
    assert type(result.error) is FerryError  # exit 1; see ferry.cli.main
    assert str(tmp_path) in str(result.error)


async def test_it_starts_quickly_without_the_gateways_libraries(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    code = (
        "import sys; from ferry.cli import client, close, events, ls, status;"
        f"from pathlib import Path; status.status(state=Path({str(folder)!r}));"
        "print(sorted(set(sys.modules) & {'fastapi', 'sqlalchemy', 'asyncssh', 'structlog', 'uvicorn', 'prometheus_client', 'asyncio'}))"
    )
    async with running(folder):
        import asyncio

        result = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            timeout=20,
            env=clean_environment(),
        )
    assert result.stdout.splitlines()[-1] == "[]", result.stderr
