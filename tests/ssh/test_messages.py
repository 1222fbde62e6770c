"""Every message number and a list of odd names, at each stage: the connection lives or ends cleanly, without a traceback.

asyncssh finds what a request means by the name that the network sends: a channel of type `channel` reached a method of
its inside, and raised.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import asyncssh
import pytest
from asyncssh.constants import MSG_CHANNEL_OPEN, MSG_CHANNEL_OPEN_FAILURE, MSG_UNIMPLEMENTED
from asyncssh.packet import Boolean, SSHPacket, String, UInt32

from gateway_process import Gateway, gateway_in
from raw_client import SECONDS, RawClient, raw_client

ODD_NAMES = [
    b"", b"channel", b"global", b"packet", b"kexinit", b"disconnect", b"x11", b"auth-agent@openssh.com",
    b"forwarded-tcpip", b"forwarded-streamlocal@openssh.com", b"direct_tcpip", b"hostkeys-00@openssh.com",
    b"hostkeys-prove-00@openssh.com", b"ping@openssh.com", b"no-more-sessions@openssh.com", b"eow@openssh.com",
    b"elevation", b"keepalive@openssh.com", b"session\x00", b"\xff\xfe", b"__class__", b"tcpip_forward", b"x" * 200_000,
]  # fmt: skip
PAYLOADS = [b"", bytes(40), b"\xff" * 40]


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway of this file's own, whose log shows whether anything went wrong inside."""
    limits: dict[str, object] = {"global_requests_per_second": 10_000}
    with gateway_in(tmp_path_factory.mktemp("gateway"), limits=limits) as running:
        yield running
        assert "Traceback" not in running.running.err.text
        assert '"level": "error"' not in running.running.err.text


def packet(payload: bytes) -> bytes:
    """RFC 4253 §6, before keys are exchanged."""
    padding = 8 - (5 + len(payload)) % 8 + 8
    return (1 + len(payload) + padding).to_bytes(4, "big") + bytes([padding]) + payload + bytes(padding)


def kexinit() -> bytes:
    names = [
        b"curve25519-sha256",
        b"ssh-ed25519",
        *[b"aes128-gcm@openssh.com"] * 2,
        *[b""] * 2,
        *[b"none"] * 2,
        b"",
        b"",
    ]
    return b"\x14" + bytes(16) + b"".join(String(name) for name in names) + Boolean(False) + UInt32(0)


@pytest.mark.parametrize("begun", [False, True], ids=["before-kexinit", "after-kexinit"])
def test_every_number_before_keys_are_exchanged(quiet: Gateway, begun: bool) -> None:
    for number in range(1, 256):
        for payload in PAYLOADS[1:2] if begun else PAYLOADS[2:]:
            with socket.create_connection(("127.0.0.1", quiet.ports.ssh), timeout=SECONDS) as peer:
                peer.sendall(b"SSH-2.0-odd\r\n" + (packet(kexinit()) if begun else b""))
                peer.sendall(packet(bytes([number]) + payload))
                peer.shutdown(socket.SHUT_WR)
                while peer.recv(65536):
                    pass
    assert quiet.ask("status")["counts"]["handshakes"] == 0


async def said(client: RawClient) -> str | None:
    """None: the connection lives; else what was said at its end."""
    alive = asyncio.ensure_future(client.lives())
    ended = asyncio.ensure_future(client.connection.wait_closed())
    async with asyncio.timeout(SECONDS):
        await asyncio.wait([alive, ended], return_when=asyncio.FIRST_COMPLETED)
    for task in (alive, ended):
        task.cancel()
    await asyncio.wait([alive, ended])
    return None if not alive.cancelled() and alive.exception() is None else await client.said_at_the_end()


