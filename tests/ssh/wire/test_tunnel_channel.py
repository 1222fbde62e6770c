"""`TunnelChannel` as a play: messages of the peer on one side, packets and calls of the sink on the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
from asyncssh.constants import (
    MSG_CHANNEL_CLOSE,
    MSG_CHANNEL_DATA,
    MSG_CHANNEL_EOF,
    MSG_CHANNEL_EXTENDED_DATA,
    MSG_CHANNEL_FAILURE,
    MSG_CHANNEL_OPEN,
    MSG_CHANNEL_REQUEST,
    MSG_CHANNEL_WINDOW_ADJUST,
)
from asyncssh.misc import ChannelOpenError, ProtocolError
from asyncssh.packet import Boolean, SSHPacket, String, UInt32

from ferry.ssh.wire.channel import TunnelChannel
from ferry.ssh.wire.connection import HardenedConnection
from ferry.ssh.wire.pieces import Pieces
from ferry.streams import OpenFailure

CHANNEL_WINDOW_BYTES = 768 * 1024
HIGH_WATER_BYTES = 256 * 1024
LOW_WATER_BYTES = 64 * 1024
CHANNEL_PACKET_BYTES = 32 * 1024
NEAR_WINDOW_BYTES = 256 * 1024
LEAST_WINDOW_BYTES = 8 * 1024
SMALL_PIECE_BYTES = 4 * 1024
OURS, THEIRS = 7, 99
NAMES = {
    MSG_CHANNEL_OPEN: "open", MSG_CHANNEL_DATA: "data", MSG_CHANNEL_EOF: "eof", MSG_CHANNEL_CLOSE: "close",
    MSG_CHANNEL_WINDOW_ADJUST: "adjust", MSG_CHANNEL_FAILURE: "failure",
}  # fmt: skip


class Wire:
    """Stands for the connection: packets that go out are noted, nothing else happens."""

    def __init__(self, window: int) -> None:
        self.sent: list[tuple[object, ...]] = []
        self.channels: dict[int, TunnelChannel] = {}
        self.turns: list[TunnelChannel] = []
        self.ending: list[tuple[TunnelChannel, Pieces]] = []
        """Channels that were closed with something to send."""
        self.failed: list[Exception] = []
        """Errors of sinks that were told of."""
        self.may_send = True
        self.channel_window = window

    def add_channel(self, channel: TunnelChannel) -> int:
        self.channels[OURS] = channel
        return OURS

    def remove_channel(self, number: int) -> None:
        del self.channels[number]

    def sink_failed(self, error: Exception) -> None:
        self.failed.append(error)

    def await_end(self, channel: TunnelChannel, unsent: Pieces) -> None:
        self.ending.append((channel, unsent))

    def await_turn(self, channel: TunnelChannel) -> None:
        channel.waiting = True
        self.turns.append(channel)

    def send_packet(self, message: int, *parts: bytes) -> None:
        packet = SSHPacket(b"".join(bytes(part) for part in parts))
        if message == MSG_CHANNEL_OPEN:
            self.sent.append(("open", packet.get_string()))
            return
        assert packet.get_uint32() == THEIRS
        if message == MSG_CHANNEL_DATA:
            self.sent.append(("data", packet.get_string()))
        elif message == MSG_CHANNEL_WINDOW_ADJUST:
            self.sent.append(("adjust", packet.get_uint32()))
        else:
            self.sent.append((NAMES[message],))
        packet.check_end()

    def send_data(self, number: int, data: bytes) -> None:
        """The lean way for data."""
        self.send_packet(MSG_CHANNEL_DATA, UInt32(number), String(data))

    def send_channel_open_confirmation(self, number: int, *_: object) -> None:
        self.sent.append(("confirmed", number))

    def send_channel_open_failure(self, number: int, code: int, reason: str, _lang: str) -> None:
        self.sent.append(("refused", number, code, reason))

    def out(self) -> list[tuple[object, ...]]:
        """What went out since the last call."""
        sent, self.sent = self.sent, []
        return sent


class Told:
    """A sink, and the channel's owner: notes what it is told."""

    def __init__(self) -> None:
        self.heard: list[object] = []
        self.then: Callable[[], object] | None = None
        """Done each time something is heard."""

    def __getattr__(self, name: str) -> Any:
        def note(*arguments: object, **named: object) -> None:
            values = [a for a in (*arguments, *named.values()) if not isinstance(a, TunnelChannel)]
            self.heard.append((name, *values) if values else name)
            if self.then is not None:
                self.then()

        return note

    def news(self) -> list[object]:
        heard, self.heard = self.heard, []
        return heard


