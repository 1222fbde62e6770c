"""Listeners stop together when descriptors become short, and go on together without losing a newcomer."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import socket
from contextlib import closing
from typing import Self, cast

import pytest
import uvloop

from ferry import limits
from ferry.edge.descriptors import DescriptorGate, open_descriptors
from ferry.edge.listeners import listen_on
from ferry.edge.server import CarefulServer, LoopServer, server_on
from ferry.names import Endpoint
from ferry.report import Report, no_report
from turns import timers, turns, until

ACCEPT_BACKLOG = 4096
UVLOOP_BURST = 256
ROOMY = 11 * ACCEPT_BACKLOG


class Greeter(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        accepted = cast(asyncio.Transport, transport)  # uvloop has classes of its own
        accepted.write(b"hello")
        accepted.close()


async def served_by(most: int) -> type[object]:
    gate = DescriptorGate(report=no_report, most=most)
    (sock,) = await listen_on([Endpoint("127.0.0.1", 0)], setting="http.listen", report=no_report)
    with closing(server_on(sock, Greeter, report=no_report, gate=gate)) as server:
        return type(server)


def test_the_fast_server_is_used_if_a_burst_does_no_harm() -> None:
    for loop, enough in ((uvloop.new_event_loop, 11 * UVLOOP_BURST), (asyncio.new_event_loop, ROOMY)):
        with asyncio.Runner(loop_factory=loop) as runner:
            assert runner.run(served_by(enough)) is LoopServer
            assert runner.run(served_by(9 * UVLOOP_BURST)) is CarefulServer


def test_uvloop_accepts_one_connection_in_a_turn() -> None:
    """What `UVLOOP_BURST` relies on: a turn of the loop between any two that waited in the queue."""
    accepted_in: list[int] = []

    async def count() -> None:
        (sock,) = await listen_on([Endpoint("127.0.0.1", 0)], setting="http.listen", report=no_report)
        waiting = [socket.create_connection(sock.getsockname()) for _ in range(20)]
        turn = 0

        class Counted(Greeter):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                accepted_in.append(turn)
                super().connection_made(transport)

        server = server_on(sock, Counted, report=no_report, gate=None)
        await server.start()
        async with asyncio.timeout(10):
            while len(accepted_in) < 20:
                await turns()
                turn += 1
        server.close()
        for one in waiting:
            one.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(count())
    assert max(accepted_in.count(turn) for turn in accepted_in) <= 2


@pytest.mark.parametrize("most", [ROOMY, 1000])
async def test_a_newcomer_in_a_shortage_is_served_after_it(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DESCRIPTORS_LOOK_SECONDS", 0.01)
    monkeypatch.setattr(limits, "DESCRIPTORS_QUIET_SECONDS", 0.01)
    told: asyncio.Queue[str] = asyncio.Queue()
    count, looked = most, asyncio.Event()

    def report(event: str, /, **_: object) -> None:
        told.put_nowait(event)

    def look() -> int:
        looked.set()
        return count

    gate = DescriptorGate(report=report, most=most, count=look)
    (sock,) = await listen_on([Endpoint("127.0.0.1", 0)], setting="http.listen", report=no_report)
    port = sock.getsockname()[1]
    server = server_on(sock, Greeter, report=no_report, gate=gate)
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
        looked.clear()
        await asyncio.wait_for(looked.wait(), 10)
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
    gate = DescriptorGate(report=no_report, most=ROOMY, count=lambda: ROOMY)
    gate.seen(ROOMY - 1)
    (sock,) = await listen_on([Endpoint("127.0.0.1", 0)], setting="http.listen", report=no_report)
    server = server_on(sock, Greeter, report=no_report, gate=gate)
    await server.start()
    with closing(server), closing(gate):
        reader, writer = await asyncio.open_connection("127.0.0.1", sock.getsockname()[1])
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.readexactly(5), 0.3)
        writer.close()


async def test_each_shortage_is_reported_once_with_the_number_of_its_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many newcomers may wait while accepting has stopped, and come and leave again."""
    monkeypatch.setattr(limits, "DESCRIPTORS_LOOK_SECONDS", 0.001)
    monkeypatch.setattr(limits, "DESCRIPTORS_QUIET_SECONDS", 10.0)
    told: asyncio.Queue[tuple[str, dict[str, object]]] = asyncio.Queue()
    count = 1000

    def report(event: str, /, **fields: object) -> None:
        told.put_nowait((event, fields))

    gate = DescriptorGate(report=report, most=1000, count=lambda: count)
    listener = Listener()
    gate.add(listener)
    with closing(gate):
        for _ in range(2):
            count = 1000
            for _ in range(3):
                gate.seen(999)
            assert listener.calls == ["pause"]
            count = 700
            await listener.resumed()
        assert told.get_nowait() == ("accept.stopped", {"open": 999, "limit": 1000})
        assert told.empty()
        monkeypatch.setattr(limits, "DESCRIPTORS_QUIET_SECONDS", 0.0)
        count = 1000
        gate.seen(999)
        count = 700
        await listener.resumed()
        async with asyncio.timeout(10):
            assert await told.get() == ("accept.resumed", {"open": 700, "limit": 1000, "pauses": 3})
        gate.discard(listener)
        gate.seen(999)
        assert listener.calls == []


