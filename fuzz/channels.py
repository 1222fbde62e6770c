"""A data channel under any sequence of messages, calls and moods of its sink, beside a model that knows the rules.

The model is the peer and the connection at once: it counts both windows, knows each byte that must come next in either
direction, and says of each message whether it is a fault (RFC 4254 §5).
"""

from __future__ import annotations

from typing import Any, cast

from asyncssh.constants import (
    MSG_CHANNEL_CLOSE,
    MSG_CHANNEL_DATA,
    MSG_CHANNEL_EOF,
    MSG_CHANNEL_EXTENDED_DATA,
    MSG_CHANNEL_FAILURE,
    MSG_CHANNEL_OPEN,
    MSG_CHANNEL_OPEN_CONFIRMATION,
    MSG_CHANNEL_REQUEST,
    MSG_CHANNEL_WINDOW_ADJUST,
)
from asyncssh.misc import ChannelOpenError, ProtocolError
from asyncssh.packet import Boolean, SSHPacket, String, UInt32
from hypothesis import strategies as st

from ferry import limits
from ferry.ssh.wire.channel import TunnelChannel
from ferry.ssh.wire.connection import HardenedConnection
from ferry.ssh.wire.pieces import Pieces
from ferry.streams import OpenFailure

from .target import Target, Value, grown