class Play:
    """One channel with its wire, its sink and its owner."""

    def __init__(self, window: int = CHANNEL_WINDOW_BYTES) -> None:
        self.wire, self.sink, self.owner = Wire(window), Told(), Told()
        self.channel = TunnelChannel(cast(HardenedConnection, self.wire), cast(Any, self.sink), cast(Any, self.owner))

    def asked(self) -> Play:
        self.channel.request_open(b"forwarded-tcpip", String(b"localhost"), UInt32(80))
        assert self.wire.out() == [("open", b"forwarded-tcpip")]
        return self

    def opened(self, window: int = 1_000_000, packet: int = 32_768) -> Play:
        self.asked().channel.process_open_confirmation(THEIRS, window, packet, SSHPacket(b""))
        assert self.sink.news() == ["stream_opened"]
        assert self.owner.news() == [("channel_answered", True)]
        return self

    def peer(self, message: int, *parts: bytes) -> None:
        self.channel.process_packet(message, 0, SSHPacket(b"".join(parts)))

    def peer_data(self, data: bytes) -> None:
        self.peer(MSG_CHANNEL_DATA, String(data))

    @property
    def gone(self) -> bool:
        return not self.wire.channels


# --- opening


def test_bytes_written_while_it_opens_are_sent_once_it_is_open() -> None:
    play = Play().asked()
    play.channel.write(b"one")
    play.channel.write(b"two")
    play.channel.write_eof()
    assert play.wire.out() == []
    play.channel.process_open_confirmation(THEIRS, 1000, 1000, SSHPacket(b""))
    assert play.wire.out() == [("data", b"onetwo"), ("eof",)]


def test_a_refused_open_is_reported_and_leaves_nothing() -> None:
    play = Play().asked()
    play.channel.write(b"request")
    play.channel.process_open_failure(2, "Connection refused", "")
    assert play.sink.news() == [("stream_refused", OpenFailure.REFUSED)]
    assert play.owner.news() == [("channel_answered", False), "channel_gone"]
    assert play.gone
    assert play.wire.out() == []


def test_aborted_while_opening_it_closes_as_soon_as_the_peer_confirms() -> None:
    play = Play().asked()
    play.channel.write(b"request")
    play.channel.abort()
    assert not play.gone  # the number is still the peer's to answer for
    play.channel.process_open_confirmation(THEIRS, 1000, 1000, SSHPacket(b""))
    assert play.wire.out() == [("close",)]
    play.peer_data(b"a server that speaks first")
    play.peer(MSG_CHANNEL_EOF)
    play.peer(MSG_CHANNEL_CLOSE)
    assert play.gone
    assert play.wire.out() == []
    assert play.sink.news() == []
    assert play.owner.news() == [("channel_answered", True), "channel_gone"]


def test_aborted_while_opening_and_refused_leaves_nothing() -> None:
    play = Play().asked()
    play.channel.abort()
    play.channel.process_open_failure(2, "", "")
    assert (play.gone, play.sink.news()) == (True, [])


def test_a_channel_given_up_while_opening_tells_its_sink_of_the_time_out() -> None:
    play = Play().asked()
    play.channel.refuse(OpenFailure.TIMEOUT)
    assert play.sink.news() == [("stream_refused", OpenFailure.TIMEOUT)]
    play.channel.process_open_confirmation(THEIRS, 1000, 1000, SSHPacket(b""))
    assert play.wire.out() == [("close",)]
    assert play.sink.news() == []


@pytest.mark.parametrize("again", ["process_open_confirmation", "process_open_failure"])
def test_an_open_is_answered_once(again: str) -> None:
    play = Play().opened()
    arguments = (THEIRS, 1, 1, SSHPacket(b"")) if again.endswith("confirmation") else (1, "", "")
    with pytest.raises(ProtocolError):
        getattr(play.channel, again)(*arguments)


