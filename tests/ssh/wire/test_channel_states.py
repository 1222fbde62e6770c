"""Every message of a peer in every state of a channel: the packets sent, the calls of the sink, and the next state."""

from __future__ import annotations

import sys
from typing import Any, cast

import pytest
from asyncssh.constants import (
    MSG_CHANNEL_CLOSE,
    MSG_CHANNEL_DATA,
    MSG_CHANNEL_EOF,
    MSG_CHANNEL_EXTENDED_DATA,
    MSG_CHANNEL_OPEN_CONFIRMATION,
    MSG_CHANNEL_REQUEST,
    MSG_CHANNEL_WINDOW_ADJUST,
)
from asyncssh.misc import ProtocolError
from asyncssh.packet import Boolean, SSHPacket, String, UInt32

from ferry.ssh.wire.channel import TunnelChannel
from ferry.ssh.wire.channel_state import State
from ferry.ssh.wire.connection import HardenedConnection
from ferry.streams import OpenFailure
from ssh.wire.test_tunnel_channel import THEIRS, Play

HIGH_WATER_BYTES = 256 * 1024
SMALL_PIECE_BYTES = 4 * 1024
CHANNEL_WINDOW_BYTES = 768 * 1024
LEAST_PACKET_BYTES = 256
BROKEN = ConnectionResetError("the connection went")
REFUSED, GONE = ("stream_refused", OpenFailure.REFUSED), ("stream_refused", OpenFailure.GONE)


class Stage(Play):
    """One channel in a given state, which has said all that there is to say about that."""

    def __init__(self, state: State) -> None:
        super().__init__()
        self.channel.write(b"written")
        if state is State.ASKED:
            self.channel = TunnelChannel(cast(HardenedConnection, self.wire), cast(Any, self.sink))
            self.channel.process_open(THEIRS, 1000, 1000, None)
        elif state is not State.NEW:
            self.asked()
            if state is State.ABANDONED:
                self.channel.abort()
            elif state is not State.OPENING:
                self.channel.process_open_confirmation(THEIRS, 1000, 1000, SSHPacket(b""))
                if state in (State.CLOSING, State.CLOSED):
                    self.channel.close()
                if state is State.CLOSED:
                    self.peer(MSG_CHANNEL_CLOSE)
        assert self.channel.state is state
        self.wire.out(), self.sink.news(), self.owner.news()

    def hears(self, message: str) -> tuple[object, ...]:
        """What went out, what the sink heard and the state; or the fault that ends the connection."""
        try:
            if message == "lost":
                self.channel.process_connection_close(BROKEN)
            elif message == "confirmation":
                self.channel.process_open_confirmation(THEIRS, 1000, 1000, SSHPacket(b""))
            elif message == "failure":
                self.channel.process_open_failure(2, "no", "")
            else:
                self.peer(*MESSAGES[message])
        except ProtocolError:
            return ("fault",)
        return (*self.wire.out(), *self.sink.news(), self.channel.state.value)


