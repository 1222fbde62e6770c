"""A local service that starts a new TLS handshake on its stream (TLS 1.2)."""

from __future__ import annotations

import asyncio
import socket
import ssl
from pathlib import Path
from typing import Any, cast

import pytest

from edge.http.test_secure import make_certificate
from edge.http_rig import running_edge
from ferry.edge.http.pages import ENDS_TLS
from ferry.edge.http.tunnel_tls import TlsStream, client_context
from ferry.streams import OpenFailure
from turns import until

HIGH_WATER_BYTES = 256 * 1024
BEGINNING = b"POST / HTTP/1.1\r\nHost: a.localhost\r\nContent-Length: 1000\r\n\r\nbeginning\n"


async def test_a_service_that_asks_for_a_new_handshake_is_refused(tmp_path: Path) -> None:
    """Openssl's own server takes that for a fault of the client: the stream ends, and the visitor has an answer."""
    await make_certificate(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    server = await asyncio.create_subprocess_exec(
        "openssl", "s_server", "-tls1_2", "-accept", f"127.0.0.1:{port}", "-naccept", "1",
        "-key", str(tmp_path / "key"), "-cert", str(tmp_path / "crt"),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    assert server.stdin is not None
    assert server.stdout is not None
    try:
        async with asyncio.timeout(20), running_edge(port, tls_upstream=True) as rig:
            await server.stdout.readuntil(b"ACCEPT")
            reader, writer = await rig.connect()
            writer.write(BEGINNING)
            await server.stdout.readuntil(b"beginning")
            server.stdin.write(b"R\n")
            assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 502 ")
            await until(lambda: rig.tunnel.visits)
            assert rig.tunnel.visits[0].note.startswith("the local service failed: TLS with the local service broke")
            await rig.tunnel.quiet()
    finally:
        server.kill()
        await server.wait()


class Script:
    """A TLS connection whose calls do what the test says."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.error: ssl.SSLError | None = None
        self.records: list[bytes] = []
        self.shaking = False

    def wrap_bio(self, _incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, **_: object) -> Script:
        self.outgoing = outgoing
        return self

    def do_handshake(self) -> None:
        if self.shaking:
            raise ssl.SSLWantReadError

    def write(self, data: Any) -> int:
        if self.error is not None:
            raise self.error
        self.writes.append(bytes(data[:1000]))
        return min(len(data), 1000)

    def read(self, _most: int) -> bytes:
        if self.records:
            return self.records.pop(0)
        raise ssl.SSLWantReadError

    def unwrap(self) -> None:
        self.writes.append(b"goodbye")
        self.outgoing.write(b"close_notify")


class Ear:
    """The stream's sink, and the inner stream: notes what it is told."""

    def __init__(self) -> None:
        self.heard: list[object] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments: self.heard.append((name, *arguments) if arguments else name)

    def news(self) -> list[object]:
        heard, self.heard = self.heard, []
        return heard


def stage(*, shaking: bool = False) -> tuple[TlsStream, Script, Ear, Ear]:
    tls, sink, inner = Script(), Ear(), Ear()
    tls.shaking = shaking
    stream = TlsStream(cast(Any, tls), cast(Any, sink), "a.localhost", seconds=1000)
    stream.attach(cast(Any, inner))
    assert (sink.news(), inner.news()) == ([] if shaking else ["stream_opened"], [])
    return stream, tls, sink, inner


@pytest.mark.parametrize("error", [ssl.SSLWantReadError(), ssl.SSLZeroReturnError(), ssl.SSLError(1, "broken")])
async def test_a_failed_write_ends_the_stream_once_and_not_its_writer(error: ssl.SSLError) -> None:
    stream, tls, sink, inner = stage()
    error.reason = "NOT_NOW"  # as OpenSSL's own errors have it
    tls.error = error
    stream.write(b"one")
    stream.write(b"two")
    assert (sink.news(), inner.news()) == ([], [])
    await asyncio.sleep(0)  # the next turn of the loop tells
    ((what, said),) = cast(Any, sink.news())
    assert (what, str(said).startswith("TLS with the local service broke")) == ("stream_lost", True)
    assert inner.news() == ["abort"]
    stream.write(b"three")
    stream.stream_lost(None)
    await asyncio.sleep(0)
    assert (sink.news(), inner.news()) == ([], [])


async def test_an_owner_that_aborts_meanwhile_gets_no_call() -> None:
    stream, tls, sink, inner = stage()
    tls.error = ssl.SSLWantReadError()
    stream.write(b"one")
    stream.abort()
    assert inner.news() == ["abort"]
    stream.write_eof()
    stream.data_received(b"late")
    stream.eof_received()
    await asyncio.sleep(0)
    assert (sink.news(), inner.news()) == ([], [])


async def test_an_owner_that_aborts_at_a_record_gets_no_other() -> None:
    stream, tls, sink, _ = stage()
    heard: list[bytes] = []

    def data_received(data: bytes) -> None:
        heard.append(data)
        stream.abort()

    cast(Any, sink).data_received = data_received
    tls.records = [b"one", b"two"]
    stream.data_received(b"two records in a packet")
    assert heard == [b"one"]


async def test_bytes_written_before_the_handshake_are_bounded_and_sent_after_it() -> None:
    stream, tls, sink, _ = stage(shaking=True)
    for _ in range(HIGH_WATER_BYTES // 1000 + 2):
        stream.write(bytes(1000))
    assert sink.news() == ["pause_writing"]
    stream.pause_writing()  # the inner stream is full too, and drains
    stream.resume_writing()
    assert sink.news() == []
    tls.shaking = False
    stream.data_received(b"the service's part")
    assert sink.news() == ["stream_opened", "resume_writing"]
    assert sum(map(len, tls.writes)) == (HIGH_WATER_BYTES // 1000 + 2) * 1000


async def test_a_stream_that_is_still_full_after_the_handshake_stays_paused() -> None:
    stream, tls, sink, _ = stage(shaking=True)
    stream.pause_writing()
    stream.write(bytes(HIGH_WATER_BYTES + 1))
    assert sink.news() == ["pause_writing"]
    tls.shaking = False
    stream.data_received(b"the service's part")
    assert sink.news() == ["stream_opened"]
    stream.resume_writing()
    assert sink.news() == ["resume_writing"]


async def test_an_end_of_file_waits_for_the_handshake_and_nothing_follows_it() -> None:
    stream, tls, _, _ = stage(shaking=True)
    stream.write(b"all")
    stream.write_eof()
    assert tls.writes == []
    tls.shaking = False
    stream.data_received(b"the service's part")
    stream.write(b"late")
    assert tls.writes == [b"all", b"goodbye"]


async def test_a_service_that_closes_in_the_handshake_is_reported() -> None:
    stream, _, sink, inner = stage(shaking=True)
    stream.eof_received()
    ((what, said),) = cast(Any, sink.news())
    assert (what, str(said)) == ("stream_lost", ENDS_TLS)
    assert inner.news() == ["abort"]


async def test_a_tunnel_that_breaks_in_the_handshake_is_no_fault_of_the_service() -> None:
    stream, _, sink, inner = stage(shaking=True)
    broken = ConnectionResetError("the client is gone")
    stream.stream_lost(broken)
    assert (sink.news(), inner.news()) == ([("stream_lost", broken)], [])


async def test_an_owner_that_aborts_after_the_handshake_sends_nothing_more() -> None:
    stream, tls, sink, inner = stage(shaking=True)
    stream.write(b"early")
    stream.write_eof()
    cast(Any, sink).stream_opened = stream.abort
    tls.shaking = False
    stream.data_received(b"the service's part")
    assert inner.news() == ["abort"]
    assert sink.news() == []


async def test_a_close_notify_ends_the_stream_and_nothing_is_read_after_it() -> None:
    stream, tls, sink, _ = stage()
    tls.records = [b"one", b"", b"late"]  # as OpenSSL tells close_notify
    stream.data_received(b"two records in a packet")
    assert sink.news() == [("data_received", b"one"), "eof_received"]


async def test_ends_are_reported_once() -> None:
    stream, _, sink, inner = stage()
    stream.eof_received()
    stream.eof_received()
    assert sink.news() == ["eof_received"]
    stream.stream_lost(None)
    assert sink.news() == [("stream_lost", None)]
    stream.stream_lost(None)
    stream.close()
    stream.eof_received()
    stream.pause_writing()
    stream.resume_writing()
    assert (sink.news(), inner.news()) == ([], [])


async def test_nothing_is_written_to_a_refused_stream() -> None:
    tls, sink = Script(), Ear()
    stream = TlsStream(cast(Any, tls), cast(Any, sink), "a.localhost", seconds=1000)
    stream.stream_refused(OpenFailure.LIMIT)
    inner = Ear()
    stream.attach(cast(Any, inner))
    stream.write(b"late")
    assert (sink.news(), inner.news(), tls.writes) == ([("stream_refused", OpenFailure.LIMIT)], [], [])


def test_new_handshakes_are_refused() -> None:
    assert client_context().options & ssl.OP_NO_RENEGOTIATION
