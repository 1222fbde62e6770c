"""A budget of key exchanges, earned by bytes and by time."""

from __future__ import annotations

from ferry import limits
from ferry.policy.rekeys import Rekeys


def test_some_may_follow_each_other_and_then_each_has_to_be_earned() -> None:
    rekeys = Rekeys()
    assert [rekeys.allows(0, 100.0) for _ in range(limits.REKEYS_TOGETHER + 3)].count(True) == limits.REKEYS_TOGETHER


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
    assert [rekeys.allows(0, 3600.0) for _ in range(limits.REKEYS_TOGETHER + 1)].count(False) == 1
