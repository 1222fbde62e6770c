"""A repeated head of a service has the meaning that the request gives it, and an interim one is never final."""

from __future__ import annotations

import asyncio

from edge.http_rig import GET, answering, running_edge, service

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
HINT = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"


async def test_a_remembered_head_of_get_has_no_body_for_head() -> None:
    answers = answering(OK + b"hello", OK, OK + b"hello")
    async with service(answers) as port, running_edge(port) as rig, asyncio.timeout(10):
        reader, writer = await rig.connect()
        writer.write(GET)
        assert await reader.readexactly(len(OK) + 5) == OK + b"hello"
        writer.write(GET.replace(b"GET", b"HEAD", 1))
        assert await reader.readexactly(len(OK)) == OK
        assert len(rig.tunnel.dialled) == 1  # on the same stream
        writer.write(GET)  # not held up by a body that does not come, nor taken for one
        assert await reader.readexactly(len(OK) + 5) == OK + b"hello"


async def test_a_repeated_interim_head_stays_interim() -> None:
    relayed = asyncio.Event()

    async def hinting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for part in (HINT, HINT, OK + b"hello"):
            writer.write(part)
            await relayed.wait()
            relayed.clear()

    async with service(hinting) as port, running_edge(port) as rig, asyncio.timeout(10):
        reader, writer = await rig.connect()
        writer.write(GET)
        for part in (HINT, HINT, OK + b"hello"):
            assert await reader.readexactly(len(part)) == part
            relayed.set()
        await rig.visit()
        (visit,) = rig.tunnel.visits
        assert (visit.status, visit.down) == (200, 5)