MESSAGES: dict[str, tuple[Any, ...]] = {
    "data": (MSG_CHANNEL_DATA, String(b"data")),
    "empty": (MSG_CHANNEL_DATA, String(b"")),
    "extended": (MSG_CHANNEL_EXTENDED_DATA, UInt32(1), String(b"data")),
    "adjust": (MSG_CHANNEL_WINDOW_ADJUST, UInt32(10)),
    "overflow": (MSG_CHANNEL_WINDOW_ADJUST, UInt32(0xFFFFFFFF)),
    "eof": (MSG_CHANNEL_EOF,),
    "close": (MSG_CHANNEL_CLOSE,),
    "request": (MSG_CHANNEL_REQUEST, String(b"env"), Boolean(True)),
}
IGNORED = ("empty", "adjust", "overflow", "eof", "request")
TABLE: dict[State, dict[str, tuple[object, ...]]] = {
    State.OPENING: {
        **dict.fromkeys(("data", "extended"), ("fault",)),
        **dict.fromkeys(IGNORED, ("opening",)),
        "confirmation": (("data", b"written"), "stream_opened", "open"),
        "failure": (REFUSED, "closed"),
        "close": (REFUSED, "closed"),
        "lost": (GONE, "closed"),
    },
    State.ABANDONED: {
        **dict.fromkeys(("data", "extended"), ("fault",)),
        **dict.fromkeys(IGNORED, ("abandoned",)),
        "confirmation": (("close",), "closing"),
        **dict.fromkeys(("failure", "close", "lost"), ("closed",)),
    },
    State.ASKED: {
        **dict.fromkeys(("data", "extended", "confirmation", "failure"), ("fault",)),
        **dict.fromkeys(IGNORED, ("asked",)),
        "close": (("refused", THEIRS, 2, "the connection closed before it was open"), GONE, "closed"),
        "lost": (GONE, "closed"),
    },
    State.OPEN: {
        **dict.fromkeys(("overflow", "confirmation", "failure"), ("fault",)),
        "data": (("data_received", b"data"), "open"),
        **dict.fromkeys(("empty", "extended", "adjust"), ("open",)),
        "eof": ("eof_received", "open"),
        "close": (("close",), ("stream_lost", None), "closed"),
        "request": (("failure",), "open"),
        "lost": (("stream_lost", BROKEN), "closed"),
    },
    State.CLOSING: {
        **dict.fromkeys(("confirmation", "failure"), ("fault",)),
        **dict.fromkeys(("data", "extended", *IGNORED), ("closing",)),
        "close": (("stream_lost", None), "closed"),
        "lost": (("stream_lost", BROKEN), "closed"),
    },
}  # fmt: skip


@pytest.mark.parametrize(("state", "message"), [(state, message) for state in TABLE for message in TABLE[state]])
def test_a_message_in_a_state(state: State, message: str) -> None:
    stage = Stage(state)
    assert stage.hears(message) == TABLE[state][message]
    assert stage.gone == (stage.channel.state is State.CLOSED)


def test_the_table_of_channel_states_is_complete() -> None:
    """Of a new channel and of one that is closed the peer has no number: what comes for it is passed over."""
    assert set(TABLE) == set(State) - {State.NEW, State.CLOSED}
    for row in TABLE.values():
        assert set(row) == {*MESSAGES, "confirmation", "failure", "lost"}


def test_a_new_channel_is_in_no_table() -> None:
    assert Stage(State.NEW).gone


@pytest.mark.parametrize("state", [State.NEW, State.OPENING, State.ASKED, State.OPEN, State.CLOSING])
def test_a_cut_reaches_the_sink_once_in_every_state(state: State) -> None:
    stage = Stage(state)
    stage.channel.cut(BROKEN)
    told = GONE if state in (State.NEW, State.OPENING) else ("stream_lost", BROKEN)
    assert stage.sink.news() == [told]
    stage.channel.cut(BROKEN)
    stage.channel.refuse(OpenFailure.TIMEOUT)
    assert stage.sink.news() == []


@pytest.mark.parametrize("state", list(State))
def test_an_abort_is_silent_in_every_state_and_ends_an_open_channel(state: State) -> None:
    stage = Stage(state)
    stage.channel.abort()
    stage.channel.process_connection_close(BROKEN)
    assert stage.sink.news() == []
    assert stage.channel.state is State.CLOSED
    assert stage.gone
    refused = ("refused", THEIRS, 2, "the connection closed before it was open")
    assert stage.wire.out() == {State.OPEN: [("close",)], State.ASKED: [refused]}.get(state, [])


