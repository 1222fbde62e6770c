"""Joins the audit log to what is reported, while a gateway runs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ferry.clock import Clock
from ferry.config.model import Config
from ferry.limiters.sources import ExemptNetworks
from ferry.observe.audit import EVENTS, Auditor
from ferry.observe.observer import Observer

from .kept import KeptAudit


@asynccontextmanager
async def audited(config: Config, audit: KeptAudit, report: Observer, clock: Clock) -> AsyncIterator[Auditor]:
    """Keep records of what is reported while the context lasts. It begins before the worker is built, which reports the
    keys that it has read. Raises StartupError if `audit.file` cannot be written."""
    await audit.use_file(config.audit.file)
    audit.required = config.audit.required
    auditor = Auditor(audit.add, clock, ExemptNetworks(config.limits.exempt).source_of)
    report.also_tell(EVENTS, auditor.note)
    try:
        yield auditor
    finally:
        await auditor.sum_up()
