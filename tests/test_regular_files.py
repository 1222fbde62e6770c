"""What is no file is neither waited for nor read."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from ferry.regular_files import NotAFile, read_regular, read_text, write_text


def pipe(path: Path) -> None:
    os.mkfifo(path)


def folder(path: Path) -> None:
    path.mkdir()


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def listener(path: Path) -> None:
    with closing(socket.socket(socket.AF_UNIX)) as made:
        made.bind(str(path))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (pipe, "it is not a file"),
        (device, "it is not a file"),
        (listener, "it is not a file"),
        (folder, os.strerror(errno.EISDIR)),
    ],
)
@pytest.mark.parametrize("act", [read_text, lambda path: read_regular(path, 9), lambda path: write_text(path, "x")])
def test_what_is_no_file_is_refused_by_what_it_is(
    tmp_path: Path, make: Callable[[Path], None], says: str, act: Callable[[Path], object]
) -> None:
    path = tmp_path / "it"
    make(path)
    open_before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(OSError, match=says) as caught:
        act(path)
    assert caught.value.filename == str(path)
    assert len(list(Path("/proc/self/fd").iterdir())) == open_before


def test_a_missing_file_is_not_taken_for_another_sort_of_thing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        read_text(tmp_path / "it")
    assert not isinstance(caught.value, NotAFile)


def test_a_file_is_read_and_written(tmp_path: Path) -> None:
    path = tmp_path / "it"
    write_text(path, "größer")
    assert (read_text(path), read_regular(path, 3)) == ("größer", b"gr\xc3")
    path.write_bytes(b"\xef\xbb\xbfa byte order mark is no text")
    assert read_text(path) == "a byte order mark is no text"
