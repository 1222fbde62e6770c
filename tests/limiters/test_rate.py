"""A rate in calls per second."""

from __future__ import annotations

from ferry.limiters.rate import PerSecond, Spacing


def test_calls_over_the_rate_are_refused_until_the_next_second() -> None:
    rate = PerSecond()
    assert [rate.allows(7.0 + n / 10, 3) for n in range(6)] == [True] * 3 + [False] * 3
    assert [rate.allows(8.0 + n / 10, 3) for n in range(4)] == [True] * 3 + [False]


def test_the_first_second_of_the_clock_counts_too() -> None:
    rate = PerSecond()
    assert [rate.allows(0.0, 1), rate.allows(0.9, 1), rate.allows(1.0, 1)] == [True, False, True]


def test_too_frequent_calls_wait_for_their_turn() -> None:
    spacing = Spacing(together=3, per_second=4)
    assert [spacing.wait(10.0) for _ in range(5)] == [0, 0, 0, 0.25, 0.5]


def test_after_the_whole_wait_the_burst_is_available_again() -> None:
    spacing = Spacing(together=2, per_second=4)
    assert [spacing.wait(10.0) for _ in range(3)] == [0, 0, 0.25]
    assert [spacing.wait(10.75) for _ in range(3)] == [0, 0, 0.25]


def test_a_long_pause_earns_one_burst_at_most() -> None:
    spacing = Spacing(together=2, per_second=4)
    spacing.wait(10.0)
    assert [spacing.wait(1e6) for _ in range(3)] == [0, 0, 0.25]
