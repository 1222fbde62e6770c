"""One attack of slow visitors on a name, and how a normal visitor of that name fares: before, during and after it.

The normal visitor's open loop runs from before the attack's first connection until after its last, so nothing is left
out; what counts as attacked are the requests that were due between the two. Calm is measured in the same gateway
process with nothing beside it.

`python -m bench.siege --kind bodies --addresses 2 --seconds 6` starts a gateway, makes one attack, and prints what each
second of it was like.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from .keys import Keys
from .machine import allow_many_files
from .openloop import ERROR, figures, percentile
from .origin import serving
from .processes import HOME, BenchError, Memory, Program, descriptors, free_ports, memory, wait_until
from .setting import QUICK, Setting, Site
from .slow import IDLE, KINDS, MIXED
from .systems import Ferry, Unexempt

RATE = 1000  # requests a second
CALM_RATIO, ALLOWED_MS = 3.0, 25.0  # p99 under attack may be this many times calm, or this
ALLOWED_BYTES = 16 * 2**20  # that memory may have grown by, a minute after
BACK_SECONDS = 60.0
LEAD_SECONDS = (
    1.0  # of the open loop before it counts as calm: connections and streams are new. Under attack all counts
)
POLITE: Final = ("chrt", "--idle", "0")  # attackers have machines of their own; here they get what nobody else wants
HONEST = "127.0.9.9"
LOG_SECONDS = 15.0
Log = list[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Lengths:
    """In seconds."""

    attack: float
    warm: float
    calm: float
    after: float = 2.0
    """The open loop goes on for so long after the attack."""


@dataclass(frozen=True, slots=True)
class Attack:
    """What `bench.slow` is told."""

    kind: str
    addresses: str
    """How many, or the only one."""
    connections: int = 1000
    honest: str = HONEST
    """Where the normal visitor comes from."""


@dataclass
class Told:
    """What came of it: figures, and all that is needed to doubt them."""

    figures: dict[str, float]
    detail: dict[str, object] = field(default_factory=dict)


def besiege(setting: Setting, site: Site, attack: Attack, lengths: Lengths) -> Told:
    """Warm up, be calm, attack, and wait until memory is back. Raises BenchError where the attack was none."""
    assert site.gateway is not None
    pid = site.gateway.pid
    fresh = descriptors(pid)
    with _normal_visitor(setting, site, attack), attacking(setting, site, attack, lengths.warm, "reset") as attackers:
        attackers.told()
    wait_until(lambda: descriptors(pid) <= fresh, "descriptors back after the warm round", seconds=90, every=0.1)
    time.sleep(LEAD_SECONDS)
    before = memory(pid)
    peak = before.pss
    with _normal_visitor(setting, site, attack) as visitor, contextlib.ExitStack() as stack:
        time.sleep(LEAD_SECONDS)
        calm_from = time.monotonic()
        time.sleep(lengths.calm)
        calm_to = time.monotonic()
        patient = stack.enter_context(_patient(setting, site, lengths.attack + 2))
        with attacking(setting, site, attack, lengths.attack) as attackers:
            while attackers.attack():
                time.sleep(1.0)
                peak = max(peak, memory(pid).pss)
            told = attackers.told()
        cut = _cut(patient)
        time.sleep(lengths.after)
    log = visitor.log
    first, last = told["first"], told["last"]
    if told["asked"] < attack.connections:
        raise BenchError(f"of {attack.connections} slow {attack.kind} {told['asked']} came: that was no attack")
    calm = figures([entry for entry in log if calm_from <= entry[0] < calm_to])
    under = [entry for entry in log if first <= entry[0] <= last]
    found = _verdict(calm, under, log, last)
    seconds, after = until_back(pid, before, fresh)
    found |= {
        "grown": (after.pss - before.pss) / 2**20,
        "rss_grown": (after.rss - before.rss) / 2**20,
        "peak": (peak - before.pss) / 2**20,
        "pss": after.pss / 1e6,
        "rss": after.rss / 1e6,
        "back": seconds,
        "left": descriptors(pid) - fresh,
        "held": max(told["held"], default=0),
        "cut": sum(bool(how) for how in cut.values()),
    }
    each = {"per_second": per_second([entry for entry in log if entry[0] >= first], first), "attackers": told}
    return Told(found, {"attack": attack.kind, "addresses": attack.addresses, "calm": calm, "patient": cut, **each})


def _verdict(calm: dict[str, float], under: Log, log: Log, last: float) -> dict[str, float]:
    attacked = figures(under)
    seconds = per_second(under, min(due for due, _ in under)) if under else []
    allowed = max(CALM_RATIO * calm["p99"], ALLOWED_MS)
    late = [due - last for due, took in log if took == ERROR and due > last]
    return {
        "calm": calm["p99"],
        "p99": attacked["p99"],
        "allowed": allowed,
        "worst": max((one["p99"] for one in seconds if one["p99"] is not None), default=math.nan),
        "errors": sum(took == ERROR for _, took in under),
        "percent": attacked["errors"],
        "error_seconds": sum(second["errors"] > 0 for second in seconds),
        "clean_after": max(late, default=0.0),
    }


def per_second(log: Log, first: float) -> list[dict[str, Any]]:
    """Requests, errors and p99 (ms) of every second, by when the requests were due."""
    found: dict[int, list[float]] = defaultdict(list)
    for due, took in log:
        found[int(due - first)].append(took)
    seconds = []
    for second in sorted(found):
        good = sorted(took for took in found[second] if took != ERROR)
        errors = len(found[second]) - len(good)
        p99 = round(1000 * percentile(good, 0.99), 2) if good else None
        seconds.append({"second": second, "requests": len(found[second]), "errors": errors, "p99": p99})
    return seconds


class _Visitor:
    log: Log


@contextlib.contextmanager
def _normal_visitor(setting: Setting, site: Site, attack: Attack) -> Iterator[_Visitor]:
    """An open loop, until the context ends; `log` is there then."""
    path = Path(setting.folder) / "openloop.log"
    command = [sys.executable, "-m", "bench.openloop", str(site.port), site.host, str(RATE), "3600"]
    visitor = _Visitor()
    with Program([*command, "--log", path, "--from", attack.honest], HOME, log_folder=setting.folder) as program:
        yield visitor
        program.runs()
        program.finish(LOG_SECONDS)
    visitor.log = []
    for line in path.read_text().splitlines():
        due, took = line.split()
        visitor.log.append((float(due), float(took)))


@contextlib.contextmanager
def _patient(setting: Setting, site: Site, seconds: float) -> Iterator[Program]:
    """The honest slow ones, who have asked."""
    folder = setting.new_folder("patient")
    command = [sys.executable, "-m", "bench.patient", str(site.port), site.host, str(seconds)]
    with Program(command, HOME, log_folder=folder) as program:
        wait_until(lambda: "there" in program.output or not program.runs(), "the honest slow visitors", every=0.05)
        yield program


def _cut(patient: Program) -> dict[str, str]:
    """Who of them was cut, and how."""
    wait_until(lambda: patient.process.poll() is not None, "the end of the honest slow ones", seconds=30, every=0.05)
    if patient.process.returncode:
        raise BenchError(f"the honest slow ones failed: {patient.output}")
    found: dict[str, str] = json.loads(patient.output.splitlines()[-1])
    return found


@contextlib.contextmanager
def attacking(
    setting: Setting, site: Site, attack: Attack, seconds: float, leave: str = "close"
) -> Iterator[Attackers]:
    """The attack, begun. It ends by itself; `told` waits for that."""
    path = setting.folder / f"slow-{attack.kind}.json"
    path.unlink(missing_ok=True)
    command = [sys.executable, "-m", "bench.slow", str(site.port), site.host, attack.kind, attack.addresses]
    command += [str(attack.connections), str(seconds), str(path), leave]
    with Program([*POLITE, *command], HOME, log_folder=setting.folder) as program:
        yield Attackers(program, path, seconds)


@dataclass(frozen=True, slots=True)
class Attackers:
    """A running `bench.slow`."""

    program: Program
    path: Path
    seconds: float

    def attack(self) -> bool:
        """Whether they still do."""
        return self.program.process.poll() is None

    def told(self) -> dict[str, Any]:
        """What they did, once they have ended. Raises BenchError where they did not."""
        wait_until(lambda: not self.attack(), "the end of the attack", seconds=self.seconds + 30, every=0.05)
        if not self.path.exists():
            raise BenchError(f"the attack failed: {self.program.output}")
        told: dict[str, Any] = json.loads(self.path.read_text())
        return told


def until_back(pid: int, before: Memory, fresh: int | None = None) -> tuple[float, Memory]:
    """Seconds until memory was within ALLOWED_BYTES of `before`, and no more than `fresh` descriptors were open;
    BACK_SECONDS at most. And what memory was then."""
    began = time.monotonic()
    while True:
        now, seconds = memory(pid), time.monotonic() - began
        back = max(now.pss - before.pss, now.rss - before.rss) <= ALLOWED_BYTES
        if (back and (fresh is None or descriptors(pid) <= fresh)) or seconds >= BACK_SECONDS:
            return seconds, now
        time.sleep(0.5)


# --- by hand


def main() -> int:
    """One attack, as the command line says."""
    parser = argparse.ArgumentParser(prog="python -m bench.siege")
    parser.add_argument("--kind", default="bodies", choices=[*KINDS, MIXED, IDLE, "all"])
    parser.add_argument("--addresses", default="2", help="how many, or one address that all come from (default 2)")
    parser.add_argument("--connections", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=6.0, help="of the attack (default 6)")
    parser.add_argument("--exempt", action="store_true", help="all come from one address that is in limits.exempt")
    parser.add_argument(
        "--checkout", type=Path, help="another one than this, which has been set up, whose Ferry is attacked"
    )
    parser.add_argument("--json", type=Path, help="write what every second was like to this file")
    given = parser.parse_args()
    allow_many_files()
    exempt = "127.0.0.1"
    addresses, honest = (exempt, exempt) if given.exempt else (given.addresses, HONEST)
    lengths = Lengths(given.seconds, warm=2.0, calm=2.0, after=11.0 if given.exempt else 2.0)
    found = []
    with tempfile.TemporaryDirectory(prefix="ferry-siege-", dir="/dev/shm") as folder:
        keys = Keys.make(Path(folder) / "keys", 2)
        with serving(Path(folder), next(free_ports()), bulk_bytes=256 * 2**20) as origin:
            setting = Setting(Path(folder), keys, origin, QUICK)
            for kind in KINDS if given.kind == "all" else [given.kind]:
                with setting.site((Ferry if given.exempt else Unexempt)(given.checkout)) as site:
                    told = besiege(setting, site, Attack(kind, addresses, given.connections, honest), lengths)
                found.append(told.detail | {"figures": told.figures})
                print(f"slow {kind}, addresses: {addresses}", _shown(told), sep="\n", flush=True)
    if given.json:
        given.json.write_text(json.dumps(found, indent=1) + "\n")
    return 0


def _shown(told: Told) -> str:
    lines = ["  " + "  ".join(f"{key} {value:,.1f}" for key, value in told.figures.items())]
    attackers: Any = told.detail["attackers"]
    seconds: Any = told.detail["per_second"]
    lines.append(f"  honest slow ones: {told.detail['patient']}")
    lines.append(f"  attackers: {attackers['opened']} opened, ends {attackers['ends']}, held {attackers['held']}")
    lines += [
        f"  {one['second']:3} s  {one['requests']:5} requests  {one['errors']:5} errors  p99 {one['p99']} ms"
        for one in seconds
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
