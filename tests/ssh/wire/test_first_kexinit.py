"""Our first KEXINIT waits for the client's; each exchange waits for the spacings of its connection and its identity."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest

from ferry.limiters.rate import Spacing
from ferry.ssh.wire.key_exchanges import KeyExchanges

KEXINIT_WAIT_SECONDS = 0.25
KEY_EXCHANGES_TOGETHER = 16
KEY_EXCHANGES_PER_SECOND = 4


class Loop:
    """The timers that were started: the test lets them pass."""

    def __init__(self) -> None:
        self.timers: list[tuple[float, Callable[[], None]]] = []
        self.cancelled = 0
        self.sent = 0

    def later(self, seconds: float, callback: Callable[[], None], /) -> asyncio.TimerHandle:
        self.timers.append((seconds, callback))
        handle: asyncio.TimerHandle = cast(Any, self)
        return handle

    def cancel(self) -> None:
        self.cancelled += 1

    def send(self) -> None:
        self.sent += 1


def test_the_first_one_waits_until_the_clients_is_there() -> None:
    exchanges, loop = KeyExchanges(waits=True), Loop()
    assert exchanges.await_theirs(loop.later, loop.send)
    assert [seconds for seconds, _ in loop.timers] == [KEXINIT_WAIT_SECONDS]
    assert exchanges.received()
    assert loop.cancelled == 1
    assert not exchanges.await_theirs(loop.later, loop.send)  # now it goes
    assert loop.sent == 0


def test_a_client_that_waits_for_ours_gets_it_after_a_moment() -> None:
    exchanges, loop = KeyExchanges(waits=True), Loop()
    assert exchanges.await_theirs(loop.later, loop.send)
    loop.timers[0][1]()
    assert loop.sent == 1
    assert not exchanges.received()
    assert loop.cancelled == 0


@pytest.mark.parametrize("waits", [True, False])
def test_later_ones_wait_for_nothing(waits: bool) -> None:
    exchanges, loop = KeyExchanges(waits=waits), Loop()
    assert exchanges.await_theirs(loop.later, loop.send) is waits
    assert exchanges.received() is waits
    for _ in range(3):
        assert not exchanges.await_theirs(loop.later, loop.send)
        assert not exchanges.received()
    assert len(loop.timers) == waits


def test_the_slowest_spacing_decides() -> None:
    exchanges = KeyExchanges(waits=True)
    assert [exchanges.wait(100.0) for _ in range(KEY_EXCHANGES_TOGETHER)] == [0.0] * KEY_EXCHANGES_TOGETHER
    assert exchanges.wait(100.0) == 1 / KEY_EXCHANGES_PER_SECOND
    exchanges.space(identity := Spacing(1, 0.001))
    assert exchanges.wait(100.0) == 2 / KEY_EXCHANGES_PER_SECOND  # the identity may have one at once
    assert exchanges.wait(100.0) == 1000.0
    assert identity.wait(100.0) == 2000.0  # counted there too
