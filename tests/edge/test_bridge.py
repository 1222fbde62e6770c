"""The bridge's decisions, as traces: events in, calls out. The same over real sockets is in test_tcp.py."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferry.edge.bridge import Bridge
from ferry.edge.reset import reset
from ferry.relay import RelayPhase
from ferry.streams import OpenFailure
from ferry.visits import Traffic
from trace_end import End, TwoEnds, refused
from turns import timers, until

VISITOR_HIGH_WATER_BYTES = 64 * 1024
SMALL_WRITES = 128
SMALL_WRITE_BYTES = 512
LOST = ConnectionResetError("reset")


class Visits:
    """The owner of bridges: it writes down what they say of their visitors."""

    def __init__(self, calls: list[str]) -> None:
        self._calls = calls

    def connected(self, _bridge: Bridge, _transport: asyncio.Transport) -> None:
        self._calls.append("connected")

    def ended(self, _bridge: Bridge) -> None:
        self._calls.append("end")

    def __len__(self) -> int:
        return 0


class Trace(TwoEnds[Bridge]):
    """Of a bridge: `>` is what it asked of the stream, `<` of the visitor."""

    def __init__(self, *, half_close: bool = True, tap: bool = False) -> None:
        calls: list[str] = []
        self.half_close = half_close
        self.closing = False
        self.buffered = 0
        self.marks: list[int | None] = []
        """High-water marks that the visitor's transport was given."""
        super().__init__(Bridge(traffic=Traffic(), owner=Visits(calls)), calls, tap=tap)

    def near(self) -> Visitor:
        return Visitor(self)

    def actions(self) -> dict[str, Callable[[], Any]]:
        bridge, visitor = self.relay, self.relay.protocol()
        return {
            "v:data": lambda: visitor.data_received(b"up"),
            "v:eof": lambda: self.calls.append("keep" if visitor.eof_received() else "shut"),
            "v:lost": lambda: visitor.connection_lost(None),
            "v:reset": lambda: visitor.connection_lost(LOST),
            "v:full": visitor.pause_writing,
            "v:drained": visitor.resume_writing,
            "s:opened": bridge.stream_opened,
            "s:refused": lambda: bridge.stream_refused(OpenFailure.REFUSED),
            "s:data": lambda: bridge.data_received(b"down"),
            "s:eof": bridge.eof_received,
            "s:lost": lambda: bridge.stream_lost(None),
            "s:error": lambda: bridge.stream_lost(LOST),
            "s:full": bridge.pause_writing,
            "s:drained": bridge.resume_writing,
            "cut": bridge.cut,
        }


class Visitor(End, asyncio.Transport):
    """The visitor's end of a trace."""

    def __init__(self, trace: Trace) -> None:
        End.__init__(self, trace.calls, "<")
        asyncio.Transport.__init__(self)
        self._trace = trace

    def can_write_eof(self) -> bool:
        return self._trace.half_close

    def is_closing(self) -> bool:
        return self._trace.closing

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._trace.marks.append(high)

    def get_write_buffer_size(self) -> int:
        return self._trace.buffered


@pytest.mark.parametrize(
    ("events", "calls"),
    [
        # a conversation that the visitor ends first, then the tunnel
        ("v:data s:opened s:data v:eof", "> up, < down, > eof, keep"),
        ("v:eof s:data s:eof v:lost", "> eof, keep, < down, > close, < close, end"),
        # … and the other way round
        ("s:eof v:data v:eof v:lost", "< eof, > up, > eof, > close, shut, end"),
        # back-pressure
        ("v:full v:drained", "> pause, > resume"),
        ("v:full v:full v:drained", "> pause, > resume"),
        ("s:full s:drained", "< pause, < resume"),
        # the visitor goes: without EOF, after its EOF, by reset after its EOF, while the stream opens
        ("v:data v:lost", "> up, > abort, end"),
        ("v:eof v:lost", "> eof, keep, > close, end"),
        ("v:eof v:reset", "> eof, keep, > abort, end"),
        ("v:reset", "> abort, end"),
        # the stream goes: refused, broken, in order
        ("v:data s:refused v:lost", "> up, < abort, end"),
        ("s:data s:error v:lost", "< down, < abort, end"),
        ("s:eof s:error v:lost", "< eof, < abort, end"),
        ("v:eof s:lost v:lost", "> eof, keep, < close, end"),
        # whatever comes after the bridge's own decision is ignored
        ("s:error v:data v:eof s:data s:eof s:lost v:full s:full", "< abort, shut"),
        ("s:refused v:lost v:lost v:reset s:lost s:error s:data", "< abort, end"),
        ("cut s:data s:lost v:lost", "> abort, < abort, end"),
        ("v:lost cut", "> abort, end"),
    ],
)
async def test_orders_of_events(events: str, calls: str) -> None:
    assert Trace().join().play(*events.split()) == calls


