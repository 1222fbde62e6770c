"""Requests on a session channel: the gateway drops useless ones unread, of any size and number."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from pathlib import Path

import pytest
from asyncssh.constants import (
    MSG_CHANNEL_CLOSE,
    MSG_CHANNEL_DATA,
    MSG_CHANNEL_EXTENDED_DATA,
    MSG_CHANNEL_REQUEST,
)
from asyncssh.packet import Boolean, String, UInt32

from ferry.ssh.display.terminal import Terminal
from gateway_process import Gateway
from inside_gateway import NoRows, inside_gateway
from raw_client import RawClient, raw_client
from raw_session import Session, open_session
from session_stage import pty_request, staged

CHANNEL_REQUESTS_PER_SECOND = 200
SESSIONS_PER_CONNECTION = 10
MIB = 1024 * 1024


@pytest.fixture
async def session(client: RawClient) -> Session:
    opened = await open_session(client)
    assert opened is not None
    return opened


async def test_input_ahead_is_bounded(session: Session) -> None:
    """SESSION_WINDOW_BYTES: nothing here reads more than keys."""
    assert session.window == 64 * 1024


async def test_a_long_name_of_a_terminal_is_cut(key: Path) -> None:
    """TERM_BYTES: it stays with the session, and a packet has room for 256 KB."""
    async with staged(key) as stage:
        await stage.session(terminal=pty_request("x" * 200_000))
        names = {terminal.name for terminal in gc.get_objects() if isinstance(terminal, Terminal)}
        assert {name for name in names if name.startswith("xx")} == {"x" * 64}


class Rows(NoRows):
    """Notes what machines call themselves."""

    def __init__(self) -> None:
        self.hosts: list[object] = []

    def host_told(self, *told: object) -> None:
        self.hosts.append(told[-1])


async def test_a_long_name_of_a_machine_is_cut(key: Path) -> None:
    """HOST_LABEL_CHARS: it is shown in `ferry ports`, escaped."""
    rows = Rows()
    async with inside_gateway(connections=rows) as inside, inside.client(key) as client:
        session = await open_session(client)
        assert session is not None
        assert await session.ask(b"env", String(b"SELF_REMOTE_HOST"), String("x" * 101))
    assert rows.hosts == ["x" * 100]


async def test_large_requests_leave_nothing_in_memory(start_gateway: Callable[..., Gateway], key: Path) -> None:
    """2,000 `env` of 240 KB took the gateway from 51 to 510 MB."""
    large = String(b"v" * 240_000)
    gateway = start_gateway()
    async with raw_client(gateway, key) as client:
        session = await open_session(client)
        assert session is not None
        before = gateway.memory()
        for n in range(40):
            session.request(b"env", String(b"%d" % n), large, reply=False)
            session.request(b"pty-req", String(b"xterm"), bytes(16), large, reply=False)
            session.request(b"signal", large, reply=False)
            session.request(b"subsystem", large, reply=False)
            session.request(b"v" * 240_000, reply=False)
            await asyncio.sleep(0)  # what has been written leaves
        assert await client.lives()
        assert gateway.memory() - before < 8 * MIB


async def test_the_environment_is_refused_and_the_session_goes_on(session: Session) -> None:
    assert not await session.ask(b"env", String(b"LANG"), String(b"C"))
    assert await session.ask(b"exec", String(b"whoami"))
    assert await session.ended() == 0
    assert session.said.startswith(b"key SHA256:")


@pytest.mark.parametrize(
    ("kind", "parts", "granted"),
    [
        (b"pty-req", (String(b"xterm"), bytes(16), String(b"\x01" * 200_000)), True),
        (b"pty-req", (), True),
        (b"pty-req", (String(b"\xff"), bytes(16), String(b"\x01")), True),
        (b"pty-req", (String(b"\x1b[2J" * 50_000), bytes([255] * 16), String(b"\x01")), True),
        (b"env", (), False),
        (b"env", (String(b"NO_COLOR"),), False),
        (b"env", (String(b"NO_COLOR"), String(b"")), False),
        (b"env", (String(b"NO_COLOR"), String(b"1" * 200_000)), True),
        (b"env", (String(b"SELF_REMOTE_HOST"),), False),
        (b"env", (String(b"SELF_REMOTE_HOST"), String(b"")), False),
        (b"env", (String(b"SELF_REMOTE_HOST"), String(b"\xff\n" * 100_000)), True),
        (b"x11-req", (), False),
        (b"auth-agent-req@openssh.com", (), False),
        (b"eow@openssh.com", (), False),
        (b"keepalive@openssh.com", (), False),
        (b"signal", (String(b"KILL"),), False),
        (b"xon-xoff", (Boolean(True),), False),
        (b"exit-status", (UInt32(1),), False),
        (b"", (), False),
        (b"\xff\xfe", (), False),
        (b"window_change", (), False),
        (b"_process_request", (), False),
    ],
)
async def test_every_request_is_answered_and_the_session_goes_on(
    session: Session, kind: bytes, parts: tuple[bytes, ...], granted: bool
) -> None:
    assert await session.ask(kind, *parts) is granted
    assert await session.ask(b"exec", String(b"whoami"))
    assert await session.ended() == 0


@pytest.mark.parametrize(
    ("name", "says"),
    [
        (b"sftp", b"this gateway has no files"),
        (b"sftp" * 10_000, b"this gateway has no subsystems."),
        (b"\xff\x00\x1b[2J", b"this gateway has no subsystems."),
    ],
)
async def test_a_subsystem_says_on_stderr_that_there_is_none_and_ends(
    session: Session, name: bytes, says: bytes
) -> None:
    """Stock ssh exits at a refusal, and prints nothing that came before it."""
    assert await session.ask(b"subsystem", String(name))
    assert await session.ended() == 1
    assert session.complained.startswith(says)
    assert session.said == session.complained
    assert len(session.said) < 500


async def test_a_subsystem_closes_the_forwards_of_its_command_as_an_unknown_word_does(
    gateway: Gateway, client: RawClient, session: Session, name: str
) -> None:
    assert await client.forward(name.encode(), 80)
    assert await session.ask(b"subsystem", String(b"auth=me:secret"))
    assert await session.ended() == 1
    assert session.complained.endswith(b" This command's forwards are closed.\n")
    assert not any(name in one["address"] for one in gateway.ask("tunnels"))


async def test_words_together_with_a_subsystem_are_refused(client: RawClient, session: Session) -> None:
    client.at_once(
        *(
            (MSG_CHANNEL_REQUEST, UInt32(session.number) + String(kind) + Boolean(True) + String(word))
            for kind, word in ((b"subsystem", b"sftp"), (b"exec", b"whoami"))
        )
    )
    assert await session.ended() == 1
    assert [await session.answers.get() for _ in range(2)] == [True, False]
    assert b"SHA256:" not in session.said


async def test_a_subsystem_after_the_words_is_refused(client: RawClient, session: Session, name: str) -> None:
    assert await client.forward(name.encode(), 80)
    assert await session.ask(b"shell")
    assert not await session.ask(b"subsystem", String(b"sftp"))
    assert not session.status.done()


async def test_a_second_terminal_and_second_words_are_refused(client: RawClient, session: Session, name: str) -> None:
    assert await client.forward(name.encode(), 80)  # a session that holds forwards stays
    assert [await session.ask(b"pty-req") for _ in range(2)] == [True, False]
    assert [await session.ask(b"shell"), await session.ask(b"shell"), await session.ask(b"exec", String(b"ls"))] == [
        True,
        False,
        False,
    ]


async def test_window_changes_cost_no_rate_and_have_no_reply(client: RawClient, session: Session, name: str) -> None:
    assert await client.forward(name.encode(), 80)
    for _ in range(5 * CHANNEL_REQUESTS_PER_SECOND):
        session.request(b"window-change", bytes(16))
    assert await session.ask(b"shell")
    assert session.answers.empty()


async def test_a_width_before_the_terminal_ends_nothing(client: RawClient, session: Session) -> None:
    session.request(b"window-change", UInt32(120), UInt32(40), bytes(8))
    assert await session.ask(b"pty-req")
    assert await session.ask(b"exec", String(b"whoami"))
    assert await session.ended() == 0


async def test_requests_past_the_rate_are_refused_and_the_connection_lives(client: RawClient, session: Session) -> None:
    refused = False
    for number in range(5):  # a burst may end just after a new second has begun
        for _ in range(10 * CHANNEL_REQUESTS_PER_SECOND):
            session.request(b"no-such@test", reply=False)
        refused = refused or await open_session(client, 5001 + number) is None
    assert refused
    while not await session.ask(b"pty-req"):
        await asyncio.sleep(0.2)  # the next second
    assert await session.ask(b"exec", String(b"whoami"))


async def test_data_of_an_extended_type_is_dropped(session: Session) -> None:
    session.send(MSG_CHANNEL_EXTENDED_DATA, UInt32(1), String(b"q" * 1000))
    assert await session.ask(b"exec", String(b"whoami"))
    assert await session.ended() == 0


async def test_input_before_the_words_keeps_no_session(client: RawClient) -> None:
    for number in range(2 * SESSIONS_PER_CONNECTION):
        session = await open_session(client, 6000 + number)
        assert session is not None
        session.send(MSG_CHANNEL_DATA, String(b"typed ahead"))
        session.send(MSG_CHANNEL_CLOSE)
        assert await session.ended() == -1


async def test_a_page_of_question_marks_gets_one_answer(client: RawClient, session: Session, name: str) -> None:
    assert await client.forward(name.encode(), 80)
    assert await session.ask(b"pty-req")
    assert await session.ask(b"shell")
    assert await client.lives()
    session.send(MSG_CHANNEL_DATA, String(b"?" * 30_000))
    assert await client.lives()
    assert session.said.count(b"q quit, as Ctrl-C does") == 1


@pytest.mark.parametrize("words", [b"\xff\xfe", b"whoami " * 30_000, b"x" * 200_000])
async def test_unreadable_words_close_the_forwards(
    gateway: Gateway, client: RawClient, session: Session, name: str, words: bytes
) -> None:
    assert await client.forward(name.encode(), 80)
    assert await session.ask(b"exec", String(words))
    assert await session.ended() == 1
    assert b"This command's forwards are closed." in session.complained
    assert len(session.said) < 1000
    assert not any(name in one["address"] for one in gateway.ask("tunnels"))
