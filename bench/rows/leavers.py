"""Thousands of visitors who leave: what the gateway and its client keep of them."""

from __future__ import annotations

import sys
import time

from bench.processes import HOME, descriptors, memory, run, wait_until
from bench.setting import Setting, Site
from bench.siege import BACK_SECONDS
from bench.systems import System

from .row import Figure, Row, ferry_alone

LONGEST_SECONDS = 240.0


def _measure(setting: Setting, system: System) -> dict[str, float]:
    count = setting.effort.leavers
    with setting.site(system) as site:
        assert site.gateway is not None
        pid = site.gateway.pid
        fresh = descriptors(pid)
        _leave(site, count // 10)
        wait_until(lambda: descriptors(pid) <= fresh, "descriptors back", seconds=BACK_SECONDS, every=0.1)
        before, began = memory(pid), time.monotonic()
        _leave(site, count)
        seconds = time.monotonic() - began
        wait_until(lambda: descriptors(pid) <= fresh, "descriptors back", seconds=BACK_SECONDS, every=0.1)
        after = memory(pid)
    return {
        "leavers": count,
        "seconds": seconds,
        "pss": (after.pss - before.pss) / 2**20,
        "rss": (after.rss - before.rss) / 2**20,
    }


def _leave(site: Site, count: int) -> None:
    run([sys.executable, "-m", "bench.leavers", str(site.port), site.host, str(count)], HOME, seconds=LONGEST_SECONDS)


ROW = Row(
    "leavers",
    "visitors who leave at nine stages, by an end of file or a reset; descriptors are back, or it failed",
    (
        Figure("leavers", "how many"),
        Figure("seconds", "s", 1),
        Figure("pss", "PSS after, + MiB", 1, worst=True),
        Figure("rss", "RSS after, + MiB", 1, worst=True),
    ),
    ferry_alone,
    _measure,
    once=True,
)
