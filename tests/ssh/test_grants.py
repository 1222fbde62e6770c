"""Listeners, routes and streams open with a grant for exactly that, and policy decides on every visitor."""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncssh
import pytest

from ferry.errors import LocalProtocolError, Refusal
from ferry.kinds import kind_of
from ferry.names import Address, Endpoint, IdentityId, Kind
from ferry.policy.principals import Principal, PublicVisitor
from ferry.policy.visits import Target, VisitPolicy
from ferry.ssh.tunnel import SshTunnel
from ferry.streams import OpenFailure
from granted import to_listen, to_visit
from inside_gateway import Inside
from raw_client import RawClient
from turns import until

GET = b"GET / HTTP/1.1\r\nHost: blog.localhost\r\nConnection: close\r\n\r\n"
ALLOWED, BARRED = "127.0.0.1", "127.0.0.2"


class Nobody:
    """A sink that must never hear of a stream."""

    def stream_opened(self) -> None:
        raise AssertionError

    def stream_refused(self, failure: OpenFailure) -> None:
        raise AssertionError(failure)

    def stream_lost(self, error: Exception | None) -> None:
        raise AssertionError(error)

    def data_received(self, data: bytes) -> None:
        raise AssertionError(data)

    eof_received = pause_writing = resume_writing = stream_opened


class Barred:
    """A rule: from one address nobody visits, and of the identities one does not. Where visitors are not told `apart`,
    the one that stands for all of them comes from the address ""."""

    def __init__(self, host: str = BARRED, *, apart: bool = True) -> None:
        self.host, self.apart = host, apart
        self.identity: IdentityId | None = None
        self.asked: list[tuple[Principal, Target]] = []

    def depends_on_visitor(self, target: Target) -> bool:
        return self.apart and kind_of(target.address.kind).public

    def refusal(self, who: Principal, target: Target) -> Refusal | None:
        self.asked.append((who, target))
        barred = who.host == self.host if isinstance(who, PublicVisitor) else who.id == self.identity
        return Refusal("you may not come in", code="barred", detail="barred here", rule="barred") if barred else None


@pytest.fixture
def barred(inside: Inside) -> Barred:
    rule = Barred()
    inside.visits.use(VisitPolicy("gw", (rule,)))
    return rule


async def serving(client: RawClient, inside: Inside, host: bytes, port: int) -> SshTunnel:
    """A tunnel that is open to visitors, and answers no stream."""
    client.hold_opens()
    assert await client.forward(host, port)
    await inside.let_through()
    return inside.tunnels[-1]


async def untouched(client: RawClient, tunnel: SshTunnel) -> None:
    """No stream was asked of the client, or is kept."""
    assert await client.lives()
    assert client.opens.empty()
    assert (tunnel.streams, tunnel.traffic.visits) == (0, 0)


async def talk(inside: Inside, source: str) -> bytes:
    """What a visitor from that address is answered."""
    reader, writer = await asyncio.open_connection("127.0.0.1", inside.http_port, local_addr=(source, 0))
    writer.write(GET)
    answer = await reader.read()
    writer.close()
    return answer


async def test_a_tunnel_is_dialled_with_its_own_grant_alone(inside: Inside, key: Path) -> None:
    async with inside.client(key) as client:
        client.hold_opens()
        assert await client.forward(b"blog", 80)
        (tunnel,) = inside.tunnels
        visitor = Endpoint("192.0.2.7", 4711)
        policy, anybody = inside.visits.policy, PublicVisitor("192.0.2.7", "http")
        others = [
            policy.decide(anybody, Target(Address(Kind.HTTP, "shop.localhost"), tunnel.owner)),
            policy.decide(anybody, Target(Address(Kind.TCP, "", 80), tunnel.owner)),
            policy.decide(anybody, Target(tunnel.address, IdentityId("who had it before"))),
            to_listen(tunnel),
        ]
        for grant in others:
            assert not isinstance(grant, Refusal)
            with pytest.raises(LocalProtocolError):
                tunnel.dial(grant, visitor, Nobody())
        assert await client.lives()
        assert client.opens.empty()
        tunnel.dial(to_visit(tunnel), visitor, Nobody())
        assert (await client.opens.get())[1]


async def test_no_stream_opens_for_a_web_visitor_that_policy_refuses(inside: Inside, key: Path, barred: Barred) -> None:
    async with inside.client(key) as client:
        tunnel = await serving(client, inside, b"blog", 80)
        for _ in range(2):
            answer = await talk(inside, BARRED)
            assert answer.startswith(b"HTTP/1.1 403 ")
            assert b"You may not come in." in answer
        await untouched(client, tunnel)
        assert [(told["edge"], told["status"]) for told in inside.said("edge.refused")] == [("http", 403)] * 2
        _, visitor = await asyncio.open_connection("127.0.0.1", inside.http_port, local_addr=(ALLOWED, 0))
        visitor.write(GET)
        assert (await client.opens.get())[1]  # and with it in progress, still nobody else
        assert (await talk(inside, BARRED)).startswith(b"HTTP/1.1 403 ")
        assert tunnel.streams == 1
        visitor.close()
    hosts = [who.host for who, _ in barred.asked if isinstance(who, PublicVisitor)]
    assert hosts == [BARRED, BARRED, ALLOWED, BARRED]