@pytest.mark.parametrize("cipher", ["aes128-gcm@openssh.com", "aes128-ctr"])
async def test_every_number_after_a_log_in(quiet: Gateway, key: Path, cipher: str) -> None:
    lived: list[int] = []
    number = 0
    while number < 255:
        async with raw_client(quiet, key, encryption_algs=[cipher]) as client:
            client.on(MSG_UNIMPLEMENTED, lambda _packet: None)
            client.on(MSG_CHANNEL_OPEN_FAILURE, lambda _packet: None)
            reason = None
            while reason is None and number < 255:
                number += 1
                for payload in PAYLOADS:
                    client.send(number, payload)
                if (reason := await said(client)) is None:
                    lived.append(number)
            assert reason is None or len(reason) < 200
    assert len(lived) > 100  # what nobody has named is answered as unknown (RFC 4253 §11.4)
    assert 192 in lived
    assert 6 in lived  # SSH_MSG_SERVICE_ACCEPT: only a server says it


@pytest.mark.parametrize("stage", ["after-keys", "in-the-log-in"])
async def test_numbers_before_the_log_in_is_over(quiet: Gateway, key: Path, stage: str) -> None:
    for number in [
        *range(1, 8),
        20,
        21,
        30,
        31,
        40,
        *range(50, 54),
        *range(60, 67),
        79,
        80,
        81,
        90,
        93,
        98,
        100,
        192,
        255,
    ]:
        for payload in PAYLOADS[:2]:
            await one_before_the_log_in(quiet, key, stage, number, payload)


async def one_before_the_log_in(gateway: Gateway, key: Path, stage: str, number: int, payload: bytes) -> None:
    sent = asyncio.Event()

    class Odd(asyncssh.SSHClientConnection):
        def send_service_request(self, service: bytes) -> None:
            if stage == "after-keys":
                self._auth_complete = True  # else asyncssh keeps what is sent
                self.send_packet(number, payload)
                sent.set()
            else:
                super().send_service_request(service)

        def try_next_auth(self, *, next_method: bool = False) -> None:
            del next_method
            self._auth_complete = True
            self.send_packet(number, payload)
            sent.set()

    loop = asyncio.get_running_loop()
    options = await asyncssh.SSHClientConnectionOptions.construct(
        username="dev", client_keys=[str(key)], known_hosts=None, config=None, agent_path=None
    )
    options.waiter = loop.create_future()
    options.waiter.add_done_callback(lambda waiter: waiter.exception())
    _, connection = await loop.create_connection(
        lambda: Odd(loop, options, wait="auth"), "127.0.0.1", gateway.ports.ssh
    )
    async with asyncio.timeout(SECONDS):
        await sent.wait()
        connection.disconnect(asyncssh.DISC_BY_APPLICATION, "")
        await connection.wait_closed()


@pytest.mark.parametrize("cipher", ["aes128-gcm@openssh.com", "aes128-ctr"])
async def test_odd_names_of_requests_and_channels(quiet: Gateway, key: Path, name: str, cipher: str) -> None:
    refused: asyncio.Queue[int] = asyncio.Queue()

    def failure(packet: SSHPacket) -> None:
        packet.get_uint32()
        refused.put_nowait(packet.get_uint32())

    async with raw_client(quiet, key, encryption_algs=[cipher]) as client, asyncio.timeout(2 * SECONDS):
        client.on(MSG_CHANNEL_OPEN_FAILURE, failure)
        assert await client.forward(name.encode(), 80)
        for odd in ODD_NAMES:
            for payload in PAYLOADS:
                granted, _ = await client.ask(odd, payload)
                assert granted is (odd == b"keepalive@openssh.com")
                client.send(MSG_CHANNEL_OPEN, String(odd), UInt32(7), UInt32(1000), UInt32(1000), payload)
                assert await refused.get() == 3  # SSH_OPEN_UNKNOWN_CHANNEL_TYPE
        client.send(MSG_CHANNEL_OPEN, String(b"session"), UInt32(7), UInt32(1000), UInt32(0))
        assert await refused.get() == 2  # a largest packet of nothing
        assert await client.cancel(name.encode(), 80)


async def test_a_clients_disconnect_message_is_kept_short(quiet: Gateway, key: Path) -> None:
    async with raw_client(quiet, key) as client:
        client.send(1, UInt32(2), String(b"so long " * 30_000), String(b""))
        event = await asyncio.to_thread(quiet.event, "so long so long")
        assert event["event"] == "connection.closed"
        assert len(event["reason"]) <= 210