@pytest.mark.parametrize("when", ["before it starts", "while it starts", "while it is paused", "while it goes on"])
async def test_a_server_that_was_closed_is_not_opened_again(when: str, caplog: pytest.LogCaptureFixture) -> None:
    gate = DescriptorGate(report=no_report, most=ROOMY, count=lambda: 0)
    (sock,) = await listen_on([Endpoint("127.0.0.1", 0)], setting="http.listen", report=no_report)
    port = sock.getsockname()[1]
    server = LoopServer(sock, Greeter, report=no_report, gate=gate)
    with closing(gate):
        if when == "before it starts":
            server.close()
        starting = asyncio.ensure_future(server.start())
        if when == "while it starts":
            await turns()
            server.close()
        await starting
        gate.seen(ROOMY - 1)
        if when == "while it is paused":
            server.close()
        await until(lambda: not gate.paused)
        server.close()
        await turns(5)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
    assert [record.getMessage() for record in caplog.records] == []


async def test_a_server_that_is_started_twice_accepts_once() -> None:
    """Each connection, and each port, as often as it is told to go on: its calls may be repeated."""
    (sock,) = await listen_on([Endpoint("127.0.0.1", 0)], setting="http.listen", report=no_report)
    port = sock.getsockname()[1]
    with closing(LoopServer(sock, Greeter, report=no_report, gate=None)) as server:
        await asyncio.gather(server.start(), server.start())
        for _ in range(2):
            server.resume()
            server.resume()
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            async with asyncio.timeout(10):
                assert await reader.read() == b"hello"
            writer.close()
            server.pause()
            server.pause()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)


class Full(socket.socket):
    """A listening socket of a process that has no descriptor left while `error` is set."""

    error = 0

    def dup(self) -> Self:
        if self.error:
            raise OSError(self.error, os.strerror(self.error))
        return super().dup()


async def full_server(report: Report) -> tuple[LoopServer, Full, int]:
    """One that accepts, its socket and its port."""
    (sock,) = await listen_on([Endpoint("127.0.0.1", 0)], setting="http.listen", report=no_report)
    port = sock.getsockname()[1]
    full = Full(fileno=sock.detach())
    server = LoopServer(full, Greeter, report=report, gate=None)
    await server.start()
    return server, full, port


async def greeted(port: int) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    async with asyncio.timeout(10):
        said = await reader.read()
    writer.close()
    return said


