"""Reads the configuration again, at SIGHUP and for `ferry reload`, and applies the changes while all connections stay."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from operator import attrgetter
from typing import Final

from ferry import limits, tasks
from ferry.config.model import Config, needs_restart
from ferry.config.rules import surprises
from ferry.config.words import FIELDS
from ferry.console.models import ReloadedInfo
from ferry.errors import FerryError, StartupError
from ferry.names import printable
from ferry.observe.observer import Observation

from . import systemd
from .wiring import log_rates_of, visit_policy_of
from .worker import Worker, access_of

FIXED: Final = ("domain", "state")
"""Fields that a reload refuses to change."""


class Reloader:
    """Reads the configuration again: at SIGHUP, and for `ferry reload`. If the new one has an error, the old one stays in
    force."""

    def __init__(self, read: Callable[[], Config], worker: Worker, observation: Observation) -> None:
        """`read` blocks, and raises FerryError."""
        self._read = read
        self._worker = worker
        self._observation = observation
        self._started_with = worker.in_force.config
        self._alone = asyncio.Lock()

    async def at_each(self, again: asyncio.Event) -> None:
        """Reload each time `again` is set."""

        async def once() -> None:
            await again.wait()
            again.clear()
            with suppress(FerryError):  # it is reported
                await self.reload()

        await tasks.repeat("reload", 0, once)

    async def reload(self) -> ReloadedInfo:
        """Reload once. Raises FerryError if nothing has changed, with the reason."""
        async with self._alone:
            systemd.notify("RELOADING=1")
            status = ""
            try:
                return await self._reload()
            except FerryError as error:
                self._worker.in_force.error = str(error)
                self._observation.report("config.rejected", error=str(error))
                first = printable(str(error).partition("\n")[0])
                status = f"The last reload was refused, and changed nothing: {first}"
                raise
            finally:
                systemd.notify(f"READY=1\nSTATUS={status}")  # `systemctl status` shows it

    async def _reload(self) -> ReloadedInfo:
        worker, observation = self._worker, self._observation
        before = worker.in_force.config
        config = await asyncio.to_thread(self._read)
        await _swap(config, worker)
        observation.set_level(config.log.level)
        observation.set_rates(log_rates_of(config))
        worker.in_force.error = ""
        waits = needs_restart(self._started_with, config)
        observation.report("config.reloaded", needs_restart=" ".join(waits), sha256=config.written.sha256)
        mistakes = worker.settings.login.access.mistakes
        return ReloadedInfo(
            changed=[key for key in FIELDS if attrgetter(key)(before) != attrgetter(key)(config)],
            needs_restart=waits,
            policy=worker.view.policy(),
            mistakes=[*mistakes[: limits.RELOAD_MISTAKES]],
            more_mistakes=max(0, len(mistakes) - limits.RELOAD_MISTAKES),
            notes=[*(remark.text for remark in surprises(config)), *await asyncio.to_thread(_locked_out, worker)],
        )


def _locked_out(worker: Worker) -> Sequence[str]:
    """What to tell of keys that let nobody in."""
    texts = worker.settings.login.access.locked_out(worker.settings.sshd).texts
    more = len(texts) - limits.RELOAD_MISTAKES
    return texts if more <= 0 else [*texts[: limits.RELOAD_MISTAKES], f"{more:,} more such notes: ferry check-config"]


async def _swap(config: Config, worker: Worker) -> None:
    """Build the new parts, then swap them for the old ones. If it raises FerryError, nothing has changed."""
    old = worker.in_force.config
    for field in FIXED:
        if getattr(config, field) != getattr(old, field):
            raise StartupError(f"{field} cannot change while the gateway runs: restart it")
    access = await asyncio.to_thread(access_of, config, worker.report)
    book = await asyncio.to_thread(worker.policy.load, config, access)
    settings = worker.settings_for(config, access, book)
    audit = worker.kept.audit
    await worker.certificates.use_folder(config.https.certificates)
    try:
        await audit.use_file(config.audit.file)
        bound = await worker.listening.bind(config)
    except FerryError:
        await worker.certificates.use_folder(old.https.certificates)
        await audit.use_file(old.audit.file)
        raise
    # No await before the last of these: whoever reads one of them sees the others of the same configuration.
    worker.in_force.use(config)
    audit.required = config.audit.required
    worker.visits.use(visit_policy_of(config))
    worker.settings.use(settings)
    worker.policy.used(book)
    access.use(None)  # reports the keys in its files
    await worker.ssh.use_settings()
    await worker.listening.serve(bound, worker.ssh)
