"""Requests per second on kept and on new connections, and how long an answer takes at a steady 1,000 a second."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import partial

from bench.load import DIFFERING, figures
from bench.processes import HOME, run
from bench.setting import Setting, Site
from bench.systems import System

from .row import AtSite, Figure, Row, by_name_and_quiet, by_port, on_new_site

KEPT = 64  # connections
NEW = 16
RATE = 1000  # requests a second
_RATE = (
    Figure("rate", "req/s", more_is_better=True),
    Figure("cpu", "µs CPU a request"),
    Figure("errors", "errors %, worst round", 1, worst=True),
)


def _kept(setting: Setting, site: Site) -> dict[str, float]:
    return figures(setting, site, KEPT)


def _differing(setting: Setting, site: Site) -> dict[str, float]:
    return figures(setting, site, KEPT, script=DIFFERING)


def _new(setting: Setting, site: Site) -> dict[str, float]:
    return figures(setting, site, NEW, close=True)


def open_loop(setting: Setting, site: Site) -> dict[str, float]:
    """`p50` and `p99` in ms, and `errors` in per cent, at RATE."""
    seconds = setting.effort.open_loop_seconds
    command = [sys.executable, "-m", "bench.openloop", str(site.port), site.host, str(RATE), str(seconds)]
    found: dict[str, float] = json.loads(run(command, HOME, seconds=seconds + 20))
    return found


_TIMES = (
    Figure("p50", "p50 ms", 2),
    Figure("p99", "p99 ms", 2),
    Figure("errors", "errors %, worst round", 1, worst=True),
)
TURNS = 10
_ALL: tuple[tuple[str, str, tuple[Figure, ...], AtSite, int], ...] = (
    ("kept", f"keep-alive, {KEPT} connections", _RATE, _kept, TURNS),
    (
        "differing",
        f"keep-alive, {KEPT} connections, a browser's head with a field that differs",
        _RATE,
        _differing,
        TURNS,
    ),
    ("new", f"a new connection per request, {NEW} at once", _RATE, _new, TURNS),
    ("steady", f"open loop, {RATE:,} requests/s", _TIMES, open_loop, 0),
)


def _rows(concerns: Callable[[System], bool], prefix: str, title: str, leave_out: str = "") -> tuple[Row, ...]:
    row = partial(Row, concerns=concerns)
    return tuple(
        row(
            name=prefix + name,
            title=title + text,
            figures=shown,
            measure=on_new_site(measure),
            turn=measure,
            turns=turns,
        )
        for name, text, shown, measure, turns in _ALL
        if name != leave_out
    )


ROWS = _rows(by_name_and_quiet, "", "HTTP: ")
TCP_ROWS = _rows(by_port, "tcp-", "TCP port, aes128-gcm: ", leave_out="differing")
