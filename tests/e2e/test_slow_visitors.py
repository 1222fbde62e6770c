"""Slow visitors that take every place and return whenever they are closed do not disturb other visitors.

Any address of 127.0.0.0/8 may be where a connection comes from. `python -m bench --only slow` does the same in full, and
measures how long answers take; here it only counts that they come.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from edge.http_rig import gone, service
from gateway_process import Gateway
from resets import reset

PLACES = 60  # of the tunnel
SLOW = 150  # connections
COME_BACK_SECONDS = 3.0  # on average; so that they are to the places what 500 a second are to 900
PACE_SECONDS = 0.02  # between two visits, so that attackers come back meanwhile
SECONDS = 20.0
VISITS = 40
BACK_SECONDS = 10.0  # until all of them are answered where everybody has the same address
MIB = 1024 * 1024
ATTACKERS = ["127.1.0.1", "127.1.1.1"]
HONEST = "127.0.9.9"
EXEMPT = "127.0.0.1"
HEAD = "Host: slow.localhost\r\n"
KINDS = {
    "heads": f"GET / HTTP/1.1\r\n{HEAD}X-0: a",
    "bodies": f"POST /body HTTP/1.1\r\n{HEAD}Content-Length: 100000\r\n\r\nx",
    "ranges": f"GET /large HTTP/1.1\r\n{HEAD}Range: bytes=0-9,20-29\r\n\r\n",
    "reading": f"GET /large HTTP/1.1\r\n{HEAD}\r\n",
    "silent": f"GET /silent HTTP/1.1\r\n{HEAD}\r\n",
}
HOLD_A_CONNECTION = {"heads": KINDS["heads"], "idle": f"GET / HTTP/1.1\r\n{HEAD}\r\n"}
"""Nothing of the tunnel, but a descriptor of the gateway."""
DESCRIPTORS = 240
READ_SLOWLY = {"ranges", "reading"}
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@dataclass
class Service:
    """What the honest slow ones wait for."""

    go: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Requests until the end, each by its path; `/` is answered at once."""
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            path = head.split(b" ")[1]
            if path == b"/silent":
                await reader.read()
                return
            if path == b"/late":
                await self.go.wait()
            elif path == b"/body":
                length = re.search(rb"\r\ncontent-length: (\d+)", head.lower())
                assert length is not None
                await reader.readexactly(int(length[1]))
            elif path == b"/large":
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 8388608\r\n\r\n")
                for _ in range(128):
                    writer.write(bytes(65536))
                    await writer.drain()
                continue
            elif path == b"/socket":
                writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
                while data := await reader.read(65536):
                    writer.write(data)
                return
            writer.write(OK)
            await writer.drain()


