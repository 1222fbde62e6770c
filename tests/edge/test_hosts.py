"""Connections from the gateway to hosts: one look-up, a decision on each address, and a race among those that are granted."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_address
from typing import Any, cast

import pytest

from ferry import limits
from ferry.edge.host_lookups import HostLookups, in_turn
from ferry.edge.host_stream import HostStream
from ferry.edge.hosts import Hosts
from ferry.errors import Refusal
from ferry.names import Endpoint, Fingerprint, Identity, IdentityId
from ferry.policy.grants import HostGrant, grant_host
from ferry.policy.keys import KeyLine
from ferry.policy.reach import Host, Wanted, decide_address
from ferry.protocol.targets import IpAddress
from ferry.streams import Stream
from hurried_loop import Watch, hurried
from resets import reset_at_close
from turns import timers, turns, until

OUTBOUND_STREAMS_PER_IDENTITY = 256
OUTBOUND_LOOKUPS, OUTBOUND_LOOKUPS_PER_IDENTITY = 64, 8
OUTBOUND_ADDRESSES = 8
HIGH_WATER_BYTES = 256 * 1024
SMALL_WRITES = 128
FOR_EVER = 300
WHO = Identity(IdentityId("i"), "ann", Fingerprint("SHA256:a"))
NAMED = Host("db.example", None)


class Told:
    """A sink that notes what it is told."""

    def __init__(self) -> None:
        self.data = b""
        self.ends: list[str] = []
        self.stream: Stream
        self.endpoint: Endpoint
        self.paused = 0

    def join(self, grant: HostGrant, stream: Stream) -> Told:
        self.stream, self.endpoint = stream, grant.endpoint
        return self

    def stream_opened(self) -> None:
        raise AssertionError("it is there when it is given")

    def stream_refused(self, failure: object) -> None:
        raise AssertionError("it is there when it is given")

    def data_received(self, data: bytes) -> None:
        self.data += data

    def eof_received(self) -> None:
        self.ends.append("eof")

    def stream_lost(self, error: Exception | None) -> None:
        self.ends.append("lost" if error is None else "broken")

    def pause_writing(self) -> None:
        self.paused += 1

    def resume_writing(self) -> None:
        self.paused -= 1


def to(port: int) -> Callable[[IpAddress, bool], HostGrant | Refusal]:
    """The decision on the addresses of a name, as if the operator had written each of them, with this port."""

    def decide(found: IpAddress, _here: bool) -> HostGrant | Refusal:
        host = Host(str(found), found)
        return decide_address(Wanted(WHO, KeyLine(), host.name.encode(), port), host, found, here=False)

    return decide


class Peer(asyncio.Protocol):
    """The host's side of one connection."""

    def __init__(self, peers: list[Peer]) -> None:
        self.data = bytearray()
        self.ended = ""
        self.transport: asyncio.Transport
        self._peers = peers

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._peers.append(self)

    def data_received(self, data: bytes) -> None:
        self.data += data

    def eof_received(self) -> bool:
        self.ended += "eof "
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended += "lost" if exc is None else "broken"


