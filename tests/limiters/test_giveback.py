from __future__ import annotations

from ferry.limiters.giveback import GiveBack

MIB = 1024 * 1024


def policy() -> GiveBack:
    return GiveBack(least=8 * MIB, quiet=0.25, patience=30)


def test_little_is_not_worth_it() -> None:
    give_back = policy()
    assert not any(give_back.look(7 * MIB, 90 * MIB, 0.0, now) for now in range(100))


def test_free_memory_is_given_back_once_it_is_quiet() -> None:
    give_back = policy()
    assert not give_back.look(100 * MIB, 200 * MIB, 0.9, 0)
    assert not give_back.look(100 * MIB, 200 * MIB, 0.3, 5)
    assert give_back.look(100 * MIB, 200 * MIB, 0.1, 10)


def test_where_it_is_never_quiet_it_is_done_after_a_while() -> None:
    give_back = policy()
    assert [give_back.look(100 * MIB, 200 * MIB, 1.0, now) for now in (0, 10, 20, 29, 30)] == [False] * 4 + [True]
    give_back.gave(100 * MIB, 200 * MIB)
    assert not give_back.look(120 * MIB, 200 * MIB, 1.0, 35)
    assert not give_back.look(120 * MIB, 200 * MIB, 1.0, 60)
    assert give_back.look(120 * MIB, 200 * MIB, 1.0, 65)


def test_memory_that_the_system_has_is_not_given_back_again() -> None:
    give_back = policy()
    assert give_back.look(100 * MIB, 200 * MIB, 0.0, 0)
    give_back.gave(99 * MIB, 200 * MIB)
    assert not any(give_back.look(99 * MIB, 200 * MIB, 0.0, now) for now in range(5, 500, 5))


def test_memory_that_was_used_again_is_given_back_again() -> None:
    give_back = policy()
    assert give_back.look(100 * MIB, 200 * MIB, 0.0, 0)
    give_back.gave(100 * MIB, 200 * MIB)
    assert not give_back.look(20 * MIB, 200 * MIB, 0.0, 5)  # the next rush
    assert give_back.look(100 * MIB, 200 * MIB, 0.0, 10)  # is over


def test_memory_used_and_freed_between_two_looks_shows_as_growth() -> None:
    give_back = policy()
    assert give_back.look(100 * MIB, 200 * MIB, 0.0, 0)
    give_back.gave(100 * MIB, 110 * MIB)
    assert not give_back.look(100 * MIB, 117 * MIB, 0.0, 5)
    assert give_back.look(100 * MIB, 119 * MIB, 0.0, 10)


def test_growth_that_is_in_use_cannot_be_given_back() -> None:
    give_back = policy()
    give_back.gave(5 * MIB, 50 * MIB)
    assert not give_back.look(5 * MIB, 500 * MIB, 0.0, 5)
    assert give_back.look(300 * MIB, 500 * MIB, 0.0, 10)


def test_as_shipped_little_stays_and_much_goes_at_a_quarter_of_a_core_or_after_half_a_minute() -> None:
    """GIVE_BACK_BYTES, GIVE_BACK_QUIET and GIVE_BACK_PATIENCE_SECONDS."""
    assert not GiveBack().look(8 * MIB - 1, 90 * MIB, 0.0, 0)
    assert GiveBack().look(8 * MIB, 90 * MIB, 0.24, 0)
    busy = GiveBack()
    assert [busy.look(8 * MIB, 90 * MIB, 0.25, now) for now in (0, 29.9, 30)] == [False, False, True]
