"""Caps per connection, identity and network. A client that leaves frees its share."""

from __future__ import annotations

import asyncio
import re
import signal
import socket
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import asyncssh
import pytest
from asyncssh.constants import MSG_CHANNEL_CLOSE, MSG_CHANNEL_OPEN_CONFIRMATION, MSG_GLOBAL_REQUEST
from asyncssh.packet import Boolean, String, UInt32

from gateway_process import Gateway
from inside_gateway import Inside, inside_gateway
from looks import until
from raw_client import SECONDS, raw_client
from resets import reset_at_close
from ssh_command import StockSsh, run


async def visitor_who_leaves(gateway: Inside, name: str) -> None:
    """Sends a whole request and goes away with a reset before any answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.ports.http)
    del reader
    writer.write(f"GET / HTTP/1.1\r\nHost: {name}.localhost\r\n\r\n".encode())
    await writer.drain()
    reset_at_close(writer.get_extra_info("socket"))
    await asyncio.sleep(0.05)  # the request is to be on its way into the tunnel; too early and no channel opens at all
    writer.close()


async def test_visitors_that_leave_during_channel_open_leave_no_channel(key: Path) -> None:
    """Ronf/asyncssh#823 kept one channel for each, for ever. Here the second half would find no room."""
    visitors = 60
    async with (
        asyncio.timeout(2 * SECONDS),
        inside_gateway(limits={"channels_per_connection": visitors}) as gateway,
        gateway.client(key) as client,
    ):
        client.hold_opens()
        assert await client.forward(b"blog", 80)
        for _ in range(2):
            leaving = asyncio.gather(*(visitor_who_leaves(gateway, "blog") for _ in range(visitors)))
            numbers = [(await client.opens.get())[0] for _ in range(visitors)]
            await leaving
            assert len(set(numbers)) == visitors
            for number in numbers:  # the client answers late, as one behind a slow line does
                client.send(
                    MSG_CHANNEL_OPEN_CONFIRMATION, UInt32(number), UInt32(number), UInt32(100_000), UInt32(1000)
                )
            assert sorted([await client.closed.get() for _ in numbers]) == sorted(numbers)
            for number in numbers:
                client.send(MSG_CHANNEL_CLOSE, UInt32(number))
            assert await client.lives()


async def test_channels_of_one_connection_are_capped(key: Path) -> None:
    async with inside_gateway(limits={"channels_per_connection": 5}) as gateway, gateway.client(key) as client:
        client.hold_opens()
        assert await client.forward(b"blog", 80)
        visitors = [await asyncio.open_connection("127.0.0.1", gateway.ports.http) for _ in range(8)]
        for _, writer in visitors:
            writer.write(b"GET / HTTP/1.1\r\nHost: blog.localhost\r\n\r\n")
        async with asyncio.timeout(SECONDS):
            for _ in range(5):
                await client.opens.get()
            refused = asyncio.as_completed([reader.readline() for reader, _ in visitors])
            assert [await next(refused) for _ in range(3)] == [b"HTTP/1.1 503 Service Unavailable\r\n"] * 3
        assert await client.lives()
        assert client.opens.empty()
        for _, writer in visitors:
            writer.close()


async def test_forwards_of_one_connection_and_of_one_identity_are_capped(key: Path) -> None:
    caps: dict[str, object] = {"forwards_per_connection": 3, "forwards_per_identity": 4}
    async with inside_gateway(limits=caps) as gateway, gateway.client(key) as one, gateway.client(key) as two:
        assert [await one.forward(f"one{n}".encode(), 80) for n in range(4)] == [True, True, True, False]
        assert [await two.forward(f"two{n}".encode(), 80) for n in range(2)] == [True, False]
        assert await one.cancel(b"one0", 80)
        assert await two.forward(b"two2", 80)


async def test_at_the_cap_one_takes_over_ones_own_addresses_and_gets_no_more(key: Path) -> None:
    """A machine that lost its network comes again before its old connection has ended."""
    async with (
        inside_gateway(limits={"forwards_per_identity": 2}) as gateway,
        gateway.client(key) as lost,
        gateway.client(key) as again,
    ):
        port = gateway.ports.loopback[0]
        assert [await lost.forward(b"", port), await lost.forward(b"laptop", 22)] == [True, True]
        assert not await again.forward(b"blog", 80)
        assert [await again.forward(b"", port), await again.forward(b"laptop", 22)] == [True, True]
        assert not await again.forward(b"blog", 80)
        assert len(gateway.tunnels) == 2


