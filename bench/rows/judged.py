"""A policy of 1,000 rules beside 10,000 keys: what one decision costs, and a reload of both in a running gateway."""

from __future__ import annotations

import json
import statistics
import sys
import time
from typing import Final

from bench.processes import HOME, run
from bench.setting import Setting
from bench.systems import System

from .logged import reload
from .row import Figure, Row, ferry_alone

RULES: Final = 1_000
KEYS: Final = 10_000
_RELOADS: Final = 5
_LOOK_SECONDS: Final = 0.01


def _measure(setting: Setting, system: System) -> dict[str, float]:
    folder = setting.new_folder("judged")
    found: dict[str, float] = json.loads(
        run([sys.executable, "-m", "bench.judged", folder, str(RULES), str(KEYS)], HOME, seconds=120)
    )
    place = setting.place()
    with system.started(place) as gateway:
        with (place.folder / "ferry.toml").open("a") as config:
            config.write(f'[access]\nmode = "keys"\nkeys = ["{folder}/keys"]\npolicy = "{folder}/policy.toml"\n')
        times = []
        for _ in range(_RELOADS + 1):
            began = time.monotonic()
            reload(gateway, place, every=_LOOK_SECONDS)
            times.append(time.monotonic() - began)
        gateway.runs()
    return {"decision": found["decision"], "p99": found["p99"], "reload": statistics.median(times[1:])}


ROW = Row(
    "policy",
    f"policy: {RULES:,} rules and {KEYS:,} keys",
    (
        Figure("decision", "µs a decision", 1),
        Figure("p99", "µs, 99th percentile", 1),
        Figure("reload", "s, SIGHUP to both in force", 2),
    ),
    ferry_alone,
    _measure,
    once=True,
)
