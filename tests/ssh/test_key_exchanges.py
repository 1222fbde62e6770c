"""A client exchanges keys again and again: each exchange costs the gateway what a log-in costs, so they are spaced."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from ferry import limits
from ferry.limiters.penalties import Offence
from gateway_process import Gateway
from inside_gateway import SECONDS, inside_gateway
from raw_client import RawClient, raw_client
from ssh.test_blame import HERE, Heard, end_of
from ssh.test_stuck_ends import on_stage
from turns import turns, until

KEY_EXCHANGES_TOGETHER = 16
KEY_EXCHANGES_PER_SECOND = 4.0
KEY_EXCHANGES_OF_IDENTITY_PER_SECOND = 8.0
MORE = 3  # exchanges than may follow each other at once
FLOOD = 32 * 1024 * 1024  # past what the kernel takes for somebody who does not read
TURNS = 2000  # of the loop: in each the gateway would read 256 KiB


async def test_a_client_with_endless_key_exchanges_waits_for_each_and_goes_on(gateway: Gateway, key: Path) -> None:
    loop = asyncio.get_running_loop()
    async with raw_client(gateway, key, rekey_bytes=1) as client:
        began = loop.time()
        for _ in range(KEY_EXCHANGES_TOGETHER + MORE):
            assert await client.lives()  # an exchange precedes each packet
        assert loop.time() - began > MORE / KEY_EXCHANGES_PER_SECOND


@pytest.mark.parametrize("did_not_read", [False, True])
async def test_a_client_that_waits_for_an_exchange_cannot_send_ahead(
    key: Path, monkeypatch: pytest.MonkeyPatch, *, did_not_read: bool
) -> None:
    monkeypatch.setattr(limits, "KEY_EXCHANGES_TOGETHER", 1)
    monkeypatch.setattr(limits, "KEY_EXCHANGES_PER_SECOND", 0.001)
    monkeypatch.setattr(limits, "UNREAD_BYTES", 0)
    async with on_stage(key) as stage:
        if did_not_read:
            stage.transport.pause_reading()
            await stage.fill()
        stage.client.connection._send_kexinit()
        stage.transport.write(bytes(FLOOD))
        stage.transport.resume_reading()
        await turns(TURNS)
        assert stage.transport.get_write_buffer_size() > FLOOD / 2


async def test_a_second_key_exchange_before_the_log_in_ends_it_with_a_penalty(key: Path) -> None:
    """Nobody does: OpenSSH waits for its log-in, whatever its RekeyLimit. RFC 4253 §9 would allow it."""

    class Again(asyncssh.SSHClient):
        def connection_made(self, conn: Any) -> None:
            self._connection = conn

        def public_key_auth_requested(self) -> Any:
            self._connection._send_kexinit()
            self._connection._kexinit_sent = True
            return asyncssh.load_keypairs([str(key)])[0]

    async with asyncio.timeout(SECONDS), inside_gateway(penalties=Heard()) as gateway:
        with pytest.raises(asyncssh.ProtocolError, match="a second key exchange before the log-in"):
            await asyncssh.connect(
                HERE, gateway.ssh_port, username="dev", client_factory=Again, client_keys=None,
                known_hosts=None, config=None, agent_path=None, kbdint_auth=False,
            )  # fmt: skip
        assert await end_of(gateway) == ("failed", [Offence.GARBAGE])


def test_stock_ssh_with_the_smallest_rekey_limit_logs_in(gateway: Gateway, key: Path, tmp_path: Path) -> None:
    ended = gateway.ssh(tmp_path, key).run("-v", "-o", "RekeyLimit=16", words="whoami")
    assert ended.code == 0
    assert ended.err.count("SSH2_MSG_NEWKEYS sent") > 1


async def test_connections_of_an_identity_share_the_burst_of_key_exchanges(
    new_key: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "KEY_EXCHANGES_OF_IDENTITY_PER_SECOND", 0.001)
    own, other = new_key(), new_key()
    done = 0

    async def exchange(client: RawClient, most: int) -> None:
        nonlocal done
        for _ in range(most):
            assert await client.lives()  # an exchange precedes each packet
            done += 1

    async with (
        asyncio.timeout(SECONDS),
        inside_gateway(limits={"connections_per_identity": 4}) as gateway,
        gateway.client(other, rekey_bytes=1) as somebody,
    ):
        async with AsyncExitStack() as leaving:
            clients = [await leaving.enter_async_context(gateway.client(own, rekey_bytes=1)) for _ in range(4)]
            tasks = [asyncio.create_task(exchange(client, KEY_EXCHANGES_TOGETHER - MORE)) for client in clients]
            await until(lambda: done >= KEY_EXCHANGES_TOGETHER)
            for _ in range(KEY_EXCHANGES_TOGETHER - MORE):
                assert await somebody.lives()
            assert done == KEY_EXCHANGES_TOGETHER
            for task in tasks:
                task.cancel()
        for left in gateway.clients:
            left.connection.abort()  # who is not read is not seen to leave
        await until(lambda: not gateway.clients)
        async with gateway.client(
            own, rekey_bytes=1
        ) as again:  # with the last of them what they have used is forgotten
            assert await again.lives()


async def test_connections_of_an_identity_share_the_rate_of_key_exchanges(key: Path) -> None:
    loop = asyncio.get_running_loop()
    async with (
        asyncio.timeout(SECONDS),
        inside_gateway(limits={"connections_per_identity": 2}) as gateway,
        gateway.client(key, rekey_bytes=1) as one,
        gateway.client(key, rekey_bytes=1) as other,
    ):
        began = loop.time()
        for _ in range((KEY_EXCHANGES_TOGETHER + 2 * MORE) // 2):
            assert await one.lives()
            assert await other.lives()
        assert loop.time() - began > 2 * MORE / KEY_EXCHANGES_OF_IDENTITY_PER_SECOND


async def test_an_exchange_by_the_gateway_does_not_wait(key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection whose exchange is begun and not ended is taken for stuck."""
    monkeypatch.setattr(limits, "KEY_EXCHANGES_TOGETHER", 1)
    monkeypatch.setattr(limits, "KEY_EXCHANGES_PER_SECOND", 0.001)
    monkeypatch.setattr(limits, "KEY_EXCHANGES_OF_IDENTITY_PER_SECOND", 0.001)
    async with (
        asyncio.timeout(SECONDS),
        inside_gateway(limits={"connections_per_identity": 1}) as gateway,
        gateway.client(key) as client,
    ):
        connection: Any = gateway.clients[0].connection
        for _ in range(MORE):
            connection._rekey_time = 0.0  # it is due
            assert await client.lives()
            assert connection._rekey_time > 0
