"""Invalid packets after the log-in end their connection with a reason, without a logged error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from asyncssh.constants import (
    MSG_CHANNEL_DATA,
    MSG_CHANNEL_WINDOW_ADJUST,
    MSG_DISCONNECT,
    MSG_GLOBAL_REQUEST,
    MSG_IGNORE,
)
from asyncssh.packet import String, UInt32

from ssh.wire.lean_script import Play, one_channel
from turns import until

LEAN, ASYNCSSHS = "aes128-gcm@openssh.com", "chacha20-poly1305@openssh.com"


pytestmark = pytest.mark.usefixtures("nothing_fails")


async def end_of(play: Play) -> str:
    """What the client is told, once its streams have broken."""
    reason = await play.client.said_at_the_end()
    await until(lambda: not play.gateway.clients)
    assert play.sinks[0].heard == ["opened", "broken"]
    return reason


@pytest.mark.parametrize("number", [30, 31, 49, 60, 61, 79])
async def test_a_message_of_a_finished_exchange_or_log_in_ends_the_connection(key: Path, number: int) -> None:
    async with one_channel(key) as play:
        play.client.send(number, bytes(40))
        assert await end_of(play) == f"Packet type {number} was not expected now"


@pytest.mark.parametrize("said", [0, 3, 5, 2**31, 2**32 - 1])
async def test_data_with_a_wrong_length_ends_the_connection(key: Path, said: int) -> None:
    async with one_channel(key) as play:
        play.client.send(MSG_CHANNEL_DATA, UInt32(play.peers[0].theirs), UInt32(said), b"data")
        assert await end_of(play) == "The length of channel data is wrong"


async def test_a_packet_with_a_giant_length_ends_the_connection(key: Path) -> None:
    """It would be waited for, and all that comes meanwhile kept."""
    async with one_channel(key) as play:
        connection: Any = play.client.connection
        connection._send(UInt32(2**20))
        connection._send(bytes(100))
        assert await end_of(play) == "Max packet size exceeded"


@pytest.mark.parametrize("cut", [3, 10, 30])
async def test_bytes_after_a_split_disconnect_are_ignored(key: Path, cut: int) -> None:
    async with one_channel(key) as play:
        connection: Any = play.client.connection
        wires: list[bytes] = []
        connection._send = wires.append  # caught on their way to the socket
        play.client.send(MSG_DISCONNECT, UInt32(11), String(b"bye"), String(b""))
        play.client.send(MSG_CHANNEL_DATA, UInt32(play.peers[0].theirs), String(b"data"))
        sent = b"".join(wires)
        play.connection.data_received(sent[:cut])
        play.connection.data_received(sent[cut:])
        await until(lambda: not play.gateway.clients)
        assert play.sinks[0].heard == ["opened", "broken"]


@pytest.mark.parametrize("cipher", [LEAN, ASYNCSSHS])
@pytest.mark.parametrize("kind", [MSG_CHANNEL_DATA, MSG_CHANNEL_WINDOW_ADJUST, MSG_GLOBAL_REQUEST])
async def test_a_truncated_message_ends_the_connection(key: Path, cipher: str, kind: int) -> None:
    async with one_channel(key, cipher) as play:
        play.client.send(kind, b"\0\0\0")
        assert await end_of(play)


@pytest.mark.parametrize("packet", [bytes(size) for size in range(6)] + [b"\xff" + bytes(15), b"\x0f" + bytes(15)])
async def test_a_packet_too_short_for_its_fields_ends_the_connection(key: Path, packet: bytes) -> None:
    """RFC 4253 §6: a padding length, a message, and four bytes of padding at least."""
    async with one_channel(key) as play:
        connection: Any = play.client.connection
        sealed, tag = connection._send_encryption.encrypt_packet(0, UInt32(len(packet)), packet)
        connection._send(sealed + tag)
        play.client.send(MSG_IGNORE, b"\0" * 4)  # a packet of nothing is looked at when more has come
        assert await end_of(play)
