"""The call paths of docs/architecture.md are those of a running gateway."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import asyncssh
import pytest

from call_trace import recorded_calls
from ferry import limits
from ferry.gateway.wiring import http_bounds_of
from turns import timers
from whole_gateway import LOOPBACK_FREE, config_of, whole_gateway

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "ferry"
PAGE = (ROOT / "docs" / "architecture.md").read_text("utf-8")
SECONDS = 20
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

SECTIONS = ("The life of a log-in", "The life of a forward", "The life of a takeover", "The life of a request")
PATHS = (*SECTIONS, "a visit of a port", "a visit of an alias")

LEFT_OUT = frozenset(
    [
        "amounts.py",
        "callbacks.py",
        "clock.py",
        "config/model.py",
        "edge/http/dates.py",
        "edge/http/pace.py",
        "edge/http/round.py",
        "edge/listeners.py",
        "edge/tcp_visitor.py",
        "hostnames.py",
        "kinds/alias.py",
        "kinds/base.py",
        "kinds/derived.py",
        "kinds/rules.py",
        "limiters/budgets.py",
        "limiters/origins.py",
        "limiters/rate.py",
        "limiters/source_queue.py",
        "limiters/sources.py",
        "limiters/spacings.py",
        "names.py",
        "observe/batches.py",
        "observe/budgeted.py",
        "observe/events.py",
        "observe/levels.py",
        "observe/metric_families.py",
        "observe/metrics.py",
        "observe/render.py",
        "observe/sources.py",
        "observe/sums.py",
        "observe/texts.py",
        "observe/writer.py",
        "protocol/authorized_keys.py",
        "protocol/habits.py",
        "protocol/http1/authority.py",
        "protocol/http1/rules.py",
        "protocol/http1/serialize.py",
        "protocol/words.py",
        "registry/rules.py",
        "report.py",
        "ssh/display/keys.py",
        "ssh/display/output.py",
        "ssh/display/sentences.py",
        "ssh/display/terminal.py",
        "ssh/refusals.py",
        "ssh/wire/endings.py",
        "ssh/wire/gcm.py",
        "ssh/wire/pieces.py",
        "ssh/wire/session_channel.py",
        "ssh/wire/standstill.py",
        "store/connections.py",
        "store/engine.py",
        "tasks.py",
        "visits.py",
    ]
)
"""What a path calls and no section names: values, time, tasks, the log, ciphers, budgets, and small parts of the
files that it names."""


def steps_of(section: str) -> list[str]:
    """The files that the numbered steps of a section begin with."""
    steps = re.findall(r"^(\d+)\. `src/ferry/([\w/]+\.py)`", text_of(section), re.MULTILINE)
    assert [int(number) for number, _ in steps] == list(range(1, len(steps) + 1))
    return [file for _, file in steps]


def text_of(section: str) -> str:
    return PAGE.partition(f"## {section}\n")[2].partition("\n## ")[0]


def named() -> set[str]:
    """All files that the sections name, anywhere in their texts."""
    return {file for section in SECTIONS for file in re.findall(r"`(?:src/ferry/)?([\w/]+\.py)`", text_of(section))}


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(OK)
    writer.close()


async def paths(folder: Path) -> Mapping[str, list[str]]:
    """The files of a log-in, of a forward with its session, of the first visits of a web address, port and alias, and of
    a takeover."""
    traces: dict[str, list[str]] = {}
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    ports = {"ranges": [{"first": port, "last": port, "listen": "loopback"}], "allocate_from": 0}
    config = config_of(folder, http={"listen": LOOPBACK_FREE, "advertised_port": 8080}, tcp=ports)
    service = await asyncio.start_server(serve, "127.0.0.1", 0)
    target = service.sockets[0].getsockname()[1]
    bounds = replace(http_bounds_of(config), tick_seconds=2 * SECONDS)  # it would be in the trace of whatever goes on
    async with asyncio.timeout(SECONDS), service, whole_gateway(config, bounds=bounds) as worker:
        (ssh,), (http,) = (worker.listening.bound()[role] for role in ("ssh", "http"))
        key = asyncssh.generate_private_key("ssh-ed25519")

        async def connect() -> asyncssh.SSHClientConnection:
            return await asyncssh.connect(
                ssh.host, ssh.port, username="dev", client_keys=[key], known_hosts=None, config=None, agent_path=None
            )

        with recorded_calls() as files:
            client = await connect()
        traces["The life of a log-in"] = list(files)
        with recorded_calls() as files:
            await client.forward_remote_port("blog", 80, "127.0.0.1", target)
            session = await client.create_process()
            await session.stdout.readline()
        traces["The life of a forward"] = list(files)
        with recorded_calls() as files:
            reader, writer = await asyncio.open_connection(http.host, http.port)
            writer.write(b"GET / HTTP/1.1\r\nHost: blog.localhost\r\nConnection: close\r\n\r\n")
            assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
            await session.stdout.readuntil("GET / 200")
        traces["The life of a request"] = list(files)
        writer.close()
        await client.forward_remote_port("", port, "127.0.0.1", target)
        await client.forward_remote_port("laptop", 22, "127.0.0.1", target)
        await session.stdout.readuntil("you@laptop\n")
        with recorded_calls() as files:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
            assert await reader.read() == OK
            writer.close()
            await session.stdout.readuntil(f"port {port} 127.0.0.1")
        traces["a visit of a port"] = list(files)
        with recorded_calls() as files:
            through, into = await client.open_connection("laptop", 22)
            into.write(b"GET / HTTP/1.1\r\n\r\n")
            assert await through.read() == OK
            into.close()
            await session.stdout.readuntil("laptop:22 127.0.0.1")
        traces["a visit of an alias"] = list(files)
        newer = await connect()
        await timers(limits.VISITS_GATHER_SECONDS)  # the visit before is counted by then, and not in the next trace
        with recorded_calls() as files:
            await newer.forward_remote_port("blog", 80, "127.0.0.1", target)
            await session.stdout.readuntil("was taken over")
        traces["The life of a takeover"] = list(files)
        for one in (client, newer):
            one.abort()
            await one.wait_closed()
    return traces


@pytest.fixture(scope="module")
def traces(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, list[str]]:
    return asyncio.run(paths(tmp_path_factory.mktemp("gateway")))


@pytest.mark.parametrize("section", SECTIONS)
def test_a_running_gateway_calls_the_files_of_a_path_in_the_order_of_the_page(
    section: str, traces: Mapping[str, list[str]]
) -> None:
    steps, trace = steps_of(section), traces[section]
    assert len(steps) >= 5
    assert [file for file in steps if file not in trace] == []
    assert sorted(steps, key=trace.index) == steps


@pytest.mark.parametrize("path", PATHS)
def test_a_path_calls_no_file_that_the_page_does_not_name(path: str, traces: Mapping[str, list[str]]) -> None:
    assert set(traces[path]) - named() - LEFT_OUT == set()


def test_each_file_that_is_left_out_exists_and_is_not_named_on_the_page() -> None:
    assert sorted(file for file in LEFT_OUT if not (SOURCE / file).exists()) == []
    assert sorted(LEFT_OUT & named()) == []


def test_a_visit_of_a_port_takes_the_steps_of_a_request_but_for_those_that_the_page_excepts(
    traces: Mapping[str, list[str]],
) -> None:
    steps, trace = steps_of("The life of a request"), traces["a visit of a port"]
    (excepted,) = re.findall(r"A TCP visitor takes [^.]*\.py` and [^.]*\.py` instead of ([^.]*)\.", PAGE)
    spans = [(int(first), int(last or first)) for first, last in re.findall(r"(\d+)(?: to (\d+))?", excepted)]
    instead = {steps[number - 1] for first, last in spans for number in range(first, last + 1)}
    assert set(trace) & instead == set()
    assert {"edge/tcp.py", "edge/bridge.py", "relay.py", *steps} - instead - set(trace) == set()


def test_a_visit_of_an_alias_takes_no_edge(traces: Mapping[str, list[str]]) -> None:
    trace = traces["a visit of an alias"]
    assert {"ssh/direct.py", "relay.py", "policy/grants.py", "ssh/tunnel.py", "ssh/session.py"} - set(trace) == set()
    assert [file for file in trace if file.startswith("edge/")] == []
