from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from ferry.gateway.systemd import notify, watchdog_seconds


@pytest.mark.parametrize("abstract", [False, True])
def test_a_state_arrives_as_one_datagram(tmp_path: Path, *, abstract: bool) -> None:
    name = f"ferry-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
        supervisor.bind("\0" + name if abstract else name)
        assert notify("READY=1\nSTATUS=2 tunnels", environ={"NOTIFY_SOCKET": "@" + name if abstract else name})
        assert supervisor.recv(100) == b"READY=1\nSTATUS=2 tunnels"


def test_a_missing_supervisor_is_no_error(tmp_path: Path) -> None:
    assert not notify("READY=1", environ={})
    assert not notify("READY=1", environ={"NOTIFY_SOCKET": "relative"})
    assert not notify("READY=1", environ={"NOTIFY_SOCKET": str(tmp_path / "gone")})


def test_a_relative_socket_path_is_not_a_supervisor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Systemd gives an absolute one, or an abstract one (sd_notify(3))."""
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as somebody:
        somebody.bind("notify")
        assert not notify("READY=1", environ={"NOTIFY_SOCKET": "notify"})


def test_a_supervisor_that_does_not_read_never_blocks(tmp_path: Path) -> None:
    name = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
        supervisor.bind(name)
        results = [notify("WATCHDOG=1", environ={"NOTIFY_SOCKET": name}) for _ in range(5000)]
    assert results[0]
    assert not results[-1]


def test_the_watchdog_is_for_this_process_alone() -> None:
    mine = str(os.getpid())
    assert watchdog_seconds(environ={"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": mine}) == 30
    assert watchdog_seconds(environ={"WATCHDOG_USEC": "30000000"}) == 30
    assert watchdog_seconds(environ={"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}) is None
    assert watchdog_seconds(environ={"WATCHDOG_USEC": "0"}) is None
    assert watchdog_seconds(environ={"WATCHDOG_USEC": "soon"}) is None
    assert watchdog_seconds(environ={}) is None
