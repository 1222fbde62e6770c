"""Handles SIGHUP: it reads the configuration again and applies the changes while all connections stay."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from ferry import tasks
from ferry.config.model import Config, needs_restart
from ferry.errors import FerryError, StartupError
from ferry.names import printable
from ferry.observe.observer import Observation

from . import systemd
from .wiring import log_rates_of, visit_policy_of
from .worker import Worker, access_of

FIXED: Final = ("domain", "state")
"""Fields that a reload refuses to change."""


async def reloads(again: asyncio.Event, read: Callable[[], Config], worker: Worker, observation: Observation) -> None:
    """Reload each time `again` is set. If the new configuration has an error, the old one stays in force."""
    report, started_with = observation.report, worker.in_force.config

    async def reload_once() -> None:
        await again.wait()
        again.clear()
        systemd.notify("RELOADING=1")
        status = ""
        try:
            config = await asyncio.to_thread(read)
            await _swap(config, worker)
            observation.set_level(config.log.level)
            observation.set_rates(log_rates_of(config))
        except FerryError as error:
            worker.in_force.error = str(error)
            report("config.rejected", error=str(error))
            first = printable(str(error).partition("\n")[0])
            status = f"The last reload was refused, and changed nothing: {first}"
        else:
            worker.in_force.error = ""
            report("config.reloaded", needs_restart=" ".join(needs_restart(started_with, config)))
        finally:
            systemd.notify(f"READY=1\nSTATUS={status}")  # `systemctl status` shows it

    await tasks.repeat("reload", 0, reload_once)


async def _swap(config: Config, worker: Worker) -> None:
    """Build the new parts, then swap them for the old ones. If it raises FerryError, nothing has changed."""
    old = worker.in_force.config
    for field in FIXED:
        if getattr(config, field) != getattr(old, field):
            raise StartupError(f"{field} cannot change while the gateway runs: restart it")
    access = await asyncio.to_thread(access_of, config, worker.report)
    book = await asyncio.to_thread(worker.policy.load, config)
    settings = worker.settings_for(config, access, book)
    audit = worker.kept.audit
    await worker.certificates.use_folder(config.https.certificates)
    try:
        await audit.use_file(config.audit.file)
        await worker.listening.use(config, worker.ssh)
    except FerryError:
        await worker.certificates.use_folder(old.https.certificates)
        await audit.use_file(old.audit.file)
        raise
    audit.required = config.audit.required
    worker.visits.use(visit_policy_of(config))
    worker.settings.use(settings)
    worker.policy.used(book)
    await worker.ssh.use_settings()
    access.use(None)  # reports the keys in its files