@dataclass
class Attack:
    """Connections that come back."""

    port: int
    addresses: list[str]
    kinds: list[str]
    count: int = SLOW
    asked: int = 0
    ended: int = 0
    all_have_asked: asyncio.Event = field(default_factory=asyncio.Event)

    async def _hold(self, number: int) -> None:
        kind = self.kinds[number % len(self.kinds)]
        source = self.addresses[number // len(self.kinds) % len(self.addresses)]
        while True:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await self._once(kind, source)
            self.ended += 1
            await asyncio.sleep(COME_BACK_SECONDS * random.uniform(0.5, 1.5))

    async def _once(self, kind: str, source: str) -> None:
        reader, writer = await connect(self.port, source, limit=1024)
        try:
            writer.write((KINDS | HOLD_A_CONNECTION)[kind].encode())
            self.asked += 1
            if self.asked >= self.count:
                self.all_have_asked.set()
            if kind not in READ_SLOWLY:  # the end, or an answer that ends in it
                await reader.read()
                return
            refused = not (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 200 ")
            while not refused and await reader.read(64):
                await asyncio.sleep(0.5)
        finally:
            if not writer.is_closing():
                reset(writer)  # an end of file could be half a close, and be waited for
            await gone(writer)

    @contextlib.asynccontextmanager
    async def going_on(self) -> AsyncIterator[None]:
        """All have asked, and go on."""
        holding = [asyncio.create_task(self._hold(number)) for number in range(self.count)]
        try:
            async with asyncio.timeout(SECONDS):
                await self.all_have_asked.wait()
            yield
        finally:
            for task in holding:
                task.cancel()
            failed = [error for error in await asyncio.gather(*holding, return_exceptions=True) if error]
        assert {type(error) for error in failed} == {asyncio.CancelledError}, failed


async def connect(port: int, source: str, *, limit: int = 65536) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A visitor from `source`; one with a small `limit` has a small receive buffer too."""
    sock = socket.socket()
    try:
        sock.setblocking(False)
        if limit < 65536:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.bind((source, 0))
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        return await asyncio.open_connection(sock=sock, limit=limit)
    except BaseException:
        sock.close()
        raise


async def visit(port: int, source: str) -> bytes:
    """The status of one request on a connection of its own, or how it failed."""
    async with asyncio.timeout(SECONDS):
        try:
            reader, writer = await connect(port, source)
            try:
                writer.write(f"GET / HTTP/1.1\r\n{HEAD}Connection: close\r\n\r\n".encode())
                return (await reader.readuntil(b"ok"))[9:12]
            finally:
                await gone(writer)
        except asyncio.IncompleteReadError as error:
            return error.partial[9:12] or b"closed"
        except ConnectionError as error:
            return type(error).__name__.encode()


async def visits(port: int, source: str) -> Counter[bytes]:
    """What VISITS requests one after the other were answered."""
    answers: Counter[bytes] = Counter()
    for _ in range(VISITS):
        answers[await visit(port, source)] += 1
        await asyncio.sleep(PACE_SECONDS)  # the rate at which normal visitors come
    return answers


@contextlib.asynccontextmanager
async def attacked(
    start_gateway: Callable[..., Gateway], key: Path, folder: Path, **more: object
) -> AsyncIterator[tuple[Gateway, Service]]:
    """A gateway with one tunnel of few places, at `slow.localhost`."""
    limits: dict[str, object] = {"exempt": [], "visitors_per_tunnel": PLACES}
    gateway = start_gateway(limits=limits | more)
    origin = Service()
    async with service(origin.serve) as target:
        ssh = gateway.ssh(folder, key).start("-R", f"slow:80:127.0.0.1:{target}")
        try:
            await asyncio.to_thread(ssh.line, "^Forwarding HTTP traffic")
            yield gateway, origin
        finally:
            origin.go.set()
            await asyncio.to_thread(ssh.close)


def descriptors(gateway: Gateway) -> int:
    return sum(1 for _ in Path(f"/proc/{gateway.running.process.pid}/fd").iterdir())


@pytest.mark.parametrize("kind", KINDS)
async def test_slow_visitors_do_not_disturb_other_visitors(
    start_gateway: Callable[..., Gateway], key: Path, tmp_path: Path, kind: str
) -> None:
    async with attacked(start_gateway, key, tmp_path) as (gateway, _):
        port = gateway.ports.http
        assert await visits(port, HONEST) == {b"200": VISITS}
        before, memory = descriptors(gateway), gateway.memory()
        async with Attack(port, ATTACKERS, [kind]).going_on():
            assert await visits(port, HONEST) == {b"200": VISITS}
        async with asyncio.timeout(SECONDS):
            while descriptors(gateway) > before or gateway.memory() - memory > 16 * MIB:
                await asyncio.sleep(0.05)


@pytest.mark.parametrize("kind", KINDS)
async def test_behind_the_same_exempt_proxy_others_get_their_answers(
    start_gateway: Callable[..., Gateway], key: Path, tmp_path: Path, kind: str
) -> None:
    async with attacked(start_gateway, key, tmp_path, exempt=["127.0.0.0/8"]) as (gateway, _):
        port = gateway.ports.http
        async with Attack(port, [EXEMPT], [kind]).going_on(), asyncio.timeout(BACK_SECONDS):
            while await visits(port, EXEMPT) != {b"200": VISITS}:
                pass  # who is who shows in the first moments


async def test_honest_slow_visitors_stay_beside_slow_attackers(
    start_gateway: Callable[..., Gateway], key: Path, tmp_path: Path
) -> None:
    async with attacked(start_gateway, key, tmp_path) as (gateway, origin), contextlib.AsyncExitStack() as stack:
        port = gateway.ports.http

        async def begin(
            number: int, sent: str, *, limit: int = 65536
        ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
            reader, writer = await connect(port, f"127.0.9.{10 + number}", limit=limit)
            stack.push_async_callback(gone, writer)
            writer.write(sent.encode())
            return reader, writer

        phone, _ = await begin(0, KINDS["reading"], limit=4096)
        assert await phone.readuntil(b"\r\n\r\n")
        long_poll, _ = await begin(1, f"GET /late HTTP/1.1\r\n{HEAD}\r\n")
        echo, say = await begin(2, f"GET /socket HTTP/1.1\r\n{HEAD}Connection: Upgrade\r\nUpgrade: echo\r\n\r\n")
        assert b" 101 " in await echo.readuntil(b"\r\n\r\n")
        uploaded, upload = await begin(3, f"POST /body HTTP/1.1\r\n{HEAD}Content-Length: 8000\r\n\r\n" + "x" * 4000)
        async with Attack(port, ATTACKERS, list(KINDS)).going_on():
            assert await visits(port, HONEST) == {b"200": VISITS}
            origin.go.set()
            say.write(b"still there")
            upload.write(b"x" * 4000)
            async with asyncio.timeout(SECONDS):
                assert await echo.readexactly(11) == b"still there"
                assert await long_poll.readexactly(len(OK)) == OK
                assert await uploaded.readexactly(len(OK)) == OK
                await phone.readexactly(8 * MIB)


async def test_a_port_has_room_for_a_newcomer_too(
    start_gateway: Callable[..., Gateway], key: Path, tmp_path: Path
) -> None:
    gateway = start_gateway(limits={"exempt": [], "visitors_per_tunnel": PLACES})
    port = next(gateway.loopback_ports)
    async with service(Service().serve) as target:
        ssh = gateway.ssh(tmp_path, key).start("-R", f"{port}:127.0.0.1:{target}")
        try:
            await asyncio.to_thread(ssh.line, "^Forwarding TCP")
            async with Attack(port, ATTACKERS, ["heads"]).going_on():
                assert await visits(port, HONEST) == {b"200": VISITS}
        finally:
            await asyncio.to_thread(ssh.close)


@pytest.mark.parametrize("kind", HOLD_A_CONNECTION)
async def test_a_newcomer_gets_in_while_others_hold_all_descriptors(key: Path, tmp_path: Path, kind: str) -> None:
    with Gateway(tmp_path, {"limits": {"exempt": []}}, descriptors=DESCRIPTORS).serving() as gateway:
        async with service(Service().serve) as target:
            ssh = gateway.ssh(tmp_path, key).start("-R", f"slow:80:127.0.0.1:{target}")
            try:
                await asyncio.to_thread(ssh.line, "^Forwarding HTTP traffic")
                async with Attack(gateway.ports.http, ATTACKERS, [kind], 2 * DESCRIPTORS).going_on():
                    assert await visits(gateway.ports.http, HONEST) == {b"200": VISITS}
            finally:
                await asyncio.to_thread(ssh.close)