async def test_no_stream_opens_for_a_visitor_of_a_port_that_policy_refuses(
    inside: Inside, key: Path, barred: Barred
) -> None:
    async with inside.client(key) as client:
        port = inside.ports.loopback[0]
        tunnel = await serving(client, inside, b"", port)
        reader, visitor = await asyncio.open_connection("127.0.0.1", port, local_addr=(BARRED, 0))
        with pytest.raises(ConnectionResetError):
            await reader.read()
        visitor.close()
        await untouched(client, tunnel)
        assert inside.said("edge.refused")[0]["reason"] == "barred here"
        _, visitor = await asyncio.open_connection("127.0.0.1", port, local_addr=(ALLOWED, 0))
        assert (await client.opens.get())[1]
        visitor.close()
    assert [who for who, _ in barred.asked] == [PublicVisitor(BARRED, "tcp"), PublicVisitor(ALLOWED, "tcp")]


@pytest.mark.parametrize("way", ["alias", "own port"])
async def test_no_stream_opens_for_a_client_that_policy_refuses(
    inside: Inside, key: Path, barred: Barred, way: str
) -> None:
    own = inside.ports.loopback[0]
    asked = (b"laptop", 22) if way == "alias" else (b"", own)
    host, port = ("laptop", 22) if way == "alias" else ("127.0.0.1", own)
    async with inside.client(key) as client:
        tunnel = await serving(client, inside, *asked)
        barred.identity = tunnel.owner
        with pytest.raises(asyncssh.ChannelOpenError, match="you may not come in"):
            await client.connection.open_connection(host, port)
        await untouched(client, tunnel)
        (told,) = inside.said("reach.refused")
        assert (told["code"], told["detail"]) == ("barred", "barred here")
        barred.identity = None
        opening = asyncio.ensure_future(client.connection.open_connection(host, port))
        assert (await client.opens.get())[1]
        opening.cancel()
    assert [target.owner for _, target in barred.asked] == [tunnel.owner] * 2


@pytest.mark.parametrize("rule", [Barred(), Barred("", apart=False)], ids=["one", "all"])
async def test_another_policy_decides_again_for_all_visitors(inside: Inside, key: Path, rule: Barred) -> None:
    async with inside.client(key) as client:
        port = inside.ports.loopback[0]
        web = await serving(client, inside, b"blog", 80)
        tcp = await serving(client, inside, b"", port)

        async def visit_both() -> list[asyncio.StreamWriter]:
            writers = []
            for where, said in ((inside.http_port, GET), (port, b"")):
                _, writer = await asyncio.open_connection("127.0.0.1", where, local_addr=(BARRED, 0))
                writer.write(said)
                writers.append(writer)
            return writers

        visitors = await visit_both()
        for _ in range(2):
            assert (await client.opens.get())[1]
        inside.visits.use(VisitPolicy("gw", (rule,)))
        assert (web.streams, tcp.streams) == (1, 1)  # who is there stays
        visitors += await visit_both()
        await until(lambda: len(inside.said("edge.refused")) >= 2)
        inside.visits.use(VisitPolicy("gw"))
        assert (web.streams, tcp.streams) == (1, 1)
        visitors += await visit_both()
        for _ in range(2):
            assert (await client.opens.get())[1]
        for visitor in visitors:
            visitor.close()


async def test_a_decision_that_cannot_differ_is_made_once(inside: Inside, key: Path) -> None:
    rule = Barred("elsewhere", apart=False)
    inside.visits.use(VisitPolicy("gw", (rule,)))
    async with inside.client(key) as client:
        port = inside.ports.loopback[0]
        web = await serving(client, inside, b"blog", 80)
        tcp = await serving(client, inside, b"", port)
        for where, said in ((inside.http_port, GET), (port, b"")) * 3:
            _, visitor = await asyncio.open_connection("127.0.0.1", where)
            visitor.write(said)
            assert (await client.opens.get())[1]
            visitor.close()
    assert [target.address for _, target in rule.asked] == [web.address, tcp.address]


async def test_a_derived_address_needs_a_grant_like_a_requested_one(inside: Inside, key: Path) -> None:
    async with inside.client(key) as client:
        assert await client.forward(b"", 80)
        (given,) = inside.tunnels
        label = inside.rules.domain.relative(given.address.name)
        assert await client.cancel(b"", 80)
        inside.change(reserved_names=frozenset({label}))
        assert not await client.forward(label.encode(), 80)
        assert await client.forward(b"", 80)
        (other,) = inside.tunnels
        assert other.address != given.address
