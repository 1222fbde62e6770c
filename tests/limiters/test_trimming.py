from __future__ import annotations

from ferry.limiters.trimming import Trimming

MIB = 1024 * 1024


def policy() -> Trimming:
    return Trimming(least=8 * MIB, quiet=0.25, patience=30)


def test_a_little_free_memory_is_not_trimmed() -> None:
    trimming = policy()
    assert not any(trimming.look(7 * MIB, 90 * MIB, 0.0, now) for now in range(100))


def test_free_memory_is_given_back_once_it_is_quiet() -> None:
    trimming = policy()
    assert not trimming.look(100 * MIB, 200 * MIB, 0.9, 0)
    assert not trimming.look(100 * MIB, 200 * MIB, 0.3, 5)
    assert trimming.look(100 * MIB, 200 * MIB, 0.1, 10)


def test_a_busy_gateway_trims_memory_after_a_while() -> None:
    trimming = policy()
    assert [trimming.look(100 * MIB, 200 * MIB, 1.0, now) for now in (0, 10, 20, 29, 30)] == [False] * 4 + [True]
    trimming.trimmed(100 * MIB, 200 * MIB)
    assert not trimming.look(120 * MIB, 200 * MIB, 1.0, 35)
    assert not trimming.look(120 * MIB, 200 * MIB, 1.0, 60)
    assert trimming.look(120 * MIB, 200 * MIB, 1.0, 65)


def test_memory_that_the_system_has_is_not_given_back_again() -> None:
    trimming = policy()
    assert trimming.look(100 * MIB, 200 * MIB, 0.0, 0)
    trimming.trimmed(99 * MIB, 200 * MIB)
    assert not any(trimming.look(99 * MIB, 200 * MIB, 0.0, now) for now in range(5, 500, 5))


def test_memory_that_was_used_again_is_given_back_again() -> None:
    trimming = policy()
    assert trimming.look(100 * MIB, 200 * MIB, 0.0, 0)
    trimming.trimmed(100 * MIB, 200 * MIB)
    assert not trimming.look(20 * MIB, 200 * MIB, 0.0, 5)  # the next rush
    assert trimming.look(100 * MIB, 200 * MIB, 0.0, 10)  # is over


def test_memory_used_and_freed_between_two_looks_shows_as_growth() -> None:
    trimming = policy()
    assert trimming.look(100 * MIB, 200 * MIB, 0.0, 0)
    trimming.trimmed(100 * MIB, 110 * MIB)
    assert not trimming.look(100 * MIB, 117 * MIB, 0.0, 5)
    assert trimming.look(100 * MIB, 119 * MIB, 0.0, 10)


def test_growth_that_is_in_use_cannot_be_given_back() -> None:
    trimming = policy()
    trimming.trimmed(5 * MIB, 50 * MIB)
    assert not trimming.look(5 * MIB, 500 * MIB, 0.0, 5)
    assert trimming.look(300 * MIB, 500 * MIB, 0.0, 10)


def test_as_shipped_little_stays_and_much_goes_at_a_quarter_of_a_core_or_after_half_a_minute() -> None:
    """TRIM_BYTES, TRIM_QUIET and TRIM_PATIENCE_SECONDS."""
    assert not Trimming().look(8 * MIB - 1, 90 * MIB, 0.0, 0)
    assert Trimming().look(8 * MIB, 90 * MIB, 0.24, 0)
    busy = Trimming()
    assert [busy.look(8 * MIB, 90 * MIB, 0.25, now) for now in (0, 29.9, 30)] == [False, False, True]
