"""The places of a full tunnel, through sockets. `tests/limiters/test_places.py` has the rules."""

from __future__ import annotations

import asyncio

import pytest

from edge.http_rig import GET, OTHER, Rig, running_edge, service, statuses
from ferry import limits
from ferry.edge.http.shared import Bounds
from ferry.limiters.connection_limiter import ConnectionLimiter
from ferry.limiters.sources import ExemptNetworks
from hand_clock import HandClock
from turns import turns, until

TRIAL_SHARE = 8
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
BOUNDS = Bounds(visitors_per_tunnel=8, linger_seconds=0.1, tick_seconds=0.05)
HELD = {
    "silent": b"POST / HTTP/1.1\r\nHost: a.localhost\r\nContent-Length: 9\r\n\r\nx",
    "waiting": GET.replace(b"/ ", b"/never ", 1),
    "unread": GET.replace(b"/ ", b"/much ", 1),
    "stream": b"GET / HTTP/1.1\r\nHost: a.localhost\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n",
}
STATUS = {"silent": [503], "waiting": [503], "unread": [200], "stream": [101]}


@pytest.fixture(autouse=True)
def quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PLACE_LOOK_SECONDS", 0.05)


async def obliging(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers at once, never, or without end, as the path says; or changes the protocol."""
    while head := await reader.readuntil(b"\r\n\r\n"):
        if b"Upgrade" in head:
            writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
            await reader.read()
        elif b"/never" in head:
            await reader.read()
        elif b"POST" in head:
            await reader.readexactly(9)
        elif b"/much" in head:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
            for _ in range(1000):
                writer.write(bytes(100_000))
                await writer.drain()
        writer.write(OK)


async def answer(rig: Rig, source: str) -> int:
    """The status that a newcomer gets."""
    reader, writer = await rig.connect(source)
    writer.write(GET)
    return statuses(await reader.readuntil(b"\r\n\r\n"))[0]


async def until_served(rig: Rig, source: str) -> None:
    """The rules judge a visitor after a moment, no sooner."""
    async with asyncio.timeout(10):
        while await answer(rig, source) != 200:
            await asyncio.sleep(limits.PLACE_LOOK_SECONDS)


@pytest.mark.parametrize("doing", HELD)
async def test_a_newcomer_displaces_one_of_many_stalled_visitors(doing: str) -> None:
    limiter = ConnectionLimiter(100, ExemptNetworks([]))
    async with service(obliging) as port, running_edge(port, bounds=BOUNDS, limiter=limiter) as rig:
        held = []
        for number in range(8):
            held.append(await rig.connect(f"127.0.1.{number % 2 + 1}"))
            held[-1][1].write(HELD[doing])
        async with asyncio.timeout(10):
            await until(lambda: len(rig.tunnel.dialled) >= 8)
            if doing in ("unread", "stream"):
                for reader, _ in held:
                    await reader.readuntil(b"\r\n\r\n")
        await until_served(rig, "127.0.9.9")
        assert await answer(rig, "127.0.9.9") == 200  # and the place is there for the next
        gone = [visit for visit in rig.tunnel.visits if visit.note.endswith("lost its place to another visitor")]
        assert len(gone) == 1
        assert gone[0].peer.host.startswith("127.0.1.")
        (index,) = (
            n for n, (_, writer) in enumerate(held) if writer.get_extra_info("sockname")[1] == gone[0].peer.port
        )
        if doing in ("silent", "waiting"):
            assert statuses(await held[index][0].read()) == STATUS[doing]
        else:
            assert gone[0].status == STATUS[doing][0]
            with pytest.raises(ConnectionResetError):
                await held[index][0].readexactly(100_000_000)


async def test_a_visitor_that_waited_before_places_ran_short_is_displaced_at_once() -> None:
    """The waiting time of a visitor is known without a check."""
    clock = HandClock()
    async with (
        service(obliging) as port,
        running_edge(port, bounds=BOUNDS, clock=clock, limiter=ConnectionLimiter(100, ExemptNetworks([]))) as rig,
        asyncio.timeout(10),
    ):
        for source in (*["127.0.1.1"] * 7, "127.0.9.8"):
            if source == "127.0.9.8":
                clock.ahead += 10 * limits.PLACE_LOOK_SECONDS
            before = len(rig.tunnel.dialled)
            _, writer = await rig.connect(source)
            writer.write(HELD["waiting"])
            while len(rig.tunnel.dialled) == before:
                await turns()
        assert await answer(rig, "127.0.9.9") == 200


async def test_a_newcomer_to_another_tunnel_displaces_no_visitor() -> None:
    """However long he has waited: his place would be of no use to it."""
    clock = HandClock()
    async with (
        service(obliging) as port,
        running_edge(
            port, also=[OTHER], bounds=BOUNDS, clock=clock, limiter=ConnectionLimiter(100, ExemptNetworks([]))
        ) as rig,
        asyncio.timeout(10),
    ):
        for turn in range(4 + 8):
            before = sum(backend.places.in_use for backend in rig.edge.backends.values())
            _, writer = await rig.connect("127.0.1.1" if turn < 11 else "127.0.9.8")
            writer.write(HELD["waiting"].replace(b"a.localhost", OTHER.encode()) if turn < 4 else HELD["waiting"])
            while sum(backend.places.in_use for backend in rig.edge.backends.values()) == before:
                await turns()
            if turn in (3, 10):
                clock.ahead += 10 * limits.PLACE_LOOK_SECONDS
        assert await answer(rig, "127.0.9.9") == 200
        assert rig.edge.backends[OTHER].places.in_use == 4


async def test_a_sending_visitor_stays_and_the_newcomer_is_told_to_come_back() -> None:
    limiter = ConnectionLimiter(100, ExemptNetworks([]))
    async with service(obliging) as port, running_edge(port, bounds=BOUNDS, limiter=limiter) as rig:
        uploads = [await rig.connect(f"127.0.1.{number % 2 + 1}") for number in range(8)]
        for _, writer in uploads:
            writer.write(b"POST /never HTTP/1.1\r\nHost: a.localhost\r\nContent-Length: 10000000\r\n\r\n")
        await until(lambda: len(rig.tunnel.dialled) >= 8)
        for _ in range(20):
            for _, writer in uploads:
                writer.write(bytes(1000))
            assert await answer(rig, "127.0.9.9") == 503
            await asyncio.sleep(limits.PLACE_LOOK_SECONDS / 2)  # between two looks at who moves, which no event tells
        assert not [visit for visit in rig.tunnel.visits if "lost its place" in visit.note]


async def test_quick_requests_are_served_beside_unanswered_ones() -> None:
    """All from one exempt address, as behind a proxy."""
    bounds = Bounds(visitors_per_tunnel=32, linger_seconds=0.1, tick_seconds=0.05)
    async with service(obliging) as port, running_edge(port, bounds=bounds) as rig:
        for _ in range(32):
            _, writer = await rig.connect()
            writer.write(HELD["waiting"])
        await until(lambda: len(rig.tunnel.dialled) >= 32)
        await until_served(rig, "127.0.0.1")
        assert [await answer(rig, "127.0.0.1") for _ in range(50)] == [200] * 50
        assert len([visit for visit in rig.tunnel.visits if "lost its place" in visit.note]) <= 32 // TRIAL_SHARE
