"""The API through real sockets: the control socket with its permissions, and the admin addresses."""

from __future__ import annotations

import asyncio
import http.client
import json
import shutil
import signal
import socket
import stat
import subprocess
from contextlib import AsyncExitStack, ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
import uvloop

from ferry.cli import locate
from ferry.clock import SystemClock
from ferry.console.models import TunnelInfo
from ferry.console.rebinding import is_loopback_authority
from ferry.console.server import _served, serving
from ferry.console.sockets import CONTROL_SOCKET, prepare_state_folder
from ferry.errors import StartupError
from ferry.names import Endpoint
from ferry.observe.events import EventRing, TooManySubscribers
from ferry_command import clean_environment
from small_gateway import SmallGateway
from turns import until

LOOPBACK = Endpoint("127.0.0.1", 0)
EVENT_SUBSCRIBERS = 32


class Answer:
    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


async def ask(where: Path | Endpoint, path: str, method: str = "GET", headers: dict[str, str] | None = None) -> Answer:
    def blocking() -> Answer:
        host = "127.0.0.1:1" if isinstance(where, Path) else str(where)
        connection = http.client.HTTPConnection(host, timeout=5)
        if isinstance(where, Path):
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.connect(str(where / CONTROL_SOCKET))
        try:
            connection.request(method, path, headers=headers or {})
            return Answer(connection.getresponse())
        finally:
            connection.close()

    return await asyncio.to_thread(blocking)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state"


async def test_everything_is_answered_on_the_control_socket(folder: Path) -> None:
    gateway = SmallGateway()
    async with serving(gateway, folder, []) as bound:
        assert bound == []
        status = (await ask(folder, "/api/v1/status")).json
        assert (status["domain"], status["started"]) == ("example.com", "2023-11-14T22:13:20.000Z")
        assert [t["id"] for t in (await ask(folder, "/api/v1/tunnels")).json] == ["t1aa", "t2bb", "t3cc", "t4dd"]
        assert [s["id"] for s in (await ask(folder, "/api/v1/connections")).json] == ["s1", "s2"]
        assert len((await ask(folder, "/api/v1/names")).json) == 2
        assert [n["key"] for n in (await ask(folder, "/api/v1/names?identity=i2")).json] == ["tcp::30042"]
        assert (await ask(folder, "/health")).json == {
            "status": "ok",
            "store": "ok",
            "audit": "ok",
            "policy": "none",
            "config": "ok",
            "access": "ok",
            "tunnels": 4,
        }
        document = (await ask(folder, "/api/v1/openapi.json")).json
        assert {"/api/v1/status", "/api/v1/events", "/api/v1/tunnels/{target}"} <= set(document["paths"])


async def test_closing_and_freeing(folder: Path) -> None:
    gateway = SmallGateway()
    async with serving(gateway, folder, []):
        closed = await ask(folder, "/api/v1/tunnels/https%3A%2F%2Fblog.example.com%2Fx", "DELETE")
        assert closed.json["address"] == "blog.example.com"
        assert [t.id for t in gateway.open_tunnels] == ["t2bb", "t3cc", "t4dd"]
        assert (await ask(folder, "/api/v1/connections/s2", "DELETE")).json["what"] == "connection"
        assert gateway.told == ["closed by the operator"] * 2
        assert (await ask(folder, "/api/v1/names/tcp%3A%3A30042", "DELETE")).json["id"] == "tcp::30042"
        assert [n.key for n in gateway.reserved] == ["http:blog.example.com"]