def test_an_incoming_open_is_accepted_or_rejected_once() -> None:
    for accepted in (True, False):
        wire = Wire(CHANNEL_WINDOW_BYTES)
        channel = TunnelChannel(cast(HardenedConnection, wire), None)
        channel.process_open(THEIRS, 1000, 1000, None)
        if accepted:
            channel.accept(cast(Any, Told()))
            channel.reject(ChannelOpenError(2, "late"))
            assert wire.out() == [("confirmed", THEIRS)]
        else:
            channel.reject(ChannelOpenError(2, "no"))
            channel.accept(cast(Any, Told()))
            assert wire.out() == [("refused", THEIRS, 2, "no")]
            assert not wire.channels


# --- sending


def test_the_peers_window_and_packet_size_are_kept() -> None:
    play = Play().opened(window=600, packet=256)
    data = bytes(range(251)) * 4
    play.channel.write(data)
    assert play.wire.out() == [("data", data[:256]), ("data", data[256:512]), ("data", data[512:600])]
    play.peer(MSG_CHANNEL_WINDOW_ADJUST, UInt32(3))
    assert play.wire.out() == [("data", data[600:603])]
    play.peer(MSG_CHANNEL_WINDOW_ADJUST, UInt32(1000))
    assert play.wire.out() == [("data", data[603:859]), ("data", data[859:])]


def test_a_write_larger_than_the_peers_packets_is_split() -> None:
    play = Play().opened(window=1000, packet=256)
    play.channel.write(bytes(600))
    assert [len(cast(bytes, data)) for _, data in play.wire.out()] == [256, 256, 88]


def test_an_empty_write_makes_no_packet_and_delays_nothing() -> None:
    play = Play().opened(window=0)
    play.channel.write(b"")
    assert play.wire.out() == []
    play.channel.write_eof()
    assert play.wire.out() == [("eof",)]


def test_a_write_does_not_overtake_waiting_bytes() -> None:
    play = Play().opened()
    play.wire.may_send = False
    play.channel.write(b"first")
    play.wire.may_send = True  # and others have their turns before
    play.channel.write(b"second")
    assert play.wire.out() == []
    play.channel.send_one()
    assert play.wire.out() == [("data", b"firstsecond")]


def test_bytes_written_before_an_incoming_open_is_accepted_wait() -> None:
    """Also without a sink, however much it is."""
    wire, data = Wire(CHANNEL_WINDOW_BYTES), bytes(2 * HIGH_WATER_BYTES)
    channel = TunnelChannel(cast(HardenedConnection, wire), None)
    channel.process_open(THEIRS, len(data) + 5, 32_768, None)
    channel.write(b"early")
    channel.write(data)
    assert wire.out() == []
    channel.accept(cast(Any, Told()))
    confirmed, *sent = wire.out()
    assert confirmed == ("confirmed", THEIRS)
    assert b"".join(cast(bytes, packet[1]) for packet in sent) == b"early" + data


def test_a_peer_without_window_pauses_the_sink_and_a_window_resumes_it() -> None:
    play = Play().opened(window=0)
    while not play.sink.heard:
        play.channel.write(bytes(32_768))
    assert play.sink.news() == ["pause_writing"]
    assert play.wire.out() == []
    queued = 9 * 32_768  # the first past HIGH_WATER_BYTES
    assert queued - 32_768 <= HIGH_WATER_BYTES < queued
    play.peer(MSG_CHANNEL_WINDOW_ADJUST, UInt32(queued - LOW_WATER_BYTES - 1))
    assert play.sink.news() == []
    play.peer(MSG_CHANNEL_WINDOW_ADJUST, UInt32(1))
    assert play.sink.news() == ["resume_writing"]


def test_a_full_socket_stops_it_and_it_takes_its_turn_later() -> None:
    play = Play().opened()
    play.wire.may_send = False
    play.channel.write(b"later")
    play.channel.write(b"still later")
    assert play.wire.out() == []
    assert play.wire.turns == [play.channel]  # once, not twice
    play.wire.may_send = True
    assert not play.channel.send_one()
    assert play.wire.out() == [("data", b"laterstill later")]


def test_end_of_file_and_close_wait_for_written_bytes() -> None:
    play = Play().opened(window=2)
    play.channel.write(b"abcd")
    play.channel.write_eof()
    play.channel.close()
    play.channel.write(b"dropped")
    assert play.wire.out() == [("data", b"ab")]
    play.peer(MSG_CHANNEL_WINDOW_ADJUST, UInt32(10))
    assert play.wire.out() == [("data", b"cd"), ("eof",), ("close",)]
    assert not play.gone
    play.peer(MSG_CHANNEL_CLOSE)
    assert play.sink.news() == [("stream_lost", None)]
    assert play.gone
    assert play.wire.out() == []


