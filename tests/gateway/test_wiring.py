"""Values for the parts, made from the configuration."""

from __future__ import annotations

import pytest

from ferry.config.model import Config
from ferry.gateway.wiring import public_is_loopback, rules_of, web_of


@pytest.mark.parametrize(
    ("addresses", "here_alone"),
    [
        (["127.0.0.1", "::1"], True),
        (["127.8.8.8"], True),
        (["0.0.0.0"], False),
        (["::"], False),
        (["127.0.0.1", "192.0.2.1"], False),
    ],
)
def test_a_public_port_counts_as_local_if_only_this_host_reaches_it(addresses: list[str], *, here_alone: bool) -> None:
    assert public_is_loopback(Config.model_validate({"tcp": {"public_addresses": addresses}})) is here_alone


@pytest.mark.parametrize(
    ("listen", "mode", "strangers"),
    [("*:2222", "anyone", True), ("*:2222", "keys", False), ("127.0.0.1:2222", "anyone", False)],
)
def test_a_public_gateway_for_anyone_limits_new_names(listen: str, mode: str, *, strangers: bool) -> None:
    """NAMES_RESERVE_AFTER and NAMES_PER_NETWORK_PER_DAY are for a gateway that everybody reaches and may use."""
    access = {"mode": mode, "keys": ["/etc/ferry/keys"]}
    rules = rules_of(Config.model_validate({"ssh": {"listen": listen}, "access": access}))
    assert (rules.reserve_after > 0) is strangers
    assert (rules.reservations_per_network is not None) is strangers


def test_the_ports_that_mean_http_are_the_standard_ones_and_the_gateways_own() -> None:
    web = web_of(Config.model_validate({"http": {"listen": "127.0.0.1:8080"}, "https": {"listen": "127.0.0.1:8443"}}))
    assert (web.http_ports, web.https_ports) == (frozenset({80, 8080}), frozenset({443, 8443}))
