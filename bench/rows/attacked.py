"""How a normal visitor and a log-in fare while somebody misbehaves, beside how they fare in peace.

Of Ferry alone: a bound on its own calm figures, taken directly before in the same process. An attack is measured from its
first moment, the time in which it builds up included, and by its slowest moment where a bound is promised.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

from bench.processes import HOME, BenchError, Program, cpu_seconds, memory, run, wait_until
from bench.setting import Setting, Site
from bench.siege import POLITE, until_back
from bench.systems import Ferry, Place, System, Unexempt, ssh

from .row import Figure, Row, ferry_alone

SMALL_VISITORS = 100
MOMENTS = 120  # so many that the first, in which streams are opened, is counted and is less than a hundredth
IDLE_CONNECTIONS = 2000
LOGINS = 15  # in peace
DHEAT_SOCKETS = 10
LOGIN_SECONDS = 30.0
BUILD_UP_SECONDS = 60.0  # of the flood, at most
_LEAST_CPU_SECONDS = 0.2  # of the attackers: less was no attack


def _beside(setting: Setting, system: System) -> dict[str, float]:
    with setting.site(system) as site:
        calm = _small(setting, site)
        bulk: list[str | Path] = ["curl", "-sS", "-H", f"Host: {site.host}", "-o", "/dev/null", f"{site.url}bulk"]
        with Program(["sh", "-c", 'while "$@"; do :; done', "bulk", *bulk], setting.folder) as download:
            wait_until(lambda: cpu_seconds(download.pid) > 0, "the download")
            beside = _small(setting, site)
        return {"calm": calm, "beside": beside, "ratio": beside / calm}


def _small(setting: Setting, site: Site) -> float:
    """p99 in ms of SMALL_VISITORS at the same moment, MOMENTS times."""
    command = [sys.executable, "-m", "bench.small", str(site.port), site.host, str(SMALL_VISITORS), str(MOMENTS)]
    return float(run(command, HOME, seconds=60))


def _dheat(setting: Setting, system: System) -> dict[str, float]:
    place = setting.place()
    with system.started(place):
        found = _calm(setting, place)
        audit = str(Path(sys.prefix) / "bin" / "ssh-audit")
        command = [audit, "-p", str(place.ssh_port), f"--dheat={DHEAT_SOCKETS}", "127.0.0.1"]
        with Program([*POLITE, *command], setting.folder) as attacker:
            times = _logins(setting, place, _for_seconds(setting.effort.attack_seconds))
            _attacked(attacker)
    return found | _figures(times)


class _Guarded(Unexempt):
    """Only known keys, and loopback is no exception."""

    def environment(self, place: Place) -> dict[str, str]:
        keys = {"FERRY_ACCESS__MODE": "keys", "FERRY_ACCESS__KEYS": str(place.keys.authorized)}
        return super().environment(place) | keys


def _flood(setting: Setting, system: System) -> dict[str, float]:
    assert isinstance(system, Ferry)
    place = setting.place()
    honest = ("-b", "127.0.0.9")
    with _Guarded(system.checkout).started(place) as gateway:
        found = _calm(setting, place, *honest)
        before, most = memory(gateway.pid), 0
        flood = [sys.executable, "-m", "bench.flood", str(place.ssh_port), str(IDLE_CONNECTIONS)]
        folder = setting.new_folder("flood")
        with Program([*POLITE, *flood], HOME, log_folder=folder) as attacker:
            longer, patience = _for_seconds(setting.effort.attack_seconds), _for_seconds(BUILD_UP_SECONDS)

            def goes_on() -> bool:
                nonlocal most
                most = max(most, memory(gateway.pid).pss)
                return longer() or ("there" not in attacker.output and patience())

            times = _logins(setting, place, goes_on, *honest)
            _attacked(attacker)
            if "there" not in attacker.output:
                raise BenchError(f"the flood was not complete within {BUILD_UP_SECONDS:.0f} s")
        after = until_back(gateway.pid, before)[1]
    found["grown"] = (most - before.pss) / 1e6
    found["pss_after"], found["rss_after"] = (after.pss - before.pss) / 1e6, (after.rss - before.rss) / 1e6
    return found | _figures(times)


def _calm(setting: Setting, place: Place, *options: str) -> dict[str, float]:
    left = iter(range(LOGINS))
    times = _logins(setting, place, lambda: next(left, None) is not None, *options)
    return {"calm": statistics.median(times)}


def _for_seconds(seconds: float) -> Callable[[], bool]:
    end = time.monotonic() + seconds
    return lambda: time.monotonic() < end


def _logins(setting: Setting, place: Place, more: Callable[[], bool], *options: str) -> list[float]:
    """The ms of stock `ssh gw whoami`, from its start to its end, one after the other. Raises BenchError when one fails."""
    times: list[float] = []
    while more():
        command = [word for word in ssh(place, list(options), len(times) % 100) if word != "-N"]
        began = time.monotonic()
        run([*command, "whoami"], setting.folder, seconds=LOGIN_SECONDS)
        times.append(1000 * (time.monotonic() - began))
    return times


def _figures(times: list[float]) -> dict[str, float]:
    return {"under": statistics.median(times), "slowest": max(times), "logins": len(times)}


def _attacked(attacker: Program) -> None:
    attacker.runs()
    if (used := cpu_seconds(attacker.pid)) < _LEAST_CPU_SECONDS:
        raise BenchError(f"the attackers got {used:.2f} s of CPU: that was no attack")


_LOGIN_FIGURES = (
    Figure("calm", "calm, median", 0),
    Figure("under", "attacked, median", 0),
    Figure("slowest", "attacked, slowest", 0, worst=True),
    Figure("logins", "log-ins attacked", 0),
)
BESIDE = Row(
    "beside",
    f"{SMALL_VISITORS} small requests at once beside a download without end, in ms",
    (
        Figure("calm", "calm p99", 2),
        Figure("beside", "p99 beside", 2),
        Figure("ratio", "beside / calm, worst round", 2, worst=True),
    ),
    ferry_alone,
    _beside,
)
DHEAT = Row(
    "dheat",
    f"log-in while ssh-audit --dheat={DHEAT_SOCKETS} runs, from its start, in ms",
    _LOGIN_FIGURES,
    ferry_alone,
    _dheat,
)
FLOOD = Row(
    "flood",
    f"log-in beside {IDLE_CONNECTIONS:,} silent connections and a brute force, from their first, in ms",
    (
        *_LOGIN_FIGURES,
        Figure("grown", "PSS meanwhile, + MB", worst=True),
        Figure("pss_after", "PSS after, + MB", worst=True),
        Figure("rss_after", "RSS after, + MB", worst=True),
    ),
    ferry_alone,
    _flood,
)
ROWS = (BESIDE, DHEAT, FLOOD)
