from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferry.limiters.budgets import Budget, Budgets

BURST = 10.0


def budgets(each: float = 2, together: float = 6, sources: int = 100) -> Budgets:
    return Budgets(Budget(each, BURST), Budget(together, BURST), sources)


def taken(of: Budgets, source: str, times: int, now: float) -> int:
    return sum(of.take(source, now) for _ in range(times))


def test_a_source_has_a_burst_and_then_its_rate() -> None:
    of = budgets()
    assert taken(of, "a", 1000, 0) == 20
    assert taken(of, "a", 1000, 1) == 2
    assert taken(of, "a", 1000, 4) == 6
    assert taken(of, "a", 1000, 1000) == 20


def test_a_source_uses_up_its_own_budget_alone() -> None:
    of = budgets()
    assert taken(of, "a", 1000, 0) == 20
    assert taken(of, "b", 1000, 0) == 20


def test_many_sources_together_have_a_bound() -> None:
    of = budgets()
    assert sum(taken(of, str(number), 10, 0) for number in range(1000)) == 60
    assert sum(taken(of, str(number), 10, 2) for number in range(1000, 2000)) == 12


def test_no_source_uses_up_the_bound_of_all() -> None:
    assert taken(budgets(), "", 1000, 0) == 60


def test_the_table_of_sources_is_bounded_and_the_quiet_are_forgotten_first() -> None:
    of = budgets(together=1_000_000, sources=50)
    for number in range(10_000):
        of.take(str(number), 0)
        assert taken(of, "noisy", 2, 0) == (2 if number < 10 else 0)
    for others, forgotten in ((49, False), (50, True)):
        whole = taken(of, f"quiet beside {others}", 1000, 0)
        for number in range(others):
            of.take(f"{others}-{number}", 0)
        assert taken(of, f"quiet beside {others}", 1000, 0) == whole * forgotten


@pytest.mark.parametrize("rate", [0, 0.01])
def test_a_small_rate(rate: float) -> None:
    of = Budgets(Budget(rate, BURST), Budget(1000, BURST), 10)
    assert [of.take("a", now) for now in (0, 50, 100, 150, 200)] == [rate > 0, False, rate > 0, False, rate > 0]


def test_other_rates_take_effect_at_once() -> None:
    of = budgets()
    assert taken(of, "a", 1000, 0) == 20
    of.use(Budget(0, BURST), Budget(6, BURST))
    assert taken(of, "a", 1000, 100) == 0
    of.use(Budget(4, BURST), Budget(6, BURST))
    assert taken(of, "a", 1000, 100) == 40


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 5)), max_size=300))
def test_no_order_of_calls_gives_more_than_rate_and_burst(asked: list[tuple[str, float]]) -> None:
    of, now, given_to = budgets(), 0.0, {"a": 0, "b": 0, "c": 0}
    for source, later in asked:
        now += later
        given_to[source] += of.take(source, now)
    for count in given_to.values():
        assert count <= 2 * (now + BURST) + 1e-6
    assert sum(given_to.values()) <= 6 * (now + BURST) + 1e-6
