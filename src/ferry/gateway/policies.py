"""Reads the policy file (`access.policy`): at the start, at a reload, and when it changes.

A file with a mistake, or with a test that fails, changes nothing: the policy that is in force stays.
"""

from __future__ import annotations

from ferry.clock import Clock
from ferry.config.model import Config
from ferry.errors import InvalidInput
from ferry.policy.rulebook import Rulebook
from ferry.regular_files import FileStamp
from ferry.report import Report
from ferry.ssh.access import KeyAccess


class PolicyFile:
    """The file, as it was at the last look. The book that is in force is in the settings of forwards."""

    def __init__(self, clock: Clock, report: Report) -> None:
        self._clock = clock
        self._report = report
        self._read: FileStamp | None = None
        """The file that was read last and was right."""
        self._tried: FileStamp | None = None
        """The file that is in force, or was refused."""
        self._before: FileStamp | None = None
        """The file at the last look."""
        self.error = ""
        """Why the file as it is now is not in force; empty if it is."""

    def load(self, config: Config, access: KeyAccess) -> Rulebook | None:
        """Read the file, changed or not. Its tests are asked with the names in the lines of `access`. Blocks. Raises
        InvalidInput."""
        if config.access.policy is None:
            self._read = None
            return None
        from ferry.config.policy_file import load_policy  # 0.3 MB, which a gateway without a policy saves

        stamp = FileStamp.at(config.access.policy)  # before the reading, so that a later change is seen
        book = load_policy(config, self._clock.now(), access.place_of)
        self._read = stamp
        return book

    def look(self, config: Config, access: KeyAccess) -> Rulebook | InvalidInput | None:
        """Read the file if it has changed and is the same in two looks: a program may still be writing it. None if there is
        nothing new. Blocks."""
        path = config.access.policy
        stamp, before = None if path is None else FileStamp.at(path), self._before
        self._before = stamp
        if stamp == self._tried or stamp != before:
            return None
        self._tried = stamp
        try:
            return self.load(config, access)
        except InvalidInput as error:
            return error

    def used(self, book: Rulebook | None) -> None:
        """`book` is in force."""
        self.error = ""
        self._tried = self._before = self._read
        if book is not None:
            rules, tests = len(book.rules), len(book.policy.examples)
            self._report("policy.loaded", path=book.file, rules=rules, tests=tests, sha256=book.policy.sha256)

    def refused(self, config: Config, error: InvalidInput) -> None:
        """The file is wrong, and the earlier policy stays in force."""
        self.error = str(error)
        self._report("policy.rejected", path=str(config.access.policy), error=self.error)
