"""A program of which nobody knows how much it prints, or whether it ends."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from ferry.clock import SystemClock
from ferry.errors import InvalidInput
from ferry.setup.bounded_run import Ran, run_bounded
from ferry.setup.sshd_host import Host


def ran(text: str, most: int = 100, seconds: float = 60) -> Ran:
    return run_bounded([sys.executable, "-S", "-c", text], most=most, seconds=seconds, clock=SystemClock())


def test_a_program_that_ends() -> None:
    assert ran("import sys; print('all'); sys.exit('why')") == Ran(1, b"all\n", "why\n")


def test_a_program_that_is_quiet_for_longer_than_between_two_looks() -> None:
    assert ran("import time; time.sleep(0.3); print('all')") == Ran(0, b"all\n", "")


def test_a_program_that_prints_without_end() -> None:
    done = ran("while True: print('y' * 50)", seconds=10)
    assert (done.code, len(done.out), done.late) == (None, 100, False)


def test_errors_without_end_are_read_and_not_kept() -> None:
    done = ran("import sys; sys.stderr.write('e' * 10_000_000)")
    assert (done.code, len(done.err)) == (0, 64 * 1024)  # LINT_ERROR_BYTES


@pytest.mark.parametrize("closing", ["", "os.close(1); os.close(2); "])
def test_a_program_that_does_not_end(closing: str) -> None:
    done = ran(f"import os, signal; {closing}signal.alarm(10); signal.pause()", seconds=0.3)
    assert (done.code, done.late) == (None, True)


def test_a_child_in_the_background_that_keeps_stderr_is_not_waited_for() -> None:
    """As `ssh -v` leaves its shared connection behind. When the program ends, no pipe tells it. LINT_LOOK_SECONDS."""
    text = """\
import os, signal, time
print('all', flush=True)
os.close(1)
if os.fork():
    time.sleep(0.2)
    os._exit(0)
signal.alarm(20)
signal.pause()
"""
    done = ran(text, seconds=3)
    assert (done.code, done.out, done.late) == (0, b"all\n", False)


def children() -> set[str]:
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


class AfterTheEnd(SystemClock):
    """It tells the time once the program has ended, so that everything is left to be read."""

    def __init__(self) -> None:
        self._others = children()

    def monotonic(self) -> float:
        for process in children() - self._others:
            os.waitid(os.P_PID, int(process), os.WEXITED | os.WNOWAIT)
        return super().monotonic()


@pytest.mark.parametrize(("seconds", "done"), [(60, Ran(0, b"all", "why")), (0, Ran(None, b"", "", late=True))])
def test_a_program_that_has_ended_before_it_is_looked_at(seconds: float, done: Ran) -> None:
    """With its time over, nobody knows whether that is all: it does not count as ended."""
    line = ["sh", "-c", "printf all; printf why >&2"]
    assert run_bounded(line, most=100, seconds=seconds, clock=AfterTheEnd()) == done


class Leaps(SystemClock):
    """It stands at the given times, one after the other, and then at the last."""

    def __init__(self, *seconds: float) -> None:
        self._seconds = list(seconds)

    def monotonic(self) -> float:
        return self._seconds.pop(0) if len(self._seconds) > 1 else self._seconds[0]


def test_a_host_that_does_not_answer_is_given_up_after_two_minutes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LINT_HOST_SECONDS."""
    (tmp_path / "ssh").write_text("#!/bin/sh\nexec sleep 3\n")
    (tmp_path / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(InvalidInput, match="bastion did not answer within 2m: try `ssh -v"):
        Host("bastion", lambda _: None, clock=Leaps(0, 119, 119.9, 120.1)).settings(None)
