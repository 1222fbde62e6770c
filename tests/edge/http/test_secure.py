"""TLS on either side: visitors over HTTPS, and services that speak TLS themselves. Certificates by the real openssl."""

from __future__ import annotations

import asyncio
import socket
import ssl
from pathlib import Path

import pytest

from curl_command import curl
from edge.http_rig import CLOSING, GET, answering, running_edge, service
from ferry.edge.http.shared import Bounds
from turns import until

HIGH_WATER_BYTES = 256 * 1024
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture(scope="module")
def contexts(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, Path]:
    """A server's context, and the certificate to trust."""
    folder = tmp_path_factory.mktemp("tls")
    asyncio.run(make_certificate(folder))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "crt", folder / "key")
    return context, folder / "crt"


async def make_certificate(folder: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
        "-subj", "/CN=a.localhost", "-addext", "subjectAltName=DNS:a.localhost,DNS:b.localhost",
        "-keyout", str(folder / "key"), "-out", str(folder / "crt"), stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    assert await process.wait() == 0


async def test_visitors_over_https(contexts: tuple[ssl.SSLContext, Path]) -> None:
    context, trusted = contexts
    names: dict[object, str | None] = {}

    def remember(connection: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> None:
        names[connection] = name

    context.sni_callback = remember
    certificates = {"a.localhost": "one", "b.localhost": "one", "c.localhost": "another"}
    async with (
        service(answering(OK)) as port,
        running_edge(port, tls=context, sni=names.get, certificate_for=certificates.get) as rig,
    ):
        url = f"https://a.localhost:{rig.port}/"
        common = ("-i", "--cacert", str(trusted), *rig.resolve)
        out = await curl(*common, url, url)
        assert out.count("HTTP/1.1 200 OK") == 2
        assert len({visit.peer for visit in rig.tunnel.visits}) == 1
        # another name of the same certificate, then one of another certificate
        assert (await curl(*common, url, "-H", "Host: b.localhost")).startswith("HTTP/1.1 404 ")
        out = await curl(*common, url, "-H", "Host: c.localhost")
        assert out.startswith("HTTP/1.1 421 ")
        assert "Connection: close" in out
        # no SNI: nothing to disagree with
        by_number = ("-k", "-i", f"https://127.0.0.1:{rig.port}/", "-H", "Host: a.localhost")
        assert (await curl(*by_number)).startswith("HTTP/1.1 200 ")


async def test_an_answer_until_the_close_ends_at_once_over_tls(contexts: tuple[ssl.SSLContext, Path]) -> None:
    """TLS has no way to close one direction and go on reading for a moment."""
    context, trusted = contexts
    context.sni_callback = None
    to_the_end = answering(b"HTTP/1.1 200 OK\r\n\r\nto the end", close=True)
    bounds = Bounds(linger_seconds=60)
    async with service(to_the_end) as port, running_edge(port, tls=context, bounds=bounds) as rig, asyncio.timeout(10):
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", rig.port, ssl=ssl.create_default_context(cafile=str(trusted)), server_hostname="a.localhost"
        )
        rig.writers.append(writer)
        writer.write(GET)
        assert (await reader.read()).endswith(b"\r\n\r\nto the end")


async def test_websocket_end_over_tls_is_an_end(contexts: tuple[ssl.SSLContext, Path]) -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
        writer.write(await reader.readexactly(5))

    context, trusted = contexts
    context.sni_callback = None
    async with service(handle) as port, running_edge(port, tls=context) as rig:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", rig.port, ssl=ssl.create_default_context(cafile=str(trusted)), server_hostname="a.localhost"
        )
        rig.writers.append(writer)
        writer.write(GET.replace(b"\r\n\r\n", b"\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nhello"))
        async with asyncio.timeout(10):
            assert (await reader.read()).endswith(b"\r\n\r\nhello")
        await rig.tunnel.quiet()


