"""How many may log in at once, and how often a name may change hands."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ferry.limits import FLAP_SECONDS, FLAP_TAKEOVERS
from ferry.names import Address, Kind
from ferry.policy import flapping
from ferry.policy.flapping import FlapGuard
from ferry.policy.handshakes import HandshakeGate

BLOG, SHOP = Address(Kind.HTTP, "blog.example.com"), Address(Kind.HTTP, "shop.example.com")
HOSTS = [
    "203.0.113.1",
    "203.0.113.200",
    "198.51.100.1",
    "2001:db8::1",
    "2001:db8::2",
    "2001:db8:0:1::1",
    "127.0.0.1",
    "::1",
]


def test_one_network_has_fewer_places_than_all_together() -> None:
    gate = HandshakeGate(total=5, per_network=2)
    assert [gate.admit(f"203.0.113.{n}") for n in range(3)] == [True, True, False]
    assert [gate.admit(f"2001:db8::{n}") for n in range(3)] == [True, True, False]
    assert [gate.admit("198.51.100.1"), gate.admit("192.0.2.1")] == [True, False]
    gate.done("203.0.113.9")
    assert gate.admit("192.0.2.1")


def test_an_ipv4_address_inside_ipv6_counts_as_ipv4() -> None:
    gate = HandshakeGate(total=10, per_network=1)
    assert [gate.admit("203.0.113.7"), gate.admit("::ffff:203.0.113.8")] == [True, False]


def test_loopback_is_many_people_behind_a_proxy() -> None:
    gate = HandshakeGate(total=4, per_network=1)
    assert [gate.admit(host) for host in ("127.0.0.1", "127.0.0.1", "::1", "::ffff:127.0.0.1", "127.0.0.1")] == [
        True, True, True, True, False,
    ]  # fmt: skip


@given(st.lists(st.tuples(st.sampled_from(HOSTS), st.booleans())))
def test_whatever_comes_and_goes_the_counts_are_right(steps: list[tuple[str, bool]]) -> None:
    gate = HandshakeGate(total=6, per_network=2)
    inside: list[str] = []
    for host, comes in steps:
        if comes:
            if gate.admit(host):
                inside.append(host)
        elif host in inside:
            inside.remove(host)
            gate.done(host)
        assert len(gate) == len(inside) <= 6
    for host in inside:
        gate.done(host)
    assert len(gate) == 0


def test_past_the_limit_the_holder_stays_for_a_minute() -> None:
    guard = FlapGuard()
    for n in range(FLAP_TAKEOVERS):
        assert guard.wait(BLOG, 100.0 + n) == 0
        guard.counted(BLOG, 100.0 + n)
    last = 100.0 + FLAP_TAKEOVERS - 1
    assert guard.wait(BLOG, last) == FLAP_SECONDS
    assert guard.wait(SHOP, last) == 0
    assert guard.wait(BLOG, 100.0 + FLAP_SECONDS - 0.001) > 0
    assert guard.wait(BLOG, last + FLAP_SECONDS) == 0


@given(st.lists(st.floats(0, 300), max_size=30))
def test_a_wait_is_never_longer_than_a_minute_and_always_ends(gaps: list[float]) -> None:
    guard, now = FlapGuard(), 0.0
    for gap in gaps:
        now += gap
        wait = guard.wait(BLOG, now)
        assert 0 <= wait <= FLAP_SECONDS
        assert guard.wait(BLOG, now + wait + 0.001) == 0
        if wait == 0:
            guard.counted(BLOG, now)


def test_slow_takeovers_never_wait() -> None:
    guard = FlapGuard()
    for n in range(20):
        now = n * FLAP_SECONDS / (FLAP_TAKEOVERS - 1)
        assert guard.wait(BLOG, now) == 0
        guard.counted(BLOG, now)


def test_the_guard_forgets_the_oldest_address_first() -> None:
    guard = FlapGuard()
    for address in [BLOG] * FLAP_TAKEOVERS + [SHOP] * FLAP_TAKEOVERS:
        guard.counted(address, 0.0)
    for n in range(flapping.FLAP_ADDRESSES - 1):
        guard.counted(Address(Kind.TCP, "", n), 0.0)
    assert (guard.wait(BLOG, 1.0), guard.wait(SHOP, 1.0) > 0) == (0.0, True)
