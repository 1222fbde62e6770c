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
from ferry.report import no_report
from turns import until

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
    sockets = await listen_on([Endpoint("::", 0)], setting="ssh.listen", report=no_report)
    port = sockets[0].getsockname()[1]
    for host in ("127.0.0.1", "::1"):
        socket.create_connection((host, port)).close()
    close(sockets)


def test_every_address_written_twice() -> None:
    sockets = bind_all([Endpoint("0.0.0.0", 0), Endpoint("::", 0)], report=no_report)
    assert len({sock.getsockname()[1] for sock in sockets}) == 1
    close(sockets)


def test_each_address_has_the_port_that_was_asked_for_with_it(free_port: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        another = other.getsockname()[1]
    sockets = bind_all([Endpoint("127.0.0.1", free_port), Endpoint("127.0.0.1", another)], report=no_report)
    assert [sock.getsockname()[1] for sock in sockets] == [free_port, another]
    close(sockets)


async def test_accepted_connections_have_nodelay_and_keepalive() -> None:
    sockets = await listen_on([Endpoint("127.0.0.1", 0)], setting="ssh.listen", report=no_report)
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
        both = [Endpoint("::1", port), Endpoint("127.0.0.1", port)]
        with pytest.raises(StartupError) as failed:
            await listen_on(both, setting="ssh.listen", report=no_report)
        text = str(failed.value)
        assert text.startswith(f"127.0.0.1:{port} is in use by ")
        assert f"(pid {os.getpid()})" in text
        assert text.endswith(": stop that program or set ssh.listen (in the file, or FERRY_SSH__LISTEN=ADDRESS:PORT)")
        socket.create_server(("::1", port), family=socket.AF_INET6).close()


async def test_a_port_that_is_taken_for_ipv6_alone_is_not_served_for_ipv4_alone() -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StartupError, match=rf"\[::\]:{port} is in use by "):
            await listen_on([Endpoint("::", port)], setting="https.listen", report=no_report)


async def test_an_address_of_another_host() -> None:
    with pytest.raises(StartupError, match=r"192\.0\.2\.1 is not an address of this host: set http\.listen to one"):
        await listen_on([Endpoint("192.0.2.1", 0)], setting="http.listen", report=no_report)


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