@pytest.mark.parametrize(
    ("method", "path", "status", "error", "fix"),
    [
        ("DELETE", "/api/v1/tunnels/blgo", 404, "no tunnel is called 'blgo'", "did you mean blog?"),
        ("DELETE", "/api/v1/tunnels/laptop", 409, "'laptop' means 2 tunnels", "write which: laptop:22 (t3cc), laptop:80 (t4dd)"),
        ("DELETE", "/api/v1/connections/x", 404, "no connection is called 'x'", "there are: s1, s2"),
        ("GET", "/api/v1/nothing", 404, "Not Found", "the paths and their parameters are in /api/v1/openapi.json"),
        ("POST", "/api/v1/status", 405, "Method Not Allowed", "the paths and their parameters are in /api/v1/openapi.json"),
        ("GET", "/api/v1/events?last=many", 422, "query.last: Input should be a valid integer, unable to parse string as an integer", "the paths and their parameters are in /api/v1/openapi.json"),
    ],
)  # fmt: skip
async def test_problems_say_what_to_do(folder: Path, method: str, path: str, status: int, error: str, fix: str) -> None:
    async with serving(SmallGateway(), folder, []):
        answer = await ask(folder, path, method)
        assert answer.status == status
        assert answer.json == {"error": error, "fix": fix}


async def test_without_the_database_names_are_503_and_health_is_degraded(folder: Path) -> None:
    async with serving(SmallGateway(store_error="disk I/O error"), folder, []):
        answer = await ask(folder, "/api/v1/names")
        assert (answer.status, answer.json["error"]) == (503, "the database cannot be used at the moment")
        health = await ask(folder, "/health")
        assert (health.status, health.json["status"], health.json["store"]) == (200, "degraded", "failed")


async def test_admin_addresses_serve_metrics_and_health_and_nothing_else(folder: Path) -> None:
    gateway = SmallGateway()
    async with serving(gateway, folder, [LOOPBACK, Endpoint("::1", 0)]) as bound:
        for where in bound:
            metrics = await ask(where, "/metrics")
            assert metrics.headers["content-type"].startswith("text/plain; version=")
            assert b'ferry_build_info{python="' in metrics.body
            assert (await ask(where, "/api/v1/tunnels")).status == 404
            assert (await ask(where, "/openapi.json")).status == 404
        gateway.draining = True
        health = await ask(bound[0], "/health")
        assert (health.status, health.json["status"]) == (503, "draining")
        assert "server" not in health.headers


class StillClock(SystemClock):
    """One whose time of day a test sets."""

    seconds = 784_111_777.0

    def now(self) -> float:
        return self.seconds


async def test_every_answer_has_the_date_of_its_moment(folder: Path) -> None:
    """RFC 9110 §6.6.1: an origin server with a clock MUST send it."""
    clock = StillClock()
    async with serving(SmallGateway(clock=clock), folder, [LOOPBACK]) as (where,):
        for seconds, date in ((784_111_777.0, "06 Nov 1994 08:49:37"), (784_115_400.5, "06 Nov 1994 09:50:00")):
            clock.seconds = seconds
            answers = [
                await ask(where, "/metrics"),
                await ask(where, "/health"),
                await ask(where, "/nothing"),
                await ask(where, "/metrics", "POST"),
                await ask(where, "/metrics", headers={"Host": "evil.example"}),
                await ask(where, "/metrics", headers={"Content-Length": "none"}),
                await ask(folder, "/api/v1/status"),
                await ask(folder, "/api/v1/connections/x", "DELETE"),
            ]
            assert [answer.status for answer in answers] == [200, 200, 404, 405, 403, 400, 200, 404]
            assert [answer.headers.get_all("date") for answer in answers] == [[f"Sun, {date} GMT"]] * len(answers)


async def test_a_rebound_name_is_refused(folder: Path) -> None:
    async with serving(SmallGateway(), folder, [LOOPBACK]) as (where,):
        refused = await ask(where, "/metrics", headers={"Host": f"evil.example:{where.port}"})
        assert (refused.status, refused.json["error"]) == (403, "this address answers to loopback names only")
        assert (await ask(where, "/metrics", headers={"Host": "localhost"})).status == 200


