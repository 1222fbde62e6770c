"""`direct-tcpip` opens to hosts of the network: a raw client, a real service on loopback, and the resolver in the test's hand."""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from asyncssh.constants import (
    OPEN_ADMINISTRATIVELY_PROHIBITED,
    OPEN_CONNECT_FAILED,
    OPEN_RESOURCE_SHORTAGE,
)

from ferry.errors import Refusal
from ferry.policy.keys import KeyLine
from ferry.policy.reach import Host
from ferry.protocol.key_options import parse_options
from inside_gateway import SECONDS, Inside, inside_gateway
from known_system import KNOWN
from raw_client import RawClient
from resets import reset
from turns import until

OUTBOUND_OPENS_PER_SECOND = 50
MEBIBYTES = 8


class Rig:
    """A gateway, a client whose line names what the test says, and a service that gives everything back."""

    def __init__(self, inside: Inside, client: RawClient, port: int) -> None:
        self.inside, self.client, self.port = inside, client, port
        (self.here,) = inside.clients
        self.visitors: list[asyncio.StreamWriter] = []

    def allow(self, *targets: str) -> None:
        options = ",".join(f'permitopen="{target}"' for target in targets)
        self.here.use_key_line(KeyLine(options=parse_options(options, KNOWN), file="keys", number=3))

    async def open(self, host: str, port: int | None = None) -> Any:
        return await self.client.connection.open_connection(host, port or self.port, encoding=None)

    async def refused(self, host: str, port: int | None = None) -> tuple[int, str]:
        with pytest.raises(asyncssh.ChannelOpenError) as error:
            await self.open(host, port)
        return error.value.code, error.value.reason


@asynccontextmanager
async def rig(key: Path) -> AsyncIterator[Rig]:
    async with asyncio.timeout(SECONDS), inside_gateway() as inside, inside.client(key) as client:
        made: list[Rig] = []

        async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            made[0].visitors.append(writer)
            try:
                while data := await reader.read(65536):
                    writer.write(data)
                    await writer.drain()
                writer.write_eof()
            except ConnectionError:
                pass  # a test has broken it
            finally:
                writer.close()

        async with await asyncio.start_server(echo, "127.0.0.1") as server:
            made.append(Rig(inside, client, server.sockets[0].getsockname()[1]))
            yield made[0]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """What the resolver knows beside what it knows."""
    known: dict[str, list[str]] = {}
    system = socket.getaddrinfo

    def getaddrinfo(host: Any, port: Any, *arguments: Any, **named: Any) -> Any:
        if isinstance(host, str) and (found := known.get(host)) is not None:
            if not found:
                raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
            families = (socket.AF_INET6 if ":" in address else socket.AF_INET for address in found)
            return [
                (family, socket.SOCK_STREAM, 6, "", (address, 0))
                for family, address in zip(families, found, strict=True)
            ]
        return system(host, port, *arguments, **named)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return known


async def test_the_log_has_an_ipv6_address_in_one_form(key: Path) -> None:
    async with rig(key) as made, await asyncio.start_server(lambda _, writer: writer.close(), "::1") as server:
        port = server.sockets[0].getsockname()[1]
        made.allow(f"[::1]:{port}")
        _, writer = await made.open("::1", port)
        (opened,) = made.inside.said("host.opened")
        assert opened["asked"] == opened["address"] == f"[::1]:{port}"
        writer.close()
        await until(lambda: not made.here.direct)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_host_that_is_named_is_reached_and_the_bytes_arrive(key: Path, host: str) -> None:
    async with rig(key) as made:
        made.allow(f"{host}:{made.port}")
        before = made.inside.kept()
        reader, writer = await made.open(host)
        sent = os.urandom(MEBIBYTES * 2**20)
        found = hashlib.sha256()

        async def receive() -> None:
            while data := await reader.read(65536):
                found.update(data)

        receiving = asyncio.ensure_future(receive())
        for at in range(0, len(sent), 2**16):
            writer.write(sent[at : at + 2**16])
            await writer.drain()
        writer.write_eof()
        await receiving
        assert found.hexdigest() == hashlib.sha256(sent).hexdigest()
        await until(lambda: made.inside.said("host.closed"))
        (opened,), (closed,) = made.inside.said("host.opened"), made.inside.said("host.closed")
        assert (opened["asked"], opened["address"]) == (f"{host}:{made.port}", f"127.0.0.1:{made.port}")
        assert (closed["up"], closed["down"], closed["note"]) == (len(sent), len(sent), "")
        assert opened["connection"] == made.here.id
        writer.close()
        await until(lambda: not made.here.direct)
        made.visitors.clear()
        await made.inside.back_to(before)


