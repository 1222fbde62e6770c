"""One port, three protocols, real sockets, both event loops."""

from __future__ import annotations

import asyncio
import resource
import socket
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from ferry import limits
from ferry.clock import SystemClock
from ferry.edge.listeners import bind_all
from ferry.edge.shared_port import SharedPort
from ferry.edge.tls.certificates import Certificates
from ferry.edge.tls.context import sni_of
from ferry.edge.tls.local_ca import LocalCa
from ferry.names import Endpoint
from ferry.report import no_report
from turns import turns, until

BOTH_LOOPS = True


class Says(asyncio.Protocol):
    """Answers the first bytes with a word and what it got, and closes."""

    def __init__(self, word: bytes) -> None:
        self._word = word

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        sni = sni_of(self._transport.get_extra_info("ssl_object")) or "-"
        self._transport.write(self._word + b" " + sni.encode() + b" " + data)  # type: ignore[attr-defined]  # BaseTransport: uvloop has its own classes
        self._transport.close()


class Port:
    """A shared port, and what became of its connections."""

    def __init__(self, state: Path) -> None:
        self.ssh: asyncio.Queue[socket.socket] = asyncio.Queue()
        self.events: list[tuple[str, dict[str, object]]] = []
        self.certificates = Certificates(
            domain="localhost",
            local=LocalCa.open(state, "localhost", clock=SystemClock()),
            allowed=lambda host: host in ("localhost", "a.localhost"),
            report=self.report,
            clock=SystemClock(),
        )
        self.client = ssl.create_default_context(cafile=str(state / "ca" / "ca.crt"))
        self.sockets = bind_all([Endpoint("127.0.0.1", 0)], report=no_report)
        self.address = self.sockets[0].getsockname()
        self._shared: SharedPort | None = None

    def report(self, event: str, /, **fields: object) -> None:
        self.events.append((event, fields))

    @property
    def shared(self) -> SharedPort:
        assert self._shared is not None
        return self._shared

    def start(
        self,
        *,
        ssh: bool = True,
        silence: float = 0.2,
        identify: float = 0.5,
        handshake: float = 0.5,
        bound: int = 100,
    ) -> None:
        self._shared = SharedPort(
            self.sockets,
            ssh=self.ssh.put_nowait if ssh else None,
            tls_protocol=lambda: Says(b"tls"),
            redirect=lambda: Says(b"redirect"),
            context=self.certificates.context,
            report=self.report,
            silence=silence,
            identify=identify,
            handshake=handshake,
            unidentified=bound,
        )
        self._shared.start()

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(*self.address)

    async def next_ssh(self) -> socket.socket:
        return await asyncio.wait_for(self.ssh.get(), 5)

    async def settled(self) -> None:
        await until(lambda: not len(self.shared))

    def close(self) -> None:
        """On its loop: uvloop waits without end for a socket that it still watches."""
        if self._shared is not None:
            self._shared.close()
        for sock in self.sockets:
            sock.close()


@pytest.fixture
async def port(tmp_path: Path) -> AsyncIterator[Port]:
    made = Port(tmp_path)
    yield made
    made.close()


async def test_tls_with_the_requested_name(port: Port) -> None:
    port.start()
    reader, writer = await asyncio.open_connection(*port.address, ssl=port.client, server_hostname="A.localhost")
    writer.write(b"hello")
    assert await reader.read() == b"tls a.localhost hello"
    writer.close()
    await port.settled()
    port.shared.close()


async def test_plain_http_is_redirected(port: Port) -> None:
    port.start()
    reader, writer = await port.connect()
    writer.write(b"GET / HTTP/1.1\r\n\r\n")
    assert await reader.read() == b"redirect - GET / HTTP/1.1\r\n\r\n"
    writer.close()
    port.shared.close()


async def test_ssh_gets_a_socket_from_which_nothing_was_read(port: Port) -> None:
    port.start(silence=5)
    _, writer = await port.connect()
    writer.write(b"SSH-2.0-x\r\n")
    sock = await port.next_ssh()
    assert not sock.getblocking()
    assert sock.recv(100) == b"SSH-2.0-x\r\n"
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT) == 1
    sock.close()
    writer.close()
    assert len(port.shared) == 0
    port.shared.close()


