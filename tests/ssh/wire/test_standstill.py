"""Connections that stand still, that have nothing to send, and that are slow."""

from __future__ import annotations

import pytest

from ferry import limits
from ferry.ssh.wire.standstill import Standstill

LONG = 10 * limits.STUCK_SECONDS
NOT_READING = "the client has not read for too long"
NO_KEYS = "a key exchange did not end in time"


def looks(*states: tuple[float, bool, int, int]) -> list[str | None]:
    """What looks at one connection find, of (time, whether it exchanges keys, bytes taken, bytes that wait)."""
    one = Standstill()
    return [one.look(now, exchanging=kex, taken=taken, waiting=waiting) for now, kex, taken, waiting in states]


def test_a_connection_without_waiting_bytes_may_be_silent_for_ever() -> None:
    assert looks((0, False, 5, 0), (LONG, False, 5, 0), (2 * LONG, False, 5, 0)) == [None] * 3


def test_the_time_to_read_begins_when_bytes_wait() -> None:
    begin, just = 5 * LONG, 5 * LONG + limits.STUCK_SECONDS
    found = looks((0, False, 5, 0), (begin, False, 5, 0), (begin + 1, False, 5, 9), (just, False, 5, 9))
    assert found == [None] * 4
    assert looks((0, False, 5, 0), (begin, False, 5, 0), (just + 0.1, False, 5, 9))[-1] == NOT_READING


@pytest.mark.parametrize(("reads", "found"), [(1, None), (0, NOT_READING)])
def test_a_peer_that_takes_a_byte_now_and_then_is_not_stuck(reads: int, found: str | None) -> None:
    """However much waits for it: that is filled up again, or grows by answers."""
    most = limits.STUCK_SECONDS
    states = [(look * most, False, 5 + reads * look, 9) for look in range(1, 5)]
    assert looks((0, False, 5, 0), *states)[-1] == found


def test_each_key_exchange_has_a_time_limit_of_its_own() -> None:
    most = limits.STUCK_SECONDS
    assert looks((0, True, 0, 0), (most, True, 0, 0), (most + 0.1, True, 0, 0)) == [None, None, NO_KEYS]
    assert looks((0, True, 0, 0), (most, False, 0, 0), (most + 1, True, 0, 0), (2 * most, True, 0, 0)) == [None] * 4


def test_two_key_exchanges_between_two_looks_are_two() -> None:
    one = Standstill()
    assert one.look(0, exchanging=True, taken=0, waiting=0) is None
    one.exchanged()
    assert one.look(LONG, exchanging=True, taken=0, waiting=0) is None
    assert one.look(2 * LONG, exchanging=True, taken=0, waiting=0) == NO_KEYS