class Host:
    """One whose addresses answer a bind with these errors, one after another, and then with success."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, errors: dict[str, list[int]]) -> None:
        self.errors = {host: list(numbers) for host, numbers in errors.items()}
        self.asked: list[str] = []
        self._bind = socket.socket.bind
        host = self

        def bind(sock: socket.socket, address: tuple[str, int]) -> None:
            host.answer(sock, *address)

        monkeypatch.setattr(socket.socket, "bind", bind)

    def answer(self, sock: socket.socket, host: str, port: int) -> None:
        self.asked.append(host)
        if left := self.errors.get(host):
            number = left.pop(0)
            raise OSError(number, os.strerror(number))
        self._bind(sock, (host, port))


IN_USE, FORBIDDEN, MISSING, NO_FAMILY = errno.EADDRINUSE, errno.EACCES, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT


@pytest.mark.parametrize(
    ("hosts", "port", "errors", "asked", "failed"),
    [
        # a free port of the first address is in use at the second: another is asked for, and not for ever
        (["127.0.0.1", "::1"], 0, {"::1": [IN_USE] * 3}, ["127.0.0.1", "::1"] * 4, None),
        (["127.0.0.1", "::1"], 0, {"::1": [IN_USE] * 99}, ["127.0.0.1", "::1"] * 20, ("::1", IN_USE)),
        # another port would not help, or is not what was asked for
        (["127.0.0.1", "::1"], 0, {"::1": [FORBIDDEN] * 2}, ["127.0.0.1", "::1"], ("::1", FORBIDDEN)),
        (["127.0.0.1", "::1"], 0, {"127.0.0.1": [IN_USE] * 2}, ["127.0.0.1"], ("127.0.0.1", IN_USE)),
        (["127.0.0.1", "::1"], -1, {"::1": [IN_USE] * 2}, ["127.0.0.1", "::1"], ("::1", IN_USE)),
        # only a loopback address may be missing
        (["127.0.0.1", "::1"], 0, {"::1": [NO_FAMILY]}, ["127.0.0.1", "::1"], None),
        (["127.0.0.1", "2001:db8::1"], 0, {"2001:db8::1": [MISSING]}, ["127.0.0.1", "2001:db8::1"], ("2001:db8::1", MISSING)),
        # every address of a host without IPv6 is every IPv4 address, unless that is listed beside it
        (["::"], 0, {"::": [NO_FAMILY]}, ["::", "0.0.0.0"], None),
        (["::"], 0, {"::": [FORBIDDEN]}, ["::"], ("::", FORBIDDEN)),
        (["0.0.0.0", "::"], 0, {"::": [NO_FAMILY]}, ["0.0.0.0", "::"], ("::", NO_FAMILY)),
        (["::1"], 0, {"::1": [MISSING]}, ["::1"], ("::1", MISSING)),
        ([], 0, {}, [], None),
    ],
)  # fmt: skip
def test_all_addresses_are_bound_or_none(
    monkeypatch: pytest.MonkeyPatch,
    free_port: int,
    hosts: list[str],
    port: int,
    errors: dict[str, list[int]],
    asked: list[str],
    failed: tuple[str, int] | None,
) -> None:
    host = Host(monkeypatch, errors)
    endpoints = [Endpoint(one, free_port if port else 0) for one in hosts]
    if failed is None:
        sockets = bind_all(endpoints, report=no_report)
        assert len({sock.getsockname()[1] for sock in sockets}) == bool(hosts)
        close(sockets)
    else:
        with pytest.raises(BindFailed) as bind_failed:
            bind_all(endpoints, report=no_report)
        assert (bind_failed.value.endpoint.host, bind_failed.value.error.errno) == failed
    assert host.asked == asked


def test_endpoints_of_socket_names() -> None:
    assert endpoint_of(("::ffff:192.0.2.7", 5, 0, 0)) == Endpoint("192.0.2.7", 5)
    assert endpoint_of(("::1", 5, 0, 0)) == Endpoint("::1", 5)
    assert endpoint_of(None) == Endpoint("0.0.0.0", 0)
    assert endpoint_of("") == endpoint_of(b"") == Endpoint("127.0.0.1", 0)  # a visitor of a Unix socket


async def test_several_are_accepted_at_once_and_none_after_the_close() -> None:
    sockets = bind_all([Endpoint("127.0.0.1", 0)], report=no_report)
    address = sockets[0].getsockname()
    accepted: asyncio.Queue[socket.socket] = asyncio.Queue()
    visitors = [socket.create_connection(address) for _ in range(5)]
    acceptor = Acceptor(sockets, accepted.put_nowait, report=no_report)
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
    sockets = bind_all([Endpoint("127.0.0.1", 0)], report=no_report)
    visitors = [socket.create_connection(sockets[0].getsockname()) for _ in range(150)]
    taken: list[socket.socket] = []
    turns: list[int] = []
    turn = 0

    def accepted(sock: socket.socket) -> None:
        taken.append(sock)
        turns.append(turn)

    acceptor = Acceptor(sockets, accepted, report=no_report)
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
        self.held: list[Callable[[], object]] | None = None
        """What timers would do, until `release`."""

    def call_later(
        self, delay: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        self.asked.append(delay)
        if self.held is not None and delay < 1:
            self.held.append(lambda: callback(*args))
            return super().call_later(1e6, callback, *args, context=context)
        return super().call_later(0, callback, *args, context=context)

    def release(self) -> None:
        held, self.held = self.held or [], None
        for callback in held:
            callback()


class NoRoom(socket.socket):
    """A listener whose process is out of descriptors for the next `tries`, or that has another `error`."""

    tries = 0
    error = errno.EMFILE

    def accept(self) -> tuple[socket.socket, Any]:
        if self.tries:
            self.tries -= 1
            raise OSError(self.error, os.strerror(self.error))
        return super().accept()

    @classmethod
    def ready(cls) -> NoRoom:
        listener = cls()
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.setblocking(False)
        return listener


async def test_an_error_of_one_connection_costs_no_other_connection() -> None:
    """Linux hands what is pending on the new socket to accept(2)."""
    accepted: asyncio.Queue[socket.socket] = asyncio.Queue()
    with NoRoom.ready() as listener, socket.create_connection(listener.getsockname()):
        acceptor = Acceptor([listener], accepted.put_nowait, report=no_report)
        listener.tries, listener.error = 3, errno.ECONNABORTED
        acceptor.start()
        async with asyncio.timeout(10):
            (await accepted.get()).close()
        acceptor.close()


async def test_a_broken_listener_raises() -> None:
    told: asyncio.Queue[object] = asyncio.Queue()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.put_nowait(context["exception"]))
    with NoRoom.ready() as listener, socket.create_connection(listener.getsockname()):
        acceptor = Acceptor([listener], close_at_once, report=no_report)
        listener.tries, listener.error = 1, errno.EINVAL
        acceptor.start()
        async with asyncio.timeout(10):
            error = await told.get()
        assert isinstance(error, OSError)
        assert error.errno == errno.EINVAL
        acceptor.close()


def close_at_once(sock: socket.socket) -> None:
    sock.close()


async def test_an_acceptor_paused_during_an_accept_stops_until_it_is_resumed() -> None:
    """With all that waits in the queue, one too many each time would be hundreds."""
    sockets = bind_all([Endpoint("127.0.0.1", 0)], report=no_report)
    visitors = [socket.create_connection(sockets[0].getsockname()) for _ in range(5)]
    accepted: asyncio.Queue[socket.socket] = asyncio.Queue()

    def take(sock: socket.socket) -> None:
        accepted.put_nowait(sock)
        acceptor.pause()

    acceptor = Acceptor(sockets, take, report=no_report)
    acceptor.start()
    async with asyncio.timeout(10):
        for _ in visitors:
            (await accepted.get()).close()
            for _ in range(3):
                await asyncio.sleep(0)
            assert accepted.empty()
            acceptor.resume()
    acceptor.close()
    close(visitors)


async def test_an_acceptor_closed_during_an_accept_stops() -> None:
    sockets = bind_all([Endpoint("127.0.0.1", 0)], report=no_report)
    visitors = [socket.create_connection(sockets[0].getsockname()) for _ in range(2)]
    accepted: asyncio.Queue[socket.socket] = asyncio.Queue()
    failed: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failed.append(context))

    def take(sock: socket.socket) -> None:
        accepted.put_nowait(sock)
        acceptor.close()

    acceptor = Acceptor(sockets, take, report=no_report)
    acceptor.start()
    async with asyncio.timeout(10):
        (await accepted.get()).close()
    await asyncio.sleep(0)
    assert (accepted.qsize(), failed) == (0, [])
    close(visitors)


@pytest.mark.parametrize("in_between", [True, False])
def test_accepting_goes_on_when_both_kinds_of_pause_have_ended(in_between: bool) -> None:
    """`in_between`: the gate resumes while there is no room yet."""
    loop = Hurried()

    async def both() -> None:
        accepted: asyncio.Queue[socket.socket] = asyncio.Queue()
        with NoRoom.ready() as listener, socket.create_connection(listener.getsockname()):
            acceptor = Acceptor([listener], accepted.put_nowait, report=no_report)
            acceptor.start()
            listener.tries = 1
            loop.held = []
            await until(lambda: loop.held)
            acceptor.pause()
            if in_between:
                acceptor.resume()
                await asyncio.sleep(0)
                assert accepted.empty()
            loop.release()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            if not in_between:
                assert accepted.empty()
                acceptor.resume()
            async with asyncio.timeout(10):
                (await accepted.get()).close()
            acceptor.close()

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(both())


def test_pauses_in_a_shortage_grow_up_to_a_bound_and_restart_after_it() -> None:
    """ACCEPT_PAUSE_SECONDS and ACCEPT_PAUSE_MAX_SECONDS."""
    loop = Hurried()
    events = Events()

    async def two_shortages() -> None:
        accepted: asyncio.Queue[socket.socket] = asyncio.Queue()
        with NoRoom.ready() as listener:
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


async def test_a_shortage_of_descriptors_is_reported_once_and_survived() -> None:
    sockets = bind_all([Endpoint("127.0.0.1", 0)], report=no_report)
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