@pytest.mark.parametrize("upgrade", [False, True], ids=["a request", "an upgrade"])
async def test_an_end_over_tls_during_a_request_ends_it_and_logs_no_error(
    contexts: tuple[ssl.SSLContext, Path], upgrade: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """TLS cannot end one half. An event loop warns each time that somebody tries to keep the other."""
    asked = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if upgrade:
            writer.write(b"HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
        asked.set()
        await reader.read()

    context, trusted = contexts
    context.sni_callback = None
    async with service(silent) as port, running_edge(port, tls=context) as rig, asyncio.timeout(10):
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", rig.port, ssl=ssl.create_default_context(cafile=str(trusted)), server_hostname="a.localhost"
        )
        writer.write(GET.replace(b"\r\n\r\n", b"\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n") if upgrade else GET)
        await (reader.readuntil(b"\r\n\r\n") if upgrade else asked.wait())
        writer.close()
        await rig.visit()
        await rig.tunnel.quiet()
        await until(lambda: not rig.edge.connections)
    assert not caplog.records


async def test_a_service_that_speaks_tls_is_relayed(contexts: tuple[ssl.SSLContext, Path]) -> None:
    body = bytes(range(256)) * 8192  # 2 MiB
    names: list[str | None] = []
    context, _ = contexts
    context.sni_callback = lambda _connection, name, _context: names.append(name)

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            size = int(head.split(b"Content-Length: ")[1].split(b"\r\n")[0])
            got = await reader.readexactly(size)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (size, got))

    async with service(handle, ssl=context) as port, running_edge(port, tls_upstream=True) as rig:
        reader, writer = await rig.connect()
        for _ in range(2):
            writer.write(b"POST / HTTP/1.1\r\nHost: a.localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            await reader.readuntil(b"\r\n\r\n")
            assert await reader.readexactly(len(body)) == body
        assert len(rig.tunnel.dialled) == 1
        assert names == ["a.localhost"]
        assert rig.edge.idle_streams == 1


async def test_a_body_may_end_with_a_tls_close(contexts: tuple[ssl.SSLContext, Path]) -> None:
    context, _ = contexts
    context.sni_callback = None
    handler = answering(b"HTTP/1.1 200 OK\r\n\r\nto the end", close=True)
    async with service(handler, ssl=context) as port, running_edge(port, tls_upstream=True) as rig:
        assert (await rig.talk(CLOSING)).endswith(b"to the end")
        await rig.tunnel.quiet()


async def test_a_service_without_tls_gets_its_visitor_502() -> None:
    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with service(plain) as port, running_edge(port, tls_upstream=True) as rig:
        answer = await rig.talk(GET, eof=True)
        assert answer.startswith(b"HTTP/1.1 502 ")
        assert "does not speak TLS" in rig.tunnel.visits[0].note
        await rig.tunnel.quiet()
    async with running_edge(port, tls_upstream=True) as rig:
        assert b"The local service cannot be reached." in await rig.talk(GET, eof=True)


POST = b"POST / HTTP/1.1\r\nHost: a.localhost\r\nContent-Length: %d\r\n\r\n"


async def test_a_service_that_never_answers_the_handshake_is_cut() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()  # to the end, which is ours

    bounds = Bounds(local_tls_seconds=0.2, linger_seconds=0.1, tick_seconds=0.05)
    async with service(silent) as port, running_edge(port, tls_upstream=True, bounds=bounds) as rig:
        answer = await rig.talk(GET, eof=True)
        assert answer.startswith(b"HTTP/1.1 502 ")
        assert rig.tunnel.visits[0].note == "the local service failed: no TLS handshake within 0.2 s"
        await rig.tunnel.quiet()


async def test_a_body_waits_for_the_handshake_within_bounds(contexts: tuple[ssl.SSLContext, Path]) -> None:
    body = bytes(range(256)) * 2**17  # 32 MiB
    context, _ = contexts
    context.sni_callback = None

    async def upload(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        assert await reader.readexactly(len(body)) == body
        writer.write(OK)
        await reader.read()

    with socket.create_server(("127.0.0.1", 0)) as listener:  # connections stand, and nobody serves them yet
        async with running_edge(listener.getsockname()[1], tls_upstream=True) as rig:
            reader, writer = await rig.connect()
            writer.write((POST % len(body)) + body)
            sending = asyncio.ensure_future(writer.drain())
            async with asyncio.timeout(20):
                await until(lambda: any(visitor.read_paused for visitor in rig.edge.connections))
                assert HIGH_WATER_BYTES < rig.tunnel.traffic.up < 4 * HIGH_WATER_BYTES
                async with service(upload, ssl=context, sock=listener.dup()):
                    assert await reader.readexactly(len(OK)) == OK
                    await sending