@asynccontextmanager
async def service(host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[tuple[int, list[Peer]]]:
    """A service on a loopback address: its port, and its connections."""
    peers: list[Peer] = []
    server = await asyncio.get_running_loop().create_server(lambda: Peer(peers), host, port)
    try:
        yield server.sockets[0].getsockname()[1], peers
    finally:
        server.close()
        for peer in peers:
            peer.transport.abort()


def hosts_with(*addresses: str) -> tuple[Hosts, list[str]]:
    """Hosts whose resolver knows one name, with the names that it was asked for."""
    asked: list[str] = []

    def resolve(name: str) -> list[str]:
        asked.append(name)
        if not addresses:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return list(addresses)

    return Hosts(None, HostLookups(resolve)), asked


async def connected(hosts: Hosts, port: int, host: Host = NAMED) -> Told:
    told = Told()
    assert await hosts.connect("i", host, to(port), told.join) is None
    return told


async def refused(hosts: Hosts, port: int, host: Host = NAMED) -> Refusal:
    refusal = await hosts.connect("i", host, to(port), Told().join)
    assert isinstance(refusal, Refusal)
    return refusal


# --- the look-up


async def test_a_name_is_looked_up_once_and_that_very_address_is_connected_to() -> None:
    """A name that leads elsewhere a moment later (DNS rebinding) changes nothing."""
    async with service("127.0.0.2") as (port, peers):
        answers = iter([["127.0.0.2"], ["127.0.0.3"]])
        hosts = Hosts(None, HostLookups(lambda _: next(answers)))
        told = await connected(hosts, port)
        assert told.endpoint == Endpoint("127.0.0.2", port)
        told.stream.write(b"hello")
        await until(lambda: peers and peers[0].data == b"hello")
        told.stream.abort()


async def test_a_number_is_not_looked_up() -> None:
    async with service() as (port, _):
        hosts, asked = hosts_with("192.0.2.1")
        told = await connected(hosts, port, Host("127.0.0.1", ip_address("127.0.0.1")))
        assert asked == []
        told.stream.abort()


async def test_each_address_is_decided_on_and_the_others_are_left_out() -> None:
    """A name with a good address and the metadata service's: the gateway tries the good one alone."""
    async with service() as (port, peers):
        hosts, _ = hosts_with("169.254.169.254", "127.0.0.1", "::1")
        seen: list[tuple[str, bool]] = []

        def decide(found: IpAddress, here: bool) -> HostGrant | Refusal:
            seen.append((str(found), here))
            return to(port)(found, here) if str(found) == "127.0.0.1" else Refusal("no", code="target_address")

        told = Told()
        assert await hosts.connect("i", NAMED, decide, told.join) is None
        assert seen[0][0] == "169.254.169.254"
        assert ("127.0.0.1", True) in seen  # this host's own
        assert told.endpoint.host == "127.0.0.1"
        told.stream.abort()
        refusal = await hosts.connect("i", NAMED, lambda *_: Refusal("no", code="target_address"), told.join)
        assert isinstance(refusal, Refusal)
        assert (refusal.code, len(peers)) == ("target_address", 1)


async def test_an_unknown_name_is_in_the_log_alone() -> None:
    hosts, _ = hosts_with()
    refusal = await refused(hosts, 80)
    assert refusal.code == "host_unknown"
    assert "db.example" in refusal.detail
    assert "db.example" not in refusal.public
    assert len(hosts) == 0


@hurried
async def test_a_slow_resolver_is_waited_for_so_long_and_its_threads_keep_their_places() -> None:
    """OUTBOUND_LOOKUP_SECONDS, OUTBOUND_LOOKUPS, OUTBOUND_LOOKUPS_PER_IDENTITY."""
    lets_go = threading.Event()

    def resolve(_name: str) -> list[str]:
        assert lets_go.wait(20)
        return ["192.0.2.1"]

    lookups = HostLookups(resolve)
    try:
        begun = [("i", OUTBOUND_LOOKUPS_PER_IDENTITY)]
        begun += [(f"other {number}", OUTBOUND_LOOKUPS_PER_IDENTITY) for number in range(7)]
        asked = []
        for who, count in begun:
            asked += [asyncio.ensure_future(lookups.addresses_of("slow", who)) for _ in range(count)]
            await turns()
            assert isinstance(await lookups.addresses_of("slow", who), Refusal)
        for full in ("i", "one more"):
            refusal = await lookups.addresses_of("slow", full)
            assert isinstance(refusal, Refusal)
            assert refusal.code == "too_many_lookups"
        assert len(asked) == OUTBOUND_LOOKUPS
        async with asyncio.timeout(FOR_EVER):
            told = await asyncio.gather(*asked)
        for late in told:
            assert isinstance(late, Refusal)
            assert (late.code, "more than 5 s" in late.public) == ("host_unknown", True)
        assert isinstance(await lookups.addresses_of("slow", "i"), Refusal)
    finally:
        lets_go.set()
    while isinstance(found := await lookups.addresses_of("slow", "i"), Refusal):
        await turns()
    assert found == [ip_address("192.0.2.1")]


def test_families_take_turns() -> None:
    found = ["2001:db8::1", "2001:db8::2", "2001:db8::1", "fe80::1%eth0", "192.0.2.1", "2001:db8::3"]
    assert list(map(str, in_turn(found))) == ["2001:db8::1", "192.0.2.1", "2001:db8::2", "2001:db8::3"]
    assert len(in_turn([f"192.0.2.{number}" for number in range(20)])) == OUTBOUND_ADDRESSES
    assert in_turn([]) == []


# --- the race


async def test_the_next_address_is_tried_at_once_after_a_refusal() -> None:
    async with service("127.0.0.3") as (port, _):
        hosts, _asked = hosts_with("127.0.0.1", "127.0.0.2", "127.0.0.3")
        told = await connected(hosts, port)
        assert told.endpoint.host == "127.0.0.3"
        told.stream.abort()


class Silent:
    """A port of an address that answers no connection: its queue is full."""

    def __init__(self, host: str, port: int) -> None:
        self.sock = socket.socket()
        self.sock.bind((host, port))
        self.sock.listen(0)
        self.waiting = []
        for _ in range(4):
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex((host, self.sock.getsockname()[1]))
            self.waiting.append(one)

    def close(self) -> None:
        for sock in (self.sock, *self.waiting):
            sock.close()


@hurried
async def test_an_address_that_does_not_answer_has_a_head_start_alone() -> None:
    """OUTBOUND_ATTEMPT_SECONDS (RFC 8305 §5)."""
    async with service("127.0.0.3") as (port, peers):
        silent = Silent("127.0.0.2", port)
        try:
            hosts, _ = hosts_with("127.0.0.2", "127.0.0.3")
            watch = Watch()
            told = await connected(hosts, port)
            assert told.endpoint.host == "127.0.0.3"
            assert 0.2 < watch.seconds < 2
            assert len(peers) <= 1
            told.stream.abort()
        finally:
            silent.close()


@hurried
async def test_a_host_that_does_not_answer_is_given_up() -> None:
    """OUTBOUND_CONNECT_SECONDS, over all of its addresses."""
    silent = Silent("127.0.0.2", 0)
    try:
        port = silent.sock.getsockname()[1]
        hosts, _ = hosts_with("127.0.0.2", "127.0.0.2")
        watch = Watch()
        async with asyncio.timeout(FOR_EVER):
            refusal = await refused(hosts, port)
        assert (refusal.code, refusal.public) == ("host_unreached", "the host does not answer within 10 s")
        assert 9 < watch.seconds < 12
        assert len(hosts) == 0
    finally:
        silent.close()


async def test_a_host_that_refuses_has_its_address_in_the_log_alone(free_port: int) -> None:
    hosts, _ = hosts_with("127.0.0.2", "127.0.0.3")
    refusal = await refused(hosts, free_port)
    assert (refusal.code, refusal.public) == ("host_unreached", "the host cannot be reached from the gateway")
    for address in ("127.0.0.2", "127.0.0.3"):
        assert f"{address}:{free_port}: " in refusal.detail


async def test_a_client_that_leaves_while_the_host_is_asked_leaves_nothing() -> None:
    silent = Silent("127.0.0.2", 0)
    try:
        hosts, _ = hosts_with("127.0.0.2")
        asking = asyncio.ensure_future(connected(hosts, silent.sock.getsockname()[1]))
        await until(lambda: len(asyncio.all_tasks()) > 2)
        assert len(hosts) == 1
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert len(hosts) == 0
        await until(lambda: len(asyncio.all_tasks()) == 1)
    finally:
        silent.close()


async def test_an_identity_has_so_many_connections_at_once() -> None:
    """OUTBOUND_STREAMS_PER_IDENTITY, and its places are free again when they end."""
    async with service() as (port, peers):
        hosts, _ = hosts_with("127.0.0.1")
        told = [await connected(hosts, port) for _ in range(OUTBOUND_STREAMS_PER_IDENTITY)]
        refusal = await refused(hosts, port)
        assert (refusal.code, "which is the limit" in refusal.public) == ("too_many_streams", True)
        another = Told()
        assert await hosts.connect("another", NAMED, to(port), another.join) is None
        await until(lambda: len(peers) == OUTBOUND_STREAMS_PER_IDENTITY + 1)
        for one in (*told, another):
            one.stream.close()
        await until(lambda: not len(hosts))
        (await connected(hosts, port)).stream.abort()


async def test_all_together_have_so_many_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """OUTBOUND_STREAMS."""
    assert limits.OUTBOUND_STREAMS == 1024
    monkeypatch.setattr(limits, "OUTBOUND_STREAMS", 2)
    async with service() as (port, _):
        hosts, _asked = hosts_with("127.0.0.1")
        told = [Told(), Told(), Told()]
        for number, one in enumerate(told[:2]):
            assert await hosts.connect(f"i{number}", NAMED, to(port), one.join) is None
        full = await hosts.connect("i2", NAMED, to(port), told[2].join)
        assert isinstance(full, Refusal)
        assert (full.code, "the gateway has too many connections to hosts" in full.public) == ("too_many_streams", True)
        for one in told[:2]:
            one.stream.abort()
        await until(lambda: not len(hosts))


async def test_of_two_addresses_that_answer_at_once_one_is_closed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "OUTBOUND_ATTEMPT_SECONDS", 0)
    loop = asyncio.get_running_loop()
    both, connect = asyncio.Barrier(2), loop.sock_connect

    async def together(sock: socket.socket, address: tuple[str, int]) -> None:
        await connect(sock, address)
        await both.wait()

    async with service("0.0.0.0") as (port, peers):
        monkeypatch.setattr(loop, "sock_connect", together, raising=False)
        hosts, _ = hosts_with("127.0.0.1", "127.0.0.2")
        told = await connected(hosts, port)
        await until(lambda: sorted(peer.ended for peer in peers) == ["", "eof "])
        assert len(hosts) == 1
        told.stream.abort()