@pytest.mark.parametrize("state", [State.ABANDONED, State.CLOSING, State.CLOSED])
def test_late_writes_are_dropped(state: State) -> None:
    stage = Stage(state)
    for _ in range(HIGH_WATER_BYTES // 32_768 + 2):
        stage.channel.write(bytes(32_768))
    stage.channel.write_eof()
    stage.channel.close()
    assert (stage.wire.out(), stage.sink.news()) == ([], [])


@pytest.mark.parametrize("end", ["close", "lost", "failure"])
def test_writes_to_a_gone_channel_are_not_kept(end: str) -> None:
    stage = Stage(State.OPENING if end == "failure" else State.OPEN)
    stage.hears(end)
    data = bytes(SMALL_PIECE_BYTES)
    before = sys.getrefcount(data)
    stage.channel.write(data)
    assert sys.getrefcount(data) == before


def test_writes_after_an_end_of_file_are_dropped() -> None:
    stage = Stage(State.OPEN)
    stage.channel.write_eof()
    stage.channel.write(b"late")
    stage.channel.write_eof()
    assert stage.wire.out() == [("eof",)]


@pytest.mark.parametrize("state", [State.NEW, State.OPENING])
def test_a_channel_closed_before_it_opens_still_sends_its_bytes(state: State) -> None:
    stage = Stage(state)
    stage.channel.close()
    stage.channel.write(b"late")
    if state is State.NEW:
        stage.asked()
    stage.channel.process_open_confirmation(THEIRS, 1000, 1000, SSHPacket(b""))
    assert stage.wire.out() == [("data", b"written"), ("close",)]


def test_a_new_channel_closed_without_bytes_is_never_opened() -> None:
    play = Play()
    play.channel.close()
    assert play.channel.state is State.CLOSED
    assert play.owner.news() == ["channel_gone"]


@pytest.mark.parametrize("how", ["abort", "close"])
def test_an_abandoned_incoming_open_gets_an_answer(how: str) -> None:
    stage = Stage(State.ASKED)
    getattr(stage.channel, how)()
    assert [out[0] for out in stage.wire.out()] == ["refused"]
    assert stage.gone


@pytest.mark.parametrize("state", [State.NEW, State.OPENING, State.OPEN])
def test_an_endless_writer_is_paused_once_in_every_state(state: State) -> None:
    stage = Stage(state)
    for _ in range(20):
        stage.channel.write(bytes(32_768))
    assert stage.sink.news() == ["pause_writing"]
    if state is State.NEW:
        stage.asked()
    if state is not State.OPEN:
        stage.channel.process_open_confirmation(THEIRS, 1000, 1000, SSHPacket(b""))
        assert stage.sink.news() == ["stream_opened"]  # nothing has gone yet that would let it go on
    stage.peer(MSG_CHANNEL_WINDOW_ADJUST, UInt32(20 * 32_768))
    assert stage.sink.news() == ["resume_writing"]


@pytest.mark.parametrize("data", [b"x", bytes(CHANNEL_WINDOW_BYTES)])
def test_extended_data_beyond_the_window_is_an_error_too(data: bytes) -> None:
    play = Play().opened()
    play.channel.pause_reading()
    play.peer_data(bytes(CHANNEL_WINDOW_BYTES))
    with pytest.raises(ProtocolError, match="beyond the window"):
        play.peer(MSG_CHANNEL_EXTENDED_DATA, UInt32(1), String(data))


@pytest.mark.parametrize("size", [1, LEAST_PACKET_BYTES - 1, LEAST_PACKET_BYTES])
def test_a_peer_that_takes_tiny_packets_only_is_refused(size: int) -> None:
    play = Play().asked()
    play.channel.write(b"written")
    play.channel.process_open_confirmation(THEIRS, 1000, size, SSHPacket(b""))
    if size < LEAST_PACKET_BYTES:
        assert (play.wire.out(), play.sink.news()) == ([("close",)], [REFUSED])
        assert play.owner.news() == [("channel_unfit", size)]
    else:
        assert play.wire.out() == [("data", b"written")]


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (MSG_CHANNEL_WINDOW_ADJUST, b"123"),
        (MSG_CHANNEL_EOF, b"more"),
        (MSG_CHANNEL_CLOSE, b"more"),
        (MSG_CHANNEL_OPEN_CONFIRMATION, bytes(11)),
        (MSG_CHANNEL_OPEN_CONFIRMATION, bytes(12)),
        (MSG_CHANNEL_REQUEST, b""),
        (MSG_CHANNEL_REQUEST, UInt32(1) * 3),  # as long as a confirmation
        (MSG_CHANNEL_EXTENDED_DATA, UInt32(1) + String(b"data")),
    ],
)
def test_unusual_messages_are_left_to_asyncssh(kind: int, body: bytes) -> None:
    play = Play().asked()
    assert not play.channel.message_received(kind, body)
    assert (play.wire.out(), play.sink.news(), play.channel.state) == ([], [], State.OPENING)
