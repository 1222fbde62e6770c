"""The gateway as its operator sees it, and what he can end."""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncssh
import pytest

from ferry.limiters.penalties import Offence
from ferry.names import Address, Fingerprint, IdentityId, Kind, SessionId, TunnelId
from ferry.parts import Parts
from ferry.registry.contract import Claimed, Terms
from whole_gateway import config_of, whole_gateway

BLOG = Address(Kind.HTTP, "blog.localhost")
STRANGER = "203.0.113.7"


def said(parts: Parts, event: str) -> int:
    return sum(each.name == event for each in parts.observation.events.last())


async def connect(parts: Parts, key: Path) -> asyncssh.SSHClientConnection:
    (ssh,) = parts.listening.bound()["ssh"]
    return await asyncssh.connect(
        ssh.host, ssh.port, username="dev", client_keys=[str(key)], known_hosts=None, config=None, agent_path=None
    )


async def test_one_tunnel_is_closed_and_the_others_stay(tmp_path: Path, key: Path) -> None:
    async with whole_gateway(config_of(tmp_path)) as parts, await connect(parts, key) as client:
        for name in ("one", "two", "three"):
            await client.forward_remote_port(name, 80, "localhost", 9)
        two = next(tunnel for tunnel in parts.view.tunnels() if tunnel.address == "two.localhost")
        assert not await parts.view.close_tunnel(TunnelId("none"), "why")
        assert await parts.view.close_tunnel(TunnelId(two.id), "why")
        assert not await parts.view.close_tunnel(TunnelId(two.id), "why")
        assert sorted(tunnel.address for tunnel in parts.view.tunnels()) == ["one.localhost", "three.localhost"]


async def test_one_connection_is_closed_and_the_others_stay(tmp_path: Path, key: Path) -> None:
    async with whole_gateway(config_of(tmp_path)) as parts, await connect(parts, key) as stays:
        client = await connect(parts, key)
        first, second = parts.view.sessions()
        assert not await parts.view.close_session(SessionId("none"), "why")
        assert await parts.view.close_session(SessionId(second.id), "why")
        await client.wait_closed()
        assert [session.id for session in parts.view.sessions()] == [first.id]
        assert not stays.is_closed()


async def test_an_address_is_unblocked_once_and_that_is_told_once(tmp_path: Path) -> None:
    async with whole_gateway(config_of(tmp_path)) as parts:
        assert not parts.view.unblock(STRANGER)
        for _ in range(100):
            parts.front.admission.penalties.offended(STRANGER, Offence.NEVER_ENDED, parts.clock.monotonic())
        assert [one.address for one in parts.view.blocked()] == [STRANGER]
        assert [parts.view.unblock(STRANGER) for _ in range(2)] == [True, False]
        assert parts.view.blocked() == []
        assert said(parts, "address.unblocked") == 1


async def test_a_name_is_freed_once_and_that_is_told_once(tmp_path: Path, key: Path) -> None:
    async with whole_gateway(config_of(tmp_path)) as parts:
        async with await connect(parts, key) as client:
            await client.forward_remote_port("blog", 80, "localhost", 9)
            (name,) = await parts.view.names(None)
            owner = IdentityId(name.owner)
            assert (name.address, name.live) == (BLOG.name, True)
        assert not await parts.view.free(BLOG, IdentityId("somebody else"))
        assert [await parts.view.free(BLOG, owner) for _ in range(2)] == [True, False]
        assert await parts.view.names(None) == []
        assert said(parts, "name.freed") == 1


@pytest.mark.parametrize("reserved", [False, True])
async def test_a_name_that_is_somebodys_is_not_one_that_nobody_has(tmp_path: Path, *, reserved: bool) -> None:
    """Who visits it is told to come back: its tunnel may."""
    async with whole_gateway(config_of(tmp_path)) as parts:
        if reserved:
            kept, now = parts.kept, parts.clock.now()
            owner = await kept.people.identity_for_key(Fingerprint("SHA256:x"), "ssh-ed25519", None, now)
            terms = Terms(keep=100.0, rest=0.0, reserve=True, derived=False, max_reservations=9)
            claimed = await kept.registry.claim(BLOG, owner, kept.worker, now=now, terms=terms)
            assert isinstance(claimed, Claimed)
            await kept.registry.release(BLOG, claimed.lease.generation, now=now)
        (http,) = parts.listening.bound()["http"]
        reader, writer = await asyncio.open_connection(http.host, http.port)
        async with asyncio.timeout(20):
            writer.write(b"GET / HTTP/1.1\r\nHost: blog.localhost\r\n\r\n")
            line = await reader.readline()
        writer.close()
        assert line.split()[1] == (b"503" if reserved else b"404")