async def test_at_the_cap_a_silent_connection_gives_up_what_the_gateway_has_chosen(key: Path) -> None:
    async with (
        inside_gateway(limits={"forwards_per_identity": 1}) as gateway,
        gateway.client(key) as lost,
        gateway.client(key) as again,
    ):
        assert await lost.forward(b"", 0)
        [tunnel] = gateway.tunnels
        lost.on(MSG_GLOBAL_REQUEST, lambda _packet: None)  # it answers no keepalive
        assert await again.forward(b"", 0)
        assert [other.address for other in gateway.tunnels] == [tunnel.address]


async def test_many_forward_requests_at_once_do_not_get_past_the_cap(key: Path) -> None:
    caps: dict[str, object] = {"forwards_per_connection": 4, "forwards_per_identity": 6}
    async with inside_gateway(limits=caps) as gateway, gateway.client(key) as one, gateway.client(key) as two:
        for n in range(8):
            for who, client in (("one", one), ("two", two)):
                client.send(
                    MSG_GLOBAL_REQUEST, String(b"tcpip-forward"), Boolean(True), String(f"{who}{n}"), UInt32(80)
                )
        async with asyncio.timeout(SECONDS):
            granted = [sum([(await client.answers.get())[0] for _ in range(8)]) for client in (one, two)]
        assert sum(granted) == 6
        assert max(granted) <= 4


async def test_a_flood_of_global_requests_is_refused_each_in_its_turn(key: Path) -> None:
    """Replies are matched by order, so that one which is left out, or the end of the connection, costs every tunnel."""
    async with (
        asyncio.timeout(SECONDS),
        inside_gateway(limits={"global_requests_per_second": 10}) as gateway,
        gateway.client(key) as client,
    ):
        for _ in range(1000):
            client.send(MSG_GLOBAL_REQUEST, String(b"keepalive@openssh.com"), Boolean(True))
        granted = [(await client.answers.get())[0] for _ in range(1000)]
        assert granted[:10] == [True] * 10
        assert sum(granted) < 100  # ten for each second that it took
        while not (await client.ask(b"keepalive@openssh.com"))[0]:
            await asyncio.sleep(0.1)  # the next second
        assert await client.forward(b"blog", 80)


async def test_requests_behind_a_slow_one_are_bounded_and_answered_in_order(
    start_gateway: Callable[..., Gateway], key: Path
) -> None:
    """Requests of 256 KB behind one that waits were kept whole, and 600 of any size ended the connection."""
    requests = 1500
    gateway = start_gateway(limits={"global_requests_per_second": 100_000})
    async with raw_client(gateway, key) as client, asyncio.timeout(SECONDS):
        before = gateway.memory()
        for n in range(requests):
            kind, size = (b"tcpip-forward", 0) if n % 2 else (b"cancel-tcpip-forward", 60_000)
            client.send(MSG_GLOBAL_REQUEST, String(kind), Boolean(True), String(b"x" * size or f"n{n}"), UInt32(80))
            if n % 50 == 0:
                await asyncio.sleep(0)  # what has been written leaves
        granted = [(await client.answers.get())[0] for _ in range(requests)]
        assert not any(granted[::2])  # cancels of what is not there
        assert 0 < sum(granted[1::2]) <= 16  # limits.forwards_per_connection
        assert gateway.memory() - before < 16 * 1024 * 1024
        assert await client.lives()


async def test_sessions_of_one_connection_are_capped(gateway: Gateway, key: Path, name: str) -> None:
    async with raw_client(gateway, key) as client:
        assert await client.forward(name.encode(), 80)  # a session that holds forwards stays
        for _ in range(10):
            await client.connection.create_session(asyncssh.SSHClientSession)
        with pytest.raises(asyncssh.ChannelOpenError):
            await client.connection.create_session(asyncssh.SSHClientSession)
        assert await client.lives()


