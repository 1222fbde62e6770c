"""Many stock `ssh` clients started at once, until every name answers: a site that comes back after a power cut."""

from __future__ import annotations

import time
from contextlib import ExitStack

from bench.processes import Program, wait_until
from bench.setting import Setting
from bench.systems import System
from bench.web import answers

from .row import Figure, Row, stock_names

LONGEST_SECONDS = 90.0


def _measure(setting: Setting, system: System) -> dict[str, float]:
    place = setting.place()
    count = setting.effort.storm_clients
    with ExitStack() as stack:
        stack.enter_context(system.started(place))
        began = time.monotonic()
        clients: list[Program] = []
        stack.callback(_end, clients)
        for number in range(count):
            clients.append(Program(system.client(place, f"storm{number}", number), place.folder))  # noqa: PERF401 those started before an error must be known
        # One name after the other: when the last has answered all have, and the asking costs next to nothing.
        for number in range(count):
            host = system.host(f"storm{number}")
            wait_until(
                lambda: answers(place.http_port, host),  # noqa: B023 called before the next round
                f"client {number} of {count} through {system.name}",
                seconds=max(1.0, LONGEST_SECONDS - (time.monotonic() - began)),
                every=0.02,
            )
        return {"all": time.monotonic() - began}


def _end(clients: list[Program]) -> None:
    for client in clients:  # without asking first: each would take its time
        client.kill()


ROW = Row(
    "storm", "stock ssh clients started at once", (Figure("all", "s until all answer", 2),), stock_names, _measure
)
