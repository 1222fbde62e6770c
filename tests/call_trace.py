"""Records which files of Ferry a running gateway calls, in the order of their first call."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import ferry

ROOT = f"{Path(ferry.__file__).parent}/"


@contextmanager
def recorded_calls() -> Iterator[dict[str, None]]:
    """The files of the calls on this thread while the context lasts, as `ssh/login.py`."""
    files: dict[str, None] = {}

    def called(frame: FrameType, event: str, _arg: object) -> None:
        path = frame.f_code.co_filename
        if event == "call" and path.startswith(ROOT) and frame.f_code.co_name != "<module>":
            files.setdefault(path.removeprefix(ROOT))

    before = sys.getprofile()
    sys.setprofile(called)
    try:
        yield files
    finally:
        sys.setprofile(before)
