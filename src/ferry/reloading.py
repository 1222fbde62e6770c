"""What SIGHUP does: the configuration is read again, and what it changes is swapped while everybody stays connected."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from . import systemd, tasks
from .config.model import Config, needs_restart
from .errors import FerryError, StartupError
from .parts import Parts, access_of
from .wiring import log_rates_of

FIXED: Final = ("domain", "state")
"""Fields that a reload refuses to change."""


async def reloads(again: asyncio.Event, read: Callable[[], Config], parts: Parts) -> None:
    """Reload each time `again` is set. Whatever is wrong with the new configuration leaves the old one in force."""
    report, started_with = parts.observation.report, parts.view.config

    async def obey() -> None:
        await again.wait()
        again.clear()
        systemd.notify("RELOADING=1")
        try:
            config = await asyncio.to_thread(read)
            await _swap(config, parts)
        except FerryError as error:
            report("config.rejected", error=str(error))
        else:
            report("config.reloaded", needs_restart=" ".join(needs_restart(started_with, config)))
        finally:
            systemd.notify("READY=1")

    await tasks.repeat("reload", 0, obey)


async def _swap(config: Config, parts: Parts) -> None:
    """Build the new beside the old, then swap. Raises FerryError, with everything as it was."""
    old = parts.view.config
    for field in FIXED:
        if getattr(config, field) != getattr(old, field):
            raise StartupError(f"{field} cannot change while the gateway runs: restart it")
    access = await asyncio.to_thread(access_of, config, parts.observation.report)
    services = parts.services(config, access)
    await parts.certificates.use_folder(config.https.certificates)
    try:
        await parts.listening.use(config, parts.front)
    except FerryError:
        await parts.certificates.use_folder(old.https.certificates)
        raise
    parts.front.use(services)
    access.use(None)  # tells what its files hold
    parts.view.config = config
    parts.observation.set_level(config.log.level)
    parts.observation.set_rates(log_rates_of(config))
