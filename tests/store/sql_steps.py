"""How much work SQLite has with a transaction, whatever else the machine does."""

from __future__ import annotations

from collections.abc import Callable

from ferry.store.dialect import Connection


def steps_of(work: Callable[[Connection], object]) -> Callable[[Connection], int]:
    """A transaction that does `work` and returns the steps of SQLite's virtual machine that it takes, in hundreds."""

    def counted(connection: Connection) -> int:
        steps = 0

        def count() -> int:
            nonlocal steps
            steps += 1
            return 0

        connection.set_progress_handler(count, 100)
        try:
            work(connection)
        finally:
            connection.set_progress_handler(None, 0)
        return steps

    return counted
