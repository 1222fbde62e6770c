"""When packets are handled and sent: not behind the end of a connection, and not during a key exchange."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest
from asyncssh.constants import MSG_CHANNEL_DATA, MSG_CHANNEL_OPEN, MSG_DISCONNECT, MSG_IGNORE
from asyncssh.packet import String, UInt32

from ferry.names import Endpoint
from granted import to_visit
from inside_gateway import SECONDS, inside_gateway
from ssh.wire.lean_script import Sink, one_channel
from turns import until

pytestmark = pytest.mark.usefixtures("nothing_fails")


@pytest.mark.parametrize("cut", [0, 3, 20])
async def test_nothing_is_handled_behind_a_disconnect(key: Path, cut: int) -> None:
    """Neither in one read nor where a read ends within the disconnect."""
    async with one_channel(key) as play:
        wire: list[bytes] = []
        peer: Any = play.client.connection
        own = peer.send_packet
        peer.send_packet = lambda kind, *parts: None if kind == MSG_IGNORE else own(kind, *parts)
        peer._send = wire.append  # caught on their way to the socket
        play.client.send(MSG_DISCONNECT, UInt32(11), String("bye"), String(""))
        play.client.send(MSG_CHANNEL_DATA, UInt32(play.peers[0].theirs), String(b"late"))
        sent = b"".join(wire)
        received: Any = play.connection
        received.data_received(sent[:cut])
        received.data_received(sent[cut:])
        await until(lambda: play.sinks[0].heard[-1] == "broken")
        assert play.sinks[0].heard == ["opened", "broken"]


async def test_what_is_sent_during_a_key_exchange_waits_for_its_end(key: Path) -> None:
    """RFC 4253 §7.1: no channel message may be sent between SSH_MSG_KEXINIT and SSH_MSG_NEWKEYS."""
    async with one_channel(key) as play:
        complete: list[bool] = []
        peer: Any = play.client.connection
        play.client.on(MSG_CHANNEL_OPEN, lambda _packet: complete.append(peer._kex_complete))
        await play.step("ours")
        play.tunnel.dial(to_visit(play.tunnel), Endpoint("192.0.2.1", 4711), cast(Any, Sink()))
        await play.settle()
        assert complete == [True]


async def test_channels_that_wait_send_one_packet_each_in_turn(key: Path) -> None:
    """However often each was written to meanwhile."""
    async with one_channel(key) as play:
        await play.open(2**20, 2**15)
        await play.settle()
        sent: list[int] = []
        connection: Any = play.connection
        own = connection.send_data

        def noted(channel: int, data: bytes) -> None:
            sent.append(channel)
            own(channel, data)

        connection.send_data = noted
        connection.pause_writing()
        for number in (0, 0, 0, 1, 1):
            await play.step("write", number, 2**15)
        connection.resume_writing()
        assert sent == [play.peers[number].ours for number in (0, 1, 0, 1, 0)]
        await play.settle()


@pytest.mark.parametrize("sent", [b"SSH-2.0-\xff\xfe\r\n", b"GET / HTTP/1.1\r\n\r\n", b"SSH-2.0-x\r\n" + b"\xff" * 64])
async def test_bytes_that_end_a_connection_cost_no_error(sent: bytes) -> None:
    async with asyncio.timeout(SECONDS), inside_gateway() as gateway:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.ssh_port)
        writer.write(sent)
        await reader.read()
        writer.close()