async def test_a_server_without_a_descriptor_tries_again_until_it_has_one(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(limits, "ACCEPT_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(limits, "ACCEPT_PAUSE_MAX_SECONDS", 0.002)
    told: list[tuple[str, dict[str, object]]] = []

    def report(event: str, /, **fields: object) -> None:
        told.append((event, fields))

    server, full, port = await full_server(report)
    with closing(server):
        for _ in range(2):
            server.pause()
            full.error = errno.EMFILE
            server.resume()
            server.resume()
            await until(lambda: told)
            await timers(0.01)
            full.error = 0
            assert await greeted(port) == b"hello"
            fields = {"address": f"127.0.0.1:{port}", "error": "Too many open files", "seconds": 0.001}
            assert told == [("accept.paused", fields)], "once a shortage, however often it tries"
            told.clear()
    assert caplog.records == []


@pytest.mark.parametrize("how", ["paused", "closed"])
async def test_a_server_that_waits_for_a_descriptor_may_be_paused_or_closed(
    how: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(limits, "ACCEPT_PAUSE_SECONDS", 0.001)
    told: list[str] = []

    def report(event: str, /, **_: object) -> None:
        told.append(event)

    server, full, port = await full_server(report)
    with closing(server):
        server.pause()
        full.error = errno.ENFILE
        server.resume()
        await until(lambda: told)
        if how == "closed":
            server.close()
        else:
            server.pause()
        full.error = 0
        await timers(0.01)
        if how == "closed":
            with pytest.raises(ConnectionRefusedError):
                await greeted(port)
        else:
            waiting = asyncio.ensure_future(greeted(port))
            await timers(0.01)
            assert not waiting.done()
            server.resume()
            assert await waiting == b"hello"
    assert caplog.records == []


async def test_a_server_that_cannot_accept_again_for_another_reason_says_so_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(limits, "ACCEPT_PAUSE_SECONDS", 0.001)
    server, full, _port = await full_server(no_report)
    with closing(server):
        server.pause()
        full.error = errno.EBADF
        server.resume()
        await until(lambda: caplog.records)
        await timers(0.01)
    (record,) = caplog.records
    assert record.getMessage() == "task accept again failed"


class Listener:
    """Notes what the gate asks of it."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self._goes_on = asyncio.Event()

    def pause(self) -> None:
        self.calls.append("pause")

    def resume(self) -> None:
        self.calls.append("resume")
        self._goes_on.set()

    async def resumed(self) -> None:
        async with asyncio.timeout(10):
            await self._goes_on.wait()
        self._goes_on.clear()
        assert self.calls == ["pause", "resume"]
        self.calls.clear()


async def test_descriptors_are_short_from_the_resume_bound_and_during_an_excess(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "DESCRIPTORS_LOOK_SECONDS", 0.001)
    looked = asyncio.Event()
    count = 801

    def look() -> int:
        looked.set()
        return count

    async def next_look() -> None:
        looked.clear()
        async with asyncio.timeout(10):
            await looked.wait()

    with closing(DescriptorGate(report=no_report, most=1000, count=look)) as gate:
        gate.seen(849)
        assert (gate.short, gate.excess) == (False, 0)
        gate.seen(850)
        assert (gate.short, gate.excess, gate.paused) == (True, 51, False)
        for _ in range(19):
            gate.admitted()
        gate.seen(851)
        assert gate.excess == 70  # as told since
        await next_look()
        assert (gate.short, gate.excess) == (True, 2)
        count = 799
        await next_look()
        assert (gate.short, gate.excess) == (False, 0)
        gate.seen(3)
        assert not gate.short


async def test_a_gate_that_is_closed_counts_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DESCRIPTORS_LOOK_SECONDS", 0.001)
    monkeypatch.setattr(limits, "DESCRIPTORS_QUIET_SECONDS", 0.002)
    counted: list[bool] = []
    closed, looked = False, asyncio.Event()

    def look() -> int:
        counted.append(closed)
        looked.set()
        return 830  # accepting goes on, and descriptors are short

    gate = DescriptorGate(report=no_report, most=1000, count=look)
    gate.seen(999)
    async with asyncio.timeout(10):
        await looked.wait()
    assert not gate.paused
    gate.close()
    closed = True
    await timers(0.02)
    assert not any(counted)


def test_without_a_descriptor_limit_nothing_is_short() -> None:
    gate = DescriptorGate(report=no_report, most=resource.RLIM_INFINITY)
    assert gate.has_room_for(10**9)
    gate.seen(10**9)
    assert not gate.short


def test_a_transport_is_asked_for_its_descriptor_once_in_a_while() -> None:
    class Asked(asyncio.Transport):
        times = 0

        def get_extra_info(self, name: str, default: object = None) -> object:
            assert name == "socket"
            self.times += 1
            return default

    gate, transport = DescriptorGate(report=no_report, most=1000), Asked()
    for _ in range(4 * limits.DESCRIPTORS_SAMPLE):
        gate.seen_on(transport)
    assert transport.times == 4


def test_a_gate_that_never_counted_closes_as_any_other() -> None:
    DescriptorGate(report=no_report, most=ROOMY).close()


def test_descriptors_are_counted() -> None:
    before = open_descriptors()
    held = [os.open("/dev/null", os.O_RDONLY) for _ in range(7)]
    assert open_descriptors() - before == 7
    for one in held:
        os.close(one)


async def test_while_accepting_has_stopped_room_is_made_until_there_is_enough(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "DESCRIPTORS_LOOK_LEAST_SECONDS", 0.001)
    opened, asked = 230, list[int]()
    with closing(DescriptorGate(report=no_report, most=240, count=lambda: opened)) as gate:
        gate.make_room_by(asked.append)
        gate.seen(220)
        assert gate.paused
        async with asyncio.timeout(10):
            await until(lambda: asked)
            assert asked[0] == 230 - 240 * 0.85 + 1
            opened = 200
            await until(lambda: not gate.paused)
        before = len(asked)
        await timers(0.01)
        assert len(asked) == before


async def test_where_no_descriptor_is_left_to_count_them_all_count_as_open(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Linux before 6.2 lists /proc/self/fd, which takes a descriptor."""
    monkeypatch.setattr(limits, "DESCRIPTORS_LOOK_LEAST_SECONDS", 0.001)
    monkeypatch.setattr(limits, "DESCRIPTORS_QUIET_SECONDS", 0.0)
    none_left = True
    asked: list[int] = []
    told: list[tuple[str, object]] = []

    def count() -> int:
        if none_left:
            raise OSError(errno.EMFILE, "Too many open files")
        return 200

    def report(event: str, /, **fields: object) -> None:
        told.append((event, fields["open"]))

    def run_out() -> None:
        nonlocal none_left
        none_left = True

    listener = Listener()
    monkeypatch.setattr(listener, "resume", run_out)  # as soon as they accept, the last descriptor is gone
    with closing(DescriptorGate(report=report, most=240, count=count)) as gate:
        gate.make_room_by(asked.append)
        gate.add(listener)
        for _ in range(2):
            gate.seen(220)
            asked.clear()
            await until(lambda: asked)
            assert asked[0] == 240 - 240 * 0.85 + 1
            none_left = False
            await until(lambda: not gate.paused and told[-1][0] == "accept.resumed")
    assert told == [("accept.stopped", 220), ("accept.resumed", 240)] * 2
    assert caplog.records == []


async def test_accepting_goes_on_after_an_error_while_room_is_made(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(limits, "DESCRIPTORS_LOOK_LEAST_SECONDS", 0.001)
    opened, asked = 230, list[int]()

    def fails(wanted: int) -> None:
        asked.append(wanted)
        raise ZeroDivisionError

    with closing(DescriptorGate(report=no_report, most=240, count=lambda: opened)) as gate:
        gate.make_room_by(fails)
        gate.seen(220)
        await until(lambda: len(asked) > 1)
        opened = 200
        await until(lambda: not gate.paused)
    assert len(caplog.records) == len(asked)


async def test_a_listener_that_fails_to_resume_does_not_keep_others_paused(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(limits, "DESCRIPTORS_LOOK_LEAST_SECONDS", 0.001)

    class Broken(Listener):
        def resume(self) -> None:
            raise ZeroDivisionError

    broken, listener = Broken(), Listener()
    with closing(DescriptorGate(report=no_report, most=240, count=lambda: 200)) as gate:
        gate.add(broken)
        gate.add(listener)
        gate.seen(220)
        async with asyncio.timeout(10):
            await listener.resumed()
    (record,) = caplog.records
    assert record.getMessage() == "a listener could not go on"


async def test_a_listener_that_cannot_stop_lets_the_others_stop_and_go_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(limits, "DESCRIPTORS_LOOK_LEAST_SECONDS", 0.001)

    class Broken(Listener):
        def pause(self) -> None:
            raise ZeroDivisionError

    told: list[str] = []

    def report(event: str, /, **_: object) -> None:
        told.append(event)

    broken, listener = Broken(), Listener()
    with closing(DescriptorGate(report=report, most=240, count=lambda: 200)) as gate:
        gate.add(broken)
        gate.add(listener)
        gate.seen(220)
        assert (listener.calls, told) == (["pause"], ["accept.stopped"])
        async with asyncio.timeout(10):
            await listener.resumed()
    (record,) = caplog.records
    assert record.getMessage() == "a listener could not stop"
