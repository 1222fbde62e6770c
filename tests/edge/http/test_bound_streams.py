"""NTLM and Negotiate authenticate the connection, so its stream serves only that visitor."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from edge.http_rig import CLOSING, GET, answering, running_edge, service, statuses
from edge.tcp_tunnel import TcpTunnel
from ferry.edge.http.bound import BoundStream
from granted import to_listen

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
OTHERS = OK.replace(b"\r\n\r\nok", b"\r\n\r\nno")
CHALLENGE = b"HTTP/1.1 401 Unauthorized\r\n%b\r\nContent-Length: 0\r\n\r\n"
NTLM = CHALLENGE % b"WWW-Authenticate: NTLM"


async def test_a_bound_stream_serves_no_other_name() -> None:
    async with (
        service(answering(NTLM, OK)) as port,
        service(answering(OTHERS)) as others_port,
        running_edge(port) as rig,
    ):
        other = TcpTunnel("b.localhost", ("127.0.0.1", others_port))
        rig.routes.add(other, to_listen(other))
        reader, writer = await rig.connect()
        writer.write(GET)
        assert statuses(await reader.readuntil(b"\r\n\r\n")) == [401]
        writer.write(GET.replace(b"a.localhost", b"b.localhost"))
        assert await reader.readexactly(len(OTHERS)) == OTHERS
        await rig.tunnel.quiet()  # nobody may use it any more
        writer.write(GET)
        assert statuses(await reader.readuntil(b"\r\n\r\n")) == [401]  # from the beginning
        assert len(rig.tunnel.dialled) == 2
        other.close()
        await other.quiet()


async def test_a_bound_stream_is_not_given_to_another_protocol() -> None:
    async with service(answering(NTLM, OK)) as port, running_edge(port) as rig:
        reader, writer = await rig.connect()
        writer.write(GET)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(GET.replace(b"\r\n\r\n", b"\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"))
        assert statuses(await reader.readuntil(b"\r\n\r\n")) == [401]
        assert len(rig.tunnel.dialled) == 2


@pytest.mark.parametrize(
    "credentials",
    [
        b"Authorization: Negotiate YII",
        b"Authorization: NTLM TlRM",
        b"authorization: negotiate",
        b"Authorization: Negotiate YII\r\nAuthorization: Basic eDp5",
    ],
)
async def test_credentials_that_are_taken_at_once_keep_the_stream_out_of_the_pool(credentials: bytes) -> None:
    async with service(answering(OK)) as port, running_edge(port) as rig:
        reader, writer = await rig.connect()
        writer.write(GET.replace(b"\r\n\r\n", b"\r\n%b\r\n\r\n" % credentials))
        await reader.readexactly(len(OK))
        assert rig.edge.idle_streams == 0
        await rig.talk(CLOSING)
        assert len(rig.tunnel.dialled) == 2
        writer.write(GET)  # and its own next request comes on it
        await reader.readexactly(len(OK))
        assert len(rig.tunnel.dialled) == 2


@pytest.mark.parametrize(
    "challenge",
    [
        b"WWW-Authenticate: Negotiate",
        b"WWW-Authenticate: Negotiate\r\nWWW-Authenticate: Basic realm=x",
        b"WWW-Authenticate: Basic realm=x\r\nWWW-Authenticate: NTLM",
        b'WWW-Authenticate: Basic realm="x", Negotiate',
        b"WWW-Authenticate: Basic realm=x,ntlm",
    ],
)
async def test_a_challenge_in_any_position_keeps_the_stream_for_its_visitor(challenge: bytes) -> None:
    async with service(answering(CHALLENGE % challenge, OK)) as port, running_edge(port) as rig:
        reader, writer = await rig.connect()
        writer.write(GET)
        await reader.readuntil(b"\r\n\r\n")
        assert rig.edge.idle_streams == 0
        assert statuses(await rig.talk(CLOSING)) == [401]
        writer.write(GET)
        assert await reader.readexactly(len(OK)) == OK
        assert len(rig.tunnel.dialled) == 2
        writer.close()
        await rig.tunnel.quiet()  # it ends with its visitor


@pytest.mark.parametrize("challenge", [b"WWW-Authenticate: Basic realm=ntlm", b"X-Authenticate: NTLM"])
async def test_other_challenges_keep_no_stream(challenge: bytes) -> None:
    async with service(answering(CHALLENGE % challenge)) as port, running_edge(port) as rig:
        await rig.talk(CLOSING)
        assert rig.edge.idle_streams == 1


async def test_a_bound_stream_that_dies_is_replaced_and_one_that_is_closed_is_not_kept() -> None:
    dropped = asyncio.Event()

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(NTLM)
        await dropped.wait()

    async with service(once) as port, running_edge(port) as rig:
        reader, writer = await rig.connect()
        writer.write(GET)
        await reader.readuntil(b"\r\n\r\n")
        dropped.set()
        await rig.tunnel.quiet()
        writer.write(GET)
        assert statuses(await reader.readuntil(b"\r\n\r\n")) == [401]
        assert len(rig.tunnel.dialled) == 2
        writer.write_eof()
        assert await reader.read() == b""
        await rig.tunnel.quiet()


class Carrier:
    """An upstream that has carried a request to `tunnel`."""

    def __init__(self, tunnel: object, *, alive: bool = True) -> None:
        self.tunnel = tunnel
        self.alive = alive
        self.discarded = 0

    def discard(self) -> None:
        self.discarded += 1


@pytest.mark.parametrize(
    ("alive", "elsewhere", "upgrade"),
    [(True, False, False), (False, False, False), (True, True, False), (True, False, True)],
)
def test_a_bound_stream_is_taken_once_and_closed_where_it_does_not_fit(
    alive: bool, elsewhere: bool, upgrade: bool
) -> None:
    bound, carrier = BoundStream(), cast(Any, Carrier(here := object(), alive=alive))
    tunnel = cast(Any, object() if elsewhere else here)
    assert bound.take(tunnel, upgrade=upgrade) is None
    bound.keep(carrier)
    fits = alive and not elsewhere and not upgrade
    assert bound.take(tunnel, upgrade=upgrade) is (carrier if fits else None)
    assert carrier.discarded == (0 if fits else 1)
    assert bound.take(tunnel, upgrade=upgrade) is None
    bound.close()
    assert carrier.discarded == (0 if fits else 1)


def test_a_bound_stream_closes_with_its_visitor() -> None:
    bound, carrier = BoundStream(), Carrier(object())
    bound.keep(cast(Any, carrier))
    bound.close()
    bound.close()
    assert carrier.discarded == 1
