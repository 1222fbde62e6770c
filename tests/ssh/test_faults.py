"""Errors of our own are logged with their traceback, and not as often as somebody can bring them about."""

from __future__ import annotations

import logging

import pytest

from ferry import limits
from ferry.ssh.faults import Faults


class Clock:
    now_is = 1000.0

    def now(self) -> float:
        return self.now_is

    def monotonic(self) -> float:
        return self.now_is


def test_one_line_a_second_and_how_many_were_left_out(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    faults = Faults(clock)
    with caplog.at_level(logging.ERROR):
        for number in range(5):
            faults.note("a stream", ValueError(f"fault {number}"))
        clock.now_is += limits.FAULT_SECONDS
        faults.note("a stream", ValueError("later"))
        clock.now_is += limits.FAULT_SECONDS
        faults.note("a stream", ValueError("alone"))
    said = [record.getMessage() for record in caplog.records]
    assert said == [
        "a stream was ended by an error",
        "a stream was ended by an error (4 more were not logged)",
        "a stream was ended by an error",
    ]
    assert [str(record.exc_info[1]) for record in caplog.records if record.exc_info] == ["fault 0", "later", "alone"]
