"""A port, its visitors and the bridge between them and a real service, over real sockets on both event loops."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import resource
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest
import uvloop

from edge.tcp_tunnel import LOOPBACK, TcpTunnel, listening, port_of, small_visitor
from ferry import limits
from ferry.clock import SystemClock
from ferry.edge.connections import Connections
from ferry.edge.descriptors import DescriptorGate
from ferry.edge.tcp import TcpEdge, TcpListener
from ferry.errors import LocalProtocolError, Refusal
from ferry.kinds.base import ListenPort
from ferry.limiters.connection_limiter import ConnectionLimiter
from ferry.limiters.origins import THIS_HOST
from ferry.limiters.sources import ExemptNetworks
from ferry.names import Address, IdentityId, Kind
from ferry.registry.routes import Tunnel
from ferry.report import no_report
from ferry.streams import OpenFailure
from granted import Spot, open_to_all, to_listen, to_visit
from hand_clock import HandClock
from resets import reset, reset_at_close
from turns import until

VISITORS_PER_TUNNEL = 900
SECONDS = 15  # for one test

Service = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
BOTH_LOOPS = True


@pytest.fixture(autouse=True)
def nothing_fails(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Whoever comes and goes at whatever moment: nothing inside goes wrong, which no visitor would see."""
    yield
    records = [*caplog.get_records("setup"), *caplog.get_records("call"), *caplog.records]  # each phase has its own
    failed = [record.exc_info[1] for record in records if record.levelno >= logging.ERROR and record.exc_info]
    # A service of the test that still runs when its loop ends is cancelled, which asyncio's streams log.
    assert [error for error in failed if not isinstance(error, asyncio.CancelledError)] == []


class World:
    """A service, a tunnel to it, and the port that leads there."""

    def __init__(self, tunnel: TcpTunnel) -> None:
        self.tunnel = tunnel
        self.proxies: list[Tunnel] = []
        self.in_force = open_to_all()
        self.events: list[tuple[str, dict[str, object]]] = []
        self.listener: TcpListener
        self.others: list[TcpListener] = []
        self.last_edge: TcpEdge

    def report(self, event: str, /, **fields: object) -> None:
        self.events.append((event, fields))

    def edge(
        self,
        *,
        allow_open_proxy: bool = False,
        visitors: int = VISITORS_PER_TUNNEL,
        limiter: ConnectionLimiter | None = None,
        connections: Connections | None = None,
    ) -> TcpEdge:
        return TcpEdge(
            report=self.report,
            clock=SystemClock(),
            visits=self.in_force,
            open_proxy=self.proxies.append,
            allow_open_proxy=allow_open_proxy,
            visitors=visitors,
            limiter=limiter,
            connections=connections,
        )

    async def another_port(self) -> TcpListener:
        """To the same tunnel."""
        self.others.append(await listening(self.last_edge, self.tunnel))
        return self.others[-1]

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    @property
    def port(self) -> int:
        return port_of(self.listener)

    async def visits(self, count: int = 1) -> None:
        """Until so many visits have been reported."""
        async with asyncio.timeout(10):
            while len(self.tunnel.visits) < count:
                self.tunnel.visited_event.clear()
                await self.tunnel.visited_event.wait()

    def has_answered(self, before: int, *, visitors: int) -> bool:
        """It has reported more than `before` events, or let in more than so many visitors."""
        return len(self.events) > before or len(self.listener) > visitors