@pytest.mark.parametrize("end", ["it stops", "it is refused", "it fails", "it connects"])
async def test_an_attempt_that_is_too_late_ends_without_a_word(monkeypatch: pytest.MonkeyPatch, end: str) -> None:
    """Another one was quicker, and it is told to stop."""
    monkeypatch.setattr(limits, "OUTBOUND_ATTEMPT_SECONDS", 0)
    loop = asyncio.get_running_loop()
    connect, late, faults = loop.sock_connect, list[socket.socket](), list[dict[str, Any]]()
    loop.set_exception_handler(lambda _, context: faults.append(context))

    async def connect_late(sock: socket.socket, address: tuple[str, int]) -> None:
        if address[0] != "127.0.0.1":
            return await connect(sock, address)
        late.append(sock)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if end == "it stops":
                raise
            if end == "it is refused":
                raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused") from None
            if end == "it fails":
                raise RuntimeError("a fault of the loop") from None

    async with service("127.0.0.2") as (port, _):
        monkeypatch.setattr(loop, "sock_connect", connect_late, raising=False)
        hosts, _asked = hosts_with("127.0.0.1", "127.0.0.2")
        told = await connected(hosts, port)
        assert told.endpoint.host == "127.0.0.2"
        await until(lambda: late[0].fileno() < 0)
        await turns(3)
        assert faults == []
        told.stream.abort()


