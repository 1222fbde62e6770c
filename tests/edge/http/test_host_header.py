"""The Host that a tunnel's owner wants its local service to get."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest

from edge.http.test_secure import make_certificate
from edge.http_rig import GET, HOST, OTHER, running_edge, service
from edge.tcp_tunnel import TcpTunnel
from ferry.edge.http.shared import Bounds
from granted import to_listen

SECONDS = 10


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers each head with that head."""
    while True:
        head = await reader.readuntil(b"\r\n\r\n")
        fields = b"Location: http://app:3000/\r\nSet-Cookie: a=b; Domain=app\r\n"
        writer.write(b"HTTP/1.1 200 OK\r\n%bContent-Length: %d\r\n\r\n%b" % (fields, len(head), head))


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes = GET) -> bytes:
    """The answer on a kept connection: its head, and the head that the service got."""
    writer.write(request)
    async with asyncio.timeout(SECONDS):
        return await reader.readuntil(b"\r\n\r\n") + await reader.readuntil(b"\r\n\r\n")


@pytest.mark.parametrize("request_", [GET, GET.replace(b"GET", b"POST"), GET[:-2] + b"X: y\r\n\r\n"])
async def test_the_service_gets_it_and_the_forwarding_fields_stay(request_: bytes) -> None:
    async with service(echo) as port, running_edge(port) as rig:
        rig.tunnel.host_header = b"app:3000"
        connection = await rig.connect()
        for _ in range(2):  # the second head is a remembered one
            answer = await ask(*connection, request_)
            assert answer.count(b"\r\nHost: ") == 1
            assert b"\r\nHost: app:3000\r\n" in answer
            assert b"\r\nX-Forwarded-Host: a.localhost\r\n" in answer
            assert b"host=a.localhost" in answer


async def test_the_answer_is_left_alone() -> None:
    async with service(echo) as port, running_edge(port) as rig:
        rig.tunnel.host_header = b"app:3000"
        answer = await ask(*await rig.connect())
        assert b"\r\nLocation: http://app:3000/\r\n" in answer
        assert b"\r\nSet-Cookie: a=b; Domain=app\r\n" in answer


async def test_it_is_for_its_own_tunnel_alone() -> None:
    async with service(echo) as port, running_edge(port, also=[OTHER]) as rig:
        rig.tunnel.host_header = b"app:3000"
        connection = await rig.connect()
        assert b"\r\nHost: app:3000\r\n" in await ask(*connection)
        assert b"\r\nHost: b.localhost\r\n" in await ask(*connection, GET.replace(b"a.local", b"b.local"))


@pytest.mark.parametrize(("before", "after"), [(b"", b"app"), (b"app", b""), (b"app", b"other")])
async def test_a_tunnel_that_takes_over_has_its_own(before: bytes, after: bytes) -> None:
    """On a visitor's kept connection too, whose last head is remembered."""
    async with service(echo) as port, running_edge(port, bounds=Bounds(tick_seconds=60)) as rig:  # heads stay known
        rig.tunnel.host_header = before
        connection = await rig.connect()
        assert b"\r\nHost: %b\r\n" % (before or HOST.encode()) in await ask(*connection)
        newer = TcpTunnel(HOST, ("127.0.0.1", port))
        newer.host_header = after
        rig.routes.add(newer, to_listen(newer))
        assert b"\r\nHost: %b\r\n" % (after or HOST.encode()) in await ask(*connection)
        rig.routes.remove(newer)
        newer.close()
        await newer.quiet()


async def test_tls_to_the_service_names_it(tmp_path: Path) -> None:
    await make_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "crt", tmp_path / "key")
    names: list[str | None] = []
    context.sni_callback = lambda _connection, name, _context: names.append(name)
    async with service(echo, ssl=context) as port, running_edge(port, tls_upstream=True) as rig:
        rig.tunnel.host_header = b"app.test:3000"
        assert b"\r\nHost: app.test:3000\r\n" in await ask(*await rig.connect())
    assert names == ["app.test"]
