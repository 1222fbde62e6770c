"""A child process in a terminal of its own, whose size a test sets and whose screen it reads."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self

from child_process import SECONDS
from tiny_screen import ANSWER, TinyScreen


class TerminalChild:
    """One running program. Its standard streams are the terminal, and it is the terminal's session leader."""

    def __init__(self, command: Sequence[str], *, env: Mapping[str, str], cwd: Path, columns: int = 80) -> None:
        self._leader, follower = pty.openpty()
        self.screen = TinyScreen(columns)
        self.raw = b""
        """All that it has written."""
        self.resize(columns)
        self.process = subprocess.Popen(
            ["setsid", "--ctty", *command], env=dict(env), cwd=cwd, stdin=follower, stdout=follower, stderr=follower
        )
        os.close(follower)
        self._changed = threading.Condition()
        self._ended = False
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._leader, 65_536)
            except OSError:  # Linux says EIO once no process has the terminal open
                data = b""
            with self._changed:
                self.raw += data
                asked = self.screen.asked
                self.screen.feed(data)
                if self.screen.asked > asked:
                    self.typed(ANSWER)
                self._ended = not data
                self._changed.notify_all()
            if not data:
                return

    def resize(self, columns: int) -> None:
        """Set the size; the kernel tells the program with SIGWINCH."""
        self.screen.columns = columns
        fcntl.ioctl(self._leader, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

    def typed(self, keys: bytes) -> None:
        """Type into it."""
        os.write(self._leader, keys)

    def shows(self, pattern: str) -> str:
        """Wait for a line with `pattern` on the screen; return it. Raises AssertionError with all lines."""
        wanted = re.compile(pattern)
        found: list[str] = []

        def shown() -> bool:
            found[:] = [line for line in self.screen.lines if wanted.search(line)]
            return bool(found)

        self._wait(shown, f"no {pattern!r} on the screen")
        return found[0]

    def shows_no(self, text: str) -> None:
        """Wait until no line has `text`."""
        self._wait(lambda: not any(text in line for line in self.screen.lines), f"{text!r} stays on the screen")

    def _wait(self, condition: Callable[[], bool], why: str) -> None:
        deadline = time.monotonic() + SECONDS
        with self._changed:
            while not condition():
                left = deadline - time.monotonic()
                if self._ended or left <= 0:
                    raise AssertionError(f"{why}:\n" + "\n".join(self.screen.lines))
                self._changed.wait(left)

    def exit_code(self) -> int:
        """Wait for the end, with all output read."""
        code = self.process.wait(SECONDS)
        self._thread.join(SECONDS)
        return code

    def close(self) -> None:
        """End it in any state."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait(SECONDS)
        self._thread.join(SECONDS)
        os.close(self._leader)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
