"""A visit through a channel that a client has opened: its reports, and the hint about an alias without a target."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from asyncssh.constants import OPEN_CONNECT_FAILED, OPEN_RESOURCE_SHORTAGE
from asyncssh.misc import ChannelOpenError

from ferry.names import Address, Endpoint, Kind, TunnelId
from ferry.ssh.splice import NoLongerAllowed, ReachReports, TunnelSplice
from ferry.streams import OpenFailure, Sink, Stream
from ferry.visits import Traffic, Visit
from hand_clock import StandingClock
from trace_end import End

LAPTOP, PORT = Address(Kind.ALIAS, "laptop", 22), Address(Kind.TCP, "", 30042)
RESET = ConnectionResetError("reset")


class _Channel(End):
    def accept(self, _sink: object) -> None:
        self._say("accept")

    def reject(self, error: ChannelOpenError) -> None:
        self._say(f"reject {error.code} {error.reason}")


class Visiting:
    """One visit to a tunnel at `address`, and who hears of it."""

    def __init__(self, address: Address = LAPTOP, before: Traffic | None = None) -> None:
        self.traffic = before or Traffic()
        self.calls: list[str] = []
        self.reports: list[tuple[str, dict[str, object]]] = []
        self.told: list[str] = []
        self.refused: list[str] = []
        self.visits: list[Visit] = []
        self.clock = StandingClock()
        tunnel = SimpleNamespace(
            address=address, traffic=self.traffic, id=TunnelId("t"), shown_address=str(address), kind=address.kind.value,
            tell=lambda line, **_: self.told.append(line), visited=self.visits.append,
        )  # fmt: skip
        self.visit = TunnelSplice(
            cast(Any, tunnel), "laptop", Endpoint("192.0.2.7", 4711), self.clock,
            refused=self.refused.append, reports=ReachReports(self._report),
        )  # fmt: skip
        self.visit.join(cast(Any, _Channel(self.calls, "<")), self._dial)

    def _dial(self, _sink: Sink) -> Stream:
        return cast(Stream, End(self.calls, ">"))

    def _report(self, event: str, /, **fields: object) -> None:
        self.reports.append((event, fields))

    def reported(self) -> list[tuple[str, object]]:
        """The events, each with its reason."""
        return [(event, fields.get("reason")) for event, fields in self.reports]


def test_a_visit_that_began_is_reported_at_both_ends() -> None:
    one = Visiting()
    one.visit.stream_opened()
    assert one.reports == [("reach.opened", {})]
    one.visit.near_data(b"up")
    one.visit.data_received(b"down.")
    one.clock.seconds += 2.0
    one.visit.near_lost(None)
    assert one.reports[1:] == [("reach.closed", {"seconds": 2.0, "up": 2, "down": 5, "reason": ""})]
    assert [(each.up, each.down, each.seconds, each.note) for each in one.visits] == [(2, 5, 2.0, "")]
    assert one.traffic == Traffic(up=2, down=5, visits=1)


@pytest.mark.parametrize(
    ("failure", "code", "why"),
    [
        (OpenFailure.REFUSED, OPEN_CONNECT_FAILED, "laptop's local service cannot be reached"),
        (OpenFailure.GONE, OPEN_CONNECT_FAILED, "laptop has just closed"),
        (OpenFailure.LIMIT, OPEN_RESOURCE_SHORTAGE, "laptop has too many connections"),
        (OpenFailure.TIMEOUT, OPEN_CONNECT_FAILED, "the machine behind laptop does not answer"),
    ],
)
def test_a_visit_that_never_began_is_reported_as_failed(failure: OpenFailure, code: int, why: str) -> None:
    one = Visiting()
    one.visit.stream_refused(failure)
    assert (one.reported(), one.refused) == ([("reach.failed", why)], [why])
    assert one.calls[0] == f"< reject {code} {why}"
    assert [each.note for each in one.visits] == [why]


def test_a_visitor_that_leaves_before_the_answer_is_no_failure_of_the_tunnel() -> None:
    one = Visiting()
    one.visit.near_left()
    why = "the visitor left before laptop answered"
    assert (one.reported(), one.refused) == ([("reach.failed", why)], [])


@pytest.mark.parametrize(
    ("error", "why"), [(None, ""), (RESET, ""), (NoLongerAllowed(), "the rules no longer allow it")], ids=str
)
def test_what_a_visit_is_closed_for_by_its_near_end(error: Exception | None, why: str) -> None:
    one = Visiting()
    one.visit.stream_opened()
    one.visit.near_lost(error)
    assert one.reported() == [("reach.opened", None), ("reach.closed", why)]


def test_a_change_of_the_rules_is_not_the_end_of_a_visit_whose_stream_has_gone_before() -> None:
    one = Visiting()
    one.visit.stream_opened()
    one.visit.data_received(b"x")
    one.visit.stream_lost(None)
    one.visit.near_lost(NoLongerAllowed())
    assert one.reported() == [("reach.opened", None), ("reach.closed", "")]


@pytest.mark.parametrize(
    ("address", "before", "events", "hint"),
    [
        (LAPTOP, Traffic(), [], True),
        (LAPTOP, Traffic(up=3), ["up"], True),
        (PORT, Traffic(), [], False),
        (LAPTOP, Traffic(down=1), [], False),
        (LAPTOP, Traffic(visits=1), [], False),
        (LAPTOP, Traffic(), ["down"], False),
        (LAPTOP, Traffic(), ["eof"], False),
        (LAPTOP, Traffic(), ["broken"], False),
    ],
)
def test_the_owner_of_an_alias_without_a_target_gets_a_hint_at_the_first_visit(
    address: Address, before: Traffic, events: list[str], *, hint: bool
) -> None:
    """Stock ssh opens a stream to nowhere, and closes it without a byte."""
    one = Visiting(address, before)
    one.visit.stream_opened()
    actions = {"up": lambda: one.visit.near_data(b"x"), "down": lambda: one.visit.data_received(b"x")}
    for event in events:
        actions.get(event, one.visit.near_eof if event == "eof" else lambda: None)()
    one.visit.stream_lost(RESET if events == ["broken"] else None)
    assert bool(one.told) is hint
    assert all("names no local service, write -R laptop:22:localhost:22" in line for line in one.told)
    assert [each.note for each in one.visits] == (["broken"] if events == ["broken"] else [""])
