"""Tunnels whose service calls the gateway again: a circle ends with 508, a chain goes on, other proxies' fields pass."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator

import pytest

from edge.http_rig import GET, Handler, Rig, answering, running_edge, service, statuses
from edge.tcp_tunnel import TcpTunnel
from ferry.edge.http.shared import Bounds
from granted import to_listen
from turns import until

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
MARK = rb"ferry-[0-9a-f]{12}-[0-9a-f]{12}"


def loop_fields(head: bytes) -> list[bytes]:
    return re.findall(rb"(?im)^cdn-loop: (.*)\r$", head)


class Proxy:
    """A service that asks the gateway's own port for `host`, and passes on what it is told to."""

    def __init__(self, host: bytes) -> None:
        self.host = host
        self.port = 0
        self.heads: list[bytes] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.heads.append(head)
        back, ahead = await asyncio.open_connection("127.0.0.1", self.port)
        loop = b"".join(b"CDN-Loop: %b\r\n" % value for value in loop_fields(head))
        ahead.write(b"GET / HTTP/1.1\r\nHost: %b\r\nConnection: close\r\n%b\r\n" % (self.host, loop))
        writer.write(await back.read())
        ahead.close()


@contextlib.asynccontextmanager
async def tunnels(**handlers: Handler) -> AsyncIterator[Rig]:
    """A tunnel for each name below localhost, with its service."""
    async with contextlib.AsyncExitStack() as stack:
        bounds = Bounds(linger_seconds=0.1, tick_seconds=0.05, visitors_per_tunnel=20)
        rig = await stack.enter_async_context(running_edge(1, bounds=bounds))
        for name, handler in handlers.items():
            if isinstance(handler, Proxy):
                handler.port = rig.port
            port = await stack.enter_async_context(service(handler))
            tunnel = TcpTunnel(f"{name}.localhost", ("127.0.0.1", port))
            rig.routes.add(tunnel, to_listen(tunnel))
            stack.push_async_callback(tunnel.quiet)
            stack.callback(tunnel.close)
        yield rig


async def ask(rig: Rig, name: bytes, fields: bytes = b"") -> bytes:
    return await rig.talk(b"GET / HTTP/1.1\r\nHost: %b.localhost\r\nConnection: close\r\n%b\r\n" % (name, fields))


async def test_a_tunnel_that_leads_to_itself_is_asked_once() -> None:
    proxy = Proxy(b"a.localhost")
    async with tunnels(a=proxy) as rig:
        answer = await ask(rig, b"a")
        assert statuses(answer) == [508]
        assert b"leads back to this gateway" in answer
        assert len(proxy.heads) == 1


async def test_two_tunnels_that_lead_to_each_other_are_asked_once_each() -> None:
    there, back = Proxy(b"b.localhost"), Proxy(b"a.localhost")
    async with tunnels(a=there, b=back) as rig:
        assert statuses(await ask(rig, b"a")) == [508]
        assert (len(there.heads), len(back.heads)) == (1, 1)


async def test_a_service_may_call_another_tunnel() -> None:
    async with tunnels(a=Proxy(b"b.localhost"), b=Proxy(b"c.localhost"), c=answering(OK)) as rig:
        for _ in range(2):
            assert statuses(await ask(rig, b"a")) == [200]


async def test_a_chain_of_eight_tunnels_works_and_of_nine_does_not() -> None:
    chain = {f"n{n}": Proxy(b"n%d.localhost" % (n + 1)) for n in range(9)}
    async with tunnels(**chain, n9=answering(OK)) as rig:
        assert statuses(await ask(rig, b"n2")) == [200]  # n2 to n9
        assert statuses(await ask(rig, b"n1")) == [508]
        assert loop_fields(chain["n8"].heads[-1])[0].count(b"ferry-") == 8


@pytest.mark.parametrize("old", [False, True], ids=["HTTP/1.1", "HTTP/1.0"])
async def test_members_of_other_proxies_pass_unchanged_before_ours(old: bool) -> None:
    heads = []

    async def seen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            heads.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(SWITCHING if b"Upgrade" in heads[-1] else OK)

    async with service(seen) as port, running_edge(port) as rig:
        version = (lambda head: head.replace(b"1.1", b"1.0")) if old else bytes
        theirs = GET.replace(
            b"\r\n\r\n", b'\r\nCDN-Loop: a.example; x="y, z"\r\ncdn-loop:  B;c\r\nCDN_Loop: no\r\n\r\n'
        )
        for request in (GET, theirs, theirs, GET, theirs.replace(b"\r\n\r\n", b"\r\nConnection: CDN-Loop\r\n\r\n")):
            await rig.talk(version(request), eof=True)
        (own,) = loop_fields(heads[0])
        assert re.fullmatch(MARK, own)
        assert [loop_fields(head) for head in heads[1:]] == [
            *[[b'a.example; x="y, z", B;c, ' + own]] * 2,
            [own],
            [b'a.example; x="y, z", B;c, ' + own],
        ]
        assert not any(b"CDN_Loop" in head for head in heads)
        heads.clear()
        _, writer = await rig.connect()
        for request in (GET, GET, theirs, theirs, GET):  # the same heads again, on one connection
            writer.write(request)
        writer.write(GET.replace(b"\r\n\r\n", b"\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"))
        await until(lambda: len(heads) >= 6)
        assert [len(loop_fields(head)[0].split(b", ")) for head in heads] == [1, 1, 4, 4, 1, 1]
        assert all(loop_fields(head)[0].endswith(own) for head in heads)


async def test_a_visitor_with_a_forged_field_is_refused_alone_and_the_owner_is_told() -> None:
    heads = []

    async def seen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            heads.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(OK)

    async with service(seen) as port, running_edge(port) as rig:
        await rig.talk(GET, eof=True)
        again = GET.replace(b"\r\n\r\n", b"\r\nCDN-Loop: %b\r\n\r\n" % loop_fields(heads[0])[0])
        assert statuses(await rig.talk(again + again + GET, eof=True)) == [508, 508, 200]
        assert [visit.status for visit in rig.tunnel.visits] == [200, 508, 508, 200]
        assert "leads back to this gateway" in rig.tunnel.visits[1].note
        assert len(heads) == 2