def test_a_close_that_waits_for_the_peers_window_gives_back_its_own() -> None:
    """A target that reads nothing until it has written all: its ssh has no window left, and waits as we do."""
    play = Play().opened(window=0)
    play.channel.pause_reading()
    play.channel.write(b"the rest of an upload")
    for _ in range(CHANNEL_WINDOW_BYTES // CHANNEL_PACKET_BYTES):
        play.peer_data(b"x" * CHANNEL_PACKET_BYTES)
    play.channel.close()
    assert play.wire.out() == [("adjust", CHANNEL_WINDOW_BYTES)]
    play.peer_data(b"the rest of its answer")
    play.peer(MSG_CHANNEL_WINDOW_ADJUST, UInt32(100))
    assert play.wire.out() == [("data", b"the rest of an upload"), ("close",)]
    play.peer(MSG_CHANNEL_CLOSE)
    assert play.gone


def test_an_abort_drops_waiting_bytes_and_is_silent() -> None:
    play = Play().opened(window=2)
    play.channel.write(b"abcd")
    play.channel.abort()
    assert play.wire.out() == [("data", b"ab"), ("close",)]
    play.peer(MSG_CHANNEL_WINDOW_ADJUST, UInt32(10))
    play.peer_data(b"ignored")
    play.peer(MSG_CHANNEL_CLOSE)
    assert (play.wire.out(), play.sink.news(), play.gone) == ([], [], True)


@pytest.mark.parametrize("ends", [["write_eof"], ["close"], ["write_eof", "close"]])
def test_an_end_that_finds_the_socket_full_takes_its_turn_too(ends: list[str]) -> None:
    play = Play().opened()
    play.wire.may_send = False
    for end in ends:
        getattr(play.channel, end)()
    assert play.wire.turns == [play.channel]
    play.wire.may_send = True
    play.channel.send_one()
    assert play.wire.out() == [("eof",) if end == "write_eof" else ("close",) for end in ends]


def test_after_an_abort_nothing_more_goes_out() -> None:
    play = Play().opened()
    play.channel.abort()
    assert play.wire.out() == [("close",)]
    play.channel.write(b"late")
    play.channel.write_eof()
    play.channel.close()
    play.channel.abort()
    assert play.wire.out() == []


def test_a_channel_without_window_gives_its_turn_away() -> None:
    play = Play().opened(window=2)
    play.wire.may_send = False
    play.channel.write(b"abcd")
    play.wire.may_send = True
    assert not play.channel.send_one()
    assert play.wire.out() == [("data", b"ab")]


@pytest.mark.parametrize("room", [True, False])
def test_a_channel_that_cannot_send_takes_no_turn(room: bool) -> None:
    """Not before it is open, not without a window, not behind its end."""
    play = Play()
    play.wire.may_send = room
    play.channel.write(b"ab")
    play.channel.write_eof()
    play.asked().channel.process_open_confirmation(THEIRS, 0, 32_768, SSHPacket(b""))
    assert play.wire.turns == []
    play.wire.may_send = True
    play.peer(MSG_CHANNEL_WINDOW_ADJUST, UInt32(2))
    assert play.wire.out() == [("data", b"ab"), ("eof",)]
    play.peer(MSG_CHANNEL_WINDOW_ADJUST, UInt32(10))
    play.channel.close()
    assert play.wire.out() == [("close",)]
    assert play.wire.turns == []


def test_an_incoming_open_that_is_not_answered_takes_no_turn() -> None:
    wire = Wire(CHANNEL_WINDOW_BYTES)
    channel = TunnelChannel(cast(HardenedConnection, wire), None)
    channel.process_open(THEIRS, 1000, 1000, None)
    channel.write(b"early")
    channel.write_eof()
    assert (wire.turns, wire.out()) == ([], [])


def test_a_window_past_its_largest_size_is_an_error() -> None:
    play = Play().opened(window=0xFFFFFFFF)
    with pytest.raises(ProtocolError, match="Window overflow"):
        play.peer(MSG_CHANNEL_WINDOW_ADJUST, UInt32(1))


# --- receiving


def test_data_and_end_of_file_reach_the_sink_in_order() -> None:
    play = Play().opened()
    play.peer_data(b"one")
    play.peer_data(b"")
    play.peer(MSG_CHANNEL_EOF)
    assert play.sink.news() == [("data_received", b"one"), "eof_received"]
    play.channel.write(b"half-closed: writing goes on")
    assert play.wire.out() == [("data", b"half-closed: writing goes on")]
    play.peer(MSG_CHANNEL_CLOSE)
    assert play.wire.out() == [("close",)]
    assert play.sink.news() == [("stream_lost", None)]
    assert play.gone


def test_window_is_given_back_only_for_bytes_that_the_sink_has_taken() -> None:
    play = Play().opened()
    half = CHANNEL_WINDOW_BYTES // 2
    play.channel.pause_reading()
    for _ in range(2):
        play.peer_data(bytes(half))
    assert (play.sink.news(), play.wire.out()) == ([], [])
    with pytest.raises(ProtocolError, match="beyond the window"):
        play.peer_data(b"x")
    play.channel.resume_reading()
    assert sum(len(news[1]) for news in cast(Any, play.sink.news())) == 2 * half
    assert play.wire.out() == [("adjust", half), ("adjust", half)]
    play.peer_data(b"x")


def test_a_window_that_became_smaller_is_given_back_in_part() -> None:
    play = Play().opened()
    whole, near = CHANNEL_WINDOW_BYTES, NEAR_WINDOW_BYTES
    play.wire.channel_window = near
    sent = granted = 0
    for _ in range(2000):
        room = whole + granted - sent
        assert room > 0, "the peer has bytes, and nothing will ever let it send them"
        assert sent < whole or room <= near
        play.peer_data(bytes(min(room, 5000)))
        sent += min(room, 5000)
        granted += sum(cast(int, size) for what, size in play.wire.out() if what == "adjust")
    with pytest.raises(ProtocolError, match="beyond the window"):
        play.peer_data(bytes(whole + granted - sent + 1))


@pytest.mark.parametrize("piece", [61, 5000, LEAST_WINDOW_BYTES])
def test_a_window_that_became_larger_is_given_whole(piece: int) -> None:
    """A channel that was opened among a thousand others and has outlived them."""
    play = Play(LEAST_WINDOW_BYTES).opened()
    play.wire.channel_window = CHANNEL_WINDOW_BYTES
    room, adjusts = LEAST_WINDOW_BYTES, 0
    while adjusts < 3:
        assert room > 0, "the peer has bytes, and nothing will ever let it send them"
        play.peer_data(bytes(min(room, piece)))
        room -= min(room, piece)
        for what, size in play.wire.out():
            assert what == "adjust"
            room += cast(int, size)
            adjusts += 1
            assert room == CHANNEL_WINDOW_BYTES
    with pytest.raises(ProtocolError, match="beyond the window"):
        play.peer_data(bytes(room + 1))


def test_a_sink_that_pauses_while_it_is_given_data_gets_no_more() -> None:
    play = Play().opened()
    play.channel.pause_reading()
    words = [word * SMALL_PIECE_BYTES for word in (b"1", b"2", b"3")]
    for word in words:
        play.peer_data(word)
    play.peer(MSG_CHANNEL_EOF)
    play.sink.then = play.channel.pause_reading
    for word in words:
        play.channel.resume_reading()
        assert play.sink.news() == [("data_received", word)]
    play.channel.resume_reading()
    assert play.sink.news() == ["eof_received"]


def test_a_sink_that_resumes_while_it_is_given_data_gets_the_rest_afterwards() -> None:
    """Never within the call: so many pieces would be so many calls in one another."""
    play = Play().opened()
    play.channel.pause_reading()
    words = [word * SMALL_PIECE_BYTES for word in (b"1", b"2", b"3")]
    for word in words:
        play.peer_data(word)
    within: list[int] = []

    def resume() -> None:
        before = len(play.sink.heard)
        play.channel.resume_reading()
        within.append(len(play.sink.heard) - before)

    play.sink.then = resume
    play.channel.resume_reading()
    assert play.sink.news() == [("data_received", word) for word in words]
    assert within == [0, 0, 0]


def test_bytes_that_come_during_a_delivery_come_after_it() -> None:
    play = Play().opened()
    play.channel.pause_reading()
    words = [word * SMALL_PIECE_BYTES for word in (b"1", b"2")]
    for word in words:
        play.peer_data(word)

    def more() -> None:
        play.sink.then = None
        play.peer_data(b"late")
        play.peer(MSG_CHANNEL_EOF)

    play.sink.then = more
    play.channel.resume_reading()
    assert play.sink.news() == [*(("data_received", data) for data in (*words, b"late")), "eof_received"]


def test_data_behind_an_end_of_file_is_dropped_and_its_window_given_back() -> None:
    play = Play().opened()
    play.peer(MSG_CHANNEL_EOF)
    assert play.sink.news() == ["eof_received"]
    for _ in range(3):
        play.peer_data(bytes(CHANNEL_WINDOW_BYTES // 2))
    assert play.sink.news() == []
    assert play.wire.out() == [("adjust", CHANNEL_WINDOW_BYTES // 2)] * 3


def test_behind_our_close_no_window_is_given_back() -> None:
    """RFC 4254 §5.3: a close is the last message of a channel."""
    play = Play().opened()
    play.channel.abort()
    assert play.wire.out() == [("close",)]
    play.peer_data(bytes(CHANNEL_WINDOW_BYTES))
    assert play.wire.out() == []


def test_empty_data_is_never_delivered() -> None:
    play = Play().opened()
    play.peer_data(b"")
    play.channel.pause_reading()
    play.peer_data(b"")
    play.channel.resume_reading()
    assert play.sink.news() == []


def test_a_close_delivers_the_held_bytes() -> None:
    play = Play().opened()
    play.channel.pause_reading()
    play.peer_data(b"held")
    play.peer(MSG_CHANNEL_EOF)
    play.peer(MSG_CHANNEL_CLOSE)
    assert play.sink.news() == [("data_received", b"held"), "eof_received", ("stream_lost", None)]


def test_writes_of_a_sink_during_the_peers_close_are_dropped() -> None:
    play = Play().opened()
    play.channel.pause_reading()
    play.peer_data(b"held")
    play.sink.then = lambda: play.channel.write(bytes(2 * HIGH_WATER_BYTES))
    play.peer(MSG_CHANNEL_CLOSE)
    assert play.sink.news() == [("data_received", b"held"), ("stream_lost", None)]  # and not to pause
    assert play.wire.out() == [("close",)]


def test_extended_data_counts_against_the_window_and_is_dropped() -> None:
    play = Play().opened()
    for _ in range(CHANNEL_WINDOW_BYTES // 32_768 * 3):
        play.peer(MSG_CHANNEL_EXTENDED_DATA, UInt32(1), String(bytes(32_768)))
    assert play.sink.news() == []
    assert {news[0] for news in play.wire.out()} == {"adjust"}


def test_a_request_is_refused_when_an_answer_is_wanted() -> None:
    play = Play().opened()
    play.peer(MSG_CHANNEL_REQUEST, String(b"env"), Boolean(False))
    assert play.wire.out() == []
    play.peer(MSG_CHANNEL_REQUEST, String(b"env"), Boolean(True))
    assert play.wire.out() == [("failure",)]


def test_data_before_the_open_is_confirmed_is_an_error() -> None:
    with pytest.raises(ProtocolError):
        Play().asked().peer_data(b"early")


# --- the end of the connection


def test_a_lost_connection_ends_open_and_opening_streams() -> None:
    error = ConnectionResetError()
    play = Play().opened()
    play.channel.process_connection_close(error)
    assert play.sink.news() == [("stream_lost", error)]
    play = Play().asked()
    play.channel.process_connection_close(None)
    assert play.sink.news() == [("stream_refused", OpenFailure.GONE)]
    assert play.gone


def test_a_lost_connection_is_never_a_clean_end() -> None:
    play = Play().opened()
    play.channel.process_connection_close(None)
    ((_, error),) = cast(Any, play.sink.news())
    assert isinstance(error, ConnectionResetError)


def test_a_cut_reaches_the_sink_and_closes_the_channel() -> None:
    play = Play().opened()
    play.channel.cut(error := ConnectionResetError("the tunnel was closed"))
    assert play.sink.news() == [("stream_lost", error)]
    assert play.wire.out() == [("close",)]
