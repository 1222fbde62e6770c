"""A lock on the folder of the key files, which any local program that reads it can take, does not hold a command for ever."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ferry.cli import key_lines
from ferry.errors import FerryError


@pytest.fixture
def lock(tmp_path: Path) -> Iterator[int]:
    """The lock of another program."""
    descriptor = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    yield descriptor
    os.close(descriptor)


@pytest.mark.timeout(30)
@pytest.mark.usefixtures("lock")
def test_a_lock_that_stays_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_lines, "LOCK_TRIES", 3)
    file = tmp_path / "keys"
    file.write_text("# before\n")
    with pytest.raises(FerryError, match=f"another program has had a lock on {tmp_path} for .*: `lslocks` names it"):
        key_lines.rewrite(file, lambda text: text + "# after\n")
    assert file.read_text() == "# before\n"


def test_a_lock_that_goes_is_awaited(tmp_path: Path, lock: int) -> None:
    file = tmp_path / "keys"
    file.write_text("# before\n")
    asked = threading.Event()

    def release() -> None:
        asked.wait(20)
        fcntl.flock(lock, fcntl.LOCK_UN)

    other = threading.Thread(target=release)
    other.start()
    asked.set()
    key_lines.rewrite(file, lambda text: text + "# after\n")
    other.join()
    assert file.read_text() == "# before\n# after\n"
