"""Blocked addresses, and the slow lane for other clients behind the same address."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferry.errors import InvalidInput
from ferry.limiters.connection_limiter import ConnectionLimiter
from ferry.limiters.penalties import SECONDS, Blocked, Offence, Penalties
from ferry.limiters.sources import ExemptNetworks
from weight import weight

LANE_PACE_SECONDS = 1.0
PENALTY_SOURCES = 65_536
PENALTY_MAX_SECONDS = 600.0
BAD, GOOD = "203.0.113.7", "203.0.113.8"


def blocked_by(penalties: Penalties, host: str, offence: Offence, now: float = 0.0) -> Blocked:
    for _ in range(100):
        if (blocked := penalties.add_offence(host, offence, now)) is not None:
            return blocked
    raise AssertionError("never blocked")


def test_an_address_is_blocked_at_the_threshold_and_reported_once() -> None:
    penalties = Penalties()
    tries = [penalties.add_offence(BAD, Offence.KEYS_REFUSED, 0.0) for _ in range(4)]
    assert tries == [None, None, Blocked(BAD, 15.0, Offence.KEYS_REFUSED), None]
    assert penalties.blocked(BAD, 0.0) == 20
    assert penalties.blocked(GOOD, 0.0) == 0
    assert penalties.blocked(BAD, 19.9) > 0
    assert penalties.blocked(BAD, 20.0) == 0
    assert penalties.add_offence(GOOD, Offence.NOTHING_OFFERED, 21.0) is None
    assert len(penalties) == 1  # BAD is forgotten
    assert penalties.add_offence(BAD, Offence.KEYS_REFUSED, 21.0) is None


def test_a_browser_on_the_ssh_port_blocks_nobody_at_once() -> None:
    penalties = Penalties()
    connections = 8 * 3  # eight pages, each tried over TLS and HTTP, with a favicon
    assert all(penalties.add_offence(BAD, Offence.OTHER_PROTOCOL, 0.0) is None for _ in range(connections))
    assert blocked_by(penalties, BAD, Offence.OTHER_PROTOCOL).seconds == 15.0


def test_slow_offences_expire() -> None:
    penalties = Penalties()
    for n in range(200):
        assert penalties.add_offence(BAD, Offence.KEYS_REFUSED, n * 6.0) is None


def test_an_ipv6_network_of_64_bits_is_one_source_and_ipv4_inside_ipv6_is_ipv4() -> None:
    penalties = Penalties()
    assert blocked_by(penalties, "2001:db8::1", Offence.NEVER_ENDED).source == "2001:db8::/64"
    assert penalties.blocked("2001:db8::ffff", 0.0) > 0
    assert penalties.blocked("2001:db8:0:1::1", 0.0) == 0
    assert blocked_by(penalties, f"::ffff:{BAD}", Offence.GARBAGE).source == BAD


def test_proxies_are_exempt_and_penalties_can_be_off() -> None:
    proxy = "192.0.2.9"
    tables = {"127.0.0.1": Penalties(), proxy: Penalties(ExemptNetworks(["192.0.2.0/24"])), BAD: Penalties(on=False)}
    for host, penalties in tables.items():
        assert all(penalties.add_offence(host, Offence.NEVER_ENDED, 0.0) is None for _ in range(50))
        assert penalties.add_offence("unknown", Offence.NEVER_ENDED, 0.0) is None
        assert len(penalties) == 0
    assert blocked_by(Penalties(ExemptNetworks([])), "127.0.0.1", Offence.NEVER_ENDED).source == "127.0.0.1"


def test_the_slow_lane_admits_one_log_in_at_a_time_with_a_pause() -> None:
    penalties = Penalties()
    blocked_by(penalties, BAD, Offence.NEVER_ENDED)
    assert penalties.enter_lane(BAD, 1.0)
    assert not penalties.enter_lane(BAD, 5.0)  # somebody is in it
    penalties.leave_lane(BAD)
    assert penalties.enter_lane(BAD, 5.0)
    penalties.leave_lane(BAD)
    assert not penalties.enter_lane(BAD, 5.0 + LANE_PACE_SECONDS / 2)
    assert penalties.enter_lane(BAD, 5.0 + LANE_PACE_SECONDS)


def test_an_operator_sees_and_lifts_blocks() -> None:
    penalties = Penalties()
    blocked_by(penalties, "2001:db8::1", Offence.GARBAGE)
    for _ in range(5):
        penalties.add_offence(BAD, Offence.KEYS_REFUSED, 0.0)
    penalties.add_offence(GOOD, Offence.KEYS_REFUSED, 0.0)
    assert [one.source for one in penalties.listed(0.0)] == [BAD, "2001:db8::/64"]
    assert not penalties.unblock(GOOD)
    assert penalties.unblock("2001:db8::/64")
    assert penalties.unblock(BAD)
    assert penalties.listed(0.0) == []
    assert penalties.blocked(BAD, 0.0) == 0


def test_lifting_a_missing_block_is_reported_and_a_lifted_address_may_offend_again() -> None:
    penalties = Penalties()
    assert not penalties.unblock(BAD)
    blocked_by(penalties, BAD, Offence.NEVER_ENDED)
    assert penalties.unblock(BAD)
    assert penalties.add_offence(GOOD, Offence.NOTHING_OFFERED, 1000.0) is None  # the time of what was lifted is over
    assert (len(penalties), penalties.blocked(BAD, 1000.0)) == (1, 0)


def test_the_table_is_bounded_and_forgets_the_least_first() -> None:
    penalties = Penalties(most=10)
    worst = blocked_by(penalties, BAD, Offence.NEVER_ENDED).source
    for n in range(5000):
        penalties.add_offence(f"198.18.{n // 250}.{n % 250}", Offence.NOTHING_OFFERED, n * 0.0001)
        assert len(penalties) <= 10
    assert [one.source for one in penalties.listed(0.5)] == [worst]


def test_as_shipped_the_number_of_remembered_addresses() -> None:
    penalties = Penalties()
    for n in range(66_000):
        penalties.add_offence(f"198.{n >> 16}.{n >> 8 & 255}.{n & 255}", Offence.NOTHING_OFFERED, 0.0)
    assert len(penalties) == PENALTY_SOURCES < 66_000


def test_the_sources_of_the_last_addresses_alone_are_remembered() -> None:
    """SOURCES_REMEMBERED."""
    exempt = ExemptNetworks()

    def meet(beginning: int) -> int:
        for n in range(5_000):
            assert exempt.source_of(f"198.{beginning}.{n >> 8}.{n & 255}")
        return weight(exempt)

    few = meet(18)
    assert meet(19) < 1.2 * few


def test_an_endless_offender_takes_no_more_memory() -> None:
    """Each offence moves the end of a source, and where ends are kept in order the older ones stay behind."""
    exempt = ExemptNetworks([])
    penalties = Penalties(exempt, most=10)

    def offend(times: int) -> int:
        for n in range(times):
            penalties.add_offence(BAD, Offence.NOTHING_OFFERED, n * 1e-6)
        return weight(penalties, exempt)

    few = offend(100)
    assert offend(20_000) < 2 * few
    assert penalties.blocked(BAD, 1.0) > 500  # and none was forgotten over it
    assert penalties.blocked(BAD, PENALTY_MAX_SECONDS + 1) == 0
    assert penalties.listed(PENALTY_MAX_SECONDS + 1) == []


def test_no_block_is_longer_than_the_longest() -> None:
    penalties = Penalties()
    for _ in range(1000):
        penalties.add_offence(BAD, Offence.NEVER_ENDED, 5.0)
    assert penalties.blocked(BAD, 5.0) == PENALTY_MAX_SECONDS
    penalties.add_offence(BAD, Offence.NEVER_ENDED, 105.0)
    assert penalties.blocked(BAD, 105.0) == PENALTY_MAX_SECONDS - 90


def test_a_further_offence_extends_the_listed_block() -> None:
    penalties = Penalties()
    blocked_by(penalties, BAD, Offence.NEVER_ENDED)
    penalties.add_offence(BAD, Offence.GARBAGE, 1.0)
    assert penalties.listed(1.0) == [Blocked(BAD, 21.0, Offence.GARBAGE)]


def test_offences_that_do_not_block_are_no_block() -> None:
    penalties = Penalties()
    penalties.add_offence(BAD, Offence.NEVER_ENDED, 0.0)
    assert penalties.blocked(BAD, 0.0) == 0
    assert penalties.listed(0.0) == []


def test_a_source_that_is_forgotten_at_once_was_not_blocked() -> None:
    """Where the table is full of worse ones, the newcomer to it is the one with the least time left."""
    penalties = Penalties(most=1)
    for _ in range(100):
        penalties.add_offence(BAD, Offence.NEVER_ENDED, 0.0)
    assert [penalties.add_offence(GOOD, Offence.NEVER_ENDED, 0.0) for _ in range(5)] == [None] * 5
    assert penalties.blocked(GOOD, 0.0) == 0


def test_an_address_that_is_not_blocked_has_no_slow_lane() -> None:
    penalties = Penalties()
    assert not penalties.enter_lane(BAD, 0.0)
    penalties.leave_lane(BAD)
    assert len(penalties) == 0


@given(st.lists(st.tuples(st.integers(0, 12), st.sampled_from(Offence), st.floats(0, 30)), max_size=120))
def test_a_block_always_ends_and_never_lasts_longer_than_said(steps: list[tuple[int, Offence, float]]) -> None:
    penalties, now = Penalties(most=8), 0.0
    for who, offence, pause in steps:
        now += pause
        host = f"203.0.113.{who}"
        penalties.add_offence(host, offence, now)
        left = penalties.blocked(host, now)
        assert 0 <= left <= PENALTY_MAX_SECONDS
        assert penalties.blocked(host, now + left + 1e-6) == 0
        assert len(penalties) <= 8
    assert penalties.listed(now + PENALTY_MAX_SECONDS) == []
    assert len(penalties) == 0


@pytest.mark.parametrize(
    ("offence", "times"),
    [
        (Offence.NOTHING_OFFERED, 15),  # PENALTY_NOTHING_SECONDS
        (Offence.OTHER_PROTOCOL, 30),  # PENALTY_OTHER_PROTOCOL_SECONDS
        (Offence.GARBAGE, 8),  # PENALTY_GARBAGE_SECONDS
        (Offence.KEYS_REFUSED, 3),  # PENALTY_KEYS_SECONDS
        (Offence.NEVER_ENDED, 2),  # PENALTY_GRACE_SECONDS
    ],
)
def test_every_offence_has_a_price(offence: Offence, times: int) -> None:
    """As shipped, with PENALTY_THRESHOLD_SECONDS: how often it is let pass."""
    assert set(SECONDS) == set(Offence)
    penalties = Penalties()
    blocked = [penalties.add_offence(BAD, offence, 0.0) is not None for _ in range(times)]
    assert blocked == [False] * (times - 1) + [True]


def test_connections_are_counted_by_address() -> None:
    limiter = ConnectionLimiter(2)
    assert [limiter.enter("192.0.2.7") for _ in range(3)] == ["192.0.2.7", "192.0.2.7", None]
    assert limiter.enter("192.0.2.8") == "192.0.2.8"
    # one visitor has a whole /64
    assert [limiter.enter(f"2001:db8::{i}") for i in range(3)] == ["2001:db8::/64", "2001:db8::/64", None]
    assert [limiter.enter(host) for host in ("127.0.0.1", "::1", "unknown") * 3] == [""] * 9
    limiter.leave("192.0.2.7")
    assert limiter.enter("192.0.2.7") == "192.0.2.7"
    for network in ("192.0.2.7", "192.0.2.7", "192.0.2.8", "2001:db8::/64", "2001:db8::/64", ""):
        limiter.leave(network)
    assert len(limiter) == 0


@pytest.mark.parametrize("host", ["", "@", "unknown", "::g"])
def test_a_host_without_a_numeric_address_has_no_network_and_no_source(host: str) -> None:
    exempt = ExemptNetworks(["0.0.0.0/0", "::/0"])
    assert host not in exempt
    assert exempt.source_of(host) == ""


@pytest.mark.parametrize("text", ["", "localhost", "10.0.0.0/33", "10.0.0"])
def test_an_invalid_network_is_refused_with_the_reason(text: str) -> None:
    with pytest.raises(InvalidInput, match="is no network"):
        ExemptNetworks([text])
