"""The edge checks a visitor while it does not read from it, and only then."""

from __future__ import annotations

import asyncio
import socket
from typing import Any, cast

import pytest

from ferry.edge.unwatched import Unwatched
from hurried_loop import Watch, hurried
from resets import reset_at_close
from turns import timers

LEFT_LOOK_SECONDS = 1


class Transport:
    """Of a socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.looks = 0
        self.closing = False

    def is_closing(self) -> bool:
        return self.closing

    def get_extra_info(self, name: str) -> object:
        assert name == "socket"
        self.looks += 1
        return self._sock


@pytest.mark.parametrize("why", ["it is read", "it is closing", "nobody asks any more"])
@hurried
async def test_a_visitor_is_checked_each_second_while_it_is_unread(why: str) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        transport = Transport(ours)
        unread, left = True, asyncio.Event()
        unwatched = Unwatched(cast(Any, transport), lambda: unread, left.set)
        watch = Watch()
        unwatched.watch()
        unwatched.watch()  # once more is once
        await timers(3.5 * LEFT_LOOK_SECONDS)
        assert transport.looks == 3
        unread, transport.closing = why != "it is read", why == "it is closing"
        if why == "nobody asks any more":
            unwatched.forget()
        await timers(3 * LEFT_LOOK_SECONDS)
        assert transport.looks == 3
        unread, transport.closing = True, False
        unwatched.watch()
        await timers(1.5 * LEFT_LOOK_SECONDS)
        assert transport.looks == 4
        assert watch.skipped > 0
        assert not left.is_set()
        unwatched.forget()


@hurried
async def test_a_reset_is_noticed_within_a_second_or_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        theirs = socket.create_connection(server.getsockname())
        ours, _ = server.accept()
    with ours:
        left = asyncio.Event()
        watch = Watch()
        unwatched = Unwatched(cast(Any, Transport(ours)), lambda: True, left.set)
        unwatched.watch()
        reset_at_close(theirs)
        theirs.close()
        async with asyncio.timeout(100):
            await left.wait()
        assert watch.skipped < 3 * LEFT_LOOK_SECONDS
