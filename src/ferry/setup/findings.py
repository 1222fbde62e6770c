"""What a check found: one line each, for `ferry check-config` and `ferry init`."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass


class Level(enum.Enum):
    """How much a finding matters."""

    OK = "ok"
    NOTE = "note"
    """Works, and there is something to know."""
    FIX = "FIX"
    """Stops the gateway, or keeps people from reaching it."""


@dataclass(frozen=True, slots=True)
class Finding:
    """`subject` is a few words (`ssh`, `dns`); `text` says what is so, and what to do about it."""

    level: Level
    subject: str
    text: str

    def __str__(self) -> str:
        indent = "\n" + " " * 21
        return f"{self.level.value:<5}{self.subject:<16}{self.text.replace(chr(10), indent)}"


def worst(findings: Iterable[Finding]) -> Level:
    """The level that decides the exit code."""
    levels = {finding.level for finding in findings}
    return Level.FIX if Level.FIX in levels else Level.NOTE if Level.NOTE in levels else Level.OK
