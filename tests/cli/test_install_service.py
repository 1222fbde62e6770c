from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from console_commands import Result, run
from ferry.cli.install_service import install_service
from ferry.setup import unit
from ferry_command import ferry
from other_user import NOBODY, needs_root

NO_USER = "no:such:user"  # which no host can have


def test_a_unit_is_shown_with_its_obstacles(tmp_path: Path) -> None:
    file = tmp_path / "ferry.toml"
    file.write_text('state = "/root/data"\n')
    ran = ferry("install-service", "--print", "--config", file, cwd=tmp_path)
    assert ran.code == 1
    assert f"serve --config {file}" in ran.out
    assert "AmbientCapabilities=CAP_NET_BIND_SERVICE\n" in ran.out
    assert ran.err.startswith("ferry: the service could not run yet:\n")
    assert 'write state = "/var/lib/ferry" in' in ran.err


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    ran = ferry("install-service", "--config", "none.toml", cwd=tmp_path)
    assert ran.code == 2
    assert ran.err == "ferry: none.toml does not exist: write it with `ferry init`, or name another with --config\n"


def test_variables_of_the_shell_do_not_reach_the_service(tmp_path: Path) -> None:
    file = tmp_path / "ferry.toml"
    file.write_text('drain = "1s"\n')
    env = {"PATH": str(tmp_path), "FERRY_DRAIN": "100s"}
    assert "TimeoutStopSec=16\n" in ferry("install-service", "--print", "--config", file, cwd=tmp_path, env=env).out


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host on which nothing is in the way. What would change it fails, or goes to this folder."""
    (tmp_path / "ferry.toml").write_text(f'state = "{tmp_path}/state"\n')
    monkeypatch.setattr(unit, "obstacles", lambda _service: [])
    monkeypatch.setattr(unit, "UNIT_PATH", tmp_path / "ferry.service")
    for name in ("useradd", "systemctl"):
        program = tmp_path / name
        program.write_text("#!/bin/sh\necho no such luck >&2\nexit 9\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path


async def install(host: Path, *arguments: str) -> Result:
    return await run(install_service, "--config", str(host / "ferry.toml"), *arguments)


async def test_obstacles_are_refused_before_anything_is_written(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(unit, "obstacles", lambda _service: ["a stone lies there"])
    refused = await install(host, "--user", NO_USER)
    assert refused.text == ""
    assert str(refused.error) == "the service could not run yet:\n  a stone lies there"
    assert not (host / "ferry.service").exists()
    assert not (host / "state").exists()


@pytest.mark.parametrize("uid", [0, 1000])
async def test_a_unit_is_shown_without_changing_anything(host: Path, monkeypatch: pytest.MonkeyPatch, uid: int) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    shown = await install(host, "--print", "--user", NO_USER)
    assert (shown.error, shown.lines[-1]) == (None, "WantedBy=multi-user.target")
    assert not (host / "ferry.service").exists()
    assert not (host / "state").exists()


async def test_only_root_writes_a_unit(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    refused = await install(host, "--user", NO_USER)
    assert str(refused.error) == "writing a unit needs root: run this with sudo, or look at it with --print"


async def test_a_step_that_fails_is_reported_and_ends_the_command(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    refused = await install(host, "--user", NO_USER)
    assert str(refused.error).startswith("useradd --system ")
    assert str(refused.error).endswith(f" {NO_USER}: no such luck")
    assert not (host / "ferry.service").exists()
    assert not (host / "state").exists()


def done_by(host: Path, program: str) -> None:
    """That step succeeds."""
    (host / program).write_text("#!/bin/sh\n")


@needs_root
async def test_a_unit_is_written_and_the_state_folder_is_made_once(host: Path) -> None:
    done_by(host, "systemctl")
    first = await install(host, "--user", "root")
    assert (first.error, first.lines[:2]) == (None, [f"made {host}/state", f"wrote {host}/ferry.service"])
    assert stat.S_IMODE((host / "state").stat().st_mode) == 0o700
    (host / "state").chmod(0o755)
    again = await install(host, "--user", "root", "--json")
    assert (again.json["made_state"], again.json["state"]) == (False, f"{host}/state")
    assert stat.S_IMODE((host / "state").stat().st_mode) == 0o700
    assert "made " not in (await install(host, "--user", "root")).text


@needs_root
@pytest.mark.parametrize("maker", [0, NOBODY])
async def test_the_state_may_be_behind_a_link_of_root_alone(host: Path, maker: int) -> None:
    """Root would give to the service whatever folder the link leads to."""
    done_by(host, "systemctl")
    (host / "data").mkdir()
    (host / "data").chmod(0o755)  # whatever the umask
    (host / "state").symlink_to(host / "data")
    os.chown(host / "state", maker, maker, follow_symlinks=False)
    done = await install(host, "--user", "root")
    refused = f"{host}/state is a symbolic link that nobody has made: delete it, or write another state"
    assert (str(done.error or ""), (host / "ferry.service").exists()) == ((refused, False) if maker else ("", True))
    assert stat.S_IMODE((host / "data").stat().st_mode) == (0o755 if maker else 0o700)
