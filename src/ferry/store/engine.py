"""The event loop's access to the database: `await store.run(transaction)`.

A transaction is a plain function of a `Connection`. It is run whole on the one database thread, so it costs one hop
between threads, however many statements it has; aiosqlite hops for every statement, and a claim has six.

**Group commit.** While one batch is being committed, further transactions wait. Then they all run as the next batch, each
in its own savepoint, with one commit. So a storm of claims after a restart costs few commits, and a lone claim does not
wait. The store acknowledges a transaction only after its commit. On a full disk it runs transactions one by one, so that
those that only read succeed.

A transaction must have no side effects beside those in the database, because the commit may still fail. A caller may be
cancelled after its transaction was committed: it passes `undo` for that case.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from ferry import limits
from ferry.registry.contract import StoreUnavailable
from ferry.report import Report

from .dialect import Connection
from .writer import Outcome, Transaction, Writer, open_sqlite

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Job:
    transaction: Callable[[Connection], Any]
    future: asyncio.Future[Any]
    undo: Callable[[Connection, Any], None] | None


class Store:
    """One open database. Made by `open`, used from one event loop, and closed by `close` or `async with`."""

    def __init__(self, writer: Writer, thread: ThreadPoolExecutor, report: Report) -> None:
        self._writer = writer
        self._thread = thread
        self._report = report
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[_Job] = deque()
        self._first: list[Transaction] = []
        self._one_by_one = False
        """True while the database cannot be written: in a batch, a failed write would fail the reads too."""
        self._closed = False
        self._idle = asyncio.Event()
        """Set while no batch is running."""
        self._idle.set()
        self._failure: StoreUnavailable | None = None
        """Why a commit has failed, if none with a write has succeeded since."""

    @classmethod
    async def open(cls, path: Path, *, report: Report, busy_seconds: float = limits.STORE_BUSY_SECONDS) -> Self:
        """Open the SQLite file at `path`, made if missing, and apply the migrations it lacks.

        Raises StartupError saying what to do: no permission, not a database, locked, or written by a newer ferry.
        """
        thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ferry-store")
        try:
            writer = await asyncio.get_running_loop().run_in_executor(thread, open_sqlite, path, busy_seconds)
        except BaseException:
            thread.shutdown(wait=False)
            raise
        return cls(writer, thread, report)

    @property
    def healthy(self) -> bool:
        """Whether the last commit with a write succeeded, and no commit has failed since."""
        return self._failure is None

    def check_health(self) -> None:
        """Raise what a write would raise now, as far as that is known: StoreUnavailable."""
        if self._failure is not None:
            raise self._failure.again()

    async def run(
        self, transaction: Callable[[Connection], T], *, undo: Callable[[Connection, T], None] | None = None
    ) -> T:
        """The result of `transaction`, once it is committed. If it raises, its writes are undone and `run` raises the same.

        Raises StoreUnavailable if the database failed or too many transactions wait; then nothing was written. `undo`
        runs as a transaction of its own if the caller was cancelled and the transaction was committed all the same.
        """
        if self._closed:
            raise StoreUnavailable("the database is closed")
        if len(self._waiting) >= limits.STORE_WAITING:
            raise StoreUnavailable(f"{limits.STORE_WAITING} transactions wait for the database already")
        future: asyncio.Future[T] = self._loop.create_future()
        self._waiting.append(_Job(transaction, future, undo))
        self._wake()
        try:
            return await future
        except asyncio.CancelledError:
            # The result may be set already: the caller was cancelled before it could resume.
            if undo is not None and not future.cancelled() and future.exception() is None:
                self._undo(undo, future.result())
                self._wake()
            raise

    async def first(self, transaction: Transaction) -> bool:
        """Run `transaction` before all others but those of earlier calls. False if nothing can be written now: then it is
        tried again before each other transaction, and until it succeeds those may only read.

        It is for the writes of a start. Raises StoreUnavailable if the database cannot be read either.
        """
        self._first.append(transaction)
        await self.run(lambda _: None)
        return transaction not in self._first

    async def close(self) -> None:
        """Finish what waits, then close. Further transactions are refused. Safe to call twice."""
        self._closed = True
        await self._idle.wait()
        await self._loop.run_in_executor(None, self._close_thread)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        await self.close()

    def _close_thread(self) -> None:
        self._thread.shutdown(wait=True)  # the writer is unused from here on, so any thread may close it
        self._writer.close()

    def _wake(self) -> None:
        if self._idle.is_set():
            self._next_batch()

    def _next_batch(self) -> None:
        batch: list[_Job] = []
        while self._waiting and len(batch) < (1 if self._one_by_one else limits.STORE_BATCH):
            job = self._waiting.popleft()
            if not job.future.cancelled():
                batch.append(job)
        if batch:
            self._idle.clear()
            self._thread.submit(self._work, batch, list(self._first))
        else:
            self._idle.set()

    def _work(self, batch: list[_Job], first: list[Transaction]) -> None:
        """On the database thread."""
        result: list[Outcome] | StoreUnavailable
        late: StoreUnavailable | None = None
        try:
            if first:
                late = self._write_first(first)
            result = self._writer.run([job.transaction for job in batch], reading=late is not None)
        except StoreUnavailable as error:
            result = (late or error) if error.readable else error
        self._loop.call_soon_threadsafe(self._done, batch, result, late)

    def _write_first(self, first: list[Transaction]) -> StoreUnavailable | None:
        """On the database thread: write `first`. Returns why that fails now, or None. Raises StoreUnavailable if the
        database cannot be read either."""
        try:
            outcomes = self._writer.run(first)
        except StoreUnavailable as error:
            if not error.readable:
                raise
            return error
        for outcome in outcomes:
            if outcome.error is not None:
                raise StoreUnavailable(f"what a start writes has failed: {outcome.error!r}") from outcome.error
        self._loop.call_soon_threadsafe(self._first_written, len(first), self._writer.wrote)
        return None

    def _first_written(self, count: int, wrote: bool) -> None:
        del self._first[:count]
        if wrote:
            self._note_health(None)
            self._one_by_one = False

    def _done(self, batch: list[_Job], result: list[Outcome] | StoreUnavailable, late: StoreUnavailable | None) -> None:
        if late is not None:
            self._note_health(late)
            self._one_by_one = True
        if isinstance(result, StoreUnavailable):
            self._note_health(result)
            self._one_by_one = result.readable
            for job in batch:
                if not job.future.cancelled():
                    job.future.set_exception(result.again())
        else:
            if self._writer.wrote:
                self._note_health(None)
                self._one_by_one = False
            for job, outcome in zip(batch, result, strict=True):
                self._answer(job, outcome)
        self._next_batch()

    def _answer(self, job: _Job, outcome: Outcome) -> None:
        if not job.future.cancelled():
            if outcome.error is not None:
                job.future.set_exception(outcome.error)
            else:
                job.future.set_result(outcome.value)
        elif outcome.error is None and job.undo is not None:
            self._undo(job.undo, outcome.value)

    def _undo(self, undo: Callable[[Connection, T], None], value: T) -> None:
        """Queue an undo ahead of all waiting transactions; of two undos the later one runs first. No caller awaits it: a
        failure shows in `healthy`."""
        future: asyncio.Future[None] = self._loop.create_future()
        future.add_done_callback(asyncio.Future.exception)
        self._waiting.appendleft(_Job(lambda connection: undo(connection, value), future, None))

    def _note_health(self, failure: StoreUnavailable | None) -> None:
        before, self._failure = self._failure, failure
        if failure is None and before is not None:
            self._report("store.recovered")
        elif failure is not None and before is None:
            self._report("store.failed", error=str(failure))
