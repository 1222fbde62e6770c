"""Listeners stop together when descriptors become short, and go on together, with nobody lost who has waited."""

from __future__ import annotations

import asyncio
import os
from contextlib import closing

import pytest

from ferry import limits
from ferry.edge.descriptors import DescriptorGate, open_descriptors
from ferry.edge.listeners import listen_on
from ferry.edge.server import CarefulServer, LoopServer, server_on
from ferry.names import Endpoint
from ferry.report import nothing

ROOMY = 11 * limits.ACCEPT_BACKLOG


class Greeter(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(b"hello")
        transport.close()


@pytest.mark.parametrize("most", [ROOMY, 1000])
async def test_who_comes_in_a_shortage_is_served_after_it(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DESCRIPTORS_LOOK_SECONDS", 0.01)
    monkeypatch.setattr(limits, "DESCRIPTORS_QUIET_SECONDS", 0.01)
    told: asyncio.Queue[str] = asyncio.Queue()
    count = most

    def report(event: str, /, **_: object) -> None:
        told.put_nowait(event)

    gate = DescriptorGate(report=report, most=most, count=lambda: count)
    (sock,) = listen_on([Endpoint("127.0.0.1", 0)], setting="http.listen", report=nothing)
    port = sock.getsockname()[1]
    server = server_on(sock, Greeter, report=nothing, gate=gate)
    assert isinstance(server, LoopServer if most == ROOMY else CarefulServer)
    await server.start()
    with closing(server), closing(gate):
        before, one = await asyncio.open_connection("127.0.0.1", port)
        assert await before.readexactly(5) == b"hello"
        gate.seen(int(most * 0.9) - 1)
        assert not gate.paused
        for _ in range(3):
            gate.seen(int(most * 0.9) + 1)
        assert gate.paused
        waiting, two = await asyncio.open_connection("127.0.0.1", port)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(waiting.readexactly(5), 0.3)
        count = int(most * 0.86)
        await asyncio.sleep(0.05)
        assert gate.paused  # not before there is room again
        count = int(most * 0.84)
        async with asyncio.timeout(10):
            assert await waiting.readexactly(5) == b"hello"
            assert [await told.get(), await told.get()] == ["accept.stopped", "accept.resumed"]
        assert told.empty()
        one.close()
        two.close()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)


async def test_a_listener_that_opens_in_a_shortage_waits_too() -> None:
    gate = DescriptorGate(report=nothing, most=ROOMY, count=lambda: ROOMY)
    gate.seen(ROOMY - 1)
    (sock,) = listen_on([Endpoint("127.0.0.1", 0)], setting="http.listen", report=nothing)
    server = server_on(sock, Greeter, report=nothing, gate=gate)
    await server.start()
    with closing(server), closing(gate):
        reader, writer = await asyncio.open_connection("127.0.0.1", sock.getsockname()[1])
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.readexactly(5), 0.3)
        writer.close()


def test_descriptors_are_counted() -> None:
    before = open_descriptors()
    held = [os.open("/dev/null", os.O_RDONLY) for _ in range(7)]
    assert open_descriptors() - before == 7
    for one in held:
        os.close(one)
