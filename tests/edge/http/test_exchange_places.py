"""A visitor's standing in its place, and the loss of the place. As a play."""

from __future__ import annotations

import pytest

from edge.http_play import Said, perform, played
from edge.http_rig import CLOSING, GET
from ferry import limits
from ferry.edge.http import pages
from ferry.limiters.shortage import Standing
from hand_clock import HandClock

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
HALF = OK[:-1]
POST = b"POST / HTTP/1.1\r\nHost: a.localhost\r\nContent-Length: 5\r\n\r\n"
EXPECTING = POST.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n")
UPGRADE = GET.replace(b"\r\n\r\n", b"\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
SWITCHING = b"HTTP/1.1 101 Go\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
DOING: dict[str, tuple[Said, Standing, int | None]] = {
    "nothing yet": ([], Standing.SILENT, None),
    "half a head": ([GET[:9]], Standing.SILENT, None),
    "waiting": ([GET], Standing.WAITING, 0),
    "waiting, half-closed": ([GET, "end"], Standing.GONE, 0),
    "sending": ([POST + b"hel"], Standing.SILENT, 3),
    "waiting for its service to read": ([POST + b"hel", "full"], Standing.WAITING, 0),
    "waiting to be told to send": ([EXPECTING], Standing.WAITING, 0),
    "told to send": ([EXPECTING, "HTTP/1.1 100 Continue\r\n\r\n"], Standing.SILENT, 0),
    "sending without being told": ([EXPECTING + b"h"], Standing.SILENT, 1),
    "having sent": ([POST + b"hello"], Standing.WAITING, 0),
    "reading": ([POST + b"hello", HALF.decode()], Standing.STREAM, 6),
    "sending after the answer began": ([POST + b"hel", HALF.decode()], Standing.STREAM, 4),
    "half-closed and answered": ([GET, "end", HALF.decode()], Standing.STREAM, 1),
    "not reading": ([GET, "stuck", HALF.decode()], Standing.UNREAD, 1 - len(HALF)),
    "upgraded": ([UPGRADE, SWITCHING.decode() + "abc", b"de"], Standing.STREAM, 5),
    "idle": ([GET, OK.decode()], Standing.SILENT, None),
    "reading its last answer": ([CLOSING, "stuck", OK.decode()], Standing.UNREAD, 2 - len(OK) - 19),
    "having read its last answer": ([CLOSING, OK.decode()], Standing.GONE, 0),
    "left without having read": ([GET, "stuck", HALF.decode(), "lost"], Standing.GONE, 0),
    "left": ([GET, OK.decode(), "lost"], Standing.GONE, 0),
}


@pytest.mark.parametrize("doing", DOING)
async def test_the_standing_and_the_moved_bytes_in_each_phase(doing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    said, standing, moved = DOING[doing]
    async with played(monkeypatch) as (_, visitor, transport, streams):
        perform(said, visitor, transport, streams)
        found = visitor.standing()
        assert found == (standing, found[1] if moved is None else moved)


async def test_more_of_a_head_or_another_request_counts_as_moving(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = HandClock()
    async with played(monkeypatch, clock=clock) as (_, visitor, _, streams):
        _, before = visitor.standing()
        visitor.data_received(GET[:9])
        assert visitor.standing() == (Standing.SILENT, before + 9)
        clock.ahead += limits.PLACE_LOOK_SECONDS
        visitor.data_received(GET[9:])
        streams[0].sink.data_received(OK)
        assert visitor.standing()[1] - before > limits.PLACE_MOVES_RATE * 2 * limits.PLACE_LOOK_SECONDS


@pytest.mark.parametrize(
    ("said", "known"),
    [
        ([], False),
        ([GET, OK.decode()], False),
        ([GET], True),
        ([POST], True),
        ([GET, HALF.decode()], False),
        ([GET, "stuck", HALF.decode()], True),
    ],
    ids=["new", "idle", "waiting", "sending", "reading", "not reading"],
)
async def test_the_start_of_a_stall_is_known_without_a_check(
    said: Said, known: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of who waits for an answer since it has asked, of who does not read since a tick has seen that."""
    clock = HandClock()
    async with played(monkeypatch, clock=clock) as (_, visitor, transport, streams):
        asked = clock.monotonic()
        perform(said, visitor, transport, streams)
        clock.ahead += 100
        visitor.check_pace(asked + 1)
        looked = visitor.last_check()
        assert (looked is not None) is known
        if looked is not None:
            assert asked <= looked[0] <= asked + 1
            assert looked[1] == (0 if "stuck" not in said else 1 - len(HALF))


@pytest.mark.parametrize(
    ("said", "ends", "notes"),
    [
        ([], ["close"], []),
        ([GET[:9]], ["close"], []),
        ([GET, OK.decode()], ["close"], [""]),
        ([GET, "stuck", OK.decode()], ["abort"], [""]),
        ([GET], ["abort"], [pages.DISCONNECTED]),
        ([GET, HALF.decode()], ["abort"], [pages.DISCONNECTED]),
        ([UPGRADE, SWITCHING.decode()], ["abort"], [pages.DISCONNECTED]),
        ([CLOSING, "stuck", OK.decode()], ["close", "abort"], [""]),
    ],
    ids=[
        "new",
        "half a head",
        "idle",
        "idle, not reading",
        "waiting",
        "reading",
        "upgraded",
        "reading its last answer",
    ],
)
async def test_a_displaced_visitor_keeps_no_descriptor(
    said: Said, ends: list[str], notes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In good order where nothing waits for it, which would keep the descriptor until that is read."""
    async with played(monkeypatch) as (rig, visitor, transport, streams):
        perform(said, visitor, transport, streams)
        visitor.disconnect()
        assert transport.ends == ends
        assert [visit.note for visit in rig.tunnel.visits] == notes
        assert [stream.aborted for stream in streams] == [bool(note) for note in notes]
