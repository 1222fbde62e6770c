"""The options of a key while its connection lives. The gateway is in this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncssh
import pytest
from asyncssh.misc import ChannelOpenError

from access_stand_in import AccessStandIn
from ferry.limiters.penalties import Penalties
from ferry.limiters.sources import ExemptNetworks
from ferry.names import Fingerprint
from ferry.policy.keys import KeyLine
from ferry.protocol.key_options import parse_options
from ferry.ssh.host_names import HostNames
from hand_clock import HandClock
from inside_gateway import SECONDS, Inside, inside_gateway
from known_system import KNOWN
from raw_session import open_session
from turns import until


class OneLine(AccessStandIn):
    """Every key has the same line."""

    allows_keyless = False

    def __init__(self, options: str) -> None:
        self.line = line(options)

    def lines_of(self, _fingerprint: Fingerprint) -> Sequence[KeyLine]:
        return [self.line]


def line(options: str) -> KeyLine:
    return KeyLine(options=parse_options(options, KNOWN), file="/keys", number=3)


@asynccontextmanager
async def gateway_with(options: str, clock: HandClock | None = None) -> AsyncIterator[Inside]:
    async with asyncio.timeout(SECONDS), inside_gateway(clock=clock) as gateway:
        gateway.change(access=OneLine(options))
        yield gateway


async def test_an_expired_key_does_not_log_in_and_its_earlier_connection_stays(key: Path) -> None:
    """As in sshd."""
    clock = HandClock()
    soon = datetime.now(UTC) + timedelta(minutes=5)
    async with (
        gateway_with(f'expiry-time="{soon:%Y%m%d%H%M%SZ}"', clock) as gateway,
        gateway.client(key) as client,
    ):
        assert await client.forward(b"blog", 80)
        clock.ahead = 600
        with pytest.raises(asyncssh.PermissionDenied):
            async with gateway.client(key, kbdint_auth=False):
                pass
        [denied] = gateway.said("keys.denied")
        assert (denied["code"], denied["rule"]) == ("key_expired", "/keys, line 3: expiry-time")
        assert await client.lives()
        assert await client.forward(b"shop", 80)


async def test_new_options_close_what_they_do_not_allow_and_nothing_else(key: Path) -> None:
    async with gateway_with("") as gateway, gateway.client(key) as client:
        port = gateway.ports.loopback[0]
        for host, number in ((b"", port), (b"localhost", port + 1), (b"blog", 80)):
            assert await client.forward(host, number)
        [here] = gateway.clients
        here.use_key_line(line(f'permitlisten="localhost:{port + 1}"'))
        assert [str(tunnel.address) for tunnel in gateway.tunnels] == [f"port {port + 1}"]
        assert [closed["reason"] for closed in gateway.said("tunnel.closed")] == [
            f"{closed} was closed: your key may listen on localhost:{port + 1} only (permitlisten=), not on {asked}: "
            f"write -R {port + 1}:..."
            for closed, asked in ((f"port {port}", f"*:{port}"), ("blog.localhost", "blog:80"))
        ]
        assert await client.lives()
        assert not await client.forward(b"blog", 80)
        here.use_key_line(line("restrict"))
        await client.said_at_the_end()
        await until(lambda: gateway.said("connection.closed") != [])
        assert gateway.said("connection.closed")[0]["reason"].startswith(
            f"port {port + 1} was closed: your key may not forward anything (restrict)"
        )


async def test_a_refusal_has_the_file_and_the_line_in_the_log_alone(key: Path) -> None:
    async with gateway_with('permitlisten="localhost:22"') as gateway, gateway.client(key) as client:
        session = await open_session(client, 5000)
        assert session is not None
        assert await session.ask(b"shell")
        assert not await client.forward(b"", 80)
        [refused] = gateway.said("tunnel.refused")
        assert (refused["code"], refused["rule"]) == ("key_listen", "/keys, line 3: permitlisten")
        assert b"/keys" not in session.said


async def test_a_key_may_reach_what_its_line_says(key: Path) -> None:
    async with gateway_with('permitopen="desk:22"') as gateway, gateway.client(key) as client:
        refused = {}
        for name in ("desk", "laptop"):
            assert await client.forward(name.encode(), 22)
            try:
                await client.connection.open_connection(name, 22)
            except ChannelOpenError as error:
                refused[name] = error.reason
        assert refused["laptop"] == "your key may reach desk:22 only (permitopen=), not laptop:22"
        assert "desk" in gateway.said("tunnel.opened")[0]["address"]
        assert "your key" not in refused.get("desk", "")


@pytest.mark.parametrize(
    ("permit", "granted"),
    [("80", False), ("*", False), ("localhost:80", False), ('80",permitlisten="dev:80', True), ("*:80", True)],
)
async def test_a_login_name_takes_a_name_only_with_a_permit_for_it(key: Path, permit: str, *, granted: bool) -> None:
    """`ssh -R 80:... shop@gw` with another key of the identity would take shop over."""
    async with gateway_with("") as gateway, gateway.client(key, username="dev") as client:
        assert await client.forward(b"dev", 80)
        gateway.change(access=OneLine(f'permitlisten="{permit}"'))
        async with gateway.client(key, username="dev") as other:
            assert bool(await other.forward(b"localhost", 80)) is granted
        assert (gateway.said("tunnel.takeover") != []) is granted


async def test_new_options_close_a_name_that_the_login_name_gave(key: Path) -> None:
    async with gateway_with("") as gateway, gateway.client(key, username="dev") as client:
        assert await client.forward(b"dev", 80)
        async with gateway.client(key, username="dev") as other:
            assert await other.forward(b"", 80)
            [tunnel] = gateway.tunnels
            here = gateway.clients[-1]
            here.use_key_line(line('permitlisten="80"'))
            assert gateway.tunnels == []
            said = gateway.said("tunnel.closed")[-1]["reason"]
            assert "your key may listen on 80 only (permitlisten=), not on dev:80" in said
            assert 'ask the operator for permitlisten="dev:80"' in said
            assert tunnel.closed


class NoPlace(HostNames):
    """All its look-ups are taken."""

    asked = 0

    async def name_of(self, address: str) -> None:
        assert address == "127.0.0.1"
        self.asked += 1


@pytest.mark.parametrize(("listed", "asked", "offences"), [("*.example.com", 1, 0), ("10.0.0.0/8", 0, 1)])
async def test_a_client_whose_host_cannot_be_looked_up_now_may_come_again(
    key: Path, listed: str, asked: int, offences: int
) -> None:
    """Strangers can take the places of all look-ups: that is no offence of the others."""
    penalties, names = Penalties(ExemptNetworks(())), NoPlace()
    async with asyncio.timeout(SECONDS), inside_gateway(penalties=penalties) as gateway:
        gateway.change(access=OneLine(f'from="{listed}"'), host_names=names)
        with pytest.raises(asyncssh.DisconnectError) as caught:
            async with gateway.client(key, kbdint_auth=False):
                pass
        assert ("looks up too many names of hosts now" in str(caught.value)) is bool(asked)
        await until(lambda: gateway.said("handshake.ended") != [])
        assert (names.asked, len(penalties)) == (asked, offences)


@pytest.mark.parametrize(
    ("request_of", "port"), [(b"tcpip-forward", b"\0\0\0\0"), (b"streamlocal-forward@openssh.com", b"")]
)
async def test_a_key_with_permitlisten_opens_nothing_else(key: Path, request_of: bytes, port: bytes) -> None:
    """In sshd it opens any Unix socket."""
    from asyncssh.packet import String

    async with gateway_with('permitlisten="localhost:22"') as gateway, gateway.client(key) as client:
        granted, _ = await client.ask(request_of, String(b"/tmp/x.sock"), port)
        assert not granted
        assert gateway.tunnels == []


async def test_the_line_that_has_let_a_key_in_is_the_one_at_its_signature(key: Path) -> None:
    """Its options may have become stricter since the question."""

    class Stricter(OneLine):
        asked = 0

        def lines_of(self, _fingerprint: Fingerprint) -> Sequence[KeyLine]:
            self.asked += 1
            return [line("" if self.asked == 1 else "restrict")]

    async with asyncio.timeout(SECONDS), inside_gateway() as gateway:
        gateway.change(access=Stricter(""))
        async with gateway.client(key) as client:
            await until(lambda: len(gateway.clients) == 1)
            assert gateway.clients[0].key_line.options.forwards_off == "restrict"
            assert not await client.forward(b"blog", 80)
