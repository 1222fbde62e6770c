"""Runs something in a process of its own for so long, and leaves none of its processes and files behind."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import shutil
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

_VENV = Path(sys.prefix)
_ANSWER = _VENV / "answer"
_RUNNING = _VENV / "running"
OUTPUT = _VENV / "output"
"""What the tests of the last child printed."""
TEMPORARY = _VENV.parent / "t"
"""For files of tests; emptied after each child."""
_PR_SET_CHILD_SUBREAPER = 36  # prctl(2): what tests leave behind becomes our child, and is ended here


def adopt() -> None:
    """Be the parent of whatever a child leaves behind, and end it all when somebody ends this process."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who started us, and then we are stopped
    signal.signal(signal.SIGTERM, _stopped)


def running(test: str) -> None:
    """The child says which test it begins: all of its name or nothing, for the child may be ended at any time."""
    _write(_RUNNING, test)


def answer_of(run: Callable[[], dict[str, Any]], seconds: float) -> dict[str, Any]:
    """What `run` says in a process of its own. Else, with the `test` it was at, `{"state": "time"}` if it is not done in
    so many seconds, `{"state": "late"}` if an alarm has ended it, or `{"state": "died"}`."""
    for file in (_ANSWER, _RUNNING):
        file.unlink(missing_ok=True)
    _empty_folder()
    child = os.fork()
    if not child:
        _be_child(run)
    watched = os.pidfd_open(child)
    in_time, _, _ = select.select([watched], [], [], seconds)
    os.close(watched)
    late = bool(in_time) and os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGALRM
    _end_what_is_left()
    test = _RUNNING.read_text() if _RUNNING.exists() else ""
    if not in_time:
        return {"state": "time", "test": test}
    if not _ANSWER.exists():
        return {"state": "late" if late else "died", "test": test}
    answer: dict[str, Any] = json.loads(_ANSWER.read_text())
    return answer


def _be_child(run: Callable[[], dict[str, Any]]) -> None:
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job would be deaf
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        OUTPUT.write_text("")
        _write(_ANSWER, json.dumps(run()))
    except BaseException:  # pytest's own, or its plugins'
        traceback.print_exc()
    finally:
        os._exit(0)


def _write(file: Path, text: str) -> None:
    written = file.with_suffix(".part")
    written.write_text(text)
    written.rename(file)


def _empty_folder() -> None:
    shutil.rmtree(TEMPORARY, ignore_errors=True)
    TEMPORARY.mkdir(exist_ok=True)


def _end_what_is_left() -> None:
    ours = Path(f"/proc/self/task/{os.getpid()}/children")
    while left := ours.read_text().split():
        for process in map(int, left):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)


def _stopped(*_: object) -> None:
    _end_what_is_left()
    os._exit(0)
