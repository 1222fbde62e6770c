"""So many times in each second."""

from __future__ import annotations

from ferry.policy.rate import PerSecond


def test_what_is_over_the_rate_is_not_allowed_until_the_next_second() -> None:
    rate = PerSecond()
    assert [rate.allows(7.0 + n / 10, 3) for n in range(6)] == [True] * 3 + [False] * 3
    assert [rate.allows(8.0 + n / 10, 3) for n in range(4)] == [True] * 3 + [False]


def test_the_first_second_of_the_clock_counts_too() -> None:
    rate = PerSecond()
    assert [rate.allows(0.0, 1), rate.allows(0.9, 1), rate.allows(1.0, 1)] == [True, False, True]
