"""A budget of key exchanges, earned by bytes and by time."""

from __future__ import annotations

from ferry import limits
from ferry.policy.rekeys import Rekeys


def test_some_may_follow_each_other_and_then_each_has_to_be_earned() -> None:
    rekeys = Rekeys()
    assert [rekeys.allows(0, 100.0) for _ in range(20)] == [True] * 16 + [False] * 4  # REKEYS_TOGETHER


def test_one_a_second_is_earned_by_time_and_one_by_a_quarter_of_a_mebibyte() -> None:
    """REKEYS_PER_SECOND and REKEY_BYTES: who asks ten times as often has little more than at the beginning."""
    by_time, by_bytes = Rekeys(), Rekeys()
    assert [by_time.allows(0, number / 10) for number in range(1000)].index(False) == 17
    assert [by_bytes.allows(number * 26_215, 0.0) for number in range(1000)].index(False) == 17


def test_who_moves_enough_may_go_on_for_ever() -> None:
    rekeys = Rekeys()
    assert all(rekeys.allows(number * limits.REKEY_BYTES, 100.0) for number in range(1000))


def test_a_clients_limit_by_time_is_let_be() -> None:
    """`RekeyLimit default 1` is the least that ssh_config(5) has."""
    rekeys = Rekeys()
    assert all(rekeys.allows(0, float(second)) for second in range(1000))


def test_what_was_earned_in_a_quiet_hour_is_no_more_than_at_the_beginning() -> None:
    rekeys = Rekeys()
    assert rekeys.allows(0, 0.0)
    assert [rekeys.allows(0, 3600.0) for _ in range(17)].count(False) == 1