@pytest.mark.parametrize(
    ("allowed", "host"),
    [
        ("", "127.0.0.1"),
        ("*:*", "127.0.0.1"),
        ("*:{port}", "127.0.0.1"),
        ("127.0.0.1:*", "127.0.0.1"),
        ("*:*", "db.example"),
    ],
)
async def test_a_host_that_is_not_named_is_not_even_looked_up(
    key: Path, names: dict[str, list[str]], allowed: str, host: str
) -> None:
    async with rig(key) as made:
        names["db.example"] = ["127.0.0.1"]
        if allowed:
            made.allow(allowed.format(port=made.port))
        code, text = await made.refused(host)
        assert code == OPEN_ADMINISTRATIVELY_PROHIBITED
        expected = (
            "no port" if host == "127.0.0.1" else "through this gateway you can reach your own aliases and ports only"
        )
        assert text.startswith(expected)
        assert made.visitors == []


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "::1", "::ffff:127.0.0.1", "0.0.0.0", "169.254.169.254", "fd00:ec2::254", "64:ff9b::7f00:1"],
)
async def test_a_name_that_leads_inside_is_refused_and_the_address_is_in_the_log(
    key: Path, names: dict[str, list[str]], address: str
) -> None:
    async with rig(key) as made:
        names["db.example"] = [address]
        made.allow(f"db.example:{made.port}")
        code, text = await made.refused("db.example")
        assert code == OPEN_ADMINISTRATIVELY_PROHIBITED
        assert (
            text == "the gateway does not connect there by this name: its operator can allow the address by its number"
        )
        told = made.inside.said("reach.refused")[-1]
        assert told["code"] == "target_address"
        assert f"db.example leads to {ip_address(address)}, which is " in told["detail"]
        assert made.visitors == []


async def test_an_unknown_name_and_a_closed_port_are_failures_to_connect(
    key: Path, names: dict[str, list[str]], free_port: int
) -> None:
    async with rig(key) as made:
        names["gone.example"] = []
        made.allow("gone.example:80", f"127.0.0.1:{free_port}")
        assert await made.refused("gone.example", 80) == (OPEN_CONNECT_FAILED, "the gateway knows no host of that name")
        code, text = await made.refused("127.0.0.1", free_port)
        assert (code, text) == (OPEN_CONNECT_FAILED, "the host cannot be reached from the gateway")
        details = [told["detail"] for told in made.inside.said("reach.refused")]
        assert details[0] == "gone.example: [Errno -2] Name or service not known"
        assert f"127.0.0.1:{free_port}: " in details[1]


async def test_an_address_in_another_form_is_refused(key: Path) -> None:
    async with rig(key) as made:
        for host in ("2130706433", "127.1", "0x7f.1", "0177.0.0.1", "127.0.0.1."):
            made.allow(f"{host}:{made.port}")
            code, text = await made.refused(host)
            assert code == OPEN_ADMINISTRATIVELY_PROHIBITED
            assert text.startswith("an IPv4 address is four decimal numbers")
        assert made.visitors == []


async def test_so_many_hosts_a_second(key: Path, free_port: int) -> None:
    """OUTBOUND_OPENS_PER_SECOND."""
    async with rig(key) as made:
        made.allow(f"127.0.0.1:{free_port}")
        asked = [made.refused("127.0.0.1", free_port) for _ in range(3 * OUTBOUND_OPENS_PER_SECOND)]
        codes = [code for code, _ in await asyncio.gather(*asked)]
        assert OPEN_RESOURCE_SHORTAGE in codes
        assert codes.count(OPEN_CONNECT_FAILED) >= OUTBOUND_OPENS_PER_SECOND


async def test_a_tunnel_comes_before_a_host(key: Path) -> None:
    """A port that a tunnel holds is the tunnel, and not what listens there; an alias comes before a name of DNS."""
    async with rig(key) as made:
        port = made.inside.ports.loopback[0]
        assert await made.client.forward(b"localhost", port)
        assert await made.client.forward(b"db", 5432)
        await made.inside.let_through()
        made.client.accept_opens()
        made.allow(f"localhost:{port}", "db:5432")
        for host, number in (("localhost", port), ("db", 5432)):
            await made.open(host, number)
        assert made.inside.said("host.opened") == []


