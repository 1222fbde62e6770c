"""The fields of the edge's own answers, and answers as early as possible."""

from __future__ import annotations

import asyncio
import email.utils
import re

import pytest

from edge.http_rig import GET, OWN, running_edge
from ferry.clock import SystemClock
from ferry.edge.http.dates import Dates
from ferry.edge.http.shared import Bounds
from ferry.streams import OpenFailure

PATIENT = Bounds(linger_seconds=0.1, tick_seconds=0.05)  # no answer here may wait for a deadline
DATE = re.compile(rb"\r\nDate: ([^\r]*)\r\n")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (GET.replace(b"a.", b""), 200),
        (OWN, 404),
        (GET.replace(b"a.", b"nobody."), 404),
        (GET.replace(b"a.", b"reserved."), 503),
        (GET, 502),
        (b"junk\r\n\r\n", 400),
    ],
)
async def test_our_answers_have_a_date(request_: bytes, status: int) -> None:
    async with running_edge(1, bounds=PATIENT) as rig:
        rig.tunnel.refuse = OpenFailure.REFUSED
        answer = await rig.talk(request_, eof=True)
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    (date,) = DATE.findall(answer)
    assert abs(email.utils.parsedate_to_datetime(date.decode()).timestamp() - SystemClock().now()) < 60


def test_a_date_has_the_http_format_and_changes_each_second() -> None:
    class Clock(SystemClock):
        seconds = 784111777.0

        def now(self) -> float:
            return self.seconds

    clock = Clock()
    dates = Dates(clock)
    assert dates.field() == "Date: Sun, 06 Nov 1994 08:49:37 GMT"
    clock.seconds += 0.9
    assert dates.field() is dates.field()
    clock.seconds += 0.1
    assert dates.field() == "Date: Sun, 06 Nov 1994 08:49:38 GMT"
    clock.seconds -= 3600  # somebody sets the clock
    assert dates.field() == "Date: Sun, 06 Nov 1994 07:49:38 GMT"


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"GET /\r\n", 400),  # HTTP/0.9, whose sender waits for an answer
        (b"\r\nGET /\r\n", 400),
        (b"EHLO a.localhost\r\n", 400),
        (b"TRACE / HTTP/1.1\r\n", 405),
        (b"BREW / HTTP/1.1\r\n", 501),
        (b"GET / HTTP/3.0\r\nHost: a.localhost\r\n", 505),
    ],
)
@pytest.mark.parametrize("dribble", [False, True], ids=["at once", "octet by octet"])
async def test_an_invalid_first_line_is_answered_without_the_rest(line: bytes, status: int, dribble: bool) -> None:
    async with running_edge(1, bounds=PATIENT) as rig, asyncio.timeout(8):  # a head has ten seconds
        answer = await rig.talk(line, dribble=dribble)
    assert answer.startswith(b"HTTP/1.1 %d " % status)


async def test_a_valid_first_line_is_waited_for() -> None:
    async with running_edge(1, bounds=PATIENT) as rig:
        rig.tunnel.refuse = OpenFailure.REFUSED
        assert (await rig.talk(GET, dribble=True, eof=True)).startswith(b"HTTP/1.1 502 ")