@pytest.mark.parametrize(
    "head",
    [b"HTTP/1.1\r\nHost: localhost\r\nHost: evil.example", b"HTTP/1.1\r\nHost: evil\r\nHost: localhost", b"HTTP/1.0"],
)
async def test_a_request_without_exactly_one_host_field_gets_no_answer(folder: Path, head: bytes) -> None:
    async with serving(SmallGateway(), folder, [LOOPBACK]) as (where,), asyncio.timeout(10):
        reader, writer = await asyncio.open_connection(where.host, where.port)
        writer.write(b"GET /metrics " + head + b"\r\nConnection: close\r\n\r\n")
        answer = await reader.read()
        writer.close()
    assert answer.split()[1] == b"403"


@pytest.mark.parametrize(
    ("authority", "answered"),
    [
        ("localhost", True), ("LOCALHOST:9380", True), ("127.0.0.1", True), ("127.8.8.8:1", True), ("[::1]:9380", True),
        ("[::1]", True), ("", False), ("localhost.evil.example", False), ("10.0.0.1", False), ("127.0.0.1.evil.example:80", False),
        ("localhost:80:80", False), ("[::2]", False),
    ],
)  # fmt: skip
def test_loopback_authorities(authority: str, answered: bool) -> None:
    assert is_loopback_authority(authority) is answered


def may_follow(events: EventRing) -> bool:
    """Whether one more subscriber gets in."""
    with suppress(TooManySubscribers), events.subscribe():
        return True
    return False


async def test_events_begin_with_the_past_and_follow(folder: Path) -> None:
    gateway = SmallGateway()
    gateway.events.add(0, 20, "one", {})
    gateway.events.add(0, 20, "two", {"text": "\x1b[2J\n"})
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(serving(gateway, folder, []))
        past = await ask(folder, "/api/v1/events?last=1")
        assert past.headers["content-type"] == "application/x-ndjson"
        assert [json.loads(line)["text"] for line in past.body.splitlines()] == ["\\x1b[2J\\n"]
        for _ in range(EVENT_SUBSCRIBERS - 1):
            stack.enter_context(gateway.events.subscribe())
        reader, writer = await asyncio.open_unix_connection(str(folder / CONTROL_SOCKET))
        writer.write(b"GET /api/v1/events?follow=true HTTP/1.1\r\nHost: localhost\r\n\r\n")
        head_and_past = await reader.readuntil(b'"two"')
        assert b'"one"' in head_and_past
        gateway.events.add(0, 20, "three", {})
        async with asyncio.timeout(5):
            assert b"three" in await reader.readuntil(b'"three"')
        assert not may_follow(gateway.events)
        # The follower leaves, and its place becomes free without an event having to fail first.
        writer.close()
        await until(lambda: may_follow(gateway.events))


async def test_followers_end_when_the_gateway_stops(folder: Path) -> None:
    gateway = SmallGateway()
    async with serving(gateway, folder, []):
        reader, writer = await asyncio.open_unix_connection(str(folder / CONTROL_SOCKET))
        writer.write(b"GET /api/v1/events?follow=true HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
    rest = await reader.read()
    assert rest.endswith(b"0\r\n\r\n")  # a clean end, RFC 9112 §7.1
    writer.close()


async def test_too_many_followers_are_refused_with_a_status(folder: Path) -> None:
    gateway = SmallGateway()
    gateway.events = type(gateway.events)(subscribers=0)
    async with serving(gateway, folder, []):
        answer = await ask(folder, "/api/v1/events?follow=true")
        assert (answer.status, answer.json["error"]) == (403, "0 readers follow the events already: end one of them")


async def test_permissions_and_that_the_socket_goes_with_the_gateway(folder: Path) -> None:
    path = folder / CONTROL_SOCKET
    async with serving(SmallGateway(), folder, []):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not path.exists()
    assert CONTROL_SOCKET == locate.CONTROL_SOCKET


async def test_a_stale_socket_is_replaced_and_a_live_one_is_not(folder: Path) -> None:
    folder.mkdir(0o700)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(folder / CONTROL_SOCKET))
    async with serving(SmallGateway(), folder, []):
        with pytest.raises(StartupError, match="a gateway runs already"):
            async with serving(SmallGateway(), folder, []):
                pass
        assert (await ask(folder, "/health")).status == 200  # the first one is unharmed


