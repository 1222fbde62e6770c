"""A sink that raises, or aborts within a call, ends its own channel. Its caller sees no error."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from asyncssh.constants import MSG_CHANNEL_CLOSE, MSG_CHANNEL_EOF, MSG_CHANNEL_WINDOW_ADJUST
from asyncssh.packet import SSHPacket, UInt32

from ferry.ssh.wire.channel_state import State
from ferry.streams import OpenFailure
from ssh.wire.test_tunnel_channel import THEIRS, Play

SMALL_PIECE_BYTES = 4 * 1024
ERROR = AttributeError("a fault in a sink")
BROKEN = ConnectionResetError()
PIECE = bytes(SMALL_PIECE_BYTES)


def held(play: Play) -> None:
    """Three pieces wait for a sink that has paused, and an end of file behind them."""
    play.channel.pause_reading()
    for _ in range(3):
        play.peer_data(PIECE)
    play.peer(MSG_CHANNEL_EOF)


def fill(play: Play) -> None:
    for _ in range(9):
        play.channel.write(bytes(32_768))


def opened(*steps: Callable[[Play], object]) -> Callable[[Play], None]:
    """An open channel without a window, on which `steps` are played."""

    def play_all(play: Play) -> None:
        play.opened(window=0)
        for step in steps:
            step(play)

    return play_all


CALLS: dict[str, tuple[str, Callable[[Play], object]]] = {
    "opened": ("stream_opened", lambda p: p.asked().channel.process_open_confirmation(THEIRS, 9, 999, SSHPacket(b""))),
    "refused": ("stream_refused", lambda p: p.asked().channel.process_open_failure(2, "", "")),
    "given up": ("stream_refused", lambda p: p.asked().channel.refuse(OpenFailure.TIMEOUT)),
    "refused while held": ("stream_refused", lambda p: p.channel.refuse(OpenFailure.GONE)),
    "connection lost while it opens": ("stream_refused", lambda p: p.asked().channel.process_connection_close(None)),
    "data": ("data_received", opened(lambda p: p.peer_data(b"data"))),
    "held data": ("data_received", opened(held, lambda p: p.channel.resume_reading())),
    "held data, at a close": ("data_received", opened(held, lambda p: p.peer(MSG_CHANNEL_CLOSE))),
    "end of file": ("eof_received", opened(lambda p: p.peer(MSG_CHANNEL_EOF))),
    "close": ("stream_lost", opened(lambda p: p.peer(MSG_CHANNEL_CLOSE))),
    "connection lost": ("stream_lost", opened(lambda p: p.channel.process_connection_close(None))),
    "cut": ("stream_lost", opened(lambda p: p.channel.cut(BROKEN))),
    "pause": ("pause_writing", opened(fill)),
    "resume": ("resume_writing", opened(fill, lambda p: p.peer(MSG_CHANNEL_WINDOW_ADJUST, UInt32(10**6)))),
}
ENDS = ("stream_refused", "stream_lost")


def names(heard: list[object]) -> list[object]:
    return [item[0] if isinstance(item, tuple) else item for item in heard]


def at(play: Play, call: str, then: Callable[[], object]) -> None:
    """Do `then` whenever the sink hears `call`."""

    def look() -> None:
        if names(play.sink.heard)[-1:] == [call]:
            then()

    play.sink.then = look


def fail() -> None:
    raise ERROR


def check_over(play: Play) -> None:
    """The channel has ended, and leaves nothing once the peer has closed too."""
    assert play.channel.state in (State.ABANDONED, State.CLOSING, State.CLOSED)
    play.sink.then, heard = None, len(play.sink.heard)
    play.channel.process_connection_close(None)
    assert len(play.sink.heard) == heard
    assert play.gone


@pytest.mark.parametrize("case", CALLS)
def test_a_sink_that_raises_ends_its_channel_and_gets_the_end_once(case: str) -> None:
    call, steps = CALLS[case]
    play = Play()
    at(play, call, fail)
    steps(play)
    heard = names(play.sink.heard)
    assert heard[heard.index(call) :] == ([call] if call in ENDS else [call, "stream_lost"])
    assert play.wire.failed == [ERROR]
    check_over(play)


def test_a_sink_that_raises_at_its_end_too_is_left_alone_then() -> None:
    play = Play().opened()
    play.sink.then = fail
    play.peer_data(b"data")
    assert play.sink.news() == [("data_received", b"data"), ("stream_lost", ERROR)]
    assert play.wire.failed == [ERROR, ERROR]
    check_over(play)


@pytest.mark.parametrize("end", ["abort", "close"])
@pytest.mark.parametrize("case", CALLS)
def test_a_sink_may_end_its_channel_within_any_call(case: str, end: str) -> None:
    call, steps = CALLS[case]
    play = Play()
    at(play, call, getattr(play.channel, end))
    steps(play)
    assert play.wire.failed == []
    heard = names(play.sink.heard)
    assert heard.count(call) == 1
    if end == "abort":
        assert heard[-1] == call
        check_over(play)


def test_a_sink_that_aborts_and_raises_gets_no_more_calls() -> None:
    play = Play().opened()

    def abort_and_fail() -> None:
        play.channel.abort()
        raise ERROR

    play.sink.then = abort_and_fail
    play.peer_data(b"data")
    assert play.sink.news() == [("data_received", b"data")]
    assert play.wire.failed == [ERROR]
    check_over(play)


def test_an_error_in_stream_refused_does_not_hide_the_end_from_the_owner() -> None:
    play = Play().asked()
    play.sink.then = fail
    play.channel.process_open_failure(2, "", "")
    assert play.owner.news() == [("channel_answered", False), "channel_gone"]
