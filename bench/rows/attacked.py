"""How a normal visitor and a log-in fare while somebody misbehaves, beside how they fare in peace.

Of Ferry alone: a bound on its own calm figures, taken directly before in the same process.
"""

from __future__ import annotations

import contextlib
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from bench.farmhand import HOME
from bench.processes import Program, pss_bytes, run, wait_until
from bench.setting import Setting, Site
from bench.systems import Ferry, Place, System, ssh

from .requests import RATE, open_loop
from .row import Figure, Row, ferry_alone

SLOW_CONNECTIONS = 1000
SMALL_VISITORS = 100
MOMENTS = 20
IDLE_CONNECTIONS = 2000
LOGINS = 15
DHEAT_SOCKETS = 10
_SETTLE_SECONDS = 8.0  # for the attack's connections to be there, and the slowest of them gone again
_POLITE = ["chrt", "--idle", "0"]  # attackers have machines of their own; here they get what nobody else wants
_ATTACKS = {
    "head": ["-H", "-i", "5", "-x", "24"],
    "body": ["-B", "-i", "5", "-x", "24", "-s", "8192", "-t", "PUT"],
    "range": ["-R"],
    "read": ["-X", "-w", "512", "-y", "1024", "-n", "5", "-z", "32", "-k", "3"],
}
"""What slowhttptest(1) is told. The read attack asks for the large file, the body attack puts one."""
_PATHS = {"head": "", "range": "", "body": "uploads/slow", "read": "bulk"}


def _slow(setting: Setting, system: System) -> dict[str, float]:
    with setting.site(system) as site:
        # slowhttptest spins: what that alone does to a machine of two cores is not the gateway's doing
        with Program([*_POLITE, "sh", "-c", "while :; do :; done"], setting.folder):
            found = {"calm": _thrice(setting, site)["p99"]}
        errors = 0.0
        for attack in _ATTACKS:
            with _slow_visitors(setting, site, attack):
                under = _thrice(setting, site)
            found[attack], errors = under["p99"], max(errors, under["errors"])
        worst = max(found[attack] for attack in _ATTACKS)
        return found | {"worst": worst / found["calm"], "errors": errors}


def _thrice(setting: Setting, site: Site) -> dict[str, float]:
    """The median p99 of three open loops, in ms (the machine's own pauses are as long as what is looked for), and the
    most errors of one."""
    runs = [open_loop(setting, site) for _ in range(3)]
    return {"p99": statistics.median(run["p99"] for run in runs), "errors": max(run["errors"] for run in runs)}


@contextlib.contextmanager
def _slow_visitors(setting: Setting, site: Site, attack: str) -> Iterator[None]:
    """SLOW_CONNECTIONS of them. They go to the name by way of the proxy that the gateway is for its own names."""
    command = ["slowhttptest", *_ATTACKS[attack], "-c", str(SLOW_CONNECTIONS), "-r", str(SLOW_CONNECTIONS)]
    command += ["-l", "60", "-p", "3", "-d", f"127.0.0.1:{site.port}", "-u", f"http://{site.host}/{_PATHS[attack]}"]
    with Program([*_POLITE, *command], setting.folder):
        time.sleep(_SETTLE_SECONDS)
        yield


def _beside(setting: Setting, system: System) -> dict[str, float]:
    with setting.site(system) as site:
        calm = _small(setting, site)
        bulk: list[str | Path] = ["curl", "-sS", "-H", f"Host: {site.host}", "-o", "/dev/null", f"{site.url}bulk"]
        with Program(["sh", "-c", 'while "$@"; do :; done', "bulk", *bulk], setting.folder):
            time.sleep(0.3)  # the transfer is in full swing
            beside = _small(setting, site)
        return {"calm": calm, "beside": beside, "ratio": beside / calm}


def _small(setting: Setting, site: Site) -> float:
    """p99 in ms of SMALL_VISITORS at the same moment, MOMENTS times; the median of three such runs."""
    command = [sys.executable, "-m", "bench.small", str(site.port), site.host, str(SMALL_VISITORS), str(MOMENTS)]
    return statistics.median(float(run(command, HOME, seconds=60)) for _ in range(3))


def _dheat(setting: Setting, system: System) -> dict[str, float]:
    place = setting.place()
    with system.started(place):
        calm = _login(setting, place)
        audit = str(Path(sys.prefix) / "bin" / "ssh-audit")
        command = [audit, "-p", str(place.ssh_port), f"--dheat={DHEAT_SOCKETS}", "127.0.0.1"]
        with Program([*_POLITE, *command], setting.folder):
            time.sleep(_SETTLE_SECONDS)
            under = _login(setting, place)
    return {"calm": calm, "under": under}


class _Guarded(Ferry):
    """Only known keys, and loopback is no exception."""

    def environment(self, place: Place) -> dict[str, str]:
        return {
            "FERRY_LIMITS__EXEMPT": "192.0.2.0/24",
            "FERRY_ACCESS__MODE": "keys",
            "FERRY_ACCESS__KEYS": str(place.keys.authorized),
        }


def _flood(setting: Setting, system: System) -> dict[str, float]:
    del system
    place = setting.place()
    with _Guarded().started(place) as gateway:
        calm = _login(setting, place, "-b", "127.0.0.9")
        before = pss_bytes(gateway.pid)
        flood = [sys.executable, "-m", "bench.flood", str(place.ssh_port), str(IDLE_CONNECTIONS)]
        with Program([*_POLITE, *flood], HOME, log_folder=setting.folder) as attacker:
            wait_until(lambda: attacker.runs() and "there" in attacker.output, "the flood", seconds=60)
            under = _login(setting, place, "-b", "127.0.0.9")
            grown = pss_bytes(gateway.pid) - before
    return {"calm": calm, "under": under, "grown": grown / 1e6}


def _login(setting: Setting, place: Place, *options: str) -> float:
    """Median ms of stock `ssh gw whoami`, from its start to its end."""
    times = []
    for number in range(LOGINS):
        command = [word for word in ssh(place, list(options), number) if word != "-N"]
        began = time.monotonic()
        run([*command, "whoami"], setting.folder, seconds=30)
        times.append(1000 * (time.monotonic() - began))
    return statistics.median(times)


SLOW = Row(
    "slow",
    f"{SLOW_CONNECTIONS:,} slow visitors (slowhttptest): p99 of {RATE:,} other requests/s, in ms",
    (
        Figure("calm", "calm, beside a program that spins", 2),
        *(Figure(attack, f"slow {attack}", 2) for attack in _ATTACKS),
        Figure("worst", "worst / calm", 2),
        Figure("errors", "errors %", 1),
    ),
    ferry_alone,
    _slow,
)
BESIDE = Row(
    "beside",
    f"{SMALL_VISITORS} small requests at once beside a download without end, in ms",
    (Figure("calm", "calm p99", 2), Figure("beside", "p99 beside", 2), Figure("ratio", "beside / calm", 2)),
    ferry_alone,
    _beside,
)
DHEAT = Row(
    "dheat",
    f"log-in while ssh-audit --dheat={DHEAT_SOCKETS} runs, in ms",
    (Figure("calm", "calm, median", 0), Figure("under", "attacked, median", 0)),
    ferry_alone,
    _dheat,
)
FLOOD = Row(
    "flood",
    f"log-in beside {IDLE_CONNECTIONS:,} silent connections and a brute force, in ms",
    (
        Figure("calm", "calm, median", 0),
        Figure("under", "attacked, median", 0),
        Figure("grown", "gateway grows by, MB"),
    ),
    ferry_alone,
    _flood,
)
ROWS = (SLOW, BESIDE, DHEAT, FLOOD)
