"""After an answer with a port the gateway sends nothing until the client has sent something, or a short pause has
passed."""

from __future__ import annotations

import asyncio
import ctypes.util
import sys
from pathlib import Path
from typing import Any

import pytest
from asyncssh.constants import MSG_DEBUG, MSG_GLOBAL_REQUEST, MSG_REQUEST_SUCCESS
from asyncssh.packet import Boolean, SSHPacket, String, UInt32

from ferry import limits
from gateway_process import Gateway
from inside_gateway import inside_gateway
from raw_client import SECONDS, RawClient, raw_client
from ssh_command import run


class Reads:
    """What each read of a client's socket has brought, as the messages' numbers."""

    def __init__(self, client: RawClient) -> None:
        self.reads: list[list[int]] = []
        self.ports: asyncio.Queue[int] = asyncio.Queue()
        self.keepalives: asyncio.Queue[None] = asyncio.Queue()
        received: Any = client.connection.data_received

        def data_received(data: bytes, datatype: Any = None) -> None:
            self.reads.append([])
            received(data, datatype)

        client.connection.data_received = data_received
        client.on(MSG_REQUEST_SUCCESS, self._success)
        client.on(MSG_GLOBAL_REQUEST, self._asked)
        client.on(MSG_DEBUG, lambda _packet: self.reads[-1].append(MSG_DEBUG))
        self.client = client

    def _success(self, packet: SSHPacket) -> None:
        self.reads[-1].append(MSG_REQUEST_SUCCESS)
        self.ports.put_nowait(packet.get_uint32())

    def _asked(self, _packet: SSHPacket) -> None:
        self.reads[-1].append(MSG_GLOBAL_REQUEST)
        self.keepalives.put_nowait(None)

    def ask_for_a_port(self) -> None:
        self.client.send(MSG_GLOBAL_REQUEST, String(b"tcpip-forward"), Boolean(True), String(b""), UInt32(0))

    @property
    def with_the_answer(self) -> list[int]:
        (read,) = [one for one in self.reads if MSG_REQUEST_SUCCESS in one]
        return read


async def test_the_answer_comes_alone_and_the_keepalive_follows_by_itself(gateway: Gateway, key: Path) -> None:
    async with raw_client(gateway, key) as client, asyncio.timeout(SECONDS):
        reads = Reads(client)
        reads.ask_for_a_port()
        assert await reads.ports.get() in gateway.ports.public
        await reads.keepalives.get()
        assert reads.with_the_answer == [MSG_REQUEST_SUCCESS]


async def test_a_client_that_speaks_is_answered_at_once(key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ANSWER_PAUSE_SECONDS", 10 * SECONDS)
    async with inside_gateway() as inside, inside.client(key) as client, asyncio.timeout(SECONDS):
        reads = Reads(client)
        reads.ask_for_a_port()
        await reads.ports.get()
        assert reads.keepalives.empty()
        connection = inside.clients[0].connection
        assert not connection.may_send  # visitors of other tunnels wait as well
        client.send(MSG_GLOBAL_REQUEST, String(b"no-such@test"), Boolean(True))
        assert not (await client.answers.get())[0]
        assert reads.keepalives.qsize() == 1  # it waited, and came before the answer
        assert connection.may_send


@pytest.mark.parametrize("host", [b"blog", b"lone star"])
async def test_an_answer_without_a_port_is_followed_at_once(
    key: Path, monkeypatch: pytest.MonkeyPatch, host: bytes
) -> None:
    """Granted or refused: the visitors of a name, and what is asked next, wait for nothing."""
    monkeypatch.setattr(limits, "ANSWER_PAUSE_SECONDS", 10.0 * SECONDS)
    async with inside_gateway() as inside, inside.client(key) as client, asyncio.timeout(SECONDS):
        assert await client.forward(b"first", 80)
        connection = inside.clients[0].connection
        assert connection.may_send
        assert await client.forward(host, 0 if b" " in host else 80) == (b" " not in host)
        assert connection.may_send


def test_libssh_gets_a_port_of_the_gateways_choice(gateway: Gateway, tmp_path: Path, key: Path) -> None:
    """It took the port from the keepalive that had come with the answer: `-R 0` failed every time."""
    if ctypes.util.find_library("ssh") is None:
        pytest.skip("libssh.so.4 is not installed")
    program = Path(__file__).parents[1] / "libssh_program.py"
    ended = run([sys.executable, str(program), str(gateway.ports.ssh), str(key), "3"], folder=tmp_path)
    assert ended.code == 0, ended.err
    assert [int(line) in gateway.ports.public for line in ended.lines] == [True] * 3
