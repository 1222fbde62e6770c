from __future__ import annotations

import asyncio
import errno
import os
import resource
import socket
from collections.abc import Callable
from contextvars import Context
from typing import Any, TypeVarTuple

import pytest

from ferry.edge.acceptor import Acceptor
from ferry.edge.listeners import BindFailed, bind_all, endpoint_of, listen_on
from ferry.errors import StartupError
from ferry.names import Endpoint
from ferry.report import nothing

ACCEPT_BURST = 64
BOTH_LOOPS = True
Ts = TypeVarTuple("Ts")


class Events(list[tuple[str, dict[str, object]]]):
    def __call__(self, event: str, /, **fields: object) -> None:
        self.append((event, fields))


def close(sockets: list[socket.socket]) -> None:
    for sock in sockets:
        sock.close()


async def test_every_address_takes_ipv4_too() -> None:
    sockets = await listen_on([Endpoint("::", 0)], setting="ssh.listen", report=nothing)
    port = sockets[0].getsockname()[1]
    for host in ("127.0.0.1", "::1"):
        socket.create_connection((host, port)).close()
    close(sockets)


def test_every_address_written_twice() -> None:
    sockets = bind_all([Endpoint("0.0.0.0", 0), Endpoint("::", 0)], report=nothing)
    assert len({sock.getsockname()[1] for sock in sockets}) == 1
    close(sockets)


async def test_what_is_accepted_has_nodelay_and_keepalive() -> None:
    sockets = await listen_on([Endpoint("127.0.0.1", 0)], setting="ssh.listen", report=nothing)
    with socket.create_connection(sockets[0].getsockname()):
        sockets[0].setblocking(True)
        with sockets[0].accept()[0] as accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
            assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            options = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
            probes = [accepted.getsockopt(socket.IPPROTO_TCP, option) for option in options]
            assert probes == [60, 15, 4]  # VISITOR_KEEPALIVE_SECONDS and VISITOR_KEEPALIVE_PROBES
            assert accepted.getsockopt(socket.IPPROTO_TCP, 25) == 128 * 1024  # TCP_NOTSENT_LOWAT: VISITOR_UNSENT_BYTES
    close(sockets)


async def test_a_taken_port_names_the_program_and_the_setting_and_leaves_nothing_bound() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StartupError) as failed:
            await listen_on([Endpoint("::1", port), Endpoint("127.0.0.1", port)], setting="ssh.listen", report=nothing)
        text = str(failed.value)
        assert text.startswith(f"127.0.0.1:{port} is in use by ")
        assert f"(pid {os.getpid()})" in text
        assert text.endswith(": stop it or set ssh.listen (in the file, or FERRY_SSH__LISTEN=ADDRESS:PORT)")
        socket.create_server(("::1", port), family=socket.AF_INET6).close()


async def test_a_port_that_is_taken_for_ipv6_alone_is_not_served_for_ipv4_alone() -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StartupError, match=rf"\[::\]:{port} is in use by "):
            await listen_on([Endpoint("::", port)], setting="https.listen", report=nothing)


async def test_an_address_of_another_host() -> None:
    with pytest.raises(StartupError, match=r"192\.0\.2\.1 is not an address of this host: set http\.listen to one"):
        await listen_on([Endpoint("192.0.2.1", 0)], setting="http.listen", report=nothing)


def test_a_missing_loopback_address_is_skipped_while_another_is_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.socket.bind

    def no_ipv6(self: socket.socket, address: tuple[str, int]) -> None:
        real(self, ("2001:db8::1", 0) if self.family == socket.AF_INET6 else address)

    monkeypatch.setattr(socket.socket, "bind", no_ipv6)  # a host without ::1 answers EADDRNOTAVAIL, as this does
    events = Events()
    sockets = bind_all([Endpoint("127.0.0.1", 0), Endpoint("::1", 0)], report=events)
    assert [sock.family for sock in sockets] == [socket.AF_INET]
    assert [event for event, _ in events] == ["listener.skipped"]
    close(sockets)
    with pytest.raises(BindFailed):
        bind_all([Endpoint("::1", 0)], report=events)
    sockets = bind_all([Endpoint("::", 0)], report=events)
    assert sockets[0].getsockname()[0] == "0.0.0.0"
    close(sockets)


