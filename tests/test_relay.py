"""The relay's decisions, as traces: events in, calls out. Its near side here is a channel, which closes by itself, is
told of its end in good order or with an error, and knows no buffer's size. With a socket: edge/test_bridge.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferry.relay import Relay, RelayPhase, WritePause
from ferry.streams import OpenFailure
from ferry.visits import Traffic
from trace_end import End, TwoEnds, refused

LOST = ConnectionResetError("reset")


class Joined(Relay[End]):
    """A relay that says when it has ended."""

    def __init__(self, calls: list[str], traffic: Traffic) -> None:
        super().__init__(traffic=traffic)
        self._calls = calls

    def ended(self) -> None:
        self._calls.append("end")


class Trace(TwoEnds[Joined]):
    """Of a relay whose near side is a channel."""

    def __init__(self, *, tap: bool = False) -> None:
        calls: list[str] = []
        self.traffic = Traffic()
        super().__init__(Joined(calls, self.traffic), calls, tap=tap)

    def near(self) -> End:
        return End(self.calls, "<")

    def actions(self) -> dict[str, Callable[[], Any]]:
        relay = self.relay
        return {
            "n:data": lambda: relay.near_data(b"up"),
            "n:eof": relay.near_eof,
            "n:lost": lambda: relay.near_lost(None),
            "n:error": lambda: relay.near_lost(LOST),
            "n:full": relay.near_full,
            "n:drained": relay.near_drained,
            "s:opened": relay.stream_opened,
            "s:refused": lambda: relay.stream_refused(OpenFailure.REFUSED),
            "s:data": lambda: relay.data_received(b"down"),
            "s:eof": relay.eof_received,
            "s:lost": lambda: relay.stream_lost(None),
            "s:error": lambda: relay.stream_lost(LOST),
            "s:full": relay.pause_writing,
            "s:drained": relay.resume_writing,
        }


@pytest.mark.parametrize(
    ("events", "calls"),
    [
        # a conversation that near ends first, then the tunnel: each side says by itself that it closes
        ("n:data s:opened s:data n:eof s:eof n:lost", "> up, < down, > eof, < eof, > close, end"),
        # … and the other way round
        ("s:eof n:data n:eof s:lost", "< eof, > up, > eof, < close, end"),
        # after its end-of-file the other direction goes on
        ("n:eof s:data", "> eof, < down"),
        ("s:eof n:data", "< eof, > up"),
        # back-pressure
        ("n:full n:drained", "> pause, > resume"),
        ("n:full n:full n:drained", "> pause, > resume"),
        ("s:full s:drained", "< pause, < resume"),
        # near goes: in good order, which needs no end-of-file before; broken, whatever was before; while the stream opens
        ("n:data n:lost", "> up, > close, end"),
        ("n:data n:error", "> up, > abort, end"),
        ("n:eof s:eof n:error", "> eof, < eof, > abort, end"),
        # the stream goes: refused, broken, in good order
        ("n:data s:refused", "> up, < abort, end"),
        ("s:data s:error", "< down, < abort, end"),
        ("s:eof s:error", "< eof, < abort, end"),
        ("s:data s:lost", "< down, < close, end"),
        # whatever comes after the end is ignored
        ("s:error n:data n:eof s:data s:eof s:lost n:full n:drained s:full s:drained n:lost", "< abort, end"),
        ("s:lost n:data n:eof n:full n:drained n:lost n:error", "< close, end"),
        ("n:lost s:opened s:data s:eof s:full s:drained s:lost s:error", "> close, end"),
        ("n:error s:refused s:data s:lost", "> abort, end"),
        ("s:refused n:lost n:error s:lost s:error s:data", "< abort, end"),
    ],
)
def test_orders_of_events(events: str, calls: str) -> None:
    assert Trace().join().play(*events.split()) == calls


def test_bytes_are_counted_and_tapped_while_they_pass() -> None:
    trace = Trace(tap=True).join()
    assert trace.play("n:data", "n:data", "s:data") == "tap up up, > up, tap up up, > up, tap down down, < down"
    assert (trace.relay.up, trace.relay.down) == (4, 4)
    assert trace.traffic == Traffic(up=4, down=4, visits=0)
    assert trace.play("s:error", "n:data", "s:data") == "< abort, tap ended reset, end"
    assert (trace.relay.up, trace.relay.down, trace.relay.error) == (4, 4, LOST)
    assert trace.traffic == Traffic(up=4, down=4, visits=0)


@pytest.mark.parametrize(("last", "told"), [("n:lost", None), ("n:error", LOST), ("s:lost", None), ("s:error", LOST)])
def test_the_first_end_gives_the_reason(last: str, told: Exception | None) -> None:
    trace = Trace(tap=True).join()
    assert trace.play(last, "n:lost", "n:error").endswith(f"tap ended {told}, end")
    assert trace.relay.error is told
    assert trace.relay.phase is RelayPhase.ENDED


def test_refused_before_dial_returns() -> None:
    trace = Trace()

    trace.relay.join(End(trace.calls, "<"), refused(trace.calls))
    assert trace.calls == ["< abort", "end"]
    assert trace.relay.failure is OpenFailure.LIMIT
    assert trace.relay.error is None


def test_the_reasons_for_not_reading_the_stream_are_kept_while_they_hold() -> None:
    trace = Trace().join()
    assert trace.relay.write_paused == 0
    trace.play("n:full")
    assert trace.relay.write_paused == WritePause.BUFFER_FULL
    trace.play("n:drained")
    assert trace.relay.write_paused == 0


def test_nothing_happens_before_both_ends_are_attached() -> None:
    trace = Trace()
    assert trace.relay.phase is RelayPhase.NEW
    assert trace.play("n:data", "n:eof", "n:full", "n:drained", "n:lost") == "end"
    assert (trace.relay.up, trace.traffic.up) == (0, 0)


EVENTS = st.lists(st.sampled_from(list(Trace().actions())))


@given(EVENTS, st.sampled_from(["n:lost", "n:error", "s:lost", "s:error"]))
def test_no_order_breaks_an_end(events: list[str], last: str) -> None:
    """Whatever happens in whatever order: one end, one side closed and once, nothing asked of either after that."""
    calls = []
    trace = Trace().join()
    # What a stream or a channel never does is left out: data after its own EOF, a second EOF.
    over: set[str] = set()
    for event in [*events, last]:
        side = event[0]
        if side in over and event in ("n:data", "n:eof", "s:data", "s:eof"):
            continue
        if event in ("n:eof", "s:eof"):
            over.add(side)
        if played := trace.play(event):
            calls += played.split(", ")
    assert calls[-1] == "end"
    assert calls.count("end") == 1
    assert [at for at, call in enumerate(calls) if call[2:] in ("close", "abort")] == [len(calls) - 2]
    for end, word in (("<", "down"), (">", "up")):
        own = [call for call in calls if call.startswith(end)]
        assert own.count(f"{end} eof") <= 1
        if f"{end} eof" in own:
            assert f"{end} {word}" not in own[own.index(f"{end} eof") :]