async def test_a_right_that_is_taken_away_ends_the_visit_with_a_reset(key: Path) -> None:
    async with rig(key) as made:
        target = f"127.0.0.1:{made.port}"
        made.allow(target)
        reader, writer = await made.open("127.0.0.1")
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        made.allow("*:*", target)
        assert len(made.here.direct) == 1
        made.allow("*:*")
        assert await reader.read() == b""
        await until(lambda: made.inside.said("host.closed"))
        assert made.inside.said("host.closed")[0]["up"] == 5


async def test_a_host_that_resets_and_one_that_ends(key: Path) -> None:
    async with rig(key) as made:
        made.allow(f"127.0.0.1:{made.port}")
        reader, writer = await made.open("127.0.0.1")
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        reset(made.visitors[0])
        assert await reader.read() == b""
        await until(lambda: made.inside.said("host.closed"))
        assert made.inside.said("host.closed")[0]["note"] == "broken"
        assert await made.client.lives()


@pytest.mark.parametrize("leaves", ["channel", "connection"])
async def test_a_client_that_leaves_ends_the_connection_to_the_host(key: Path, leaves: str) -> None:
    async with rig(key) as made:
        made.allow(f"127.0.0.1:{made.port}")
        _, writer = await made.open("127.0.0.1")
        await until(lambda: made.visitors)
        if leaves == "channel":
            writer.close()
        else:
            made.client.connection.abort()
        await until(lambda: made.inside.said("host.closed"))
        await until(made.visitors[0].is_closing)


async def test_an_error_of_the_gateways_own_is_answered_and_ends_one_open(
    key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_arguments: object) -> None:
        raise RuntimeError("an error of our own")

    async with rig(key) as made:
        made.allow(f"127.0.0.1:{made.port}")
        monkeypatch.setattr("ferry.edge.hosts.Hosts._decided", fails)
        assert await made.refused("127.0.0.1") == (
            OPEN_ADMINISTRATIVELY_PROHIBITED,
            "an error in the gateway ended this: its log says more",
        )
        monkeypatch.undo()
        (await made.open("127.0.0.1"))[1].close()
        assert await made.client.lives()


class Waiting:
    """The hosts, none of which has answered yet."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.ended = asyncio.Event()
        self.join: Any = None

    async def connect(self, _identity: str, host: Host, decide: Any, join: Any) -> None:
        self.join = partial(join, decide(host.address, False))
        self.asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.ended.set()


class Given:
    """A stream that is there."""

    aborted = False

    def abort(self) -> None:
        self.aborted = True


async def test_rules_that_change_while_a_host_is_asked_decide_on_its_answer(
    key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pattern may go on to allow the name, when the address that was looked up is not allowed any more."""
    refusal = Refusal("this address is not for you any more", code="target_address")
    async with rig(key) as made:
        waiting, stream = Waiting(), Given()
        monkeypatch.setattr(made.inside.worker.ssh.direct, "_hosts", waiting)
        made.allow(f"127.0.0.1:{made.port}")
        opening = asyncio.ensure_future(made.open("127.0.0.1"))
        await waiting.asked.wait()
        monkeypatch.setattr("ferry.ssh.host_visits.decide_address", lambda *_, **__: refusal)
        waiting.join(stream)
        with pytest.raises(asyncssh.ChannelOpenError, match="not for you any more"):
            await opening
        assert stream.aborted
        assert made.inside.said("host.opened") == []


@pytest.mark.parametrize("leaves", ["connection", "right"])
async def test_a_client_that_leaves_while_a_host_is_asked_ends_the_asking(
    key: Path, monkeypatch: pytest.MonkeyPatch, leaves: str
) -> None:
    async with rig(key) as made:
        waiting, stream = Waiting(), Given()
        monkeypatch.setattr(made.inside.worker.ssh.direct, "_hosts", waiting)
        targets = [f"127.0.0.1:{made.port}"]
        made.allow(*targets)
        opening = asyncio.ensure_future(made.open("127.0.0.1"))
        await waiting.asked.wait()
        made.allow(*targets, "*:*")
        assert not opening.done()  # it is still allowed, and still asked for
        if leaves == "right":
            made.allow("*:*")
        else:
            made.client.connection.abort()
        with pytest.raises(asyncssh.ChannelOpenError) as failed:
            await opening
        if leaves == "right":
            assert failed.value.reason == "the rules no longer allow it"
            [told] = made.inside.said("reach.refused")
            assert (told["asked"], told["code"]) == (targets[0], "not_yours")
        await waiting.ended.wait()
        await until(lambda: not made.here.direct)
        waiting.join(stream)  # it has answered in that very turn
        assert stream.aborted
        assert made.inside.said("host.opened") == []
