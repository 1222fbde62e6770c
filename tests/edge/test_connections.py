"""The distribution of short descriptors. As a play of visitors that come, stay and leave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import cast

import pytest

from ferry import limits
from ferry.edge.connections import Connections
from ferry.edge.descriptors import DescriptorGate
from ferry.limiters.shortage import Standing
from ferry.limiters.sources import ExemptNetworks
from ferry.report import no_report
from hand_clock import HandClock

MOST = 1000
SHORT = 860
LONG = 10 * max(limits.PLACE_PATIENCE_SECONDS)


@dataclass(eq=False)
class Visitor:
    play: Play
    host: str
    since: float
    asked: int = 0
    disconnected: int = 0

    def standing(self) -> tuple[Standing, int]:
        self.asked += 1
        return Standing.SILENT, 0

    def last_check(self) -> tuple[float, int] | None:
        return self.since, 0

    def displace(self) -> None:
        raise AssertionError("of a tunnel, not of the gateway")

    def disconnect(self) -> None:
        self.disconnected += 1
        self.play.leave(self)  # as a transport's end does, once more


@dataclass(eq=False)
class Play:
    gate: DescriptorGate | None
    clock: HandClock = field(default_factory=HandClock)
    there: dict[Visitor, None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.connections = Connections(self.gate, ExemptNetworks([]), self.clock)
        self.connections.add(self.group)

    def group(self) -> list[Visitor]:
        return list(self.there)

    def come(self, host: str) -> Visitor | None:
        visitor = Visitor(self, host, self.clock.monotonic())
        if not self.connections.admit(visitor, cast(asyncio.Transport, NoSocket())):
            return None
        self.there[visitor] = None
        return visitor

    def crowd(self, host: str, count: int = 5) -> list[Visitor]:
        came = [self.come(host) for _ in range(count)]
        return [visitor for visitor in came if visitor is not None]

    def leave(self, visitor: Visitor) -> None:
        self.there.pop(visitor, None)
        self.connections.left(visitor)

    def become_short(self) -> None:
        assert self.gate is not None
        self.gate.seen(SHORT)

    @property
    def excess(self) -> int:
        assert self.gate is not None
        return self.gate.excess


class NoSocket:
    """The descriptor of a transport, which is not used."""

    def get_extra_info(self, _name: str) -> None:
        return None


@pytest.fixture
async def play() -> AsyncIterator[Play]:
    with closing(DescriptorGate(report=no_report, most=MOST, count=lambda: SHORT)) as gate:
        yield Play(gate)


def test_without_a_gate_all_visitors_stay() -> None:
    play = Play(None)
    held = play.crowd("192.0.2.1")
    assert [visitor.asked for visitor in held] == [0] * 5
    for visitor in held:
        play.leave(visitor)


async def test_with_enough_descriptors_no_visitor_is_checked(play: Play) -> None:
    held = play.crowd("192.0.2.1")
    play.leave(held[0])
    assert [visitor.asked for visitor in held] == [0] * 5
    assert play.excess == 0


async def test_a_newcomer_displaces_a_stalled_visitor_of_the_largest_source(play: Play) -> None:
    held = play.crowd("192.0.2.1")
    play.clock.ahead += limits.PLACE_LOOK_SECONDS
    play.become_short()
    before = play.excess
    newcomer = play.come("192.0.2.9")
    assert newcomer is not None
    assert [visitor.disconnected for visitor in held] == [1, 0, 0, 0, 0]
    assert play.excess == before  # one has gone for the one who came, and its end counts once
    play.leave(newcomer)
    assert play.excess == before - 1
    play.leave(newcomer)
    assert play.excess == before - 1


async def test_a_source_with_its_share_is_refused_and_one_with_less_is_not(play: Play) -> None:
    play.crowd("192.0.2.1")
    play.become_short()
    before = play.excess
    assert play.come("192.0.2.1") is None
    assert play.excess == before
    assert play.come("192.0.2.9") is not None
    assert play.excess == before + 1
    assert not any(visitor.disconnected for visitor in play.there)


async def test_without_an_excess_no_visitor_is_displaced(play: Play) -> None:
    held = play.crowd("192.0.2.1")
    play.clock.ahead += LONG
    play.become_short()
    assert play.gate is not None
    for _ in range(play.excess + 1):
        play.gate.freed()
    assert play.come("192.0.2.9") is not None
    assert play.come("192.0.2.1") is not None
    assert not any(visitor.disconnected for visitor in held)
    assert play.excess == 1
    assert play.come("192.0.2.9") is not None
    assert [visitor.disconnected for visitor in held].count(1) == 1


async def test_a_shortage_that_is_over_leaves_nothing_for_the_next(play: Play) -> None:
    play.become_short()
    old = play.crowd("192.0.2.1", 3)
    assert play.gate is not None
    play.gate.short = False
    between = play.crowd("192.0.2.2", 6)
    for visitor in old:
        play.leave(visitor)
    play.clock.ahead += LONG
    play.become_short()
    before = play.excess
    assert play.come("192.0.2.9") is not None
    assert [visitor.disconnected for visitor in between] == [1, 0, 0, 0, 0, 0]
    assert not any(visitor.disconnected for visitor in old)
    assert play.excess == before


async def test_visitors_of_a_closed_edge_are_not_checked(play: Play) -> None:
    held = play.crowd("192.0.2.1")
    play.connections.discard(play.group)
    play.connections.discard(play.group)
    play.clock.ahead += LONG
    play.become_short()
    assert play.come("192.0.2.9") is not None
    assert not any(visitor.disconnected or visitor.asked for visitor in held)


@pytest.mark.parametrize("holds", [1, 30])
async def test_while_accepting_has_stopped_stalled_visitors_of_large_sources_go(play: Play, holds: int) -> None:
    """Nobody comes who could have their places: they would keep the gateway shut for as long as they like."""
    quiet = play.crowd("192.0.2.9", 1)
    held = [visitor for number in range(30 // holds) for visitor in play.crowd(f"192.0.3.{number}", holds)]
    play.clock.ahead += 2 * limits.PLACE_LOOK_SECONDS
    play.connections.make_room(10)
    assert sum(visitor.disconnected for visitor in held) == (0 if holds == 1 else 10)
    play.clock.ahead += LONG
    play.connections.make_room(100)
    assert sum(visitor.disconnected for visitor in held) == (0 if holds == 1 else holds - 1)
    assert not quiet[0].disconnected


async def test_while_accepting_has_stopped_and_nobody_is_there_nothing_happens(play: Play) -> None:
    """The descriptors may be those of clients and of files."""
    play.become_short()
    before = play.excess
    play.connections.make_room(10)
    assert play.excess == before


async def test_a_visitor_that_cannot_be_disconnected_keeps_neither_a_newcomer_out_nor_others_in(
    play: Play, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    held = play.crowd("192.0.2.1", 9)
    tried: list[bool] = []

    def fails() -> None:
        tried.append(True)
        raise ZeroDivisionError

    for visitor in held[:3]:
        monkeypatch.setattr(visitor, "disconnect", fails)
    play.clock.ahead += limits.PLACE_LOOK_SECONDS
    play.become_short()
    assert play.come("192.0.2.9") is not None
    assert [len(tried), sum(visitor.disconnected for visitor in held)] == [1, 0]
    play.clock.ahead += LONG
    play.connections.make_room(4)
    assert [len(tried), sum(visitor.disconnected for visitor in held)] == [3, 2]
    assert len(caplog.records) == 3
