"""What a session shows: forwards as they come and go, visits, and answers; in plain text, and as JSON."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from asyncssh.constants import MSG_CHANNEL_CLOSE, MSG_CHANNEL_DATA, MSG_CHANNEL_REQUEST
from asyncssh.packet import Boolean, String, UInt32

from ferry import limits
from ferry.names import Endpoint, IdentityId
from ferry.visits import Visit
from hand_clock import HandClock
from session_stage import Stage, lines, objects, staged

PIPE_COLUMNS = 100
SESSION_BACKLOG_BYTES = 256 * 1024


@pytest.fixture
async def stage(key: Path) -> AsyncIterator[Stage]:
    async with staged(key) as made:
        yield made


@pytest.mark.parametrize("words", [b"", b"color=never"])
async def test_without_a_terminal_lines_are_plain_and_input_is_ignored(stage: Stage, words: bytes) -> None:
    session = await stage.session(words)
    assert lines(session) == [
        b"Forwarding HTTP traffic from http://blog.localhost:8080",
        b"Forwarding HTTP traffic from https://blog.localhost:8443",
        b"  https uses this gateway's own CA: `ferry ca` there says how to trust it",
    ]
    await stage.visit()
    await stage.visit(502, "your local service cannot be reached")
    assert lines(session) == [
        b"GET /x 200 5ms 192.0.2.7",
        b"GET /x 502 5ms 192.0.2.7  your local service cannot be reached",
    ]
    session.send(MSG_CHANNEL_DATA, String(b"?q\x03"))
    await stage.settle()
    assert lines(session) == []
    assert not session.status.done()


async def test_with_json_every_line_is_one_object_also_in_a_terminal(stage: Stage) -> None:
    session = await stage.session(b"--output json", terminal=True)
    [forward] = objects(session)
    assert (forward["event"], forward["status"], forward["address"]) == ("forward", "success", "blog.localhost")
    await stage.visit(503, "busy")
    [visit] = objects(session)
    assert visit == {
        "event": "visit", "address": "blog.localhost", "method": "GET", "target": "/x", "status": 503, "seconds": 0.005,
        "visitor": "192.0.2.7:4711", "bytes_up": 1_200, "bytes_down": 3_400_000_000_000, "note": "busy",
    }  # fmt: skip
    assert not await stage.client.forward(b"no_name", 80)
    assert await stage.client.cancel(b"blog", 80)
    await stage.settle()
    refused, cancelled = objects(session)
    assert (refused["event"], refused["status"], refused["asked"]) == ("forward", "refused", "-R no_name:80")
    assert cancelled == {"event": "message", "message": "No longer forwarding blog.localhost"}


async def test_lines_of_a_pipe_fit_100_columns_and_those_for_scripts_are_in_one_piece(stage: Stage, key: Path) -> None:
    session = await stage.session()
    note = " ".join(["a note"] * 20)
    await stage.visit(502, note)
    stage.inside.clients[0].tell("a sentence of many words " * 5)
    await stage.settle()
    *_, visit, first, second = lines(session)
    assert visit.endswith(b"  " + note.encode())
    assert len(first) <= PIPE_COLUMNS
    assert second == b"  a sentence of many words"
    async with stage.inside.client(key) as other:
        asks = Stage(stage.inside, other)
        assert not await other.forward(b"", 22)
        refused = await asks.session()
        assert len(lines(refused)) == 1  # on stderr
        async with stage.inside.client(key) as later:
            about = lines(await Stage(stage.inside, later).session())
    assert max(map(len, about)) <= PIPE_COLUMNS
    at = about.index(b"Refused lately:")
    assert b" UTC  Refused -R 22: port 22 is outside " in about[at + 1]
    assert about[at + 2].startswith(b"  ")


async def test_how_the_local_ca_is_trusted_is_said_once_a_session(stage: Stage) -> None:
    session = await stage.session()
    assert await stage.client.forward(b"shop", 80)
    await stage.settle()
    assert sum(b"own CA" in line for line in lines(session)) == 1
    assert sum(b"own CA" in line for line in lines(await stage.session())) == 1


async def test_visits_are_shown_only_if_the_operator_wants_that(stage: Stage) -> None:
    session = await stage.session()
    lines(session)
    stage.inside.change(request_log=False)
    await stage.visit()
    assert lines(session) == []
    assert len(stage.inside.said("visit")) == 1


async def test_a_session_without_words_or_with_a_command_shows_refusals_at_most(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = asyncio.Event()
    registry = stage.inside.registry
    reservations = registry.reservations

    async def slow(owner: IdentityId | None) -> object:
        await waits.wait()
        return await reservations(owner)

    monkeypatch.setattr(registry, "reservations", slow)
    mute, command = await stage.session(None), await stage.session(b"names")
    await stage.visit()
    assert await stage.client.forward(b"shop", 80)
    assert not await stage.client.forward(b"no_name", 80)
    await stage.settle()
    assert mute.said == b""
    assert [line.partition(b":80: ")[0] for line in lines(command)] == [b"Refused -R no_name"]
    waits.set()
    assert await command.ended() == 0
    assert [line.split()[0] for line in lines(command)] == [b"blog.localhost", b"shop.localhost"]
    assert await mute.ask(b"shell")
    await stage.settle()
    assert [line for line in lines(mute) if b"http://" in line or b"Refused" in line] == [
        b"Forwarding HTTP traffic from http://blog.localhost:8080",
        b"Forwarding HTTP traffic from http://shop.localhost:8080",
        *[line for line in (await stage.session()).said.splitlines() if line.startswith(b"Refused -R no_name:80")],
    ]


async def test_on_a_full_socket_visits_wait_up_to_a_bound_and_are_then_counted(stage: Stage) -> None:
    """SESSION_BACKLOG_BYTES."""
    session = await stage.session()
    lines(session)
    [client] = stage.inside.clients
    tunnel = stage.inside.tunnels[0]
    client.connection.pause_writing()
    fit = SESSION_BACKLOG_BYTES // len(b"GET /x 200 0ms 192.0.2.7\n") + 1
    for _ in range(fit + 3):
        tunnel.visited(
            Visit(tunnel.id, tunnel.shown_address, tunnel.kind, Endpoint("192.0.2.7", 4711), "GET", "/x", 200, 0, 0, 0)
        )
    await stage.settle()
    assert lines(session) == []
    client.connection.resume_writing()
    while len(session.said) < SESSION_BACKLOG_BYTES:  # in turns
        await stage.settle()
    assert lines(session) == [b"GET /x 200 0ms 192.0.2.7"] * fit
    await stage.visit()
    assert lines(session) == [
        b"(3 lines were dropped: your terminal did not read them)",
        b"GET /x 200 5ms 192.0.2.7",
    ]


async def test_an_unreachable_service_is_noted_at_once_and_again_later(key: Path) -> None:
    """At once also on a machine that has just started: its monotonic clock begins with 0."""
    clock = HandClock()
    clock.ahead = -clock.monotonic()
    async with staged(key, clock) as stage:
        session = await stage.session()
        lines(session)
        [client] = stage.inside.clients
        for ahead, told in ((0.0, 1), (1.0, 0), (limits.TARGET_NOTE_SECONDS + 1, 1), (1.0, 0)):
            clock.ahead += ahead
            client.target_refused(stage.inside.tunnels[0].address, "nothing answers")
            await stage.settle()
            assert lines(session) == [b"blog.localhost: nothing answers"] * told


@pytest.mark.parametrize("typed", [b"q", b"Q", b"\x03", b"\x04"])
async def test_a_key_ends_it_with_0_and_its_forwards(stage: Stage, typed: bytes) -> None:
    session = await stage.session(terminal=True)
    session.send(MSG_CHANNEL_DATA, String(typed))
    assert await session.ended() == 0
    assert stage.inside.tunnels == []
    assert stage.inside.said("tunnel.closed")[0]["reason"] == "ended from its terminal"


async def test_a_session_without_forwards_answers_and_one_with_failed_forwards_ends_with_1(
    stage: Stage, key: Path
) -> None:
    async with stage.inside.client(key) as other:
        asked_nothing = Stage(stage.inside, other)
        assert await (await asked_nothing.session()).ended() == 0
        assert not await other.forward(b"no_name", 80)
        assert await (await asked_nothing.session()).ended() == 1


async def test_second_terminals_and_second_words_are_refused(stage: Stage) -> None:
    session = await stage.session(terminal=True)
    assert not await session.ask(b"pty-req")
    assert not await session.ask(b"shell")
    assert not await session.ask(b"exec", String(b"whoami"))
    assert not await session.ask(b"exec", String(b"--unknown"))
    assert not session.status.done()
    assert len(stage.inside.tunnels) == 1


async def test_a_request_is_answered_if_it_wants_a_reply_and_its_session_exists(stage: Stage) -> None:
    session = await stage.session(None)
    session.request(b"pty-req", reply=False)
    assert await session.ask(b"exec", String(b"whoami"))
    assert session.answers.empty()
    assert await session.ended() == 0
    for kind in (b"pty-req", b"no-such@test"):  # the gateway has closed its half, and the client has not
        session.request(kind)
    await stage.settle()
    assert session.answers.empty()


async def test_a_command_is_not_run_for_a_session_that_has_closed_meanwhile(stage: Stage) -> None:
    session = await stage.session(None)
    number = UInt32(session.number)
    stage.client.at_once(
        (MSG_CHANNEL_REQUEST, number + String(b"exec") + Boolean(False) + String(b"release blog")),
        (MSG_CHANNEL_CLOSE, number),
    )
    assert await session.ended() == -1
    await stage.settle()
    assert len(await stage.inside.registry.reservations(None)) == 1
