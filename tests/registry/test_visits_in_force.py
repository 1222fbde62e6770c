"""A reload replaces the policy of visits, and its users hear of it."""

from __future__ import annotations

import pytest

from ferry.policy.visits import VisitPolicy
from ferry.registry.visits_in_force import VisitsInForce


def test_a_subscriber_that_fails_keeps_no_other_from_hearing_of_another_policy(
    caplog: pytest.LogCaptureFixture,
) -> None:
    visits, policy = VisitsInForce(VisitPolicy("gw")), VisitPolicy("gw")
    heard: list[VisitPolicy] = []

    def hear() -> None:
        heard.append(visits.policy)

    def fails() -> None:
        raise KeyError("an error of our own")

    visits.on_change += [hear, fails, hear]
    visits.use(policy)
    assert heard == [policy, policy]
    (record,) = caplog.records
    assert "an error of our own" in str(record.exc_info)
