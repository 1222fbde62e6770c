"""From the start of a stock `ssh -N -R` to the first 200 through the gateway."""

from __future__ import annotations

import statistics
import time

from bench.processes import Program, wait_until
from bench.setting import Setting
from bench.systems import System
from bench.web import answers

from .row import Figure, Row, stock_names

ASK_EVERY_SECONDS = 0.002


def _measure(setting: Setting, system: System) -> dict[str, float]:
    place = setting.place()
    times = []
    with system.started(place) as gateway:
        for number in range(setting.effort.starts + 1):
            name = f"start{number}"
            began = time.monotonic()
            with Program(system.client(place, name, number), place.folder) as client:
                wait_until(
                    lambda: client.runs() and answers(place.http_port, system.host(name)),  # noqa: B023 called in this round
                    f"{name} through {system.name}",
                    every=ASK_EVERY_SECONDS,
                )
                times.append(time.monotonic() - began)
        gateway.runs()
    return {"median": statistics.median(times[1:]), "first": times[0]}


ROW = Row(
    "start",
    "stock ssh -N -R, start to first 200",
    (Figure("median", "s, median of several", 3), Figure("first", "s, the first at a new gateway", 3, worst=True)),
    stock_names,
    _measure,
)
