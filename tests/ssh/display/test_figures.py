"""The figures of a session."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from ferry.kinds.port import TCP
from ferry.kinds.web import HTTP
from ferry.names import Address, Endpoint, TunnelId
from ferry.ssh.display.figures import CountedTunnel, Figures, Totals
from ferry.visits import Traffic, Visit

TIMES_REMEMBERED = 500
BLOG, PORT = HTTP.address("blog.localhost"), TCP.address(30001)


def tunnel(name: str = "t", address: Address = BLOG, *, up: int = 0, down: int = 0, visits: int = 0) -> CountedTunnel:
    return cast(CountedTunnel, SimpleNamespace(id=TunnelId(name), address=address, traffic=Traffic(up, down, visits)))


def visited(figures: Figures, status: int, seconds: float = 0.01, *, lasted: bool = False) -> None:
    visit = Visit(TunnelId("t"), str(BLOG), "http", Endpoint("192.0.2.7", 1), "GET", "/", status, seconds, 0, 0)
    figures.visited(BLOG, visit, lasted=lasted)


def test_counts_of_a_tunnel_that_has_closed_stay() -> None:
    figures = Figures()
    one, two = tunnel("one", up=1, down=2, visits=3), tunnel("two", up=10, down=20, visits=30)
    figures.update([one, two])
    assert figures.totals == Totals({"request": 33}, 11, 22)
    two.traffic.visits += 1
    for up in ([one], [one], []):
        figures.update(up)
        assert figures.totals == Totals({"request": 34}, 11, 22)


@pytest.mark.parametrize(
    ("addresses", "counts"),
    [((BLOG,), "0 requests"), ((PORT,), "0 connections"), ((PORT, BLOG), "0 requests   0 connections")],
)
def test_visits_are_called_by_the_kinds_of_their_tunnels(addresses: tuple[Address, ...], counts: str) -> None:
    """Those of a web address and of a port together were `visits`, which were `requests` and `connections` elsewhere."""
    figures = Figures()
    for up in ([tunnel(str(address), address) for address in addresses], []):
        figures.update(up)
        assert figures.live(0, None, 79) == f"0 visitors now   {counts}   0 B"


def test_what_was_visited_stays_counted_and_what_was_not_is_forgotten() -> None:
    figures = Figures()
    web, port, other = tunnel("w", visits=2), tunnel("p", PORT, visits=1), tunnel("o", TCP.address(30002))
    for up in ([web, port, other], [web, port], [web]):
        figures.update(up)
        assert figures.lines(0) == ["2 requests, 1 connection, 0 B in, 0 B out, 0 visitors now"]
    figures = Figures()
    figures.update([web, other])
    assert figures.counted({"request": 5}) == "5 requests, 0 connections"
    figures.update([web])
    assert figures.counted({"request": 5}) == "5 requests"


def test_the_live_line() -> None:
    figures = Figures()
    figures.update([tunnel(up=200_000, down=1_000_000, visits=1)])
    assert figures.live(1, None, 79) == "1 visitor now   1 request   1.2 MB"
    visited(figures, 200, 0.013)
    assert figures.live(2, None, 79) == "2 visitors now   1 request   1.2 MB   p50 13ms"
    assert figures.live(2, {}, 79) == "paused: 0 requests not shown   2 visitors now   1 request   1.2 MB   p50 13ms"
    assert figures.live(2, {"request": 1}, 57) == "paused: 1 request not shown   2 visitors now   1 request"
    assert figures.live(2, {"request": 1}, 3) == "paused: 1 request not shown"


@pytest.mark.parametrize(
    ("times", "wanted"),
    [([], (None, None, None)), ([7], (7, 7, 7)), ([2, 1], (1, 2, 2)), (range(1, 101), (50, 90, 99))],
)
def test_percentiles_are_times_that_were_measured(times: list[float], wanted: tuple[float | None, ...]) -> None:
    figures = Figures()
    for seconds in times:
        visited(figures, 200, seconds)
    assert tuple(figures.within(percent) for percent in (50, 90, 99)) == wanted


def test_only_the_last_times_count_and_none_of_visits_that_lasted_or_left() -> None:
    figures = Figures()
    for seconds in (9, *[1] * TIMES_REMEMBERED):
        visited(figures, 200, seconds)
    visited(figures, 101, 3600, lasted=True)
    visited(figures, 0, 30)
    assert figures.within(100) == 1


def test_a_connection_has_no_time_and_no_status() -> None:
    figures = Figures()
    visit = Visit(TunnelId("t"), "port 30001", "tcp", Endpoint("192.0.2.7", 1), "", "port 30001", 0, 3600, 1, 2)
    figures.visited(PORT, visit, lasted=False)
    figures.update([tunnel("p", PORT, up=1, down=2, visits=1)])
    assert figures.lines(1) == ["1 connection, 1 B in, 2 B out, 1 visitor now"]


def test_the_statistics() -> None:
    figures = Figures()
    for status, seconds in ((200, 0.01), (204, 0.02), (404, 0.03), (502, 4.0), (0, 1.0)):
        visited(figures, status, seconds)
    figures.update([tunnel(up=13, down=4200, visits=1234)])
    assert figures.lines(0) == [
        "1,234 requests, 13 B in, 4.2 kB out, 0 visitors now",
        "answers: left 1, 2xx 2, 4xx 1, 5xx 1",
        "times: p50 20ms, p90 4.0s, p99 4.0s (the last 4 requests)",
    ]
