"""The gateway as its operator sees it, and what he can end."""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncssh
import pytest

from ferry.console.models import ReloadedInfo
from ferry.console.state import NotReloaded
from ferry.gateway.worker import Worker
from ferry.limiters.penalties import Offence
from ferry.names import Address, ConnectionId, Fingerprint, IdentityId, Kind, TunnelId
from ferry.observe.metrics import TABLES
from ferry.registry.contract import Claimed, Terms
from turns import until
from whole_gateway import config_of, whole_gateway

BLOG = Address(Kind.HTTP, "blog.localhost")
STRANGER = "203.0.113.7"


def said(worker: Worker, event: str) -> int:
    return sum(each.name == event for each in worker.view.events.last())


async def connect(worker: Worker, key: Path) -> asyncssh.SSHClientConnection:
    (ssh,) = worker.listening.bound()["ssh"]
    return await asyncssh.connect(
        ssh.host, ssh.port, username="dev", client_keys=[str(key)], known_hosts=None, config=None, agent_path=None
    )


async def test_one_tunnel_is_closed_and_the_others_stay(tmp_path: Path, key: Path) -> None:
    async with whole_gateway(config_of(tmp_path)) as worker, await connect(worker, key) as client:
        for name in ("one", "two", "three"):
            await client.forward_remote_port(name, 80, "localhost", 9)
        two = next(tunnel for tunnel in worker.view.tunnels() if tunnel.address == "two.localhost")
        assert not await worker.view.close_tunnel(TunnelId("none"), "why")
        assert await worker.view.close_tunnel(TunnelId(two.id), "why")
        assert not await worker.view.close_tunnel(TunnelId(two.id), "why")
        assert sorted(tunnel.address for tunnel in worker.view.tunnels()) == ["one.localhost", "three.localhost"]


async def test_one_connection_is_closed_and_the_others_stay(tmp_path: Path, key: Path) -> None:
    async with whole_gateway(config_of(tmp_path)) as worker, await connect(worker, key) as stays:
        client = await connect(worker, key)
        first, second = worker.view.connections()
        assert not await worker.view.close_connection(ConnectionId("none"), "why")
        assert await worker.view.close_connection(ConnectionId(second.id), "why")
        await client.wait_closed()
        assert [connection.id for connection in worker.view.connections()] == [first.id]
        assert not stays.is_closed()


async def test_machines_are_those_behind_ports_on_loopback_and_aliases_with_port_22(tmp_path: Path, key: Path) -> None:
    async with whole_gateway(config_of(tmp_path)) as worker, await connect(worker, key) as client:
        for name, port in (("laptop", 22), ("laptop", 80), ("desk", 5432), ("", 21007), ("", 30007)):
            await client.forward_remote_port(name, port, "localhost", 9)
        found = await worker.view.reachable()
        assert [(one.host, one.hostname, one.port, one.up) for one in found.machines] == [
            ("laptop", "laptop", 22, True),
            ("port-21007", "localhost", 21007, True),
        ]
        assert found.gateway.hostname == "localhost"
        client.abort()
        await until(lambda: not list(worker.tunnels))
        assert not any(one.up for one in (await worker.view.reachable()).machines)
        assert [one.host for one in (await worker.view.reachable()).machines] == ["laptop", "port-21007"]


async def test_an_address_is_unblocked_and_reported_once(tmp_path: Path) -> None:
    async with whole_gateway(config_of(tmp_path)) as worker:
        assert not worker.view.unblock(STRANGER)
        for _ in range(100):
            worker.ssh.admission.penalties.add_offence(STRANGER, Offence.NEVER_ENDED, worker.clock.monotonic())
        assert [one.address for one in worker.view.blocked()] == [STRANGER]
        assert [worker.view.unblock(STRANGER) for _ in range(2)] == [True, False]
        assert worker.view.blocked() == []
        assert said(worker, "address.unblocked") == 1


async def test_a_gateway_that_starts_or_stops_is_not_reloaded(tmp_path: Path) -> None:
    async def reload() -> ReloadedInfo:
        return ReloadedInfo(changed=[], needs_restart=[], policy=None, mistakes=[], more_mistakes=0, notes=[])

    async with whole_gateway(config_of(tmp_path)) as worker:
        with pytest.raises(NotReloaded, match="the gateway is starting"):
            await worker.view.reload()
        worker.view.reloader = reload
        assert await worker.view.reload() == await reload()
        assert not worker.view.status().draining
        worker.view.start_drain()
        assert worker.view.status().draining
        with pytest.raises(NotReloaded, match="the gateway is stopping"):
            await worker.view.reload()


async def test_a_name_is_freed_once_and_that_is_told_once(tmp_path: Path, key: Path) -> None:
    async with whole_gateway(config_of(tmp_path)) as worker:
        async with await connect(worker, key) as client:
            await client.forward_remote_port("blog", 80, "localhost", 9)
            (name,) = await worker.view.names(None)
            owner = IdentityId(name.owner)
            assert (name.address, name.live) == (BLOG.name, True)
        assert not await worker.view.free(BLOG, IdentityId("somebody else"))
        assert [await worker.view.free(BLOG, owner) for _ in range(2)] == [True, False]
        assert await worker.view.names(None) == []
        assert said(worker, "name.freed") == 1


@pytest.mark.parametrize("reserved", [False, True])
async def test_a_reserved_name_is_not_a_free_one(tmp_path: Path, *, reserved: bool) -> None:
    """Who visits it is told to come back: its tunnel may."""
    async with whole_gateway(config_of(tmp_path)) as worker:
        if reserved:
            kept, now = worker.kept, worker.clock.now()
            owner = await kept.identities.identity_for_key(Fingerprint("SHA256:x"), "ssh-ed25519", None, now=now)
            terms = Terms(keep=100.0, rest=0.0, reserve=True, derived=False, max_reservations=9)
            claimed = await kept.registry.claim(BLOG, owner, kept.worker, now=now, terms=terms)
            assert isinstance(claimed, Claimed)
            await kept.registry.release(BLOG, claimed.lease.generation, now=now)
        (http,) = worker.listening.bound()["http"]
        reader, writer = await asyncio.open_connection(http.host, http.port)
        async with asyncio.timeout(20):
            writer.write(b"GET / HTTP/1.1\r\nHost: blog.localhost\r\n\r\n")
            line = await reader.readline()
        writer.close()
        assert line.split()[1] == (b"503" if reserved else b"404")


async def test_the_metrics_show_visitors_over_http_and_idle_streams(tmp_path: Path, key: Path) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await reader.read()
        writer.close()

    service = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with (
        service,
        whole_gateway(config_of(tmp_path, limits={"exempt": []})) as worker,
        await connect(worker, key) as client,
    ):
        await client.forward_remote_port("blog", 80, "127.0.0.1", service.sockets[0].getsockname()[1])
        (http,) = worker.listening.bound()["http"]
        value = worker.view.metrics.get_sample_value
        assert (value("ferry_http_connections"), value("ferry_idle_streams")) == (0, 0)
        reader, writer = await asyncio.open_connection(http.host, http.port)
        writer.write(b"GET / HTTP/1.1\r\nHost: blog.localhost\r\n\r\n")
        assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200 ")
        assert (value("ferry_http_connections"), value("ferry_idle_streams")) == (1, 1)
        tables = {table: value("ferry_table_entries", {"table": table}) for table in TABLES}
        assert tables == {"addresses": 1, "offenders": 0, "unidentified": 0, "certificates": 0}
        writer.close()
