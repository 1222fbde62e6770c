"""When the text of a session leaves: packets of the peer on one side, packets and turns on the other."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, cast

import pytest
from asyncssh.constants import (
    MSG_CHANNEL_CLOSE,
    MSG_CHANNEL_EOF,
    MSG_CHANNEL_EXTENDED_DATA,
    MSG_CHANNEL_REQUEST,
    MSG_CHANNEL_WINDOW_ADJUST,
)
from asyncssh.logging import logger
from asyncssh.packet import Boolean, SSHPacket, String, UInt32

from ferry.ssh.wire.channel_state import Waiting
from ferry.ssh.wire.session_channel import SessionChannel

THEIRS = 99
STDERR = 1


class Wire:
    """Stands for the connection: what goes out is noted, nothing else happens."""

    logger = logger

    def __init__(self) -> None:
        self.sent: list[object] = []
        self.turns: list[Waiting] = []
        self.may_send = True

    def add_channel(self, _channel: object) -> int:
        return 7

    def remove_channel(self, _number: int) -> None:
        """The connection is lost."""

    detach_x11_listener = remove_channel

    def create_task(self, work: Coroutine[Any, Any, None], _logger: object) -> None:
        self.opening = asyncio.ensure_future(work)

    def send_channel_open_confirmation(self, *_: object) -> None:
        """The channel is open."""

    def get_key_option(self, _option: str, default: object = None) -> object:
        return default

    get_certificate_option = get_key_option

    def send_data(self, channel: int, data: bytes) -> None:
        assert channel == THEIRS
        self.sent.append(bytes(data))

    def send_packet(self, message: int, *parts: bytes, **_: object) -> None:
        packet = SSHPacket(b"".join(parts))
        assert packet.get_uint32() == THEIRS
        if message == MSG_CHANNEL_EXTENDED_DATA:
            self.sent.append((packet.get_uint32(), packet.get_string()))
        else:
            self.sent.append({MSG_CHANNEL_EOF: "eof", MSG_CHANNEL_CLOSE: "close"}[message])

    def await_turn(self, channel: Waiting) -> None:
        channel.waiting = True
        self.turns.append(channel)

    def turn(self) -> bool:
        """Give the first that waits its turn. Whether more can follow."""
        channel = self.turns.pop(0)
        more = channel.send_one()
        channel.waiting = False
        return more

    def out(self) -> list[object]:
        """What went out since the last call."""
        sent, self.sent = self.sent, []
        return sent


class Client:
    """The session of the channel: it hears nothing here."""

    def __getattr__(self, _name: str) -> Any:
        return lambda *_: None


async def opened(window: int, packet: int = 32_768) -> tuple[Wire, SessionChannel]:
    wire = Wire()
    channel = SessionChannel(wire)
    channel.process_open(THEIRS, window, packet, cast(Any, Client()))
    await wire.opening
    return wire, channel


def adjust(channel: SessionChannel, size: int) -> None:
    channel.process_packet(MSG_CHANNEL_WINDOW_ADJUST, 0, SSHPacket(UInt32(size)))


async def test_a_larger_window_that_finds_nothing_to_send_takes_no_turn() -> None:
    wire, channel = await opened(10)
    adjust(channel, 5)
    assert (wire.turns, wire.out()) == ([], [])
    channel.write(b"text")
    assert (wire.turns, wire.out()) == ([], [b"text"])


@pytest.mark.parametrize(("window", "first"), [(0, []), (4, [b"text"]), (100, [b"text that"])])
async def test_text_is_sent_as_far_as_the_window_goes(window: int, first: list[bytes]) -> None:
    wire, channel = await opened(window)
    channel.write(b"text that")
    assert (wire.out(), wire.turns) == (first, [])
    adjust(channel, 100)
    assert b"".join(cast("list[bytes]", [*first, *wire.out()])) == b"text that"


async def test_a_packet_is_as_large_as_the_peer_takes_and_stderr_keeps_its_place() -> None:
    wire, channel = await opened(100, packet=3)
    channel.write(b"abcd")
    channel.write(b"error", STDERR)
    channel.write(b"e")
    assert wire.out() == [b"abc", b"d", (STDERR, b"err"), (STDERR, b"or"), b"e"]


async def test_text_that_the_socket_does_not_take_waits_for_its_turn_once() -> None:
    wire, channel = await opened(100, packet=3)
    wire.may_send = False
    channel.write(b"abcd")
    channel.write(b"e")
    assert (wire.turns, wire.out(), channel.room) == ([channel], [], 0)
    wire.may_send = True
    channel.write(b"f")  # behind the others
    assert wire.out() == []
    assert wire.turn()
    assert wire.out() == [b"abc"]
    adjust(channel, 1)
    assert wire.out() == [b"d", b"e", b"f"]
    assert channel.room == 95


async def written_later(text: bytes, *, window: int) -> tuple[Wire, SessionChannel]:
    """A channel whose text has waited for one turn, which is over."""
    wire, channel = await opened(window)
    wire.may_send = False
    channel.write(text)
    wire.may_send = True
    assert not wire.turn()
    return wire, channel


async def test_a_turn_that_uses_the_window_up_is_the_last_one() -> None:
    wire, channel = await written_later(b"abc", window=2)
    assert wire.out() == [b"ab"]
    adjust(channel, 1)
    assert wire.out() == [b"c"]


async def test_without_a_window_text_waits_for_no_turn() -> None:
    wire, channel = await written_later(b"ab", window=2)
    channel.write(b"c")
    assert (wire.out(), wire.turns, channel.room) == ([b"ab"], [], 0)


@pytest.mark.parametrize("end", ["eof", "close"])
async def test_an_end_waits_for_the_text(end: str) -> None:
    wire, channel = await opened(2)
    channel.write(b"abcd")
    if end == "eof":
        channel.write_eof()
    else:
        channel.close()
    assert wire.out() == [b"ab"]
    adjust(channel, 1)
    assert wire.out() == [b"c"]
    adjust(channel, 10)
    assert wire.out() == [b"d", end]


@pytest.mark.parametrize("lost", [True, False])
async def test_text_that_waits_for_its_turn_is_not_sent_behind_the_end(*, lost: bool) -> None:
    """Of the connection, or of the channel."""
    wire, channel = await opened(100)
    wire.may_send = False
    channel.write(b"abcd")
    if lost:
        channel.process_connection_close(None)
    else:
        channel.process_packet(MSG_CHANNEL_CLOSE, 0, SSHPacket(b""))
    wire.may_send = True
    assert wire.out() == ([] if lost else ["close"])
    assert not wire.turn()
    assert wire.out() == []


async def test_a_request_before_the_channel_is_open_is_passed_over() -> None:
    wire = Wire()
    channel = SessionChannel(wire)
    channel.process_open(THEIRS, 100, 100, cast(Any, Client()))
    size = b"".join(map(UInt32, (80, 24, 0, 0)))
    channel.process_packet(MSG_CHANNEL_REQUEST, 0, SSHPacket(String(b"window-change") + Boolean(False) + size))
    await wire.opening
    assert wire.out() == []
