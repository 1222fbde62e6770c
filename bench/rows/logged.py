"""What the log costs as shipped: one gateway under one load, whose `log.level` is reloaded again and again.

Two gateways one after the other cannot show it: the machine's speed drifts by more than the bound within seconds. Here
shipped and quiet follow each other each second (A B B A), and the service counts the requests of each.
"""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from bench.load import DIFFERING, command, parse
from bench.processes import BenchError, Program, wait_until
from bench.setting import Setting, Site
from bench.systems import Place, System

from .requests import KEPT, NEW
from .row import Figure, Row, ferry_alone

SECONDS = 1.0  # of one measurement
_SETTLE_SECONDS = 0.2  # after a reload
_RELOADS: Final = 'ferry_config_reloads_total{outcome="ok"}'
_QUIET = '[log]\nlevel = "warning"\n'
_LOADS: Final[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
    {
        "kept": {"connections": KEPT},
        "differing": {"connections": KEPT, "script": DIFFERING},
        "new": {"connections": NEW, "close": True},
    }
)


def _logged(setting: Setting, system: System) -> dict[str, float]:
    found = {}
    for name, load in _LOADS.items():
        with setting.site(system) as site:
            found[name], errors = _ratio(setting, site, load)
            found["errors"] = max(found.get("errors", 0.0), errors)
    return found


def _ratio(setting: Setting, site: Site, load: Mapping[str, Any]) -> tuple[float, float]:
    """Requests as shipped for each that a quiet log leaves room for, and the errors in per cent."""
    assert site.place is not None
    path = site.place.folder / "ferry.toml"
    shipped = path.read_text()
    blocks = setting.effort.log_blocks
    most = 4 * blocks * (SECONDS + _SETTLE_SECONDS + 0.5)
    served = {True: 0.0, False: 0.0}
    with Program(command(site, seconds=round(most) + 2, **load), setting.new_folder("logged")) as wrk:
        time.sleep(setting.effort.warm_seconds)
        for quiet in (False, True, True, False) * blocks:
            _reload(site, path, shipped + _QUIET * quiet)
            began, before = time.monotonic(), _served(setting)
            time.sleep(SECONDS)
            count = _served(setting) - before
            served[quiet] += count / (time.monotonic() - began)
            wrk.runs()
        wait_until(lambda: wrk.process.poll() is not None, "the end of the load", seconds=most + 10, every=0.1)
        if not served[True]:
            raise BenchError("nothing was served")
        return served[False] / served[True], parse(wrk.output).error_percent


def _reload(site: Site, path: Path, text: str) -> None:
    assert site.gateway is not None
    assert site.place is not None
    path.write_text(text)
    reload(site.gateway, site.place, every=0.05)
    time.sleep(_SETTLE_SECONDS)


def reload(gateway: Program, place: Place, *, every: float) -> None:
    """Have the configuration read again, and wait until it is in force. Look `every` so many seconds."""
    metrics = f"http://127.0.0.1:{place.admin_port}/metrics"
    before = _value(metrics, _RELOADS)
    gateway.reload()
    wait_until(lambda: _value(metrics, _RELOADS) > before, "a reload", every=every)


def _value(url: str, series: str) -> float:
    lines = _get(url).splitlines()
    return next((float(line.removeprefix(series)) for line in lines if line.startswith(series)), 0.0)


def _served(setting: Setting) -> int:
    """By the service, since it was started: nginx's third number, of requests."""
    return int(_get(f"http://127.0.0.1:{setting.origin.port}/served").splitlines()[2].split()[2])


def _get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=5) as answer:
        text: str = answer.read().decode()
    return text


ROW = Row(
    "log",
    f"HTTP: requests as shipped for each with a quiet log, in one process, by turns of {SECONDS:.0f} s",
    (
        Figure("kept", f"keep-alive, {KEPT} connections", 3, more_is_better=True),
        Figure("differing", "differing heads", 3, more_is_better=True),
        Figure("new", f"a new connection per request, {NEW} at once", 3, more_is_better=True),
        Figure("errors", "errors %, worst", 1, worst=True),
    ),
    ferry_alone,
    _logged,
)
