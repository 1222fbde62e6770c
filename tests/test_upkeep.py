"""What a gateway forgets in time, with a real database and a clock that goes as the test says."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ferry.config import Config
from ferry.kept import Kept, kept_in
from ferry.names import Address, Fingerprint, Identity, IdentityId, Kind, SessionId
from ferry.registry.contract import Claimed, Terms
from ferry.report import nothing
from ferry.upkeep import Upkeep
from ferry.wiring import rules_of

DAY = 86_400.0
BLOG = Address(Kind.HTTP, "blog.localhost")
TERMS = Terms(keep=DAY, rest=0.0, reserve=True, derived=False, max_reservations=9)


class Hands:
    """A wall clock that can be set, and one that cannot."""

    def __init__(self) -> None:
        self.wall = self.steady = 1_000.0

    def now(self) -> float:
        return self.wall

    def monotonic(self) -> float:
        return self.steady

    def pass_(self, days: float) -> None:
        self.wall += days * DAY
        self.steady += days * DAY


class Past:
    """One session that has ended, one name that was used, and one key that nothing belongs to; all now."""

    def __init__(self, kept: Kept, clock: Hands) -> None:
        self.kept = kept
        self.clock = clock

    async def begin(self) -> None:
        now = self.clock.now()
        owner = await self.kept.people.identity_for_key(Fingerprint("SHA256:owner"), "ssh-ed25519", None, now)
        await self.kept.people.identity_for_key(Fingerprint("SHA256:passer-by"), "ssh-ed25519", None, now)
        self.kept.sessions.session_started(SessionId("s"), Identity(IdentityId("x"), None, None), "::1", "", now)
        self.kept.sessions.session_ended(SessionId("s"), "gone", 0, 0, now)
        await self.kept.sessions.flush()
        claimed = await self.kept.registry.claim(BLOG, owner, self.kept.worker, now=now, terms=TERMS)
        assert isinstance(claimed, Claimed)
        await self.kept.registry.release(BLOG, claimed.lease.generation, now=now)

    def upkeep(self, **names: str) -> Upkeep:
        """As shipped, or with other `names`."""
        services = SimpleNamespace(rules=rules_of(Config.model_validate({"names": names})))
        parts = SimpleNamespace(clock=self.clock, front=SimpleNamespace(services=services), kept=self.kept)
        return Upkeep(cast(Any, parts))

    async def left(self) -> tuple[int, int, int]:
        """Sessions, names and identities."""
        sessions, names = await self.kept.sessions.recent(9), await self.kept.registry.reservations(None)
        count = "SELECT count(*) FROM identities"
        people = await self.kept.store.run(lambda connection: next(iter(connection.execute(count)))[0])
        return len(sessions), len(names), people


@pytest.fixture
async def past(tmp_path: Path) -> AsyncIterator[Past]:
    clock = Hands()
    async with kept_in(tmp_path / "state", clock=clock, report=nothing) as kept:
        made = Past(kept, clock)
        await made.begin()
        yield made


async def test_as_shipped_each_is_forgotten_when_nobody_can_ask_for_it_any_more(past: Past) -> None:
    """NAMES_KEEP_SECONDS, NAMES_REST_SECONDS and SESSIONS_KEEP_SECONDS."""
    upkeep, left = past.upkeep(), []
    for days in (29.9, 0.2, 6.8, 0.2, 52.8, 0.2):
        past.clock.pass_(days)
        await upkeep.prune()
        left.append(await past.left())
    assert left == [(1, 1, 2), (1, 1, 1), (1, 1, 1), (1, 0, 0), (1, 0, 0), (0, 0, 0)]


async def test_a_key_is_known_for_a_day_where_names_are_kept_for_less(past: Past) -> None:
    """IDENTITIES_KEEP_SECONDS."""
    upkeep, left = past.upkeep(keep="1h", rest="0s"), []
    for days in (0.9, 0.2):
        past.clock.pass_(days)
        await upkeep.prune()
        left.append(await past.left())
    assert left == [(1, 0, 2), (1, 0, 0)]


@pytest.mark.parametrize("years", [100, -100])
async def test_nothing_is_forgotten_by_a_clock_that_was_just_set(past: Past, years: int) -> None:
    """CLOCK_STEP_SECONDS: it may be set back within the hour."""
    upkeep = past.upkeep()
    past.clock.wall += years * 365 * DAY
    await upkeep.prune()
    assert await past.left() == (1, 1, 2)
    past.clock.wall -= years * 365 * DAY
    await upkeep.prune()
    assert await past.left() == (1, 1, 2)


async def test_what_a_clock_drifts_by_holds_up_nothing(past: Past) -> None:
    upkeep = past.upkeep()
    past.clock.pass_(100)
    past.clock.wall += 3_500
    await upkeep.prune()
    assert await past.left() == (0, 0, 0)
