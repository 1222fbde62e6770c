"""What a gateway does again and again while it runs: look, write late, renew, forget."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial

from . import limits, systemd, tasks
from .clock import Steps
from .memory import Memory, allocator
from .observe.lag import LagSampler
from .parts import Parts
from .registry.contract import StoreUnavailable
from .ssh.access import KEYS_POLL_SECONDS
from .ssh.client import Client
from .ssh.revoked import Revoked


class Upkeep:
    """The actions, over the parts of one worker."""

    def __init__(self, parts: Parts) -> None:
        self._clock = parts.clock
        self._front = parts.front
        self._kept = parts.kept
        self._steps = Steps(parts.clock)
        self._revoked: Revoked[Client] = Revoked()

    async def write_late(self) -> None:
        """Write what could not be written on a full disk."""
        if not self._kept.store.healthy:
            await self.renew()  # a small write: it shows whether there is room again
        await self._front.write_late()

    async def read_keys(self) -> None:
        """Take key files that have changed."""
        access = self._front.services.access
        access.use(await asyncio.to_thread(access.read))

    async def end_revoked(self) -> None:
        """End the connections of keys that may not log in any more, or only as somebody else."""
        front = self._front
        for client, why in self._revoked.look(front, front.services.access, self._clock.monotonic()):
            front.apart(client, partial(client.close, why))

    async def renew(self) -> None:
        """The worker's heartbeat, on which its leases rest."""
        await self._kept.registry.renew(self._kept.worker, now=self._clock.now())

    async def prune(self) -> None:
        """Forget what nobody can ask for any more. Not by a clock that was just set by years: it may be set back."""
        if self._steps.stepped(limits.CLOCK_STEP_SECONDS):
            return
        kept, rules, now = self._kept, self._front.services.rules, self._clock.now
        await kept.sessions.prune(now() - limits.SESSIONS_KEEP_SECONDS)
        await kept.registry.prune(now=now(), keep=rules.keep, rest=rules.rest)
        await kept.people.prune(now() - max(rules.keep, limits.IDENTITIES_KEEP_SECONDS))


@contextmanager
def kept_up(parts: Parts) -> Iterator[None]:
    """Do all of it while the context lasts."""
    upkeep, observation = Upkeep(parts), parts.observation
    memory = Memory(allocator(), clock=parts.clock, report=observation.report)
    with ExitStack() as stack:
        stack.enter_context(observation.summing_up())
        stack.enter_context(LagSampler(parts.clock, observation.report, observation.metrics.lag).running())
        for name, seconds, action in (
            ("memory", limits.GIVE_BACK_LOOK_SECONDS, memory.look),
            ("tick", limits.TICK_SECONDS, parts.front.tick),
            ("write late", limits.TICK_SECONDS, upkeep.write_late),
            ("keys", KEYS_POLL_SECONDS, upkeep.read_keys),
            ("revoked", limits.TICK_SECONDS, upkeep.end_revoked),
            ("certificates", limits.CERTIFICATE_POLL_SECONDS, parts.certificates.look),
            ("renew", limits.RENEW_SECONDS, upkeep.renew),
            ("prune", limits.PRUNE_SECONDS, upkeep.prune),
        ):
            stack.enter_context(_repeating(name, seconds, action))
        yield


@contextmanager
def watchdog_fed() -> Iterator[None]:
    """Tell systemd that the event loop turns, where it asks for that (`WatchdogSec=`)."""
    with ExitStack() as stack:
        if seconds := systemd.watchdog_seconds():
            stack.enter_context(_repeating("watchdog", seconds / 2, _still_alive))
        yield


async def _still_alive() -> None:
    systemd.notify("WATCHDOG=1")


@contextmanager
def _repeating(name: str, seconds: float, action: Callable[[], Awaitable[object]]) -> Iterator[None]:
    """Do `action` every `seconds` while the context lasts. One that fails is logged, and done again."""

    async def act() -> None:
        with suppress(StoreUnavailable):  # the store has reported it; the next round tries again
            await action()

    task = tasks.spawn(name, tasks.repeat(name, seconds, act))
    try:
        yield
    finally:
        task.cancel()
