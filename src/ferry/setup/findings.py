"""The results of checks, one line each, for `ferry check-config`."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass


class Severity(enum.Enum):
    """How serious a finding is."""

    OK = "ok"
    NOTE = "note"
    """It works, and the operator should know something about it."""
    FIX = "FIX"
    """It stops the gateway, or keeps people from reaching it."""


@dataclass(frozen=True, slots=True)
class Finding:
    """`subject` is a word (`ssh`, `dns`). `text` describes the finding and says what to do about it; what is to be copied
    has lines of its own, or backticks."""

    severity: Severity
    subject: str
    text: str


def worst(findings: Iterable[Finding]) -> Severity:
    """The severity that decides the exit code."""
    severities = {finding.severity for finding in findings}
    return Severity.FIX if Severity.FIX in severities else Severity.NOTE if Severity.NOTE in severities else Severity.OK
