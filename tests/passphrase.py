"""A person who is slow to type a passphrase: the time between a key's question and its signature."""

from __future__ import annotations

import os
import select
from pathlib import Path
from typing import Final, Self

from child_process import SECONDS

PASSPHRASE: Final = "correct horse"


class Asked:
    """A program for SSH_ASKPASS that answers when the test does."""

    def __init__(self, folder: Path) -> None:
        asked, answer, program = folder / "asked", folder / "answer", folder / "askpass"
        for fifo in (asked, answer):
            os.mkfifo(fifo)
        program.write_text(f'#!/bin/sh\necho asked >"{asked}"\nread -r typed <"{answer}"\nprintf "%s\\n" "$typed"\n')
        program.chmod(0o700)
        self.environment = {"SSH_ASKPASS": str(program), "SSH_ASKPASS_REQUIRE": "force", "DISPLAY": ":none"}
        self._asked, self._answer = (os.open(fifo, os.O_RDWR) for fifo in (asked, answer))

    def wait(self) -> None:
        """Wait until ssh asks for a passphrase. The gateway has accepted the key's question by then."""
        ready, _, _ = select.select([self._asked], [], [], SECONDS)
        assert ready, "ssh did not ask for a passphrase"
        os.read(self._asked, 100)

    def types(self, text: str) -> None:
        """Type it, and Enter."""
        os.write(self._answer, f"{text}\n".encode())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._asked)
        os.close(self._answer)
