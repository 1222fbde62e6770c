"""An unread log and a full disk do not disturb visits."""

from __future__ import annotations

import asyncio
import http.client
import os
import resource
import shutil
import socket
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

from asyncssh.constants import MSG_DEBUG

from ferry_command import PROGRAM, clean_environment
from gateway_process import Gateway
from looks import until
from origin_server import Origin
from raw_client import RawClient, raw_client
from small_disk import OnSmallDisk, fill, needs_a_disk
from web_client import visit

LOG_QUEUE = 10_000
SECONDS = 30
LINES = LOG_QUEUE + 3000
"""More than queue, batch and pipe hold."""


@contextmanager
def with_unread_pipe(gateway: Gateway) -> Iterator[None]:
    """The gateway with standard output and error into one unread pipe."""
    reader, writer = os.pipe()
    process = subprocess.Popen(
        [PROGRAM, "serve", "--config", gateway.write_config()],
        env=clean_environment(HOME=str(gateway.folder)), cwd=gateway.folder,
        stdin=subprocess.DEVNULL, stdout=writer, stderr=writer,
    )  # fmt: skip
    os.close(writer)
    try:
        deadline = time.monotonic() + SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", gateway.ports.http)).close()
                break
            except ConnectionRefusedError:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        yield
        process.terminate()
        assert process.wait(SECONDS) == 0  # not even its end waits for the reader
    finally:
        process.kill()
        process.wait(SECONDS)
        os.close(reader)
        gateway.close()


def refused_visits(gateway: Gateway, count: int) -> int:
    """Ask the gateway itself, a hundred times a write: a log line each. How many were answered."""
    answered = 0
    for _ in range(count // 100):
        with socket.create_connection(("127.0.0.1", gateway.ports.http), timeout=SECONDS) as visitor:
            head = b"GET /x HTTP/1.1\r\nHost: localhost\r\nAccept: text/plain\r\n"
            visitor.sendall((head + b"\r\n") * 99 + head + b"Connection: close\r\n\r\n")
            answer = b""
            while data := visitor.recv(65536):
                answer += data
        answered += answer.count(b"HTTP/1.1 404 ")
    return answered


def dropped(gateway: Gateway) -> float:
    connection = http.client.HTTPConnection("127.0.0.1", gateway.ports.admin, timeout=SECONDS)
    with closing(connection):
        connection.request("GET", "/metrics")
        page = connection.getresponse().read().decode()
    (line,) = [line for line in page.splitlines() if line.startswith("ferry_log_dropped_total ")]
    return float(line.split()[1])


def test_an_unread_log_loses_lines_and_stops_nothing_else(tmp_path: Path, key: Path, origin: Origin, name: str) -> None:
    gateway = Gateway(tmp_path, {"log": {"lines_per_source": 1_000_000}})  # its budgets would keep it from being full
    with with_unread_pipe(gateway):
        ssh = gateway.ssh(tmp_path, key).start("-T", "-R", f"{name}:80:127.0.0.1:{origin.port}")
        try:
            ssh.line("^Forwarding HTTP")
            assert dropped(gateway) == 0
            assert refused_visits(gateway, LINES) == LINES
            assert dropped(gateway) > 0
            assert visit(gateway, name).text == "origin"
            assert gateway.ask("status")["counts"]["tunnels"]["http"] == 1
        finally:
            ssh.close()


async def refused_and_told(client: RawClient, name: bytes) -> str:
    """Why a forward was refused, which the connection outlives."""
    told: asyncio.Queue[str] = asyncio.Queue()

    def debug(packet: Any) -> None:
        packet.get_boolean()
        told.put_nowait(packet.get_string().decode())

    client.on(MSG_DEBUG, debug)
    assert not await client.forward(name, 80)
    assert await client.lives()
    return told.get_nowait()


def lease_of(state: Path, address: str) -> int:
    """The generation of an address in the database; 0 if it has none. SQLite cannot be led into another mount namespace:
    the database is copied. A checkpoint between the two copies hides its newest rows from us."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("ferry.db", "ferry.db-wal"):
            shutil.copy(state / name, folder)
        with closing(sqlite3.connect(Path(folder, "ferry.db"))) as connection:
            found = connection.execute("SELECT generation FROM leases WHERE address = ?", (address,)).fetchone()
    return int(found[0]) if found else 0


@needs_a_disk
async def test_a_full_disk_refuses_new_names_says_so_and_recovers(
    new_key: Callable[[], Path], tmp_path: Path, origin: Origin
) -> None:
    gateway = OnSmallDisk(tmp_path)
    with closing(gateway):
        gateway.start()
        stranger, owner = gateway.ssh(tmp_path, new_key()), gateway.ssh(tmp_path, new_key())
        async with raw_client(gateway, new_key()) as client:
            with owner.start("-T", "-R", f"here:80:127.0.0.1:{origin.port}") as ssh:
                ssh.line("^Forwarding HTTP")
                before = lease_of(gateway.disk, "http:here.localhost")
                filler = fill(gateway.disk)
                told = await refused_and_told(client, b"new")
                assert "the gateway's disk is full: tunnels that are up stay up" in told
                assert str(tmp_path) not in told
                assert gateway.event("store.failed")["error"] == "database or disk is full"
                refused = stranger.run("-N", "-R", f"there:80:127.0.0.1:{origin.port}")
                assert refused.code == 255
                assert "the gateway's disk is full; retry-after=30" in refused.err
                assert visit(gateway, "here").text == "origin"
                assert visit(gateway, "nobody").status == 404  # the database can still be read
            until(lambda: visit(gateway, "here").status == 503)
            with owner.start("-T", "-R", f"here:80:127.0.0.1:{origin.port}") as ssh:  # who is known comes back
                ssh.line("^Forwarding HTTP traffic from http://here.localhost")
                assert visit(gateway, "here").text == "origin"
                assert "belongs to somebody else" in await refused_and_told(client, b"here")
                assert lease_of(gateway.disk, "http:here.localhost") == before
                filler.unlink()
                gateway.event("store.recovered")
                until(lambda: lease_of(gateway.disk, "http:here.localhost") > before)
                assert "belongs to somebody else" in await refused_and_told(client, b"here")
                assert await client.forward(b"new", 80)
                assert visit(gateway, "here").text == "origin"
            assert gateway.running.err.text.count("store.recovered") == 1
        gateway.stop()


@needs_a_disk
def test_a_start_on_a_full_disk_says_so(tmp_path: Path) -> None:
    gateway = OnSmallDisk(tmp_path)
    with closing(gateway):
        fill(gateway.disk)
        child = gateway.launch()
        assert child.exit_code() == 3
        assert "ferry.db cannot be opened, for its disk is full: make room, and start again" in child.err.text


@contextmanager
def no_writes(gateway: Gateway) -> Iterator[None]:
    """No file of the gateway's may grow, or be written to at all, as under a quota."""
    pid = gateway.running.process.pid
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))


