"""Entries of one key wait for each other, and for no other key."""

from __future__ import annotations

from ferry.limiters.spacings import Spacings


def test_each_key_has_one_spacing_of_its_own() -> None:
    spacings = Spacings()
    first, second, other = (spacings.enter(key, 2, 4) for key in ("ann", "ann", "bob"))
    assert [one.wait(10.0) for one in (first, second, first, second)] == [0, 0, 0.25, 0.5]
    assert other.wait(10.0) == 0


def test_a_spacing_is_kept_while_its_identity_has_a_connection() -> None:
    spacings = Spacings()
    for _ in range(2):
        spacings.enter("ann", 1, 4).wait(10.0)
    spacings.leave("ann")
    assert spacings.enter("ann", 1, 4).wait(10.0) == 0.5
    for _ in range(2):
        spacings.leave("ann")
    assert spacings.enter("ann", 1, 4).wait(10.0) == 0