async def test_a_gateway_that_is_too_busy_to_accept_runs(folder: Path) -> None:
    folder.mkdir(0o700)
    with ExitStack() as stack:
        busy = stack.enter_context(socket.socket(socket.AF_UNIX))
        busy.bind(str(folder / CONTROL_SOCKET))
        busy.listen(0)
        for _ in range(2):  # a queue of no length has room for one
            waiting = stack.enter_context(socket.socket(socket.AF_UNIX))
            waiting.setblocking(False)
            waiting.connect_ex(str(folder / CONTROL_SOCKET))
        with pytest.raises(StartupError, match="a gateway runs already"):
            async with serving(SmallGateway(), folder, []):
                pass


async def test_a_successors_socket_is_left_alone(folder: Path) -> None:
    path = folder / CONTROL_SOCKET
    async with serving(SmallGateway(), folder, []):
        path.unlink()
        path.write_text("somebody else's")
    assert path.read_text() == "somebody else's"


async def test_a_deep_folder_works(tmp_path: Path) -> None:
    """A Unix socket's own path ends at 107 bytes."""
    folder = tmp_path / ("d" * 120)
    async with serving(SmallGateway(), folder, []):
        locate.connect_control(folder).close()


def test_a_folder_open_to_others_is_refused_with_the_command_to_type(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o755)
    with pytest.raises(StartupError, match=r"mode 755.*type chmod 700 "):
        prepare_state_folder(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755


async def test_an_admin_port_in_use_names_the_setting_and_leaves_nothing_behind(folder: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = Endpoint("127.0.0.1", other.getsockname()[1])
        with pytest.raises(StartupError, match=rf"admin.listen: 127.0.0.1:{taken.port} cannot be listened on"):
            async with serving(SmallGateway(), folder, [taken]):
                pass
    assert not (folder / CONTROL_SOCKET).exists()


async def test_signals_stay_the_gateways(folder: Path) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    async with serving(SmallGateway(), folder, [LOOPBACK]):
        assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


async def test_curl_understands_it(folder: Path) -> None:
    curl = shutil.which("curl")
    assert curl, "the tests need curl"
    async with serving(SmallGateway(), folder, []):
        command = [curl, "-q", "-sS", "--unix-socket", str(folder / CONTROL_SOCKET), "http://localhost/api/v1/status"]
        result = await asyncio.to_thread(
            subprocess.run, command, capture_output=True, check=True, timeout=10, env=clean_environment()
        )
    assert json.loads(result.stdout)["pid"] == 4711


def test_it_serves_on_uvloop_too(folder: Path) -> None:
    """Which takes a Unix socket through `create_server` by its descriptor."""

    async def main() -> None:
        async with serving(SmallGateway(), folder, [LOOPBACK]) as (where,):
            assert (await ask(folder, "/api/v1/status")).status == 200
            assert (await ask(where, "/health")).status == 200

    uvloop.run(main())
    assert not (folder / CONTROL_SOCKET).exists()


async def test_a_bug_is_answered_and_logged(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(SmallGateway):
        def tunnels(self) -> list[TunnelInfo]:
            raise RuntimeError("the bug")

    async with serving(Broken(), folder, []):
        answer = await ask(folder, "/api/v1/tunnels")
    assert (answer.status, answer.json["error"]) == (500, "the gateway failed to answer: this is a bug")
    assert "RuntimeError: the bug" in caplog.text


async def test_a_failed_import_is_tried_again_at_the_next_connection() -> None:
    tries = asyncio.Queue[None]()

    def broken() -> Any:
        tries.put_nowait(None)
        raise ImportError("replaced on disk")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        async with asyncio.timeout(20), _served("a socket", [listener], broken):
            for _ in range(2):
                reader, writer = await asyncio.open_connection(*listener.getsockname())
                assert await reader.read() == b""
                writer.close()
    assert tries.qsize() >= 2
