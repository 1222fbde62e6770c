"""An audit log that keeps its records in a list, for gateways without a database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

from ferry.errors import Refusal
from ferry.protocol.audit import BEFORE_ALL, AuditRecord, Entry, Link, Wanted


class NoAudit:
    """Implements `gateway.kept.KeptAudit`."""

    def __init__(self, problem: str = "") -> None:
        self.problem = problem
        self.records: list[AuditRecord] = []
        self.refused: Refusal | None = None

        self.required = False

    def add(self, record: AuditRecord) -> None:
        self.records.append(record)

    def refusal(self) -> Refusal | None:
        return self.refused

    async def use_file(self, _path: Path | None) -> None:
        """There is none."""

    async def write_late(self) -> None:
        """Nothing waits."""

    async def prune(self, *, keep_seconds: float, keep: int) -> int:
        del keep_seconds, keep
        return 0

    async def head(self) -> Link:
        return BEFORE_ALL

    async def last(self, _wanted: Wanted, _most: int) -> list[Entry]:
        return []

    async def follow(self, _wanted: Wanted, _after: int) -> AsyncIterator[Entry]:
        for entry in list[Entry]():
            yield entry

    def end_followers(self) -> None:
        """Nobody follows."""