async def test_silence_is_an_ssh_client_that_waits(port: Port) -> None:
    port.start()
    _, writer = await port.connect()
    began = time.monotonic()
    sock = await port.next_ssh()
    assert time.monotonic() - began > 0.15
    sock.close()
    writer.close()
    port.shared.close()


async def test_bytes_one_at_a_time_cost_no_busy_loop(port: Port) -> None:
    port.start(silence=0.1, identify=5)
    _, writer = await port.connect()
    writer.write(b"S")
    await asyncio.sleep(0.05)
    used = time.process_time()
    await asyncio.sleep(0.5)  # past the silence: a client that has begun is no silent one
    assert time.process_time() - used < 0.25
    assert port.ssh.empty()
    for byte in b"SH-2.0":
        writer.write(bytes([byte]))
        await asyncio.sleep(0.005)
    sock = await port.next_ssh()
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT) == 1
    sock.setblocking(True)
    assert sock.recv(4) == b"SSH-"
    sock.close()
    writer.close()
    port.shared.close()


@pytest.mark.parametrize("first", [b"\x00\x00\x00", b"hello there", b"\x16\x02"])
async def test_anything_else_is_closed(port: Port, first: bytes) -> None:
    port.start()
    reader, writer = await port.connect()
    writer.write(first)
    async with asyncio.timeout(10):
        with pytest.raises(ConnectionResetError):  # unread bytes: the kernel resets
            await reader.read()
    writer.close()
    assert port.events[0][0] == "edge.refused"
    assert port.events[0][1]["reason"] == "neither SSH, TLS nor HTTP"
    port.shared.close()


@pytest.mark.parametrize(("ssh", "first"), [(True, b"G"), (False, b"")])
async def test_a_client_without_enough_first_bytes_in_time_is_closed(port: Port, ssh: bool, first: bytes) -> None:
    port.start(ssh=ssh)
    reader, writer = await port.connect()
    writer.write(first)
    try:
        assert await asyncio.wait_for(reader.read(), 5) == b""
    except ConnectionResetError:
        assert first
    writer.close()
    assert port.events[0][1]["reason"] == "first bytes took too long"
    assert len(port.shared) == 0
    port.shared.close()


async def test_ssh_where_it_is_not_served_is_closed(port: Port) -> None:
    port.start(ssh=False)
    reader, writer = await port.connect()
    writer.write(b"SSH-2.0-x\r\n")
    async with asyncio.timeout(10):
        with pytest.raises(ConnectionResetError):
            await reader.read()
    writer.close()
    port.shared.close()


@pytest.mark.parametrize("first", [b"", b"SS"])
async def test_a_client_that_leaves_before_its_protocol_is_known_leaves_nothing(port: Port, first: bytes) -> None:
    port.start(silence=5, identify=5)
    _, writer = await port.connect()
    writer.write(first)
    await asyncio.sleep(0.02)
    writer.close()
    await port.settled()
    assert port.ssh.empty()
    port.shared.close()


async def test_a_name_that_is_not_served_ends_the_handshake(port: Port) -> None:
    port.start()
    with pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"):
        await asyncio.open_connection(*port.address, ssl=port.client, server_hostname="other.localhost")
    await port.settled()
    [(event, fields)] = port.events
    assert (event, fields["sni"], fields["reason"]) == (
        "tls.failed",
        "other.localhost",
        "no tunnel or reservation has this name",
    )
    assert str(fields["peer"]).startswith("127.0.0.1:")
    port.shared.close()


