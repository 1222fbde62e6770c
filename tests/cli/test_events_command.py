from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path
from typing import Any

import pytest

from console_commands import run, running
from ferry.cli.event_lines import describe, for_terminal
from ferry.cli.events import events
from small_gateway import SmallGateway

SECONDS = 30  # for a command, on a machine with other work


def add(gateway: SmallGateway, name: str, **fields: object) -> None:
    gateway.events.add(1_700_000_000.0, 20, name, fields)


async def start(state: Path, *, as_json: bool = False) -> Process:
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell's `&` has it ignored
        "from pathlib import Path; import ferry.cli.events as e, typer, sys\n"
        f"try: e.events(follow=True, last=10, state=Path({str(state)!r}), as_json={as_json})\n"
        "except typer.Exit as end: sys.exit(end.exit_code)\n"
        "except e.FerryError as error: sys.exit(f'ferry: {error}')"
    ).replace("e.FerryError", "__import__('ferry.errors').errors.FerryError")
    return await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=PIPE, stderr=PIPE)


async def test_the_past(tmp_path: Path) -> None:
    async with running(tmp_path / "state") as gateway:
        for number in range(60):
            add(gateway, "visit", target=f"/{number}\x1b[2J")
        where = ("--state", str(tmp_path / "state"))
        people = await run(events, *where)
        assert len(people.lines) == 50
        assert people.lines[-1] == "2023-11-14T22:13:20.000Z visit              target=/59\\x1b[2J"
        machines = await run(events, "--json", "-n", "2", *where)
        assert [json.loads(line)["target"] for line in machines.lines] == ["/58\\x1b[2J", "/59\\x1b[2J"]


async def test_none_yet_prints_nothing(tmp_path: Path) -> None:
    async with running(tmp_path / "state"):
        result = await run(events, "--state", str(tmp_path / "state"))
    assert (result.code, result.text) == (0, "")


async def test_following_shows_events_as_they_happen_until_the_gateway_stops(tmp_path: Path) -> None:
    async with running(tmp_path / "state") as gateway:
        add(gateway, "gateway.started")
        process = await start(tmp_path / "state", as_json=True)
        assert process.stdout
        assert json.loads(await asyncio.wait_for(process.stdout.readline(), 10))["event"] == "gateway.started"
        for name in ("tunnel.opened", "tunnel.closed"):
            add(gateway, name, address="blog.example.com")
            assert json.loads(await asyncio.wait_for(process.stdout.readline(), 10))["event"] == name
    _, error = await asyncio.wait_for(process.communicate(), SECONDS)
    assert (process.returncode, json.loads(error)) == (0, {"error": "the gateway has stopped", "fix": ""})


async def test_ctrl_c_ends_following_quietly(tmp_path: Path) -> None:
    async with running(tmp_path / "state") as gateway:
        add(gateway, "gateway.started")
        process = await start(tmp_path / "state")
        assert process.stdout
        assert await asyncio.wait_for(process.stdout.readline(), SECONDS)
        process.send_signal(signal.SIGINT)
        _, error = await asyncio.wait_for(process.communicate(), SECONDS)
    assert (process.returncode, error) == (130, b"")


async def test_a_reader_that_has_enough_ends_it_quietly(tmp_path: Path) -> None:
    async with running(tmp_path / "state") as gateway:
        add(gateway, "gateway.started")
        reader, writer = os.pipe()
        code = f"from pathlib import Path; from ferry.cli.events import events; events(follow=True, last=10, state=Path({str(tmp_path / 'state')!r}))"
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=writer, stderr=PIPE)
        os.close(writer)
        assert await asyncio.to_thread(os.read, reader, 4096)
        os.close(reader)
        add(gateway, "tunnel.opened")
        _, error = await asyncio.wait_for(process.communicate(), SECONDS)
    assert (process.returncode, error) == (0, b"")


async def test_a_gateway_that_vanishes_is_an_error(tmp_path: Path) -> None:
    """A server that breaks off in the middle of a chunk, as a killed process does."""
    (tmp_path / "state").mkdir()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.readline():
            writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n40\r\n{")
            await writer.drain()
        writer.close()

    async with await asyncio.start_unix_server(answer, tmp_path / "state" / "control.sock"):
        process = await start(tmp_path / "state")
        _, error = await asyncio.wait_for(process.communicate(), SECONDS)
    assert process.returncode == 1
    assert b"closed the connection before it answered" in error


VISIT: dict[str, Any] = {
    "seq": 1, "time": "2023-11-14T22:13:20.000Z", "level": "info", "event": "visit", "tunnel": "t1",
    "address": "blog.example.com", "kind": "http", "peer": "203.0.113.7:51234", "method": "GET",
    "target": "/" + "long/" * 40, "status": 502, "seconds": 0.0123, "up": 0, "down": 312,
    "note": "your local service cannot be reached",
}  # fmt: skip
REFUSED: dict[str, Any] = {
    "seq": 2, "time": "2023-11-14T22:13:20.000Z", "level": "warning", "event": "tunnel.refused", "connection": "c1",
    "identity": "web-1 (SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU)", "asked": "blog:80", "code": "taken",
    "detail": "x" * 300,
}  # fmt: skip


@pytest.mark.parametrize("width", [20, 60, 80, 100, 120])
@pytest.mark.parametrize("event", [VISIT, REFUSED, VISIT | {"target": "/", "note": ""}, VISIT | {"address": "a" * 200}])
def test_lines_fit_a_terminal(event: dict[str, Any], width: int) -> None:
    lines = list(for_terminal(event, width))
    assert max(map(len, lines)) <= max(width, 40)
    assert all(line.startswith("    ") for line in lines[1:])
    assert lines[0].startswith(f"11-14 22:13:20 {event['event']}")


def test_a_visit_is_one_line_on_a_terminal() -> None:
    (line,) = for_terminal(VISIT | {"target": "/shop", "note": ""}, 100)
    assert line == "11-14 22:13:20 visit              502   12ms GET blog.example.com/shop 203.0.113.7:51234"


def test_fields_of_another_event_stand_behind_it_as_far_as_there_is_room() -> None:
    event = REFUSED | {"identity": "web-1", "detail": ""}
    head = "11-14 22:13:20 tunnel.refused     connection=c1 identity=web-1"
    assert list(for_terminal(event, 87)) == [f"{head} asked=blog:80 code=taken"]
    assert list(for_terminal(event, 86)) == [f"{head} asked=blog:80", "    code=taken"]


def test_all_fields_of_another_event_are_shown_on_a_terminal() -> None:
    fields = " ".join(for_terminal(REFUSED | {"detail": "held by another identity"}, 80)).split()
    assert {"connection=c1", "asked=blog:80", "code=taken"} <= set(fields)
    assert 'detail="held by another identity"' in " ".join(fields)


def test_a_warning_is_marked_and_empty_fields_are_left_out() -> None:
    event = {"seq": 0, "time": "T", "level": "warning", "event": "events.dropped", "count": 3, "note": "", "x": None}
    assert describe(event) == "T [warning] events.dropped     count=3"
