"""What an idle tunnel costs in memory, and a log-in in CPU."""

from __future__ import annotations

import time

from bench.farmhand import Farmhand
from bench.processes import cpu_seconds, memory
from bench.setting import Setting
from bench.systems import Sshd, System

from .row import Figure, Row, stock

WARM = 10  # clients that come first, so that what a gateway loads once is in no figure
SETTLE_SECONDS = 1.0
LONGEST_SECONDS = 120.0


def _measure(setting: Setting, system: System) -> dict[str, float]:
    effort = setting.effort
    clients = effort.idle_sshd_clients if isinstance(system, Sshd) else effort.idle_clients
    place = setting.place()
    with system.started(place) as gateway, Farmhand(system, place) as farm:
        farm.grow(WARM, seconds=LONGEST_SECONDS)
        time.sleep(SETTLE_SECONDS)
        before, cpu = memory(gateway.pid), cpu_seconds(gateway.pid)
        farm.grow(WARM + clients, seconds=LONGEST_SECONDS)
        time.sleep(SETTLE_SECONDS)
        after = memory(gateway.pid)
        return {
            "memory": (after.pss - before.pss) / 1024 / clients,
            "rss": (after.rss - before.rss) / 1024 / clients,
            "login": 1000 * (cpu_seconds(gateway.pid) - cpu) / clients,
        }


ROW = Row(
    "idle",
    "idle tunnels, clients by a library",
    (
        Figure("memory", "KB PSS per idle tunnel", 1),
        Figure("rss", "KB RSS per idle tunnel", 1),
        Figure("login", "CPU ms per log-in", 2),
    ),
    stock,
    _measure,
)
