"""Child processes for the end-to-end tests. A test can wait for each line of their output."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Self

SECONDS = 20.0  # for anything that should happen at once, on a machine with other work


class Output:
    """The output of one pipe so far. A thread reads it."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self.lines: list[str] = []
        self.ended = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._read, args=(pipe,), daemon=True)
        self._thread.start()

    def _read(self, pipe: IO[bytes]) -> None:
        with pipe:
            for raw in pipe:
                with self._changed:
                    self.lines.append(raw.decode("utf-8", "replace").rstrip("\r\n"))
                    self._changed.notify_all()
        with self._changed:
            self.ended = True
            self._changed.notify_all()

    def wait(self, pattern: str, seconds: float = SECONDS, *, after: int = 0) -> re.Match[str]:
        """The first line from number `after` on with `pattern`. Raises AssertionError with all lines."""
        wanted = re.compile(pattern)
        looked = after
        deadline = time.monotonic() + seconds
        with self._changed:
            while True:
                for line in self.lines[looked:]:
                    looked += 1
                    if match := wanted.search(line):
                        return match
                left = deadline - time.monotonic()
                if self.ended or left <= 0:
                    why = "the output ended" if self.ended else f"{seconds} s passed"
                    raise AssertionError(f"{why} without {pattern!r} in it:\n" + "\n".join(self.lines))
                self._changed.wait(left)

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    @property
    def flat(self) -> str:
        """All of it in one line: a sentence may be broken anywhere between its words."""
        return " ".join(self.text.split())

    def finish(self) -> None:
        """Wait for the end of the output (of a process that has ended)."""
        self._thread.join(SECONDS)


class Child:
    """One running program. The end of the context ends it in any state."""

    def __init__(
        self, command: Sequence[str | Path], *, env: Mapping[str, str], cwd: Path, keyboard: bool = False
    ) -> None:
        self.command = [str(word) for word in command]
        self.process = subprocess.Popen(
            self.command,
            env=dict(env),
            cwd=cwd,
            stdin=subprocess.PIPE if keyboard else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self.out = Output(self.process.stdout)
        self.err = Output(self.process.stderr)

    def line(self, pattern: str, seconds: float = SECONDS, *, after: int = 0) -> re.Match[str]:
        """Wait for a line on standard output."""
        try:
            return self.out.wait(pattern, seconds, after=after)
        except AssertionError as error:
            raise AssertionError(f"{error}\n--- and on standard error:\n{self.err.text}") from None

    def error_line(self, pattern: str, seconds: float = SECONDS) -> re.Match[str]:
        """Wait for a line on standard error."""
        return self.err.wait(pattern, seconds)

    def typed(self, text: str) -> None:
        """Type into a child that has a terminal."""
        assert self.process.stdin is not None
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def exit_code(self, seconds: float = SECONDS) -> int:
        """Wait for the end, with all output read."""
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.command[0]} is still running:\n{self.out.text}\n{self.err.text}") from None
        self.out.finish()
        self.err.finish()
        return code

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def close(self) -> None:
        """End the process and its children."""
        for number in (signal.SIGCONT, signal.SIGKILL):
            try:
                os.killpg(self.process.pid, number)
            except ProcessLookupError:
                break
        self.process.wait(SECONDS)
        if self.process.stdin is not None:
            self.process.stdin.close()
        self.out.finish()
        self.err.finish()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