@pytest.mark.parametrize(
    ("events", "calls"),
    [
        ("s:data s:eof v:lost", "< down, > close, < close, end"),
        ("v:eof v:lost", "> eof, shut, > close, end"),
        ("s:lost v:lost", "< close, end"),
    ],
)
async def test_a_visitor_that_cannot_half_close(events: str, calls: str) -> None:
    assert Trace(half_close=False).join().play(*events.split()) == calls


async def test_a_visitor_still_sending_is_read_from_for_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ferry.limits.LINGER_SECONDS", 0.01)
    trace = Trace().join()
    assert trace.play("s:data", "s:lost", "v:data", "v:full") == "< down, < eof, < resume"
    trace.calls.clear()
    async with asyncio.timeout(5):
        await until(lambda: trace.calls)
    assert trace.calls == ["< close"]
    assert trace.play("v:lost") == "end"


async def test_the_end_of_a_lingering_visitor_stops_its_timer() -> None:
    trace = Trace().join()
    assert trace.play("s:eof", "s:lost", "v:eof", "v:lost") == "< eof, < resume, shut, end"
    assert trace.relay.phase is RelayPhase.ENDED


async def test_bytes_are_counted_and_tapped() -> None:
    trace = Trace(tap=True).join()
    assert trace.play("v:data", "s:data", "s:error", "v:data", "v:lost") == (
        "tap up up, > up, tap down down, < down, < abort, tap ended reset, end"
    )
    assert (trace.relay.up, trace.relay.down, trace.relay.error) == (2, 4, LOST)


async def test_a_connection_that_its_owner_does_not_join_is_only_ended() -> None:
    trace = Trace()
    trace.relay.protocol().connection_made(Visitor(trace))
    assert trace.calls == ["connected"]
    assert trace.play("v:data", "v:eof", "v:full", "v:drained", "v:lost") == "shut, end"


