"""Fixtures of several modules about SSH: clients packet by packet, and a check of the log."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from gateway_process import Gateway
from raw_client import RawClient, raw_client
from ssh.alias_pair import Pair, alias_pair


@pytest.fixture
async def client(gateway: Gateway, key: Path) -> AsyncIterator[RawClient]:
    """A client of the shared gateway, which has logged in."""
    async with raw_client(gateway, key) as connected:
        yield connected


@pytest.fixture
async def pair(key: Path) -> AsyncIterator[Pair]:
    """A machine with an alias, and a visitor of it."""
    async with alias_pair(key) as both:
        yield both


@pytest.fixture
def nothing_fails(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """The gateway in the test's process logs no error: nobody outside would see a fault of it."""
    yield
    records = [*caplog.get_records("setup"), *caplog.get_records("call"), *caplog.records]  # each phase has its own
    assert [record.getMessage() for record in records if record.levelno >= logging.ERROR] == []