@hurried
async def test_an_address_that_is_silent_is_waited_for_after_the_others_have_refused(free_port: int) -> None:
    silent = Silent("127.0.0.2", free_port)
    try:
        hosts, _ = hosts_with("127.0.0.2", "127.0.0.3")
        watch = Watch()
        async with asyncio.timeout(FOR_EVER):
            refusal = await refused(hosts, free_port)
        assert refusal.public == "the host does not answer within 10 s"
        assert f"127.0.0.3:{free_port}: " in refusal.detail
        assert watch.seconds > 9
    finally:
        silent.close()


async def test_small_writes_to_a_host_that_reads_are_as_many_as_they_are() -> None:
    async with pair() as (_, told, peer):
        for _ in range(2 * SMALL_WRITES):
            told.stream.write(b"x")
            await turns(2)
        await until(lambda: len(peer.data) == 2 * SMALL_WRITES)
        assert isinstance(told.stream, HostStream)
        assert told.stream._small == 0


async def test_a_lack_of_descriptors_refuses_and_is_over_with_it() -> None:
    class Gate:
        def __init__(self) -> None:
            self.short, self.saw = True, list[int]()

        def seen(self, descriptor: int) -> None:
            self.saw.append(descriptor)

    async with service() as (port, _):
        gate = Gate()
        hosts = Hosts(cast(Any, gate), HostLookups(lambda _: ["127.0.0.1"]))
        assert (await refused(hosts, port)).public == "the gateway has too few descriptors left: try again"
        gate.short = False
        (await connected(hosts, port)).stream.abort()
        assert len(gate.saw) == 1


