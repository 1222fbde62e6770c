"""Clients that come back by themselves after the gateway was killed and started again (kill -9)."""

from __future__ import annotations

import time

from bench.farm import LONGEST_WAIT_SECONDS
from bench.farmhand import Farmhand
from bench.processes import BenchError, cpu_seconds
from bench.setting import Setting
from bench.systems import System
from bench.web import answers

from .row import Figure, Row, ferry_alone

LONGEST_SECONDS = 120.0


def _measure(setting: Setting, system: System) -> dict[str, float]:
    place = setting.place()
    count = setting.effort.comeback_clients
    with system.started(place) as gateway, Farmhand(system, place, stay=True) as farm:
        farm.grow(count, seconds=LONGEST_SECONDS)
        gateway.kill()
        with system.started(place) as again:
            ready, cpu = time.monotonic(), cpu_seconds(again.pid)
            said = farm.hear(LONGEST_SECONDS)
            login = (cpu_seconds(again.pid) - cpu) / count
            silent = [n for n in range(count) if not answers(place.http_port, system.host(f"t{n}"))]
    if said["back"] != count:
        raise BenchError(f"{said['back']} of {count} clients came back")
    if silent:
        raise BenchError(f"{len(silent)} of {count} names do not answer: t{silent[0]} …")
    return {
        "seconds": said["at"] - ready,
        "login": 1000 * login,
        "allowed": count * login * 1.5 + LONGEST_WAIT_SECONDS,
    }


ROW = Row(
    "comeback",
    "library clients back after kill -9 of the gateway",
    (
        Figure("seconds", "s from ready to all back", 2),
        Figure("login", "CPU ms per log-in", 2),
        Figure("allowed", "s allowed", 2),
    ),
    ferry_alone,
    _measure,
)
