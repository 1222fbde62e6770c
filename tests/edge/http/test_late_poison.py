"""A stream that waits in a pool has one more way to hurt: its service may send what nobody asked for when the next
request has just gone out on it. RFC 9112 has no defence (responses are told apart by their order alone), so what is
promised is how far it goes: it is the same service's answer, under the same name."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from edge.http_rig import GET, OTHER, answering, running_edge, service
from edge.tcp_tunnel import TcpTunnel
from ferry.edge.http.shared import Bounds
from granted import to_listen

CLEAN = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nclean"
POISON = CLEAN.replace(b"clean", b"poiso")
NAMES = (b"a.localhost", OTHER.encode())


async def test_a_late_answer_stays_within_its_name() -> None:
    async def poisoner(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """The second request of a stream gets two answers, the later one when the third request is there."""
        await reader.readuntil(b"\r\n\r\n")
        writer.write(CLEAN)
        while True:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(POISON)

    async with AsyncExitStack() as stack:
        honest = await stack.enter_async_context(service(answering(CLEAN)))
        hostile = await stack.enter_async_context(service(poisoner))
        bounds = Bounds(pool_idle_seconds=60, linger_seconds=0.1, tick_seconds=0.05)
        rig = await stack.enter_async_context(running_edge(hostile, bounds=bounds))
        other = TcpTunnel(OTHER, ("127.0.0.1", honest))
        rig.routes.add(other, to_listen(other))
        stack.push_async_callback(other.quiet)
        stack.callback(other.close)
        # one visitor who goes from name to name on its connection, and one who comes for each
        reader, writer = await rig.connect()
        got: dict[bytes, set[bytes]] = {name: set() for name in NAMES}
        for _ in range(5):
            for name in NAMES:
                request = GET.replace(b"a.localhost", name)
                writer.write(request)
                got[name].add((await reader.readexactly(len(CLEAN)))[-5:])
                answer = await rig.talk(request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
                got[name].add(answer[-5:])
        assert got == {NAMES[0]: {b"clean", b"poiso"}, NAMES[1]: {b"clean"}}
        assert len(rig.tunnel.dialled) == len(other.dialled) == 1  # pooled, each for its own name
