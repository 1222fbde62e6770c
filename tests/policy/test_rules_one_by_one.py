"""What one entry of a rule allows, and whether it names its target as a target of that sort has to be named."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from ferry.policy.aims import Act, Aim, What
from ferry.policy.rules import Naming, Permit


@pytest.mark.parametrize(
    ("permit", "host", "port"),
    [
        (Permit("db", 22, 22), True, True), (Permit("db"), True, False), (Permit("d*", 22, 22), False, False),
        (Permit("{name}", 22, 22), False, False), (Permit("*", 22, 22, ip_network("10.0.0.1/32")), True, True),
        (Permit("*", 22, 22, ip_network("10.0.0.0/24")), False, False),
    ],
)  # fmt: skip
def test_one_host_and_one_port_are_named_by_nothing_wider(permit: Permit, *, host: bool, port: bool) -> None:
    assert [permit.names(how) for how in (Naming.ANYHOW, Naming.HOST, Naming.PORT)] == [True, host, port]


@pytest.mark.parametrize(
    ("permit", "target", "own", "allowed"),
    [
        (Permit("*", network=ip_network("10.0.0.0/8")), "10.1.2.3", None, True),
        (Permit("*", network=ip_network("10.0.0.0/8")), "192.0.2.1", None, False),
        (Permit("*", network=ip_network("10.0.0.0/8")), "db", None, False),
        (Permit("*", 23, 24), "db", None, False),
        (Permit("{name}-db"), "ann-db", "ann", True),
        (Permit("{name}-db"), "ann-db", "bob", False),
        (Permit("{name}-db"), "ann-db", None, False),
    ],
)
def test_a_target_is_allowed(permit: Permit, target: str, own: str | None, *, allowed: bool) -> None:
    assert permit.covers(Aim(Act.REACH, What.HOST, target, 22), own) is allowed
