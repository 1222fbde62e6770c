"""Unsent bytes of visitors that do not read: the edge bounds them in a crowd, and drops them at the end."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from edge.tcp_tunnel import small_visitor
from ferry import limits
from ferry.edge.unsent import Unsent, has_left
from ferry.send_queue import unacknowledged
from resets import reset_at_close

MANY = 10_000
LEAST = 16 * 1024
PAUSED, RESUMED = ("pause_writes", 2), ("resume_writes", 2)


class OverSocket(asyncio.Transport):
    """A visitor's connection, of which everything written is in the kernel; or TLS over one that is gone."""

    def __init__(self, sock: socket.socket | None) -> None:
        super().__init__()
        self.sock = sock

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self.sock if name == "socket" else default

    def get_write_buffer_size(self) -> int:
        return 7


class Play:
    """One visitor at the other end of a real connection."""

    def __init__(self, ours: socket.socket, theirs: socket.socket) -> None:
        self.ours, self.theirs = ours, theirs
        self.transport = OverSocket(ours)
        self.said: list[tuple[str, int]] = []
        self.heard = asyncio.Event()
        self.unsent = Unsent(
            self.transport, lambda why: self.hear("pause_writes", why), lambda why: self.hear("resume_writes", why)
        )

    def hear(self, what: str, why: int) -> None:
        self.said.append((what, why))
        self.heard.set()

    def fill(self) -> None:
        """Until the kernel takes no more."""
        try:
            while True:
                self.ours.send(bytes(65536))
        except BlockingIOError:
            pass

    async def read_all(self) -> None:
        while True:
            try:
                self.theirs.recv(1 << 20)
            except BlockingIOError:
                if unacknowledged(self.transport) == 7:
                    return
                await asyncio.sleep(0)


@pytest.fixture
async def play(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Play]:
    monkeypatch.setattr(limits, "UNSENT_LOOK_SECONDS", 0.001)
    monkeypatch.setattr(limits, "UNSENT_LOOK_MOST_SECONDS", 0.002)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        async with small_visitor(listener.getsockname()[1], 4096) as theirs:
            ours, _ = listener.accept()
            with ours:
                ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
                ours.setblocking(False)
                made = Play(ours, theirs)
                yield made
                made.unsent.forget()


async def test_one_of_few_visitors_may_have_all_that_the_kernel_takes(play: Play) -> None:
    play.fill()
    assert play.unsent.look(31) == limits.UNSENT_LOOK_BYTES
    assert play.said == []


async def test_writes_to_one_of_many_visitors_pause_until_half_of_its_bound_is_left(play: Play) -> None:
    assert play.unsent.look(MANY) == LEAST
    assert play.said == []
    play.fill()
    for _ in range(3):
        assert play.unsent.look(MANY) == LEAST
    assert play.said == [PAUSED]
    for _ in range(5):
        await asyncio.sleep(0.001)
    assert play.said == [PAUSED]
    play.heard.clear()
    async with asyncio.timeout(10):
        await play.read_all()
        await play.heard.wait()
    assert play.said == [PAUSED, RESUMED]
    play.fill()
    play.unsent.look(MANY)
    assert play.said == [PAUSED, RESUMED, PAUSED]


async def test_writes_to_a_visitor_that_has_left_resume(play: Play) -> None:
    play.fill()
    play.unsent.look(MANY)
    assert not has_left(play.transport)
    play.heard.clear()
    reset_at_close(play.theirs)
    play.theirs.close()
    async with asyncio.timeout(10):
        await play.heard.wait()
    assert play.said == [PAUSED, RESUMED]
    assert has_left(play.transport)


async def test_a_forgotten_check_makes_no_more_calls(play: Play) -> None:
    play.fill()
    play.unsent.look(MANY)
    play.unsent.forget()
    play.unsent.forget()
    async with asyncio.timeout(10):
        await play.read_all()
    for _ in range(5):
        await asyncio.sleep(0.001)
    assert play.said == [PAUSED]


async def test_untaken_bytes_are_in_our_buffer_and_the_kernels(play: Play) -> None:
    assert unacknowledged(play.transport) == 7
    play.fill()
    assert unacknowledged(play.transport) > 65536


async def test_a_connection_without_a_socket_has_no_untaken_bytes() -> None:
    gone = OverSocket(None)
    said: list[int] = []
    assert unacknowledged(gone) == 7
    assert not has_left(gone)
    assert Unsent(gone, said.append, said.append).look(MANY) == LEAST
    assert said == []