async def test_connections_of_one_identity_are_capped(key: Path, tmp_path: Path) -> None:
    caps: dict[str, object] = {"connections_per_identity": 2}
    async with inside_gateway(limits=caps) as gateway, gateway.client(key), gateway.client(key):
        ended = await asyncio.to_thread(StockSsh(tmp_path, "127.0.0.1", gateway.ssh_port, key).run)
        assert ended.code == 255
        assert "you have 2 connections open, which is the limit; retry-after=60" in ended.err


def waiting_to_be_accepted(port: int) -> int:
    """Connections in the queue of the listening socket on that port of 127.0.0.1."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, _, state, queues, *_ = line.split()
        if (local, state) == (f"0100007F:{port:04X}", "0A"):  # TCP_LISTEN
            return int(queues.partition(":")[2], 16)
    raise AssertionError(f"nothing listens on {port}")


def test_handshakes_in_progress_are_capped_and_the_next_gets_the_reason(
    start_gateway: Callable[..., Gateway], key: Path, tmp_path: Path
) -> None:
    gateway = start_gateway(ssh={"handshakes": 3})
    port = gateway.ports.ssh
    with ExitStack() as stack:
        # All four are in the queue before the first is accepted, so nobody's patience can end in between.
        gateway.running.signal(signal.SIGSTOP)
        silent = [stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20)) for _ in range(3)]
        fourth = stack.enter_context(gateway.ssh(tmp_path, key).start())
        until(lambda: waiting_to_be_accepted(port) == 4)
        gateway.running.signal(signal.SIGCONT)
        assert fourth.exit_code() == 255
        assert re.search(r"too many connections are logging in; retry-after=\d+", fourth.err.text), fourth.err.text
        for peer in silent:
            assert peer.recv(100).startswith(b"SSH-2.0-Ferry_")
        assert gateway.ask("status")["counts"]["handshakes"] == 3
    until(lambda: gateway.ask("status")["counts"]["handshakes"] == 0)  # they have left, and there is room again
    assert gateway.ssh(tmp_path, key).run().code == 0


def test_a_client_without_a_key_in_time_loses_its_slot(start_gateway: Callable[..., Gateway]) -> None:
    gateway = start_gateway(ssh={"handshakes": 3, "key_grace": "300ms"})
    with ExitStack() as stack:
        address = ("127.0.0.1", gateway.ports.ssh)
        silent = [stack.enter_context(socket.create_connection(address, timeout=20)) for _ in range(3)]
        for peer in silent:
            said = peer.recv(100)
            assert said.startswith(b"SSH-2.0-Ferry_")
            while more := peer.recv(1000):
                said += more
            assert b"your client offered no acceptable key in time" in said
        until(lambda: gateway.ask("status")["counts"]["handshakes"] == 0)


def test_six_unknown_keys_end_the_connection(
    start_gateway: Callable[..., Gateway], new_key: Callable[[], Path], tmp_path: Path
) -> None:
    known = new_key()
    gateway = start_gateway(access={"mode": "keys", "keys": [known.with_suffix(".pub")]})
    ssh = StockSsh(tmp_path, "127.0.0.1", gateway.ports.ssh, new_key())
    more = [word for _ in range(7) for word in ("-i", str(new_key()))]
    ended = ssh.run(*more)
    assert ended.code == 255
    assert "you tried 6 keys, and this gateway knows none of them" in ended.err


@pytest.mark.parametrize("offer", ["-oKexAlgorithms=diffie-hellman-group14-sha256", "-oMACs=hmac-sha1", "-oCiphers=aes128-cbc",
                                   "-oKexAlgorithms=diffie-hellman-group-exchange-sha256"])  # fmt: skip
def test_weak_or_costly_algorithms_are_not_offered(ssh: StockSsh, offer: str) -> None:
    forced = ["-oCiphers=aes128-ctr"] if "MACs" in offer else []
    ended = run(ssh.command(offer, *forced), folder=ssh.folder)
    assert ended.code == 255
    assert "no matching" in ended.err


def test_no_compression_is_offered(ssh: StockSsh) -> None:
    ended = ssh.run("-vv", "-C")
    assert "compression ctos: none\n" in ended.err.partition("peer server KEXINIT proposal")[2].replace("\r", "")
    assert "compression: none" in ended.err