OURS, THEIRS = 7, 99
PERIOD = 251
PATTERN = bytes(range(PERIOD)) * (2 * limits.CHANNEL_WINDOW_BYTES // PERIOD)
MOST_WINDOW = 0xFFFFFFFF
BROKEN = ConnectionResetError("the connection went")
ENDS = ("stream_lost", "stream_refused")
Step = tuple[Any, ...]


def pattern(at: int, size: int) -> bytes:
    return PATTERN[at % PERIOD : at % PERIOD + size]


class Raised(Exception):
    """What a sink raises on purpose."""


class Line:
    """Stands for the connection, and for what the peer knows."""

    def __init__(self, window: int) -> None:
        self.channel_window = self.most_window = window
        self.room = MOST_WINDOW  # packets that the socket takes
        self.round: list[TunnelChannel] = []
        self.registered = self.asked = self.confirmed = False
        self.refused = self.eof = self.closed = False
        self.window = self.packet = 0  # what we may send
        self.got = 0  # bytes that we have sent
        self.credit = 0  # what the peer may send
        self.offered = 0  # its credit once it has confirmed
        self.failures = 0
        self.log: list[object] = []
        self.play: Play

    @property
    def may_send(self) -> bool:
        return self.room > 0

    @property
    def open(self) -> bool:
        return self.confirmed and not self.closed and self.registered

    def add_channel(self, _channel: TunnelChannel) -> int:
        assert not self.registered
        self.registered = True
        return OURS

    def remove_channel(self, number: int) -> None:
        assert self.registered, "a number is given back twice"
        assert number == OURS
        self.registered = False

    def sink_failed(self, error: Exception) -> None:
        assert isinstance(error, Raised), error
        self.failures += 1
        self.play.ended = True

    def await_end(self, channel: TunnelChannel, unsent: Pieces) -> None:
        assert unsent or channel.waiting or not self.may_send, "it could close at once"

    def await_turn(self, channel: TunnelChannel) -> None:
        if not channel.waiting:
            channel.waiting = True
            self.round.append(channel)

    def run_round(self) -> None:
        while self.round and self.may_send:
            channel = self.round.pop(0)
            more = channel.send_one()
            channel.waiting = False
            if more:
                self.await_turn(channel)

    def send_data(self, number: int, data: bytes) -> None:
        size = len(data)
        assert number == THEIRS
        assert self.open and not self.eof, "data after the end, or before the beginning"
        assert self.may_send, "data although the socket is full"
        assert 0 < size <= min(self.packet, limits.CHANNEL_PACKET_BYTES)
        assert size <= self.window, "data beyond the window"
        assert data == pattern(self.got, size), "not the bytes that come next"
        self.window -= size
        self.got += size
        self.room -= 1
        self.log.append(("data", size))

    def send_packet(self, message: int, *parts: bytes) -> None:
        packet = SSHPacket(b"".join(parts))
        if message == MSG_CHANNEL_OPEN:
            assert not self.asked
            self.asked = True
            assert packet.get_string() == b"forwarded-tcpip"
            assert packet.get_uint32() == OURS
            self.offered = packet.get_uint32()
            return
        assert packet.get_uint32() == THEIRS
        assert self.open, "a message after our close"
        if message == MSG_CHANNEL_WINDOW_ADJUST:
            size = packet.get_uint32()
            assert size > 0
            self.credit += size
            held = self.play.sent - self.play.heard if self.play.listens else 0
            assert self.credit + held <= self.most_window, "more may wait than a window"
            self.log.append(("adjust", size))
        elif message == MSG_CHANNEL_EOF:
            assert not self.eof
            assert self.got == self.play.written
            self.eof = True
            self.log.append("eof")
        elif message == MSG_CHANNEL_CLOSE:
            self.closed = True
            self.log.append("close")
        else:
            assert message == MSG_CHANNEL_FAILURE
            self.log.append("failure")
        packet.check_end()

    def send_channel_open_confirmation(self, number: int, ours: int, window: int, _packet: int) -> None:
        assert (number, ours) == (THEIRS, OURS)
        assert not self.confirmed
        self.confirmed = True
        self.credit = window

    def send_channel_open_failure(self, number: int, *_: object) -> None:
        assert number == THEIRS
        assert not self.confirmed and not self.refused
        self.refused = True


class Owner:
    """Counts what the tunnel is told."""

    def __init__(self) -> None:
        self.answered = self.gone = 0

    def channel_answered(self, _channel: object, opened: bool) -> None:
        self.answered += 1

    def channel_unfit(self, _channel: object, packet_size: int) -> None:
        assert packet_size < limits.LEAST_PACKET_BYTES
        self.answered += 1

    def channel_gone(self, _channel: object) -> None:
        self.gone += 1


class Ear:
    """The sink: hears, checks the order of what it hears, and does what it was told to do at such a moment."""

    def __init__(self, play: Play) -> None:
        self.play = play
        self.plan: list[tuple[str, str]] = []
        self.raised = 0
        self.told_end = self.opened = self.eof = self.asked_to_pause = False

    def hear(self, call: str, *values: object) -> None:
        play = self.play
        assert not play.left, f"{call} after its own abort"
        assert not self.told_end, f"{call} after the end"
        play.line.log.append((call, *values))
        if call in ENDS:
            self.told_end = play.ended = True
        moves = [move for when, move in self.plan if when == call]
        self.plan = [(when, move) for when, move in self.plan if when != call]
        for move in moves:
            if move == "raise":
                self.raised += 1
                raise Raised(call)
            play.ours((move, 5000) if move == "write" else (move,))

    def stream_opened(self) -> None:
        assert not self.opened
        self.opened = True
        self.hear("stream_opened")

    def stream_refused(self, failure: OpenFailure) -> None:
        assert not self.opened
        self.hear("stream_refused", failure)

    def data_received(self, data: bytes) -> None:
        play, size = self.play, len(data)
        assert size > 0
        assert not self.eof, "data behind the end of file"
        assert not play.closed_by_us, "data after close()"
        assert not play.reading_paused or play.at_the_end, "data although reading is paused"
        assert data == pattern(play.heard, size), "not the bytes that come next"
        play.heard += size
        self.hear("data_received", size)

    def eof_received(self) -> None:
        assert not self.eof
        self.eof = True
        self.hear("eof_received")

    def stream_lost(self, error: Exception | None) -> None:
        assert self.opened or self.raised or self.play.incoming, "what was never open is refused, not lost"
        self.hear("stream_lost", type(error).__name__)

    def pause_writing(self) -> None:
        assert not self.asked_to_pause
        self.asked_to_pause = True
        self.hear("pause_writing")

    def resume_writing(self) -> None:
        assert self.asked_to_pause
        self.asked_to_pause = False
        self.hear("resume_writing")


class Play:
    """One channel, its line, its sink and its owner."""

    def __init__(self, window: int, *, incoming: bool, lean: bool) -> None:
        self.lean, self.incoming = lean, incoming
        self.line = Line(window)
        self.line.play = self
        self.ear, self.owner = Ear(self), Owner()
        self.written = self.sent = self.heard = 0
        self.said_over = self.closed_by_us = self.left = self.ended = False
        self.reading_paused = self.at_the_end = self.peer_over = self.lost = False
        connection = cast(HardenedConnection, self.line)
        if incoming:
            self.channel = TunnelChannel(connection, None, cast(Any, self.owner))
            self.channel.process_open(THEIRS, 100_000, 32_768, None)
            self.channel.watch_opening(cast(Any, self.ear))
            self.line.window, self.line.packet = 100_000, 32_768
        else:
            self.channel = TunnelChannel(connection, cast(Any, self.ear), cast(Any, self.owner))

    @property
    def listens(self) -> bool:
        """The sink is to hear everything that the peer sends."""
        return not (self.left or self.ended or self.closed_by_us)

    # --- what our side does

    def ours(self, step: Step) -> None:
        what, *arguments = step
        channel, line = self.channel, self.line
        taken = not (self.said_over or self.ended or self.left or line.closed or self.gone)
        if what == "write":
            size = arguments[0]
            data = pattern(self.written, size)
            if taken:
                self.written += size
            channel.write(data)
        elif what == "eof":
            self.said_over = True
            channel.write_eof()
        elif what == "close":
            if not line.confirmed and not self.written:
                self.left = True  # nothing was begun: it is given up in silence
            self.said_over = self.closed_by_us = True
            channel.close()
        elif what == "abort":
            self.left = True
            channel.abort()
        elif what == "pause":
            self.reading_paused = True
            channel.pause_reading()
        elif what == "resume":
            self.reading_paused = False
            channel.resume_reading()
        elif what == "cut":
            self.ended = True
            channel.cut(BROKEN)
        elif what == "give up":
            if not line.confirmed:
                self.ended = True
                channel.refuse(OpenFailure.TIMEOUT)
        elif what == "ask":
            if not self.incoming and not line.asked and not self.gone:
                channel.request_open(b"forwarded-tcpip")
        elif what == "accept":
            if self.incoming:
                channel.accept(cast(Any, self.ear))
        elif what == "reject" and self.incoming and not line.confirmed:
            self.left = True
            channel.reject(ChannelOpenError(2, "no"))

    @property
    def gone(self) -> bool:
        return self.owner.gone > 0

    # --- what the peer and the socket do

    def theirs(self, step: Step) -> None:
        what, *arguments = step
        line = self.line
        if what == "room":
            line.room = arguments[0]
        elif what == "turn":
            line.run_round()
        elif what == "window":
            line.channel_window = arguments[0]
            line.most_window = max(line.most_window, line.channel_window)
        elif line.registered:
            try:
                fault = self.message(what, *arguments)
            except ProtocolError as error:
                assert self.must_fault, f"{step} is no fault, and ended the connection: {error}"
                self.lose(BROKEN)
            else:
                assert not fault, f"{step} is a fault, and was taken"

    def lose(self, error: Exception | None) -> None:
        self.lost = True
        self.channel.process_connection_close(error)

    def message(self, what: str, *arguments: Any) -> bool:
        """Send it; True if the connection must end for it (which a ProtocolError says)."""
        line = self.line
        pending = line.asked and not line.confirmed
        fault = self.must_fault = False
        if what in ("data", "extended"):
            size = arguments[0]
            fault = size > line.credit
            if not fault:
                line.credit -= size
                if what == "data" and line.open and not self.peer_over and self.listens:
                    self.sent += size
            data = pattern(self.sent - size if not fault else 0, size)
            self.must_fault = fault
            if what == "extended":
                self.pass_on(MSG_CHANNEL_EXTENDED_DATA, UInt32(1), String(data))
            elif self.lean:
                self.channel.received(data)
            else:
                self.pass_on(MSG_CHANNEL_DATA, String(data))
        elif what == "adjust":
            fault = self.must_fault = line.open and line.window + arguments[0] > MOST_WINDOW
            if not fault and line.open:
                line.window += arguments[0]
            self.pass_on(MSG_CHANNEL_WINDOW_ADJUST, UInt32(arguments[0]))
        elif what == "peer eof":
            self.peer_over = self.peer_over or line.open
            self.pass_on(MSG_CHANNEL_EOF)
        elif what == "peer close":
            self.at_the_end = True
            self.pass_on(MSG_CHANNEL_CLOSE)
            assert not line.registered
        elif what == "request":
            self.pass_on(MSG_CHANNEL_REQUEST, String(b"env"), Boolean(arguments[0]), String(b"x"))
        elif what == "confirm":
            fault = self.must_fault = not pending
            if pending:
                line.confirmed = True
                line.window, line.packet = arguments
                line.credit = line.offered
            if not (
                self.lean
                and self.channel.message_received(
                    MSG_CHANNEL_OPEN_CONFIRMATION, UInt32(THEIRS) + UInt32(arguments[0]) + UInt32(arguments[1])
                )
            ):
                self.channel.process_open_confirmation(THEIRS, arguments[0], arguments[1], SSHPacket(b""))
        elif what == "fail":
            fault = self.must_fault = not pending
            self.channel.process_open_failure(2, "no", "")
        elif what == "lost":
            self.lose(None)
        return fault

    def pass_on(self, message: int, *parts: bytes) -> None:
        body = b"".join(parts)
        if not (self.lean and self.channel.message_received(message, body)):
            self.channel.process_packet(message, 0, SSHPacket(body))

    # --- what must hold after each step

    def settled(self) -> None:
        line = self.line
        assert self.owner.gone <= 1
        assert self.owner.answered <= 1
        assert line.failures == self.ear.raised
        assert line.round.count(self.channel) == self.channel.waiting
        assert line.registered or self.gone or not (line.asked or self.incoming)
        if self.listens and not self.gone:
            assert self.written - line.got <= limits.HIGH_WATER_BYTES or self.ear.asked_to_pause, "nobody told the sink"
        if not line.open:
            return
        assert line.packet >= limits.LEAST_PACKET_BYTES, "each packet costs as much as a large one"
        if self.listens:
            assert self.sent - self.heard <= line.most_window
            if not self.reading_paused:
                assert self.heard == self.sent, "data is kept from a sink that reads"
                assert self.ear.eof == self.peer_over
            if self.written - line.got <= limits.LOW_WATER_BYTES:
                assert not self.ear.asked_to_pause, "nobody told the sink that it may go on"
        if not self.listens or self.heard == self.sent:
            assert line.credit > 0, "nothing will ever let the peer send"
        waiting = self.written - line.got
        if self.left:  # given up before it was open, so that only its close is to go
            to_send = True
        else:
            to_send = line.window > 0 if waiting else (self.closed_by_us or (self.said_over and not line.eof))
        assert to_send == self.channel.waiting, "what could go is in nobody's turn, or a turn is for nothing"

    def finish(self) -> None:
        """Everything may go on: what was begun comes to its end, and leaves nothing."""
        line = self.line
        self.ear.plan.clear()
        if not line.registered and not self.gone:
            self.ours(("ask",))
        if line.asked and not line.confirmed and not self.gone:
            self.theirs(("confirm", 0, 32_768))
        self.ours(("accept",))
        line.room = MOST_WINDOW
        if line.open:
            self.theirs(("adjust", min(self.written - line.got, MOST_WINDOW - line.window)))
        self.theirs(("turn",))
        self.ours(("resume",))
        self.settled()
        if line.open:
            assert line.got == self.written
        if not self.left:
            self.ours(("close",))
        self.settled()
        self.theirs(("peer close",))
        self.settled()
        assert self.gone
        assert not line.registered
        assert line.closed or not line.confirmed or self.lost, "a channel that was open has no close from us"
        assert self.left or self.ear.told_end or not (line.asked or self.incoming), "nobody told the sink of the end"


def transcript(value: Value, *, lean: bool) -> list[object]:
    """Play `value`; what went out and what the sink heard, in order."""
    (window, incoming, plan), steps = value[0], value[1:]
    play = Play(window, incoming=incoming, lean=lean)
    play.ear.plan = [tuple(item) for item in plan]
    for step in steps:
        (play.ours if step[0] in OUR_STEPS else play.theirs)(step)
        play.settled()
        if play.lost:
            break
    play.finish()
    return play.line.log


def check(value: Value) -> None:
    """By asyncssh's packets and by the lean path the same is said and heard."""
    assert transcript(value, lean=True) == transcript(value, lean=False)


OUR_STEPS = ("write", "eof", "close", "abort", "pause", "resume", "cut", "give up", "ask", "accept", "reject")
_WINDOWS = st.sampled_from([limits.LEAST_WINDOW_BYTES, 100_001, limits.NEAR_WINDOW_BYTES, limits.CHANNEL_WINDOW_BYTES])
_SIZES = st.sampled_from([0, 1, 2, 255, 4095, 4096, 4097, 20_000, 32_768]) | st.integers(1, 70_000)
_PLAN = st.lists(
    st.tuples(
        st.sampled_from(["stream_opened", "data_received", "eof_received", "pause_writing", "resume_writing", *ENDS]),
        st.sampled_from(["raise", "abort", "close", "eof", "pause", "resume", "write", "cut"]),
    ),
    max_size=5,
)
_STEP = st.one_of(
    st.tuples(st.just("write"), _SIZES),
    st.tuples(st.just("data"), _SIZES),
    st.tuples(st.just("write"), st.just(limits.HIGH_WATER_BYTES)),
    st.tuples(st.just("data"), st.just(limits.LEAST_WINDOW_BYTES)),
    st.tuples(st.sampled_from(["pause", "resume", "turn", "peer eof"])),
    st.tuples(st.just("adjust"), st.sampled_from([0, 1, 300, 40_000, 10**6])),
    st.tuples(st.just("room"), st.sampled_from([0, 1, 2, 5, 10**6])),
    st.tuples(st.just("extended"), _SIZES),
    st.tuples(st.just("window"), _WINDOWS),
    st.tuples(st.just("request"), st.booleans()),
)
_END = st.one_of(  # seldom, or most plays would be short
    st.tuples(st.sampled_from(["eof", "close", "abort", "cut", "give up", "peer close", "lost", "fail", "reject"])),
    st.tuples(st.just("adjust"), st.just(MOST_WINDOW)),
)
_BEGIN = st.one_of(
    st.tuples(st.just("ask")),
    st.tuples(st.just("accept")),
    st.tuples(
        st.just("confirm"),
        st.sampled_from([0, 1, 5000, 10**6, MOST_WINDOW]),
        st.sampled_from([1, 255, 256, 5000, 2**31]),
    ),
)
_STEPS = st.lists(st.one_of(_STEP, _STEP, _STEP, _STEP, _BEGIN, _END), max_size=40)


@st.composite
def _values(draw: st.DrawFn) -> Value:
    head = (draw(_WINDOWS), draw(st.booleans()), draw(_PLAN))
    early = draw(st.lists(_STEP, max_size=3))
    begin: list[Step] = [("accept",)] if head[1] else [("ask",), *early, ("confirm", draw(_SIZES), 32_768)]
    return [head, *(begin if draw(st.integers(0, 5)) else []), *draw(_STEPS)]


TARGET = Target(
    "channels",
    grown("channels", _values(), _STEPS, head=1),
    check,
    ("ferry.ssh.wire.channel", "ferry.ssh.wire.pieces"),
)
