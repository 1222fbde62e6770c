"""The audit log as a file: what can be one, and where it goes on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ferry.store.audit_file import AuditFile


def test_a_pipe_is_no_file_for_records(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match=r"/pipe is not a file: name one for audit\.file"):
        AuditFile(tmp_path / "pipe")


def test_it_goes_on_after_the_last_line_with_a_number(tmp_path: Path) -> None:
    (tmp_path / "audit").write_text('{"seq": 7}\n{"seq": "8"}\n{"other": 9}\ntorn')
    file = AuditFile(tmp_path / "audit")
    assert file.last_seq(0) == 7
    file.close()
    assert (tmp_path / "audit").read_text().endswith("torn\n")
