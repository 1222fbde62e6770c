"""Runs a program of which nobody knows how much it prints, or whether it ends."""

from __future__ import annotations

import os
import selectors
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from ferry import limits
from ferry.clock import Clock


@dataclass(frozen=True, slots=True)
class Ran:
    """What a program did."""

    code: int | None
    """Its exit code; None if it was ended here, because it printed or took too much."""
    out: bytes
    """What it printed, as much as was asked for."""
    err: str
    """The beginning of its standard error."""
    late: bool = False
    """Whether it took too long."""


def run_bounded(line: Sequence[str], *, most: int, seconds: float, clock: Clock) -> Ran:
    """Run a program without input, until it ends, has printed `most` bytes or has taken `seconds`. Raises FileNotFoundError
    if there is no such program."""
    with subprocess.Popen(
        line, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
    ) as process:
        try:
            return _followed(process, most, clock.monotonic() + seconds, clock)
        finally:
            process.kill()  # nothing happens to one that has ended


def _followed(process: subprocess.Popen[bytes], most: int, end: float, clock: Clock) -> Ran:
    """What a process prints, until `end` of the clock."""
    assert process.stdout
    assert process.stderr
    out, err = process.stdout.fileno(), process.stderr.fileno()
    room = {out: most, err: limits.LINT_ERROR_BYTES}
    kept = {out: bytearray(), err: bytearray()}
    late = False
    with selectors.DefaultSelector() as selector:
        for pipe in kept:
            selector.register(pipe, selectors.EVENT_READ)
        while selector.get_map() and len(kept[out]) < most:
            left = end - clock.monotonic()
            if late := left <= 0:
                break
            # A shared connection of ssh stays behind in the background, and keeps stderr open.
            has_ended = process.poll() is not None
            ready = selector.select(0 if has_ended else min(left, limits.LINT_LOOK_SECONDS))
            if has_ended and not ready:
                break
            for key, _ in ready:
                data = os.read(key.fd, limits.LINT_ERROR_BYTES)
                if not data:
                    selector.unregister(key.fd)
                kept[key.fd] += data[: room[key.fd] - len(kept[key.fd])]
    code = None
    if not late and len(kept[out]) < most:
        code = _code(process, end - clock.monotonic())
        late = code is None
    return Ran(code, bytes(kept[out]), kept[err].decode("utf-8", "replace"), late)


def _code(process: subprocess.Popen[bytes], left: float) -> int | None:
    """The exit code of a process that prints no more; None if it does not end."""
    try:
        return process.wait(max(0.0, left))
    except subprocess.TimeoutExpired:
        return None