async def test_a_client_with_old_tls_only_gets_an_alert(port: Port) -> None:
    port.start()
    process = await asyncio.create_subprocess_exec(
        *("openssl", "s_client", "-tls1_1", "-cipher", "ALL:@SECLEVEL=0", "-connect", f"127.0.0.1:{port.address[1]}"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert b"alert protocol version" in output
    await port.settled()
    assert port.events[0][1]["reason"] == "unsupported protocol"
    port.shared.close()


@pytest.mark.parametrize("rest", [b"", b"\x01\x00\x04\x02\x00\x00\x00"])
async def test_a_handshake_that_stalls_or_is_nonsense_ends(port: Port, rest: bytes) -> None:
    port.start()
    reader, writer = await port.connect()
    writer.write(b"\x16\x03" + rest)
    while await asyncio.wait_for(reader.read(100), 5):
        pass  # an alert, or nothing
    writer.close()
    await port.settled()
    assert port.events[0][0] == "tls.failed"
    assert str(port.events[0][1]["peer"]).startswith("127.0.0.1:")
    port.shared.close()


async def test_at_the_bound_the_oldest_closes(port: Port) -> None:
    port.start(silence=5, identify=5, bound=2)
    first, second, third = [await port.connect() for _ in range(3)]
    assert await asyncio.wait_for(first[0].read(), 5) == b""
    await asyncio.sleep(0.02)
    assert len(port.shared) == 2
    third[1].write(b"SSH-2.0-x\r\n")
    (await port.next_ssh()).close()
    port.shared.close()
    assert await asyncio.wait_for(second[0].read(), 5) == b""
    for _, writer in (first, second, third):
        writer.close()


@pytest.mark.parametrize("first", [b"\x16\x03\x01", b"\x16\x03\x01\x02\x00\x01\x00"])
async def test_an_unfinished_handshake_closes_at_the_bound_too(
    port: Port, first: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """At once, however long it has; and whose socket a transport has is closed by that alone."""
    stalled = socket.create_connection(port.address)
    stalled.sendall(first)
    stalled.setblocking(False)
    port.start(silence=60, identify=60, handshake=60, bound=1)
    await turns(10)
    assert len(port.shared) == 1
    _, writer = await port.connect()
    async with asyncio.timeout(10):
        with stalled, suppress(ConnectionResetError):
            assert await asyncio.get_running_loop().sock_recv(stalled, 100) == b""
    assert [fields["reason"] for _, fields in port.events] == ["too many connections without first bytes"]
    assert len(port.shared) == 1
    writer.close()
    await port.settled()
    port.shared.close()
    assert [record.getMessage() for record in caplog.records] == []


async def test_a_newcomer_after_a_closed_handshake_is_served(port: Port) -> None:
    """Its descriptor has the same number as soon as that is free: no transport may still have it."""
    stalled = socket.create_connection(port.address)
    stalled.sendall(b"\x16\x03\x01")
    port.start(silence=60, identify=60, handshake=60, bound=1)
    await turns(10)
    second, third = (socket.create_connection(port.address) for _ in range(2))
    third.sendall(b"SSH-2.0-x\r\n")
    with stalled, second, third, await port.next_ssh() as sock:
        assert sock.recv(100) == b"SSH-2.0-x\r\n"
    port.shared.close()


async def test_as_shipped_the_number_of_unidentified_connections(port: Port) -> None:
    """UNIDENTIFIED."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 6_000)), hard))
    port.start(silence=60, identify=60, bound=limits.UNIDENTIFIED)
    silent: list[socket.socket] = []
    try:
        async with asyncio.timeout(10):
            for least in (*range(100, 2_001, 100), 2_048):
                silent += [socket.create_connection(port.address) for _ in range(least - len(silent))]
                while len(port.shared) < least:
                    await turns()
            silent += [socket.create_connection(port.address) for _ in range(2)]
            refused: list[dict[str, object]] = []
            while len(refused) < 2 and len(port.shared) < 2_050:
                await turns()
                refused = [fields for event, fields in port.events if event == "edge.refused"]
        assert len(port.shared) == 2_048
        assert [fields["reason"] for fields in refused] == ["too many connections without first bytes"] * 2
        assert [one.recv(1) for one in silent[:2]] == [b"", b""]
    finally:
        port.shared.close()
        for one in silent:
            one.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_the_close_ends_handshakes_and_keeps_connections_handed_on(port: Port) -> None:
    port.start(silence=5, identify=5)
    _, ssh_writer = await port.connect()
    ssh_writer.write(b"SSH-")
    handed_on = await port.next_ssh()
    reader, writer = await port.connect()
    writer.write(b"\x16\x03\x01")
    await asyncio.sleep(0.05)
    port.shared.close()
    with suppress(ConnectionResetError):
        assert await asyncio.wait_for(reader.read(), 5) == b""
    assert handed_on.send(b"still here") == 10
    handed_on.close()
    for each in (writer, ssh_writer):
        each.close()
    await port.settled()