@asynccontextmanager
async def world(
    service: Service,
    *,
    public: bool = False,
    allow_open_proxy: bool = False,
    visitors: int = VISITORS_PER_TUNNEL,
    limiter: ConnectionLimiter | None = None,
    connections: Connections | None = None,
) -> AsyncIterator[World]:
    running: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        running.add(writer)
        with suppress(OSError, asyncio.IncompleteReadError):
            await service(reader, writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    tunnel = tcp_tunnel(server.sockets[0].getsockname()[1])
    made = World(tunnel)
    made.last_edge = edge = made.edge(
        allow_open_proxy=allow_open_proxy, visitors=visitors, limiter=limiter, connections=connections
    )
    made.listener = first = await listening(edge, tunnel, public=public)
    try:
        async with asyncio.timeout(SECONDS):
            yield made
    finally:
        for listener in (first, *made.others):
            listener.close(cut=True)
        tunnel.close()
        await tunnel.quiet()
        server.close()
        for writer in running:
            writer.close()


def tcp_tunnel(target: int) -> TcpTunnel:
    tunnel = TcpTunnel("unused", ("127.0.0.1", target))
    tunnel.address = Address(Kind.TCP, "", 30042)
    return tunnel


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


async def digest(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Reads to the end, then answers: works only with half-close."""
    total = hashlib.sha256()
    while data := await reader.read(65536):
        total.update(data)
    writer.write(total.hexdigest().encode())
    writer.close()


async def test_half_close_and_every_byte() -> None:
    body = os.urandom(3 << 20)
    async with world(digest) as w:
        reader, writer = await w.connect()
        visitor = writer.get_extra_info("sockname")
        writer.write(body)
        writer.write_eof()
        assert await reader.read() == hashlib.sha256(body).hexdigest().encode()
        writer.close()
        await w.visits()
        visit = w.tunnel.visits[0]
        assert (visit.up, visit.down, visit.status, visit.method, visit.note) == (len(body), 64, 0, "", "")
        assert (visit.target, visit.peer.host, visit.peer.port) == ("port 30042", *visitor)
        assert w.tunnel.dialled == [visit.peer]
        assert (w.tunnel.traffic.up, w.tunnel.traffic.down, w.tunnel.traffic.visits) == (len(body), 64, 1)
        await w.tunnel.quiet()


async def test_a_visit_is_counted_when_it_ends() -> None:
    async with world(echo) as w:
        _, writer = await say_hello(w)
        assert (w.tunnel.traffic.visits, len(w.listener)) == (0, 1)
        writer.close()
        await w.visits()
        assert (w.tunnel.traffic.visits, len(w.listener)) == (1, 0)


async def test_the_tunnel_may_end_first() -> None:
    heard = asyncio.Event()
    rest = bytearray()

    async def talks_first(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"bye")
        writer.write_eof()
        rest.extend(await reader.read())
        heard.set()
        writer.close()

    async with world(talks_first) as w:
        reader, writer = await w.connect()
        assert await reader.read() == b"bye"
        writer.write(b"still talking")
        writer.close()
        await asyncio.wait_for(heard.wait(), 5)
        assert rest == b"still talking"
        await w.visits()
        await w.tunnel.quiet()


async def test_back_pressure_both_ways() -> None:
    """A side that does not read stops the other after the buffers are full, and loses nothing."""
    go_on = asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await go_on.wait()
        await echo(reader, writer)

    size = 48 << 20
    async with world(slow) as w:
        reader, writer = await w.connect()
        sent = asyncio.ensure_future(_send(writer, size))
        before = -1
        async with asyncio.timeout(20):
            while w.tunnel.traffic.up != before:  # until nothing more goes in
                before = w.tunnel.traffic.up
                await asyncio.sleep(0.2)
        assert 0 < before < size // 2
        go_on.set()
        received = 0
        while data := await reader.read(1 << 20):
            received += len(data)
        assert received == size
        await sent
        writer.close()
        await w.visits()


async def _send(writer: asyncio.StreamWriter, size: int) -> None:
    block = bytes(1 << 20)
    for _ in range(size // len(block)):
        writer.write(block)
        await writer.drain()
    writer.write_eof()


@pytest.mark.usefixtures("one_of_many_unsent")
async def test_one_of_many_that_does_not_read_takes_little_now_and_all_later() -> None:
    """Loopback's own buffers take megabytes before they ask for no more."""
    size = 8 * limits.MIB

    async def much(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(bytes(size))
        await writer.drain()
        writer.close()

    async with world(much) as w, asyncio.timeout(20):
        loop = asyncio.get_running_loop()
        async with small_visitor(w.port) as visitor:
            assert await w.tunnel.at_rest() <= limits.MIB
            taken = 0
            while data := await loop.sock_recv(visitor, 65536):
                taken += len(data)
            assert taken == size
        await w.visits()


@pytest.mark.usefixtures("one_of_many_unsent")
async def test_a_half_closed_visitor_that_is_gone_is_noticed_in_a_crowd() -> None:
    """Nothing is read from it any more, and while much is unsent nothing is written."""

    async def endless(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(bytes(65536))
            await writer.drain()

    async with world(endless) as w:
        async with small_visitor(w.port) as visitor:
            visitor.shutdown(socket.SHUT_WR)
            await w.tunnel.at_rest()
            reset_at_close(visitor)
        await w.visits()


async def test_a_visitors_reset_is_no_end_of_file() -> None:
    ends: asyncio.Queue[str] = asyncio.Queue()

    class Origin(asyncio.Protocol):
        def eof_received(self) -> None:
            ends.put_nowait("eof")

        def connection_lost(self, exc: Exception | None) -> None:
            ends.put_nowait("reset" if isinstance(exc, ConnectionResetError) else "closed")

    async with world(echo) as w:
        loop = asyncio.get_running_loop()
        origin = await loop.create_server(Origin, "127.0.0.1", 0)
        w.tunnel.target = origin.sockets[0].getsockname()[:2]
        _, writer = await w.connect()
        writer.write(b"half a message")
        await until(lambda: w.tunnel.traffic.up > 0 and all(s.transport for s in w.tunnel.streams))
        stream = next(iter(w.tunnel.streams))
        reset(writer)
        await w.visits()
        assert stream.sink is None  # aborted; this tunnel's own abort sends FIN, so what counts is
        assert not stream.eof_wanted  # that no end of file was written
        assert await asyncio.wait_for(ends.get(), 5)
        origin.close()


async def test_a_broken_stream_resets_the_visitor() -> None:
    async def breaks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"half")
        await writer.drain()
        await reader.readexactly(1)
        reset(writer)

    async with world(breaks) as w:
        reader, writer = await w.connect()
        assert await reader.readexactly(4) == b"half"
        writer.write(b"x")
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()
        await w.visits()


async def test_a_stream_closed_in_order_loses_no_answer_of_a_visitor_still_sending() -> None:
    async def hangs_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)
        writer.write(b"a" * 100_000)
        writer.close()

    async with world(hangs_up) as w:
        reader, writer = await w.connect()
        writer.write(b"x")
        got = await asyncio.wait_for(reader.read(), 5)
        assert got == b"a" * 100_000
        writer.close()
        await w.visits()


async def test_a_port_with_an_unreachable_service_closes_the_visitor() -> None:
    async with world(echo) as w:
        w.tunnel.target = ("127.0.0.1", _unused_port())
        reader, writer = await w.connect()
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()
        await w.visits()
        assert w.tunnel.visits[0].note == "your local service cannot be reached"


async def test_refused_at_once() -> None:
    async with world(echo) as w:
        w.tunnel.refuse = OpenFailure.LIMIT
        reader, writer = await w.connect()
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()
        await w.visits()
        assert w.tunnel.visits[0].note == "the tunnel has too many visitors"


async def test_fifty_visitors_that_leave_while_the_stream_opens_leave_nothing() -> None:
    async with world(echo) as w:
        for _ in range(50):
            sock = socket.socket()
            sock.connect(("127.0.0.1", w.port))
            reset_at_close(sock)
            sock.close()
        await w.visits(50)
        await w.tunnel.quiet()
        assert len(w.listener) == 0


async def test_both_loopback_addresses_one_port() -> None:
    async with world(echo) as w:
        assert [endpoint.host for endpoint in w.listener.endpoints] == [*LOOPBACK]
        reader, writer = await asyncio.open_connection("::1", w.port)
        writer.write(b"six")
        writer.write_eof()
        assert await reader.read() == b"six"
        writer.close()
        await w.visits()
        assert w.tunnel.visits[0].peer.host == "::1"


async def test_a_taken_port_is_refused_and_nothing_stays_bound() -> None:
    async with world(echo) as w:
        with socket.create_server(("::1", 0), family=socket.AF_INET6) as taken:
            port = taken.getsockname()[1]
            refused = await w.edge().listen(w.tunnel, to_listen(w.tunnel), ListenPort(port, LOOPBACK, public=False))
        assert isinstance(refused, Refusal)
        assert refused.public == f"port {port} is in use by another program on this host: ask for another"
        assert refused.code == "port_in_use"
        assert refused.detail == f"[::1]:{port} is in use by another program"
        socket.create_server(("127.0.0.1", port)).close()


async def test_an_address_that_the_host_lacks_is_named_to_who_has_written_it() -> None:
    async with world(echo) as w:
        absent = ListenPort(_unused_port(), ("203.0.113.9",), public=True, ipv4_too=False)
        refused = await w.edge().listen(w.tunnel, to_listen(w.tunnel), absent)
        assert isinstance(refused, Refusal)
        assert refused.public == "203.0.113.9 is no address of the gateway: leave it out"
        configured = await w.edge().listen(w.tunnel, to_listen(w.tunnel), absent._replace(ipv4_too=True))
        assert isinstance(configured, Refusal)
        assert configured.detail.endswith("look at tcp.public_addresses")
        for host, more in (
            ("fe80::99", ", or write [fe80::99%eth0] with the name of its interface"),
            ("fe80::99%no", ""),
        ):
            refused = await w.edge().listen(w.tunnel, to_listen(w.tunnel), absent._replace(hosts=(host,)))
            assert isinstance(refused, Refusal)
            assert refused.public == f"{host} is no address of the gateway: leave it out{more}"


@pytest.mark.parametrize("descriptors", [2, 3])
async def test_a_port_for_which_descriptors_run_out_is_refused_and_nothing_stays_bound(descriptors: int) -> None:
    """Both addresses are bound; the server of the first or of the second cannot start."""
    async with world(echo) as w:
        port = _unused_port()
        with descriptors_left(descriptors):
            refused = await w.edge().listen(w.tunnel, to_listen(w.tunnel), ListenPort(port, LOOPBACK, public=False))
        assert isinstance(refused, Refusal)
        assert refused.code == "port_unavailable"
        assert refused.detail == f"127.0.0.1:{port} cannot be opened: Too many open files"
        await until(lambda: not any(_listens(host, port) for host in LOOPBACK))


def _listens(host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as visitor:
        return visitor.connect_ex((host, port)) == 0


@contextmanager
def descriptors_left(number: int) -> Iterator[None]:
    """This process may open `number` descriptors more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    fillers: list[int] = []
    try:
        most = max(int(entry.name) for entry in Path("/proc/self/fd").iterdir())
        while not fillers or fillers[-1] <= most:
            fillers.append(os.open(os.devnull, os.O_RDONLY))
        resource.setrlimit(resource.RLIMIT_NOFILE, (fillers[-1] + 1 + number, hard))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for filler in fillers:
            os.close(filler)


@pytest.mark.parametrize("other", ["address", "owner", "use"])
async def test_no_port_opens_without_a_grant_to_listen_at_that_address_for_that_owner(other: str) -> None:
    async with world(echo) as w:
        tunnel = w.tunnel
        grant = {
            "address": to_listen(Spot(Address(Kind.TCP, "", 30043), tunnel.owner)),
            "owner": to_listen(Spot(tunnel.address, IdentityId("another"))),
            "use": to_visit(tunnel),
        }[other]
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        with pytest.raises(LocalProtocolError):
            await w.edge().listen(tunnel, grant, ListenPort(port, LOOPBACK, public=False))
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)


async def test_closing_leaves_visitors_or_cuts_them() -> None:
    async with world(echo) as w:
        reader, writer = await w.connect()
        writer.write(b"1")
        assert await reader.readexactly(1) == b"1"
        w.listener.close(cut=False)
        with pytest.raises(ConnectionRefusedError):
            await w.connect()
        writer.write(b"2")
        assert await reader.readexactly(1) == b"2"
        w.listener.close(cut=True)
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()
        await w.visits()
        await w.tunnel.quiet()


async def test_visitors_are_bounded(caplog: pytest.LogCaptureFixture) -> None:
    async with world(echo, visitors=1) as w:
        reader, writer = await w.connect()
        writer.write(b"1")
        assert await reader.readexactly(1) == b"1"
        reader2, writer2 = await w.connect()
        async with asyncio.timeout(10):
            with pytest.raises(ConnectionResetError):
                await reader2.read()
        writer2.close()
        writer.close()
        await w.visits()
        assert [event for event, fields in w.events if fields.get("reason") == "too many visitors"] == ["edge.refused"]
        assert w.tunnel.traffic.visits == 1
    assert not caplog.records  # nothing goes wrong with the end of one who was refused


async def test_one_address_has_fewer_places_than_all_and_gets_them_back() -> None:
    async with world(echo, limiter=ConnectionLimiter(1, ExemptNetworks([]))) as w:
        for n in (1, 2):
            reader, writer = await w.connect()
            writer.write(b"1")
            assert await reader.readexactly(1) == b"1"
            refused, leaving = await w.connect()
            async with asyncio.timeout(10):
                with pytest.raises(ConnectionResetError):
                    await refused.read()
            leaving.close()
            writer.close()
            await w.visits(n)
        reasons = [fields["reason"] for event, fields in w.events if event == "edge.refused"]
        assert reasons == ["too many connections from this address"] * 2


async def test_a_tap_sees_both_directions() -> None:
    seen: list[tuple[str, bytes]] = []
    ended: list[Exception | None] = []

    class Watcher:
        def begin(self, request: object) -> Watcher:
            assert request is None
            return self

        def seen(self, direction: object, data: bytes) -> None:
            seen.append((str(direction), data))

        def ended(self, error: Exception | None) -> None:
            ended.append(error)

    async with world(echo) as w:
        w.tunnel.tap = Watcher()
        reader, writer = await w.connect()
        writer.write(b"hi")
        writer.write_eof()
        assert await reader.read() == b"hi"
        writer.close()
        await w.visits()
    assert seen == [("Direction.UP", b"hi"), ("Direction.DOWN", b"hi")]
    assert ended == [None]


async def test_a_tap_is_told_of_no_visitor_that_is_refused() -> None:
    told: list[str] = []

    class Watcher:
        def begin(self, _request: object) -> Watcher:
            told.append("begin")
            return self

        def seen(self, _direction: object, _data: bytes) -> None:
            """It counts visits only."""

        def ended(self, _error: Exception | None) -> None:
            told.append("ended")

    async with world(echo, visitors=1) as w:
        w.tunnel.tap = Watcher()
        _, held = await say_hello(w)
        reader, refused = await w.connect()
        async with asyncio.timeout(10):
            with pytest.raises(ConnectionResetError):
                await reader.read()
        refused.close()
        assert told == ["begin"]
        held.close()
        await w.visits()
    assert told == ["begin", "ended"]


# --- open proxies


async def socks5(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    _, count = await reader.readexactly(2)
    await reader.readexactly(count)
    writer.write(b"\x05")
    await writer.drain()
    writer.write(b"\x00")
    await reader.read()
    writer.close()


async def test_an_open_proxy_is_cut_before_it_answers() -> None:
    async with world(socks5, public=True) as w:
        reader, writer = await w.connect()
        writer.write(b"\x05\x01\x00")
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()
        await w.visits()
        assert w.proxies == [w.tunnel]
        assert w.tunnel.visits[0].down == 0
        assert "SOCKS" in w.tunnel.visits[0].note
        with pytest.raises(ConnectionRefusedError):
            await w.connect()


@pytest.mark.parametrize(("public", "allowed"), [(False, False), (True, True)])
async def test_a_proxy_on_loopback_or_with_permission_stays(public: bool, allowed: bool) -> None:
    async with world(socks5, public=public, allow_open_proxy=allowed) as w:
        reader, writer = await w.connect()
        writer.write(b"\x05\x01\x00")
        assert await reader.readexactly(2) == b"\x05\x00"
        writer.close()
        await w.visits()
        assert w.proxies == []


@pytest.mark.parametrize("first", [b"\x05\x01\x00", b"GET / HTTP/1.1\r\n", b"\x05\x00\x0b\x03"])
async def test_other_protocols_pass_a_public_port_unchanged(first: bytes) -> None:
    async with world(digest, public=True) as w:
        reader, writer = await w.connect()
        writer.write(first)
        writer.write_eof()
        assert await reader.read() == hashlib.sha256(first).hexdigest().encode()
        writer.close()
        await w.visits()
        assert w.proxies == []


async def test_a_held_byte_is_not_lost_when_the_service_stops_there() -> None:
    async def one_byte(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(3)
        writer.write(b"\x05")
        writer.close()

    async with world(one_byte, public=True) as w:
        reader, writer = await w.connect()
        writer.write(b"\x05\x01\x00")
        assert await reader.read() == b"\x05"
        writer.close()
        await w.visits()


def _unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
    return port


async def test_a_newcomer_displaces_one_of_many_stalled_visitors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PLACE_LOOK_SECONDS", 0.05)
    async with world(echo, visitors=8, limiter=ConnectionLimiter(100, ExemptNetworks([]))) as w:
        port = w.port
        held = [
            await asyncio.open_connection("127.0.0.1", port, local_addr=(f"127.0.1.{number % 2 + 1}", 0))
            for number in range(8)
        ]
        async with asyncio.timeout(10):
            while True:
                reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=("127.0.9.9", 0))
                with suppress(ConnectionError):  # nobody is judged who has not been there for a moment
                    writer.write(b"hello")
                    if await reader.read(5) == b"hello":
                        break
                await asyncio.sleep(limits.PLACE_LOOK_SECONDS)  # and comes again, as a visitor does
        await w.visits(1)
        assert w.tunnel.visits[0].note.endswith("this one lost its place to another")
        assert w.tunnel.visits[0].peer.host.startswith("127.0.1.")
        assert len(w.listener) == 8
        for _, one in (*held, (reader, writer)):
            one.close()


@pytest.mark.parametrize("host", LOOPBACK)
async def test_visitors_from_the_clients_origin_have_a_share(host: str) -> None:
    """A port whose target is a port of this gateway sends its visitors in again, and again. VISITORS_FROM_CLIENT."""
    async with world(echo) as w:
        w.tunnel.origins = {"192.0.2.9", THIS_HOST}
        held = [await asyncio.open_connection(host, w.port) for _ in range(128)]
        for reader, writer in held:
            writer.write(b"x")
            assert await reader.read(1) == b"x"
        for again in LOOPBACK:  # by whichever address
            before = len(w.events)
            reader, _ = await asyncio.open_connection(again, w.port)
            async with asyncio.timeout(10):
                await until(partial(w.has_answered, before, visitors=128))
                assert len(w.listener) == 128
                with pytest.raises(ConnectionResetError):
                    await reader.read()
        assert (
            w.events[-1][1]["reason"]
            == "too many visitors from the client's own address: does the tunnel lead to itself?"
        )
        w.tunnel.origins = {"192.0.2.9"}
        _, elsewhere = await say_hello(w)  # who comes from elsewhere has the other places
        w.tunnel.origins = {"192.0.2.9", THIS_HOST}
        held[0][1].close()
        await w.visits(1)
        reader, writer = await w.connect()
        writer.write(b"x")
        assert await reader.read(1) == b"x"
        elsewhere.close()


async def test_visitors_from_other_origins_have_all_places() -> None:
    """A reverse proxy on the gateway's own host carries everybody."""
    async with world(echo) as w:
        w.tunnel.origins = {"192.0.2.9"}
        held = [await asyncio.open_connection(host, w.port) for host in LOOPBACK for _ in range(100)]
        for reader, writer in held:
            writer.write(b"x")
            assert await reader.read(1) == b"x"
        assert len(w.listener) == 200


async def say_hello(w: World, host: str = "127.0.0.1") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A visitor who has been answered."""
    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_connection("127.0.0.1", w.port, local_addr=(host, 0))
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
    return reader, writer


@pytest.mark.parametrize("turns", range(8))
def test_a_connection_accepted_before_the_close_is_no_visitor_after_it(turns: int) -> None:
    """Between its accept and its transport are turns of the loop. asyncio's own server leaves it to the collector."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(closes_after(turns))


async def closes_after(turns: int) -> None:
    async with asyncio.timeout(10), world(echo) as w:
        visitor = socket.create_connection(("127.0.0.1", w.port))
        visitor.setblocking(False)
        for _ in range(turns):
            await asyncio.sleep(0)
        w.listener.close(cut=True)
        before = len(w.tunnel.dialled)
        with visitor, pytest.raises(ConnectionResetError):
            await asyncio.get_running_loop().sock_recv(visitor, 1)
        assert len(w.tunnel.dialled) == before
        await until(lambda: len(w.listener) == 0)
        assert len(w.tunnel.visits) == before


@asynccontextmanager
async def short_world(*, short_from: int = 850) -> AsyncIterator[tuple[World, DescriptorGate, HandClock]]:
    """One whose gateway is short of descriptors as soon as its gate has seen `short_from`."""
    clock = HandClock()
    gate = DescriptorGate(report=no_report, most=1000, count=lambda: short_from)
    try:
        async with world(echo, connections=Connections(gate, ExemptNetworks([]), clock)) as w:
            yield w, gate, clock
    finally:
        gate.close()


async def test_a_gateway_short_of_descriptors_refuses_a_source_with_its_share() -> None:
    async with short_world() as (w, gate, _):
        held = [await say_hello(w) for _ in range(5)]
        gate.seen(850)
        for _ in range(2):
            reader, writer = await w.connect()
            async with asyncio.timeout(10):
                with pytest.raises(ConnectionResetError):
                    await reader.read()
            writer.close()
        assert [fields["reason"] for _, fields in w.events] == ["too many connections to the gateway"] * 2
        assert len(w.listener) == 5
        for _, writer in held:
            writer.close()
        await w.visits(5)
        assert w.tunnel.traffic.visits == 5


@pytest.mark.parametrize("before", ["nobody", "all have left", "closed to newcomers"])
async def test_a_newcomer_displaces_visitors_of_a_port_for_their_descriptors(before: str) -> None:
    """Also of one that was empty for a while, and of one that takes nobody any more."""
    async with short_world() as (w, gate, clock):
        if before == "all have left":
            (await say_hello(w))[1].close()
            await w.visits(1)
        held = [await w.connect() for _ in range(5)]
        port = w.listener
        await until(lambda: len(port) == 5)
        if before == "closed to newcomers":
            w.listener = await w.another_port()
            port.close(cut=False)
            held.pop(0)[1].close()
            await w.visits(1)
        clock.ahead += 10 * max(limits.PLACE_PATIENCE_SECONDS)
        gate.seen(850)
        held.append(await say_hello(w, "127.0.9.9"))
        await w.visits(1 if before == "nobody" else 2)
        assert w.tunnel.visits[-1].note.endswith("this one lost its place to another")
        for _, writer in held:
            writer.close()
