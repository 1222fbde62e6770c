"""The audit log of a running gateway. Records are written behind: the event loop never waits for the disk.

A record waits in a queue until the database thread has written it. While nothing can be written (a full disk) the queue
grows to its bound. Past it records are lost: the gateway says so at once, and a record in their place has their number.
With `required`, nobody may do anything new meanwhile.

The file of JSON lines is written from the database, behind it. So it has every record once, also after a crash.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Final

from ferry import limits, tasks
from ferry.clock import Clock, random_token, timestamp
from ferry.errors import Refusal, StartupError
from ferry.protocol.audit import AuditRecord, Entry, Kind, Link, Outcome, Wanted
from ferry.registry.contract import StoreUnavailable
from ferry.report import Report

from .audit_file import AuditFile
from .audit_pruning import held, prune, room_taken, shares, thin
from .audit_rows import add, entries_after, last_link, wanted_in
from .engine import Store

_TOO_QUICK: Final = "records come quicker than they can be written"
_NOT_WRITTEN: Final = Refusal(
    "the gateway cannot write its audit log now, and its operator allows nothing new without it; retry-after=30",
    code="audit",
    retry_after=30,
)


class AuditLog:
    """The records of one gateway. Its methods are called on the event loop."""

    def __init__(self, store: Store, clock: Clock, report: Report) -> None:
        self._store = store
        self._clock = clock
        self._report = report
        self._installation = random_token(16)
        self._queue: deque[AuditRecord] = deque()
        self._failure = ""
        """Why the last write to the database failed; empty if it succeeded."""
        self._file: AuditFile | None = None
        self._in_file = 0
        """The number of the last record in the file."""
        self._file_failure = ""
        self._writing = False
        self._turn = asyncio.Lock()
        self._news = asyncio.Event()
        """Set, and replaced, when records were written."""
        self._ended = False
        self.required = False
        """Whether nobody may log in, forward or reach anything while records cannot be written."""

    # --- the way in

    def add(self, record: AuditRecord) -> None:
        """Add a record. It waits for nothing."""
        queue = self._queue
        if len(queue) < limits.AUDIT_QUEUE:
            queue.append(record)
        elif queue[-1].kind == Kind.GAP:
            queue[-1] = queue[-1]._replace(events=(queue[-1].events or 0) + 1)
        else:
            queue.append(
                AuditRecord(
                    record.time, Kind.GAP, Outcome.REFUSED, detail="the database could not be written in time", events=1
                )
            )
            self._report("records.lost", error=self.problem)
        if not self._writing and not self._failure:
            self._write_soon()

    @property
    def problem(self) -> str:
        """Why records cannot be written now; empty if they can."""
        if not self._failure and len(self._queue) >= limits.AUDIT_QUEUE:
            return _TOO_QUICK
        return self._failure or self._file_failure

    def refusal(self) -> Refusal | None:
        """The refusal of everything new, while records cannot be written and the operator requires them."""
        return _NOT_WRITTEN if self.required and self.problem else None

    async def write_late(self) -> None:
        """Try again what could not be written. Called once a second."""
        if not self._writing and (self._failure or self._file_failure):
            self._write_soon()

    async def flush(self) -> None:
        """Write all records that wait. Raises StoreUnavailable if they cannot be written."""
        async with self._turn:
            try:
                while self._queue:
                    await self._write_piece()
                    self._failure = ""
                    await self._write_file()  # each time: more records may come for as long as this goes on
                self._failure = ""
                await self._write_file()
            except Exception as error:
                self._failure = str(error) or repr(error)
                raise

    def _write_soon(self) -> None:
        self._writing = True
        tasks.spawn("store.audit", self._write_behind())

    async def _write_behind(self) -> None:
        try:
            await self.flush()
        except StoreUnavailable:
            pass  # the store has reported it; `write_late` tries again
        finally:
            self._writing = False
            if self._queue and not self._failure:
                self._write_soon()

    async def _write_piece(self) -> None:
        records = [self._queue.popleft() for _ in range(min(len(self._queue), limits.STORE_BATCH))]
        try:
            await self._store.run(partial(add, records=records, installation=self._installation))
        except Exception:
            self._queue.extendleft(reversed(records))
            raise
        self._news.set()
        self._news = asyncio.Event()

    # --- the file of JSON lines

    async def use_file(self, path: Path | None) -> None:
        """Write records to the file at `path` from now on, too; None: to no file. The same path is opened anew, because
        the file may have been rotated. Raises StartupError, and StoreUnavailable."""
        async with self._turn:
            before = self._file
            try:
                if before is not None and before.path == path:
                    await asyncio.to_thread(before.reopen)
                    return
                self._file, self._in_file = (None, 0) if path is None else await self._opened(path)
            except OSError as error:
                raise StartupError(
                    f"audit.file cannot be opened: {path}: {error.strerror or error}: give its folder to the user that "
                    "runs ferry, or name another file"
                ) from None
            self._file_failure = ""
            if before is not None:
                before.close()

    async def _opened(self, path: Path) -> tuple[AuditFile, int]:
        """The file, and the number of the last record in it: it goes on behind that. A new file begins with the next."""
        last = await self._store.run(last_link)
        file = await asyncio.to_thread(AuditFile, path)
        found = await asyncio.to_thread(file.last_seq, last.seq)
        return file, min(found, last.seq)

    async def _write_file(self) -> None:
        """Write what the database has and the file has not."""
        if (file := self._file) is None:
            return
        try:
            if self._file_failure:  # a part of the records may be there
                self._in_file = await asyncio.to_thread(file.last_seq, self._in_file)
            while found := await self._next_for_file():
                await asyncio.to_thread(file.append, found)
                self._in_file = found[-1].link.seq
            self._file_failure = ""
        except OSError as error:
            why = error.strerror or str(error)
            if not self._file_failure:
                self._report("records.file_failed", path=str(file.path), error=why)
            self._file_failure = f"{file.path} cannot be written: {why}"

    async def _next_for_file(self) -> list[Entry]:
        return await self._store.run(partial(entries_after, seq=self._in_file, most=limits.AUDIT_FILE_PIECE))

    # --- readers

    async def head(self) -> Link:
        """The place of the last record that is written. Raises StoreUnavailable, as all that read."""
        return await self._store.run(last_link)

    async def last(self, wanted: Wanted, most: int) -> list[Entry]:
        """The last `most` records that are wanted, the oldest first. The database does other work in between."""
        found: list[Entry] = []
        for upto in range((await self.head()).seq, 0, -limits.AUDIT_PIECE):
            if len(found) == most:
                break
            found += await self._wanted(wanted, max(0, upto - limits.AUDIT_PIECE), upto, most - len(found))
        return found[::-1]

    async def follow(self, wanted: Wanted, after: int) -> AsyncIterator[Entry]:
        """The records behind the number `after` that are wanted, those too that come later, until `end_followers`."""
        while not self._ended:
            news, last = self._news, (await self.head()).seq
            while after < last:
                upto = min(last, after + limits.AUDIT_PIECE)
                for entry in reversed(await self._wanted(wanted, after, upto, limits.AUDIT_PIECE)):
                    yield entry
                after = upto
            if not self._ended:
                await news.wait()

    async def _wanted(self, wanted: Wanted, after: int, upto: int, most: int) -> list[Entry]:
        return await self._store.run(partial(wanted_in, wanted=wanted, after=after, upto=upto, most=most))

    def end_followers(self) -> None:
        """The gateway stops: end all that follow."""
        self._ended = True
        self._news.set()

    # --- pruning, and the end

    async def prune(self, *, keep_seconds: float, keep: int) -> int:
        """Drop records that are older than `keep_seconds`, then those past `keep`: of whoever has most of them. A few more
        than `keep` may stay (AUDIT_RUN). Returns how many were dropped."""
        dropped = await self._prune(before=timestamp(self._clock.now() - keep_seconds))
        excess = await self._store.run(room_taken) - keep
        if excess >= limits.AUDIT_RUN:
            thinned, excess = await self._thin(excess)
            dropped += thinned
        if excess >= limits.AUDIT_RUN:
            dropped += await self._prune(before="", excess=excess)
        return dropped

    async def _prune(self, *, before: str, excess: int = 0) -> int:
        now = timestamp(self._clock.now())
        dropped, some = 0, limits.AUDIT_PRUNED
        while some == limits.AUDIT_PRUNED:
            some = await self._store.run(
                partial(prune, now=now, before=before, excess=excess - dropped, most=limits.AUDIT_PRUNED)
            )
            dropped += some
        return dropped

    async def _thin(self, excess: int) -> tuple[int, int]:
        """Drop records of whoever has most, until `excess` are fewer. Returns how many were dropped, and the excess that is
        left."""
        now, upto, dropped = timestamp(self._clock.now()), 0, 0
        # each run of AUDIT_RUN records leaves one that says so
        losing = shares(await self._held(), excess * limits.AUDIT_RUN // (limits.AUDIT_RUN - 1) + 1)
        while excess > 0:
            work = partial(thin, now=now, after=upto, losing=losing, excess=excess, most=limits.AUDIT_PRUNED)
            if (done := await self._store.run(work)) is None:
                break
            upto, lost = done.upto, done.lost.total()
            dropped, excess = dropped + lost, excess - lost + done.added
            losing -= done.lost
        return dropped, excess

    async def _held(self) -> Counter[str]:
        """How many records each holder has. The database does other work in between."""
        found = Counter[str]()
        after, some = await self._store.run(partial(held, after=0, most=limits.AUDIT_PIECE))
        while after:
            found += some
            after, some = await self._store.run(partial(held, after=after, most=limits.AUDIT_PIECE))
        return found

    def close(self) -> None:
        """Close the file, after the last `flush`."""
        if self._file is not None:
            self._file.close()
            self._file = None
