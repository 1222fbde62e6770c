"""Waiting times of the operator's commands, with the default configuration. This page has its own figures."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from ferry.cli.client import Gateway
from ferry.console import server
from ferry.console.models import NameInfo
from ferry.console.server import serving
from ferry.console.sockets import CONTROL_SOCKET, NotNow, bind_control
from ferry.errors import FerryError, StartupError
from ferry.names import IdentityId
from hurried_loop import Watch, hurried
from small_gateway import SmallGateway

FOR_EVER = 30


def outcome_of(call: Callable[[], object]) -> list[BaseException]:
    """What it raised, once it has ended: it waits by the system's clock, in a thread."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            call()
        except FerryError as error:
            raised.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(3)
    assert not thread.is_alive()
    return raised


@hurried
async def test_a_gateway_stops_though_an_answer_to_its_operator_never_comes(tmp_path: Path) -> None:
    """CONSOLE_CLOSE_SECONDS."""
    asked = asyncio.Event()

    class Waits(SmallGateway):
        async def names(self, identity: IdentityId | None) -> list[NameInfo]:
            del identity
            asked.set()
            await asyncio.Event().wait()
            return []

    async with asyncio.timeout(FOR_EVER):
        async with serving(Waits(), tmp_path / "state", []):
            _, writer = await asyncio.open_unix_connection(str(tmp_path / "state" / CONTROL_SOCKET))
            writer.write(b"GET /api/v1/names HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await asked.wait()
            watch = Watch()
        assert watch.seconds > 1.9
        assert watch.skipped < 3
    writer.close()


@hurried
async def test_the_control_socket_is_made_when_the_disk_takes_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CONTROL_RETRY_SECONDS."""
    tries: list[float] = []
    watch = Watch()

    def on_a_full_disk(folder: Path) -> socket.socket:
        tries.append(watch.seconds)
        if len(tries) < 4:
            raise NotNow("no space left")
        return bind_control(folder)

    monkeypatch.setattr(server, "bind_control", on_a_full_disk)
    async with serving(SmallGateway(), tmp_path / "state", []):
        async with asyncio.timeout(FOR_EVER):
            while not (tmp_path / "state" / CONTROL_SOCKET).exists():
                await asyncio.sleep(1)
        assert [round(seconds) for seconds in tries] == [0, 5, 10, 15]


def test_a_gateway_too_busy_to_accept_counts_as_running(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir(0o700)
    with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as waits:
        busy.bind(str(state / CONTROL_SOCKET))
        busy.listen(0)
        waits.connect(str(state / CONTROL_SOCKET))
        (raised,) = outcome_of(lambda: bind_control(state))
    assert isinstance(raised, StartupError)
    assert "a gateway runs already" in str(raised)


def test_a_command_reports_a_silent_gateway_after_ten_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CONTROL_ANSWER_SECONDS; a hundredth of it here."""

    class Quick(socket.socket):
        def settimeout(self, value: float | None, /) -> None:
            super().settimeout(None if value is None else value / 100)

    gateway, command = socket.socketpair()
    with gateway:
        quick = Quick(fileno=command.detach())
        monkeypatch.setattr("ferry.cli.client.connect_control", lambda _state: quick)
        (raised,) = outcome_of(lambda: Gateway(tmp_path).get("/status"))
    assert "does not answer within 10 s" in str(raised)
