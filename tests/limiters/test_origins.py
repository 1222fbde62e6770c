"""The origin of a connection: a host may have many addresses, and some of them share an origin."""

from __future__ import annotations

import pytest

from ferry.limiters.origins import THIS_HOST, Origins
from weight import weight

OURS = "192.0.2.1"


@pytest.mark.parametrize(
    ("peer", "own"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.1", "127.9.9.9"),
        ("::1", "::1"),
        ("::1", "2001:db8::1"),
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1%eth0"),
    ],
)
def test_every_address_of_our_own_host_is_one_origin(peer: str, own: str) -> None:
    assert Origins().of(peer, own) == THIS_HOST


def test_another_host_is_not_ours() -> None:
    others = ["192.0.2.2", "10.0.0.1", "12.7.0.1", "2001:db8::2", "2001:db8:0:1::1", "::2"]
    origins = [Origins().of(peer, OURS) for peer in others]
    assert THIS_HOST not in origins
    assert len(set(origins)) == len(others)


def test_a_network_of_ipv6_is_one_origin() -> None:
    origins = Origins()
    assert origins.of("2001:db8::2", "2001:db8:9::1") == origins.of("2001:db8::ffff:2", "2001:db8:9::1")


def test_the_sources_of_the_last_addresses_alone_are_remembered() -> None:
    """SOURCES_REMEMBERED."""
    origins = Origins()

    def meet(beginning: int) -> int:
        for n in range(5_000):
            assert origins.of(f"198.{beginning}.{n >> 8}.{n & 255}", OURS)
        return weight(origins)

    few = meet(18)
    assert meet(19) < 1.2 * few
