"""The machine's clocks and randomness, as they are passed in."""

from __future__ import annotations

import time

from ferry.clock import Steps, SystemClock, random_number, random_token


def test_the_system_clock_tells_the_machines_time() -> None:
    clock = SystemClock()
    before = (time.monotonic(), time.time())
    told = (clock.monotonic(), clock.now())
    after = (time.monotonic(), time.time())
    assert before[0] <= told[0] <= after[0]
    assert before[1] <= told[1] <= after[1]


def test_tokens_are_long_lower_case_and_never_the_same() -> None:
    tokens = {random_token(4) for _ in range(100)}
    assert len(tokens) == 100
    assert all(len(token) == 8 and int(token, 16) >= 0 and token == token.lower() for token in tokens)
    assert len(random_token()) == 16


def test_random_numbers_are_below_their_bound() -> None:
    assert {random_number(3) for _ in range(200)} == {0, 1, 2}


class Hands:
    """Two clocks that a test sets."""

    wall = steady = 1000.0

    def now(self) -> float:
        return self.wall

    def monotonic(self) -> float:
        return self.steady


def test_a_wall_clock_that_is_set_is_noticed_once() -> None:
    hands = Hands()
    steps = Steps(hands)
    for wall, steady, stepped in (
        (7200, 7100, False),
        (1e9, 100, True),
        (7200, 7200, False),
        (-1e9, 60, True),
        (60, 60, False),
    ):
        hands.wall += wall
        hands.steady += steady
        assert steps.stepped(3600) is stepped