async def test_a_connection_that_breaks_before_its_transport_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async with service() as (port, _):
        hosts, _asked = hosts_with("127.0.0.1")

        async def fails(*_arguments: object, **_named: object) -> None:
            raise OSError(errno.EBADF, "Bad file descriptor")

        monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", fails, raising=False)
        refusal = await refused(hosts, port)
        assert (refusal.code, "Bad file descriptor" in refusal.detail) == ("host_unreached", True)
        assert len(hosts) == 0


# --- the stream


@asynccontextmanager
async def pair() -> AsyncIterator[tuple[Hosts, Told, Peer]]:
    async with asyncio.timeout(20), service() as (port, peers):
        hosts, _ = hosts_with("127.0.0.1")
        told = await connected(hosts, port)
        await until(lambda: peers)
        yield hosts, told, peers[0]
        told.stream.abort()


async def test_bytes_and_ends_of_file_pass_each_by_itself() -> None:
    async with pair() as (hosts, told, peer):
        told.stream.write(b"question")
        told.stream.write_eof()
        await until(lambda: peer.ended == "eof ")
        assert peer.data == b"question"
        peer.transport.write(b"answer")
        await until(lambda: told.data == b"answer")
        assert told.ends == []
        peer.transport.write_eof()
        await until(lambda: told.ends == ["eof", "lost"])  # both have ended: the socket is closed
        await until(lambda: not len(hosts))


async def test_the_host_ends_first() -> None:
    async with pair() as (hosts, told, peer):
        peer.transport.write(b"hello")
        peer.transport.write_eof()
        await until(lambda: told.ends == ["eof"])
        told.stream.pause_reading()  # there is nothing to read any more: it changes nothing
        told.stream.resume_reading()
        await timers(0.05)
        assert told.ends == ["eof"]
        told.stream.write(b"bye")
        told.stream.write_eof()
        await until(lambda: told.ends == ["eof", "lost"])
        await until(lambda: peer.ended)
        assert (told.data, bytes(peer.data)) == (b"hello", b"bye")
        await until(lambda: not len(hosts))


@pytest.mark.parametrize("when", ["it is read", "it is not read", "it has ended"])
@hurried
async def test_a_reset_of_the_host_is_no_end_in_order(when: str) -> None:
    async with pair() as (hosts, told, peer):
        ends = ["broken"]
        if when == "it is not read":
            told.stream.pause_reading()
        if when == "it has ended":
            peer.transport.write_eof()
            await until(lambda: told.ends)
            ends = ["eof", "broken"]
        reset_at_close(peer.transport.get_extra_info("socket"))
        peer.transport.abort()
        await timers(1.5)
        await until(lambda: told.ends == ends)
        await until(lambda: not len(hosts))