def test_endpoints_of_socket_names() -> None:
    assert endpoint_of(("::ffff:192.0.2.7", 5, 0, 0)) == Endpoint("192.0.2.7", 5)
    assert endpoint_of(("::1", 5, 0, 0)) == Endpoint("::1", 5)
    assert endpoint_of(None) == Endpoint("0.0.0.0", 0)


async def test_several_are_accepted_at_once_and_none_after_the_close() -> None:
    sockets = bind_all([Endpoint("127.0.0.1", 0)], report=nothing)
    address = sockets[0].getsockname()
    accepted: asyncio.Queue[socket.socket] = asyncio.Queue()
    visitors = [socket.create_connection(address) for _ in range(5)]
    acceptor = Acceptor(sockets, accepted.put_nowait, report=nothing)
    acceptor.start()
    async with asyncio.timeout(5):
        taken = [await accepted.get() for _ in visitors]
    assert {sock.getpeername() for sock in taken} == {sock.getsockname() for sock in visitors}
    assert not any(sock.getblocking() for sock in taken)
    acceptor.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)
    close(taken + visitors)


async def test_a_rush_of_connections_leaves_the_loop_its_turns() -> None:
    sockets = bind_all([Endpoint("127.0.0.1", 0)], report=nothing)
    visitors = [socket.create_connection(sockets[0].getsockname()) for _ in range(150)]
    taken: list[socket.socket] = []
    turns: list[int] = []
    turn = 0

    def accepted(sock: socket.socket) -> None:
        taken.append(sock)
        turns.append(turn)

    acceptor = Acceptor(sockets, accepted, report=nothing)
    acceptor.start()
    async with asyncio.timeout(10):
        while len(taken) < len(visitors):
            await asyncio.sleep(0)
            turn += 1
    assert max(turns.count(one) for one in turns) == ACCEPT_BURST
    acceptor.close()
    close(taken + visitors)


class Hurried(asyncio.SelectorEventLoop):
    """Waits for no timer, and keeps the seconds that were asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[float] = []

    def call_later(
        self, delay: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        self.asked.append(delay)
        return super().call_later(0, callback, *args, context=context)


class NoRoom(socket.socket):
    """A listener whose process is out of descriptors for the next `tries`."""

    tries = 0

    def accept(self) -> tuple[socket.socket, Any]:
        if self.tries:
            self.tries -= 1
            raise OSError(errno.EMFILE, "Too many open files")
        return super().accept()


def test_in_a_shortage_of_descriptors_the_pauses_grow_up_to_a_bound_and_begin_anew_after_it() -> None:
    """ACCEPT_PAUSE_SECONDS and ACCEPT_PAUSE_MAX_SECONDS."""
    loop = Hurried()
    events = Events()

    async def two_shortages() -> None:
        accepted: asyncio.Queue[socket.socket] = asyncio.Queue()
        with NoRoom() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            listener.setblocking(False)
            acceptor = Acceptor([listener], accepted.put_nowait, report=events)
            acceptor.start()
            for tries in (7, 2):
                listener.tries = tries
                with socket.create_connection(listener.getsockname()):
                    async with asyncio.timeout(10):
                        (await accepted.get()).close()
            acceptor.close()

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(two_shortages())
    assert loop.asked == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0, 0.1, 0.2]
    assert [(event, fields["seconds"]) for event, fields in events] == [("accept.paused", 0.1)] * 2


async def test_a_shortage_of_descriptors_is_told_once_and_outlived() -> None:
    sockets = bind_all([Endpoint("127.0.0.1", 0)], report=nothing)
    address = sockets[0].getsockname()
    events = Events()
    accepted: asyncio.Queue[socket.socket] = asyncio.Queue()
    acceptor = Acceptor(sockets, accepted.put_nowait, report=events)
    visitor = socket.create_connection(address)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    acceptor.start()
    fillers = []
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (visitor.fileno() + 30, hard))
        try:
            while True:
                fillers.append(os.dup(visitor.fileno()))
        except OSError:
            pass
        await asyncio.sleep(0.5)  # several tries
        assert [event for event, _ in events] == ["accept.paused"]
        assert accepted.empty()
    finally:
        for filler in fillers:
            os.close(filler)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    async with asyncio.timeout(5):
        (await accepted.get()).close()
    acceptor.close()
    visitor.close()
