"""The periodic actions of a running gateway: look, write late, renew, prune."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial

from ferry import limits, tasks
from ferry.clock import Steps
from ferry.errors import InvalidInput
from ferry.observe.audit import Auditor
from ferry.observe.lag import LagSampler
from ferry.observe.observer import Observation
from ferry.policy.keys import KeyLine
from ferry.registry.contract import StoreUnavailable
from ferry.ssh.access import KEYS_POLL_SECONDS
from ferry.ssh.client import Client
from ferry.ssh.revoked import Revoked

from . import systemd
from .memory import Memory, allocator
from .worker import Worker


class Upkeep:
    """The actions of one worker."""

    def __init__(self, worker: Worker) -> None:
        self._clock = worker.clock
        self._worker = worker
        self._kept = worker.kept
        self._steps = Steps(worker.clock)
        self._revoked: Revoked[Client] = Revoked()
        self._judged = worker.settings.forwards.book
        """The policy by which all that is open was looked at last."""
        self._judged_at = worker.clock.now()

    async def write_late(self) -> None:
        """Write the data that a full disk has delayed."""
        if not self._kept.store.healthy:
            await self.renew()  # a small write shows whether the disk has space again
        await self._worker.tunnels.claims.write_late()
        await self._kept.audit.write_late()

    async def read_keys(self) -> None:
        """Read key files that have changed, and end the connections of keys that are gone, and the aliases with a name that
        another key has now."""
        access = self._worker.settings.login.access
        found = await asyncio.to_thread(access.read)
        access.use(found)
        if found is not None or self._revoked.suspects:
            await self.end_revoked()
        if found is not None:
            self._worker.tunnels.close_misnamed()
            await self._worker.read_names()
            self._worker.tunnels.close_misnamed()

    async def read_policy(self) -> None:
        """Read the policy file, if it has changed, and end what the policy does not allow any more."""
        worker, config = self._worker, self._worker.in_force.config
        found = await asyncio.to_thread(worker.policy.look, config, worker.settings.login.access)
        if isinstance(found, InvalidInput):
            worker.policy.refused(config, found)
        elif found is not None and worker.in_force.config is config:  # no reload has come in between
            worker.use_policy(found)
        await self._follow_policy()

    async def _follow_policy(self) -> None:
        """After a change of the policy, or the end of a rule (`until`): look at all that is open."""
        book, now = self._worker.settings.forwards.book, self._clock.now()
        since, self._judged_at = self._judged_at, now
        if book is self._judged and (book is None or not book.end_between(since, now)):
            return
        self._judged = book
        await self._worker.ssh.use_settings()

    async def end_revoked(self) -> None:
        """End the connections of keys that were removed from the files, or belong to another identity now. Those whose
        key has other options there get these."""
        ssh, access, clock = self._worker.ssh, self._worker.settings.login.access, self._clock
        for client, change in self._revoked.look(ssh, access, clock.monotonic(), clock.now()):
            if isinstance(change, KeyLine):
                ssh.run_isolated(client, partial(client.use_key_line, change))
            else:
                ssh.run_isolated(client, partial(client.close, change))

    async def renew(self) -> None:
        """Write the worker's heartbeat, which keeps its leases alive."""
        await self._kept.registry.renew(self._kept.worker, now=self._clock.now())

    async def prune(self) -> None:
        """Delete expired rows; not right after a large step of the clock, which may be set back."""
        if self._steps.stepped(limits.CLOCK_STEP_SECONDS):
            return
        kept, rules, now = self._kept, self._worker.settings.forwards.rules, self._clock.now
        await kept.connections.prune(now() - limits.CONNECTIONS_KEEP_SECONDS)
        audit = self._worker.in_force.config.audit
        await kept.audit.prune(keep_seconds=audit.keep, keep=audit.records)
        await kept.registry.prune(now=now(), keep=rules.keep, rest=rules.rest)
        await kept.identities.prune(now() - max(rules.keep, limits.IDENTITIES_KEEP_SECONDS))


@contextmanager
def kept_up(worker: Worker, observation: Observation, auditor: Auditor) -> Iterator[None]:
    """Run all periodic actions while the context lasts."""
    upkeep = Upkeep(worker)
    memory = Memory(allocator(), clock=worker.clock, report=observation.report)
    with ExitStack() as stack:
        stack.enter_context(observation.summing_up())
        stack.enter_context(LagSampler(worker.clock, observation.report, observation.metrics.lag).running())
        for name, seconds, action in (
            ("memory", limits.TRIM_LOOK_SECONDS, memory.look),
            ("tick", limits.TICK_SECONDS, worker.ssh.tick),
            ("write late", limits.TICK_SECONDS, upkeep.write_late),
            ("keys", KEYS_POLL_SECONDS, upkeep.read_keys),
            ("policy", limits.POLICY_LOOK_SECONDS, upkeep.read_policy),
            ("revoked", limits.TICK_SECONDS, upkeep.end_revoked),
            ("certificates", limits.CERTIFICATE_POLL_SECONDS, worker.certificates.look),
            ("host certificates", limits.CERTIFICATE_POLL_SECONDS, worker.read_host_certificates),
            ("renew", limits.RENEW_SECONDS, upkeep.renew),
            ("prune", limits.PRUNE_SECONDS, upkeep.prune),
            ("audit", limits.AUDIT_SUM_SECONDS, auditor.sum_up),
        ):
            stack.enter_context(_repeating(name, seconds, action))
        yield


@contextmanager
def watchdog_fed() -> Iterator[None]:
    """Tell systemd that the event loop runs, if it asks for that (`WatchdogSec=`)."""
    with ExitStack() as stack:
        if seconds := systemd.watchdog_seconds():
            stack.enter_context(_repeating("watchdog", seconds / 2, _still_alive))
        yield


async def _still_alive() -> None:
    systemd.notify("WATCHDOG=1")


@contextmanager
def _repeating(name: str, seconds: float, action: Callable[[], Awaitable[object]]) -> Iterator[None]:
    """Call `action` every `seconds` while the context lasts. A failure is logged, and the calls go on."""

    async def act() -> None:
        with suppress(StoreUnavailable):  # the store has reported it; the next round tries again
            await action()

    task = tasks.spawn(name, tasks.repeat(name, seconds, act))
    try:
        yield
    finally:
        task.cancel()
