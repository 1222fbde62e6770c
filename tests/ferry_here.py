"""Runs a command line of `ferry` in this process, which is much quicker than the program (`ferry_command`)."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from pathlib import Path
from unittest.mock import patch

import pytest

from ferry.cli.main import main
from ferry_command import WIDE, Ran, clean_environment


def ferry_here(*arguments: str | Path, cwd: Path) -> Ran:
    """To its end, without a terminal, with its texts unbroken."""
    out, err = io.StringIO(), io.StringIO()
    with (
        patch.dict(os.environ, clean_environment(COLUMNS=WIDE), clear=True),
        patch.object(sys, "argv", ["ferry", *map(str, arguments)]),
        contextlib.chdir(cwd),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        pytest.raises(SystemExit) as ended,
    ):
        main()
    assert isinstance(ended.value.code, int)
    return Ran(ended.value.code, out.getvalue(), err.getvalue())
