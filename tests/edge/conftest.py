"""Modules that say `BOTH_LOOPS = True` run on asyncio's own event loop and on uvloop; and a crowd of visitors."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Callable, Mapping

import pytest
import uvloop

from ferry import limits

VISITOR_UNSENT_LEAST_BYTES = 16 * 1024


class Loop(uvloop.Loop):
    """It closes what a failed test has left open. Where the warning about that is an error, uvloop waits without end."""

    def close(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("default", ResourceWarning)
            super().close()


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    module = getattr(item, "module", None)
    own = {"asyncio": asyncio.new_event_loop}
    return own | {"uvloop": Loop} if getattr(module, "BOTH_LOOPS", False) else own


@pytest.fixture
def one_of_many_unsent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few visitors get the small unsent bounds of a crowd."""
    monkeypatch.setattr(limits, "UNSENT_VISITORS", 1)
    monkeypatch.setattr(limits, "VISITORS_UNSENT_BYTES", VISITOR_UNSENT_LEAST_BYTES)
