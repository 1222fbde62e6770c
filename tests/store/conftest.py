"""A database of each test's own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ferry.report import no_report
from ferry.store.engine import Store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ferry.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[Store]:
    """It waits for others for a moment only."""
    async with await Store.open(path, report=no_report, busy_seconds=0.02) as opened:
        yield opened
