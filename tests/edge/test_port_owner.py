"""The look-up of a port's owner: in a thread, for the log only, with a pause between two."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Callable

import pytest

from edge.tcp_tunnel import TcpTunnel
from ferry import limits
from ferry.clock import SystemClock
from ferry.edge.port_owner import PortOwners, port_owner
from ferry.edge.tcp import TcpEdge
from ferry.errors import Refusal
from ferry.kinds.base import ListenPort
from granted import open_to_all, to_listen
from inside_gateway import SECONDS

PORT_OWNERS_PACE_SECONDS = 10.0
PORT_OWNER_SECONDS = 60.0


class SetClock:
    """Its time is set by the test, and does not move by itself."""

    def __init__(self) -> None:
        self.time = 1000.0

    def monotonic(self) -> float:
        return self.time

    def now(self) -> float:
        return self.time


class Asked:
    """Answers look-ups when the test says so, and keeps what was asked and told."""

    def __init__(self) -> None:
        self.clock = SetClock()
        self.ports: list[int] = []
        self.threads: set[threading.Thread] = set()
        self.answer = threading.Event()
        self.told: asyncio.Queue[dict[str, object]] = asyncio.Queue()
        self.owners = PortOwners(report=self.report, clock=self.clock, find=self.find)

    def find(self, port: int) -> str:
        self.ports.append(port)
        self.threads.add(threading.current_thread())
        assert self.answer.wait(SECONDS)
        return f"program of {port}"

    def report(self, event: str, /, **fields: object) -> None:
        assert event == "port.taken"
        self.told.put_nowait(fields)

    async def look(self, port: int) -> dict[str, object]:
        """Ask, which is to be answered."""
        self.owners.ask(port)
        assert is_looked_up(port)
        return await self.found()

    async def found(self) -> dict[str, object]:
        """The answer of the look-up that runs."""
        self.answer.set()
        async with asyncio.timeout(SECONDS):
            return await self.told.get()


def is_looked_up(port: int) -> bool:
    return any(task.get_name().endswith(f" {port}") for task in asyncio.all_tasks())


async def test_look_ups_run_one_at_a_time_in_a_thread_with_a_pause() -> None:
    """PORT_OWNERS_PACE_SECONDS."""
    asked = Asked()
    for port in range(2000, 2100):
        asked.owners.ask(port)  # all but the first are not asked at all
    assert await asked.found() == {"port": 2000, "owner": "program of 2000"}
    assert asked.ports == [2000]
    assert threading.main_thread() not in asked.threads
    asked.clock.time += PORT_OWNERS_PACE_SECONDS - 0.1
    asked.owners.ask(2001)
    asked.clock.time += 0.1
    assert await asked.look(2002) == {"port": 2002, "owner": "program of 2002"}
    assert asked.ports == [2000, 2002]


async def test_the_same_port_is_looked_up_once_in_a_while() -> None:
    """PORT_OWNER_SECONDS."""
    asked = Asked()
    await asked.look(2000)
    asked.clock.time += PORT_OWNER_SECONDS - 0.1
    asked.owners.ask(2000)
    await asked.look(2001)
    asked.clock.time += PORT_OWNERS_PACE_SECONDS
    await asked.look(2000)
    assert asked.ports == [2000, 2001, 2000]


async def test_a_failed_look_up_is_not_the_last() -> None:
    asked = Asked()

    def fail(_port: int) -> str:
        raise OSError("no /proc")

    asked.owners = PortOwners(report=asked.report, clock=asked.clock, find=fail)
    asked.owners.ask(2000)
    [failing] = [task for task in asyncio.all_tasks() if "2000" in task.get_name()]
    await asyncio.wait([failing])
    asked.clock.time += PORT_OWNERS_PACE_SECONDS
    asked.owners.ask(2001)
    assert is_looked_up(2001)


async def test_remembered_ports_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """PORT_OWNERS_REMEMBERED, as shipped."""
    monkeypatch.setattr(limits, "PORT_OWNER_SECONDS", 1e9)
    asked = Asked()
    for port in range(2000, 2257):
        await asked.look(port)
        asked.clock.time += PORT_OWNERS_PACE_SECONDS
    asked.owners.ask(2100)  # one that is remembered is not asked about again
    asked.owners.ask(2000)  # the first was forgotten when the last came
    assert (is_looked_up(2100), is_looked_up(2000)) == (False, True)


def test_the_owner_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert f"(pid {os.getpid()})" in port_owner(taken.getsockname()[1])
    assert port_owner(1) == "another program"


def test_a_connection_to_a_port_does_not_make_its_owner() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port))
        accepted, _ = listener.accept()
    with client, accepted:
        assert port_owner(port) == "another program"


async def test_a_client_that_asks_for_taken_ports_does_not_hold_up_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy host each refusal read the descriptors of all processes before the loop went on. Whatever is read of
    /proc, no turn of the loop does it."""
    readers: set[int] = set()
    real: Callable[[str], list[str]] = os.listdir

    def listdir(path: str = ".") -> list[str]:
        if str(path).startswith("/proc"):
            readers.add(threading.get_ident())
        return real(path)

    monkeypatch.setattr(os, "listdir", listdir)
    told: asyncio.Queue[dict[str, object]] = asyncio.Queue()

    def report(event: str, /, **fields: object) -> None:
        if event == "port.taken":
            told.put_nowait(fields)

    edge = TcpEdge(report=report, clock=SystemClock(), visits=open_to_all(), open_proxy=lambda _tunnel: None)
    tunnel = TcpTunnel("x", ("127.0.0.1", 1))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for _ in range(20):
            refused = await edge.listen(tunnel, to_listen(tunnel), ListenPort(port, ("127.0.0.1",), public=False))
            assert isinstance(refused, Refusal)
            assert "pid" not in refused.public + refused.detail
        async with asyncio.timeout(SECONDS):
            found = await told.get()
    assert f"(pid {os.getpid()})" in str(found["owner"])
    assert readers
    assert threading.get_ident() not in readers
    assert told.empty()
