"""Joins the audit log to what is reported, while a gateway runs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ferry.clock import Clock, timestamp
from ferry.config.model import Config
from ferry.limiters.sources import ExemptNetworks
from ferry.observe.audit import EVENTS, Auditor
from ferry.observe.observer import Observer
from ferry.protocol.audit import AuditRecord, Kind, Outcome
from ferry.report import Report, no_report
from ferry.store.audit import AuditLog
from ferry.store.engine import Store

from .kept import KeptAudit, of_user


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


def act_record(act: str, detail: str, clock: Clock) -> AuditRecord:
    """The record of what the user of this process does to a database in which no `Store` is open."""
    return AuditRecord(timestamp(clock.now()), Kind.ADMIN, Outcome.OK, peer=of_user(), what=act, detail=detail)


@asynccontextmanager
async def audited_act(
    store: Store, act: str, clock: Clock, detail: str = "the gateway did not run"
) -> AsyncIterator[Report]:
    """Keep records of what is reported to the value, in the log of a gateway that does not run: somebody does `act`. If it
    fails there is none. Raises StoreUnavailable."""
    log = AuditLog(store, clock, no_report)
    auditor = Auditor(log.add, clock, str)

    def report(event: str, /, **fields: object) -> None:
        if event in EVENTS:
            auditor.note(event, fields)

    yield report
    report("operator.acted", act=act, by=of_user(), done=True, detail=detail)
    await log.flush()
