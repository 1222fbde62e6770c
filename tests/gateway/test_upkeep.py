"""What a gateway forgets in time, with a real database and a clock that goes as the test says."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ferry.config.model import Config
from ferry.gateway.kept import Kept, kept_in
from ferry.gateway.upkeep import Upkeep, kept_up
from ferry.gateway.wiring import rules_of
from ferry.names import Address, ConnectionId, Fingerprint, Identity, IdentityId, Kind
from ferry.registry.contract import Claimed, Terms
from ferry.report import no_report
from ferry.store.connections import ConnectionRows
from ferry.store.engine import Store
from hurried_loop import HurriedLoop, LoopsClock
from rsa_host_key import put_rsa_key

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
    """One SSH connection that has ended, one name that was used, and one key that nothing belongs to; all now."""

    def __init__(self, kept: Kept, clock: Hands) -> None:
        self.kept = kept
        self.clock = clock
        assert isinstance(kept.connections, ConnectionRows)
        assert isinstance(kept.store, Store)
        self.connections, self.store = kept.connections, kept.store

    async def begin(self) -> None:
        now = self.clock.now()
        owner = await self.kept.identities.identity_for_key(Fingerprint("SHA256:owner"), "ssh-ed25519", None, now=now)
        await self.kept.identities.identity_for_key(Fingerprint("SHA256:passer-by"), "ssh-ed25519", None, now=now)
        somebody = Identity(IdentityId("x"), None, None)
        self.kept.connections.connection_started(ConnectionId("s"), somebody, "::1", "", now)
        self.kept.connections.connection_ended(ConnectionId("s"), "gone", 0, 0, now)
        await self.connections.flush()
        claimed = await self.kept.registry.claim(BLOG, owner, self.kept.worker, now=now, terms=TERMS)
        assert isinstance(claimed, Claimed)
        await self.kept.registry.release(BLOG, claimed.lease.generation, now=now)

    def upkeep(self, **names: str) -> Upkeep:
        """As shipped, or with other `names`."""
        forwards = SimpleNamespace(rules=rules_of(Config.model_validate({"names": names})), book=None)
        settings = SimpleNamespace(forwards=forwards)
        in_force = SimpleNamespace(config=Config())
        worker = SimpleNamespace(clock=self.clock, settings=settings, kept=self.kept, in_force=in_force)
        return Upkeep(cast(Any, worker))

    async def left(self) -> tuple[int, int, int]:
        """Sessions, names and identities."""
        connections, names = await self.connections.recent(9), await self.kept.registry.reservations(None)
        count = "SELECT count(*) FROM identities"
        people = await self.store.run(lambda connection: next(iter(connection.execute(count)))[0])
        return len(connections), len(names), people


@pytest.fixture
async def past(tmp_path: Path) -> AsyncIterator[Past]:
    clock = Hands()
    put_rsa_key(tmp_path / "state")
    async with kept_in(tmp_path / "state", clock=clock, report=no_report) as kept:
        made = Past(kept, clock)
        await made.begin()
        yield made


async def test_rows_of_every_kind_are_pruned_at_the_end_of_their_time_as_shipped(past: Past) -> None:
    """NAMES_KEEP_SECONDS, NAMES_REST_SECONDS and CONNECTIONS_KEEP_SECONDS."""
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


async def test_a_drifting_clock_delays_nothing(past: Past) -> None:
    upkeep = past.upkeep()
    past.clock.pass_(100)
    past.clock.wall += 3_500
    await upkeep.prune()
    assert await past.left() == (0, 0, 0)


class Counted:
    """A part of which is counted how often each thing is asked for."""

    healthy = True
    keep = rest = 0.0
    worker = "w"

    def __init__(self, count: Counter[str]) -> None:
        self._count = count

    def __getattr__(self, name: str) -> Callable[..., Any]:
        async def asked(*_: object, **__: object) -> None:
            self._count[name] += 1

        return asked


def test_each_periodic_action_runs_at_its_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    """TICK_SECONDS, CERTIFICATE_POLL_SECONDS, RENEW_SECONDS, PRUNE_SECONDS, TRIM_LOOK_SECONDS,
    AUDIT_SUM_SECONDS, LAG_SAMPLE_SECONDS and POLICY_LOOK_SECONDS."""
    count = Counter[str]()

    class Allocator:
        def free(self) -> int:
            count["memory"] += 1
            return 0

    class Gauge:
        def set(self, _lag: float) -> None:
            count["lag"] += 1

    class Access:
        def read(self) -> None:
            count["keys"] += 1

        def use(self, _keys: None) -> None:
            """They are as they were."""

    class Policy:
        def look(self, _config: None, _access: object) -> None:
            count["policy"] += 1

    class Ssh(Counted):
        def __iter__(self) -> Iterator[object]:
            count["revoked"] += 1
            return iter(())

    counted = Counted(count)
    kept = SimpleNamespace(
        store=counted, registry=counted, worker="w", connections=Counted(Counter()), identities=counted,
        audit=Counted(Counter()),
    )  # fmt: skip
    observation = SimpleNamespace(report=no_report, metrics=SimpleNamespace(lag=Gauge()), summing_up=nullcontext)
    monkeypatch.setattr("ferry.gateway.upkeep.allocator", Allocator)

    async def host_certificates() -> None:
        count["host certificates"] += 1

    async def an_hour() -> None:
        settings = SimpleNamespace(
            forwards=SimpleNamespace(rules=SimpleNamespace(keep=0.0, rest=0.0), book=None),
            login=SimpleNamespace(access=Access()),
        )
        worker = SimpleNamespace(
            clock=LoopsClock(), ssh=Ssh(count), tunnels=SimpleNamespace(claims=counted), settings=settings, kept=kept,
            certificates=counted, policy=Policy(), in_force=SimpleNamespace(config=Config()),
            read_host_certificates=host_certificates,
        )  # fmt: skip
        with kept_up(cast(Any, worker), cast(Any, observation), cast(Any, counted)):
            await asyncio.sleep(3_601)

    with asyncio.Runner(loop_factory=lambda: HurriedLoop(quiet=0)) as runner:
        runner.run(an_hour())
    often = {
        "tick": 3600,
        "write_late": 3600,
        "revoked": 3600,
        "memory": 1800,
        "look": 1200,
        "host certificates": 1200,
        "renew": 60,
        "sum_up": 60,
        "prune": 2,
        "lag": 7200,
        "policy": 7200,
    }
    assert {name: round(count[name] / times, 1) for name, times in often.items()} == dict.fromkeys(often, 1.0)
