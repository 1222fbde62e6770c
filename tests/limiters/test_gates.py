"""The bound on changes of a name's holder."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ferry.limiters import flapping
from ferry.limiters.flapping import FlapGuard
from ferry.names import Address, Kind
from weight import weight

FLAP_TAKEOVERS = 3
FLAP_SECONDS = 60.0
BLOG, SHOP = Address(Kind.HTTP, "blog.example.com"), Address(Kind.HTTP, "shop.example.com")


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


def test_one_address_that_changes_hands_without_end_takes_no_more_memory() -> None:
    guard = FlapGuard()

    def flap(times: int) -> int:
        for _ in range(times):
            guard.counted(BLOG, 0.0)
        return weight(guard)

    few = flap(10)
    assert flap(5000) <= few
