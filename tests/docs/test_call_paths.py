"""The call paths of docs/architecture.md are those of a running gateway."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from pathlib import Path

import asyncssh
import pytest

from call_trace import recorded_calls
from whole_gateway import LOOPBACK_FREE, config_of, whole_gateway

PAGE = (Path(__file__).parents[2] / "docs" / "architecture.md").read_text("utf-8")
SECONDS = 20
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def steps_of(section: str) -> list[str]:
    """The files that the numbered steps of a section begin with."""
    text = PAGE.partition(f"## {section}\n")[2].partition("\n## ")[0]
    steps = re.findall(r"^(\d+)\. `src/ferry/([\w/]+\.py)`", text, re.MULTILINE)
    assert [int(number) for number, _ in steps] == list(range(1, len(steps) + 1))
    return [file for _, file in steps]


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(OK)
    writer.close()


async def paths(folder: Path) -> Mapping[str, list[str]]:
    """The files of a log-in, of a forward with its session, and of the first request to it."""
    traces: dict[str, list[str]] = {}
    config = config_of(folder, http={"listen": LOOPBACK_FREE, "advertised_port": 8080})
    service = await asyncio.start_server(serve, "127.0.0.1", 0)
    target = service.sockets[0].getsockname()[1]
    async with asyncio.timeout(SECONDS), service, whole_gateway(config) as worker:
        (ssh,), (http,) = (worker.listening.bound()[role] for role in ("ssh", "http"))
        key = asyncssh.generate_private_key("ssh-ed25519")
        with recorded_calls() as files:
            client = await asyncssh.connect(
                ssh.host, ssh.port, username="dev", client_keys=[key], known_hosts=None, config=None, agent_path=None
            )
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
        client.abort()
        await client.wait_closed()
    return traces


@pytest.fixture(scope="module")
def traces(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, list[str]]:
    return asyncio.run(paths(tmp_path_factory.mktemp("gateway")))


@pytest.mark.parametrize("section", ["The life of a log-in", "The life of a forward", "The life of a request"])
def test_a_running_gateway_calls_the_files_of_a_path_in_the_order_of_the_page(
    section: str, traces: Mapping[str, list[str]]
) -> None:
    steps, trace = steps_of(section), traces[section]
    assert len(steps) >= 5
    assert [file for file in steps if file not in trace] == []
    assert sorted(steps, key=trace.index) == steps