class OverSocket(Visitor):
    """A transport with a socket, of which is noted what is asked of it."""

    def __init__(self, trace: Trace, *, tls: bool) -> None:
        super().__init__(trace)
        self._tls = tls

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"socket": self, "sslcontext": object() if self._tls else None}.get(name, default)

    def setsockopt(self, level: int, option: int, value: bytes) -> None:
        assert (level, option, value) == (socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._say("linger")


@pytest.mark.parametrize(("closing", "tls"), [(False, False), (True, False), (False, True), (True, True)])
def test_a_reset_touches_no_socket_that_may_be_another_connections(closing: bool, tls: bool) -> None:
    """Only TLS goes on after its close began without our knowing for how long."""
    trace = Trace()
    trace.closing = closing
    reset(OverSocket(trace, tls=tls))
    assert trace.calls == (["< abort"] if closing and tls else ["< linger", "< abort"])


async def test_a_visitor_that_is_read_again_is_checked_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether it has left: the loop tells of one that is read."""
    monkeypatch.setattr("ferry.limits.LEFT_LOOK_SECONDS", 0.001)
    trace = Trace()
    looks: list[str] = []
    visitor = Visitor(trace)
    monkeypatch.setattr(visitor, "get_extra_info", looks.append)
    trace.relay.join(visitor, lambda _sink: End(trace.calls, ">"))
    trace.play("s:full")
    looks.clear()
    async with asyncio.timeout(5):
        await until(lambda: len(looks) >= 2)
        trace.play("s:drained")
        looks.clear()
        await timers(0.02)
    assert looks == []
    trace.play("v:lost")


async def test_refused_before_dial_returns() -> None:
    trace = Trace()

    trace.relay.join(Visitor(trace), refused(trace.calls))
    assert trace.calls == ["< abort"]
    assert trace.play("v:lost") == "end"
    assert trace.relay.failure is OpenFailure.LIMIT


async def test_a_buffer_left_full_by_the_former_protocol_pauses_the_stream() -> None:
    trace = Trace()
    trace.buffered = 1 << 20
    assert trace.join().calls == ["> pause"]


async def test_many_waiting_small_writes_are_bounded() -> None:
    """Each takes some 750 bytes in uvloop, however small it is."""
    usual = VISITOR_HIGH_WATER_BYTES
    trace = Trace().join()
    trace.play(*["s:data"] * 2 * SMALL_WRITES)
    assert trace.marks == [usual]  # none has waited
    trace.buffered = 10
    trace.play(*["s:data"] * (SMALL_WRITES - 1))
    assert trace.marks == [usual]
    trace.play("s:data", "s:data")
    assert trace.marks == [usual, 0]  # the transport tells at once that it is full
    trace.buffered = 0
    assert trace.play("v:full", "v:drained") == "> pause, > resume"
    assert trace.marks == [usual, 0, usual]
    assert trace.play("v:full", "v:drained") == "> pause, > resume"
    assert trace.marks == [usual, 0, usual]


class TwoReasons:
    """Stands for what looks at the kernel's buffer: the test says when that is full, and when it is not any more."""

    made: ClassVar[list[TwoReasons]] = []

    def __init__(
        self, _transport: object, pause_writes: Callable[[int], None], resume_writes: Callable[[int], None]
    ) -> None:
        self.pause_writes, self.resume_writes = pause_writes, resume_writes
        self.made.append(self)

    def look(self, _visitors: int) -> int:
        return 1 << 20

    def forget(self) -> None:
        """Nothing runs."""


@pytest.mark.parametrize("first", ["buffer", "kernel"])
async def test_a_stream_that_waits_for_two_reasons_goes_on_when_both_are_gone(
    monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    """What a visitor has not read waits in two places, and either may be too full."""
    monkeypatch.setattr("ferry.edge.bridge.Unsent", TwoReasons)
    trace = Trace().join()
    trace.relay.data_received(b"x" * (1 << 20))
    kernel = TwoReasons.made.pop()
    kernel.pause_writes(2)
    assert trace.play("v:full") == ""
    if first == "buffer":
        assert trace.play("v:drained") == ""
        kernel.resume_writes(2)
    else:
        kernel.resume_writes(2)
        assert trace.calls == []
        trace.play("v:drained")
    assert trace.calls == ["> resume"]


async def test_large_writes_are_buffered_up_to_the_bound() -> None:
    trace = Trace().join()
    trace.buffered = 10
    for _ in range(2 * SMALL_WRITES):
        trace.relay.data_received(b"x" * SMALL_WRITE_BYTES)
    assert trace.marks == [VISITOR_HIGH_WATER_BYTES]


EVENTS = st.lists(st.sampled_from([name for name in Trace().actions() if name not in ("v:lost", "v:reset")]))


@given(EVENTS, st.sampled_from(["v:lost", "v:reset"]), st.booleans())
async def test_no_order_breaks_an_end(events: list[str], last: str, half_close: bool) -> None:
    """Whatever happens in whatever order: one end, each side closed at most once, nothing written after its close."""
    calls = []
    trace = Trace(half_close=half_close).join()
    # What a stream or a transport never does is left out: data after its own EOF, a second EOF.
    over: set[str] = set()
    for event in events:
        side = event[0]
        if side in over and event in ("v:data", "v:eof", "s:data", "s:eof"):
            continue
        if event in ("v:eof", "s:eof"):
            over.add(side)
        calls += trace.play(event).split(", ")
    calls += trace.play(last, last).split(", ")
    assert calls.count("end") == 1
    for end in "><":
        own = [call for call in calls if call.startswith(end)]
        closed = [at for at, call in enumerate(own) if call[2:] in ("close", "abort")]
        if closed:
            # a cut may follow a close: it drops what is still on its way to the visitor
            assert all(call == f"{end} abort" for call in own[closed[0] + 1 :])
        assert own.count(f"{end} eof") <= 1
        if f"{end} eof" in own:
            assert f"{end} down" not in own[own.index(f"{end} eof") :]
    assert trace.relay.phase is RelayPhase.ENDED