class Watched:
    """A transport that notes what is asked of it, and how often for its socket."""

    def __init__(self) -> None:
        self.looks = 0
        self.asked: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *_: self.asked.append(name)

    def is_closing(self) -> bool:
        return False

    def get_extra_info(self, name: str) -> None:
        assert name == "socket"
        self.looks += 1


@hurried
async def test_a_host_is_checked_for_a_reset_while_nothing_reads_from_it() -> None:
    """LEFT_LOOK_SECONDS: else the loop tells of it."""
    told, transport = Told(), Watched()
    stream = HostStream[HostGrant](told.join, gone=lambda: None).to(grant_host(Endpoint("192.0.2.1", 80)))
    stream.connection_made(cast(Any, transport))
    looks = []
    for read_or_not in (stream.pause_reading, stream.resume_reading, stream.eof_received):
        read_or_not()
        await timers(2.5)
        looks.append(transport.looks)
    assert looks == [2, 2, 4]
    stream.connection_lost(None)
    await timers(2.5)
    assert transport.looks == 4


@hurried
async def test_a_stream_that_has_closed_is_not_cut_later() -> None:
    """OUTBOUND_CLOSE_SECONDS are for a host that does not take the last bytes."""
    told, transport = Told(), Watched()
    stream = HostStream[HostGrant](told.join, gone=lambda: None).to(grant_host(Endpoint("192.0.2.1", 80)))
    stream.connection_made(cast(Any, transport))
    stream.close()
    stream.connection_lost(None)
    await timers(31)
    assert transport.asked[-1] == "close"


async def test_an_abort_is_a_reset_and_a_close_is_none() -> None:
    async with pair() as (_, told, peer):
        told.stream.write(b"half a message")
        told.stream.abort()
        await until(lambda: peer.ended == "broken")
        assert told.ends == []
    async with pair() as (_, told, peer):
        told.stream.write(b"a message")
        told.stream.close()
        await until(lambda: peer.ended == "eof ")
        assert peer.data == b"a message"
        assert told.ends == ["lost"]


def filled(told: Told) -> bytes:
    """What a host was sent that does not read, until its writer was told to pause. The kernel's buffers are full."""
    sent = bytearray()
    while not told.paused and len(sent) < 64 * 2**20:
        piece = os.urandom(32 * 1024)
        told.stream.write(piece)
        sent += piece
    assert told.paused
    return bytes(sent)


async def test_a_host_that_does_not_read_stops_the_writer_and_loses_no_byte() -> None:
    async with pair() as (hosts, told, peer):
        peer.transport.pause_reading()
        sent = filled(told)
        peer.transport.resume_reading()
        await until(lambda: not told.paused)
        told.stream.close()
        await until(lambda: len(peer.data) == len(sent))
        unchanged = peer.data == sent
        assert unchanged
        await until(lambda: not len(hosts))


async def test_small_writes_to_a_host_that_does_not_read_are_few() -> None:
    """SMALL_WRITES: each takes much more memory than its bytes."""
    async with pair() as (_, told, peer):
        peer.transport.pause_reading()
        filled(told)
        peer.transport.resume_reading()
        await until(lambda: not told.paused)
        peer.transport.pause_reading()
        assert isinstance(told.stream, HostStream)
        while not told.stream._transport.get_write_buffer_size():
            told.stream.write(bytes(64 * 1024))
        for _ in range(SMALL_WRITES - 1):
            told.stream.write(b"x")
        assert not told.paused
        told.stream.write(b"x")
        assert told.paused
        peer.transport.resume_reading()
        await until(lambda: not told.paused)


@hurried
async def test_a_host_that_does_not_take_the_last_bytes_is_left() -> None:
    """OUTBOUND_CLOSE_SECONDS."""
    async with service() as (port, peers):
        hosts, _ = hosts_with("127.0.0.1")
        told = await connected(hosts, port)
        await until(lambda: peers)
        peers[0].transport.pause_reading()
        filled(told)
        watch = Watch()
        told.stream.close()
        async with asyncio.timeout(FOR_EVER):
            while len(hosts):
                await timers(1)
        assert 29 < watch.seconds < 33
