"""Listeners: who answers where, and what a reload leaves open."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from pathlib import Path

import pytest

from ferry.config.model import Config
from ferry.gateway.worker import Worker
from ferry.names import Endpoint
from whole_gateway import LOOPBACK_FREE, config_of, whole_gateway

GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
UNCHECKED = ssl.create_default_context()
UNCHECKED.check_hostname, UNCHECKED.verify_mode = False, ssl.CERT_NONE


async def answer(where: Endpoint, asked: bytes, *, tls: bool = False) -> bytes:
    """The first line of the answer; empty without a listener or an answer."""
    try:
        reader, writer = await asyncio.open_connection(where.host, where.port, ssl=UNCHECKED if tls else None)
    except ConnectionRefusedError:
        return b""
    with contextlib.closing(writer):
        writer.write(asked)
        try:
            async with asyncio.timeout(20):
                return await reader.readline()
        except ConnectionResetError:
            return b""


async def whole_answer(where: Endpoint, asked: bytes) -> bytes:
    """The answer to its end."""
    reader, writer = await asyncio.open_connection(where.host, where.port)
    with contextlib.closing(writer):
        writer.write(asked)
        async with asyncio.timeout(20):
            return await reader.read()


async def use(worker: Worker, config: Config) -> None:
    """Listen where `config` says, as a reload does."""
    bound = await worker.listening.bind(config)
    worker.in_force.use(config)
    await worker.listening.serve(bound, worker.ssh)


async def test_each_listener_speaks_its_own_protocol(tmp_path: Path) -> None:
    config = config_of(tmp_path, https={"listen": LOOPBACK_FREE})
    async with whole_gateway(config) as worker:
        ((ssh,), (http,), (https,)) = (worker.listening.bound()[role] for role in ("ssh", "http", "https"))
        assert (await answer(ssh, b"SSH-2.0-x\r\n")).startswith(b"SSH-2.0-")
        assert (await answer(http, GET)).startswith(b"HTTP/1.1 ")
        assert (await answer(https, GET, tls=True)).startswith(b"HTTP/1.1 ")
        assert (await answer(https, b"SSH-2.0-x\r\n")).startswith(b"SSH-2.0-")
        assert (await answer(https, GET)).startswith(b"HTTP/1.1 30")


async def test_ssh_is_not_served_on_the_https_port_once_a_reload_has_turned_it_off(tmp_path: Path) -> None:
    https = {"listen": LOOPBACK_FREE}
    async with whole_gateway(config_of(tmp_path, https=https)) as worker:
        (where,) = worker.listening.bound()["https"]
        await use(worker, config_of(tmp_path, https=https | {"ssh": False}))
        assert await answer(where, b"SSH-2.0-x\r\n") == b"SSH-2.0-Ferry\r\n"
        assert b"this port does not serve SSH. Port " in await whole_answer(where, b"SSH-2.0-x\r\n")
        assert (await answer(where, GET, tls=True)).startswith(b"HTTP/1.1 ")


async def test_a_port_of_the_systems_choice_stays_the_same_one(tmp_path: Path) -> None:
    config = config_of(tmp_path)
    async with whole_gateway(config) as worker:
        before = worker.listening.bound()
        await use(worker, config)
        assert worker.listening.bound() == before
        assert (await answer(before["http"][0], GET)).startswith(b"HTTP/1.1 ")


@pytest.mark.parametrize("stays", range(3))
async def test_a_reload_closes_only_removed_listeners(tmp_path: Path, free_port: int, stays: int) -> None:
    places = [Endpoint("127.0.0.1", free_port), Endpoint("127.0.0.2", free_port), Endpoint("127.0.0.1", free_port + 1)]
    async with whole_gateway(config_of(tmp_path, http={"listen": [str(place) for place in places]})) as worker:
        await use(worker, config_of(tmp_path, http={"listen": [str(places[stays])]}))
        assert worker.listening.bound()["http"] == [places[stays]]
        answered = [bool(await answer(place, GET)) for place in places]
        assert answered == [number == stays for number in range(3)]