async def test_a_disk_that_takes_no_writes_refuses_new_names_and_recovers(
    start_gateway: Callable[..., Gateway], new_key: Callable[[], Path], tmp_path: Path, origin: Origin
) -> None:
    gateway = start_gateway()
    stranger, owner = gateway.ssh(tmp_path, new_key()), gateway.ssh(tmp_path, new_key())
    forward = ("-T", "-R", f"here:80:127.0.0.1:{origin.port}")
    async with raw_client(gateway, new_key()) as client:
        with owner.start(*forward) as ssh, ExitStack() as stack:
            ssh.line("^Forwarding HTTP")
            before = lease_of(gateway.state, "http:here.localhost")
            with no_writes(gateway):
                assert "the gateway cannot write to its database" in await refused_and_told(client, b"new")
                assert gateway.event("store.failed")["error"]
                assert not gateway.ask("status")["store"]["ok"]
                refused = stranger.run("-N", "-R", f"there:80:127.0.0.1:{origin.port}")
                assert refused.code == 255
                assert "the gateway cannot write to its database; retry-after=30" in refused.err
                assert visit(gateway, "here").text == "origin"
                newer = stack.enter_context(owner.start(*forward))  # as after a broken line
                newer.line("^Forwarding HTTP")
                ssh.line("was taken over")
                assert visit(gateway, "here").text == "origin"
            gateway.event("store.recovered")
            assert gateway.ask("status")["store"]["ok"]
            until(lambda: lease_of(gateway.state, "http:here.localhost") > before)
            assert await client.forward(b"new", 80)
            assert visit(gateway, "here").text == "origin"


async def test_a_name_left_while_nothing_can_be_written_is_given_back_later(
    start_gateway: Callable[..., Gateway], new_key: Callable[[], Path], tmp_path: Path, origin: Origin
) -> None:
    gateway = start_gateway()
    owner = gateway.ssh(tmp_path, new_key())
    async with raw_client(gateway, new_key()) as client:
        with owner.start("-T", "-R", f"left:80:127.0.0.1:{origin.port}") as ssh:
            ssh.line("^Forwarding HTTP")
            with no_writes(gateway):
                ssh.close()
                gateway.event("store.failed")
        gateway.event("store.recovered")
        assert "belongs to somebody else" in await refused_and_told(client, b"left")  # it is reserved
        assert owner.run(words="release left").code == 0
        async with asyncio.timeout(SECONDS):
            while not await client.forward(b"left", 80):
                await asyncio.sleep(0.1)  # it is given back within a second or two
