"""Closed-loop load by wrk, in which only answers with a 2xx status count."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from .processes import BenchError, run
from .setting import Setting, Site, per

_SECONDS: Final[Mapping[str, float]] = MappingProxyType({"us": 1e-6, "ms": 0.001, "s": 1.0, "m": 60.0})
DIFFERING = Path(__file__).with_name("differing.lua")


@dataclass(frozen=True, slots=True)
class Load:
    """What wrk saw. Requests that failed are errors; they are in no rate."""

    succeeded: int
    errors: int
    seconds: float

    @property
    def per_second(self) -> float:
        return self.succeeded / self.seconds

    @property
    def error_percent(self) -> float:
        return 100.0 * self.errors / max(1, self.succeeded + self.errors)


def figures(
    setting: Setting, site: Site, connections: int, *, close: bool = False, script: Path | None = None
) -> dict[str, float]:
    """Requests per second for `/`, the gateway's CPU for each, and the share of errors.

    `close`: a new connection for each request. `script`: what wrk asks instead.
    """
    if setting.effort.warm_seconds:
        _wrk(setting, site, connections, setting.effort.warm_seconds, close, script)
    before = site.cpu()
    load = _wrk(setting, site, connections, setting.effort.load_seconds, close, script)
    found = {"rate": load.per_second, "errors": load.error_percent}
    if site.gateway:
        found["cpu"] = per((site.cpu() - before) * 1e6, load.succeeded)
    return found


def _wrk(setting: Setting, site: Site, connections: int, seconds: float, close: bool, script: Path | None) -> Load:
    whole = max(1, round(seconds))
    return parse(run(command(site, connections, whole, close=close, script=script), setting.folder, seconds=whole + 30))


def command(
    site: Site, connections: int, seconds: int, *, close: bool = False, script: Path | None = None
) -> list[str | Path]:
    """Of wrk, which takes whole seconds only; its output is for `parse`."""
    words: list[str | Path] = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "5s"]
    words += ["-H", f"Host: {site.host}"]
    if close:
        words += ["-H", "Connection: close"]
    if script:
        words += ["-s", script]
    return [*words, site.url]


def parse(text: str) -> Load:
    """What wrk prints at its end."""
    total = re.search(r"(\d+) requests in ([\d.]+)(us|ms|s|m),", text)
    if not total:
        raise BenchError(f"wrk printed no total: {text[-300:]}")
    wrong = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    sockets = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    refused = int(wrong[1]) if wrong else 0
    seconds = float(total[2]) * _SECONDS[total[3]]
    return Load(
        succeeded=int(total[1]) - refused,
        errors=refused + (sum(int(number) for number in sockets.groups()) if sockets else 0),
        seconds=seconds,
    )
