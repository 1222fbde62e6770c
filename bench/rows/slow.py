"""Slow visitors who hold what they get: how a normal visitor fares, from the attack's first connection to its last.

Of Ferry alone. Each attack has a gateway of its own and is made once, in the first round: what is claimed is the worst
of all its seconds, which no median over rounds may hide. `bench.siege` says what an attack is.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from bench.setting import Setting
from bench.siege import ALLOWED_MS, CALM_RATIO, Attack, Lengths, besiege
from bench.slow import IDLE, KINDS, MIXED
from bench.systems import Ferry, System, Unexempt

from .row import Figure, Row, ferry_alone

ADDRESSES = (1, 2, 50)
QUICK: Final = frozenset(
    {"slow-bodies-2", "slow-reading-2", "slow-exempt-bodies"}
)  # part of a quick run that names no rows
CONNECTIONS = 1000
IDLERS = 2000
FEW = 300  # leave a tunnel room: it may have 900 requests, and 512 that wait
EXEMPT = "127.0.0.1"  # is in limits.exempt, as shipped
EXEMPT_AFTER_SECONDS = 12.0
PATIENT_SECONDS = 35.0  # at least: a long poll takes 30
FIGURES = (
    Figure("errors", "errors"),
    Figure("percent", "errors %", 2),
    Figure("calm", "calm p99, ms", 1),
    Figure("p99", "p99, ms", 1),
    Figure("allowed", f"allowed ({CALM_RATIO:g} × calm or {ALLOWED_MS:g})", 1),
    Figure("worst", "p99 of the worst second, if answered", 1),
    Figure("error_seconds", "seconds with errors"),
    Figure("clean_after", "last error, s after", 1),
    Figure("cut", "honest slow ones cut, of 4"),
    Figure("held", "held by attackers"),
    Figure("peak", "PSS meanwhile, + MiB", 1),
    Figure("grown", "PSS after, + MiB", 1),
    Figure("rss_grown", "RSS after, + MiB", 1),
    Figure("pss", "PSS after, MB"),
    Figure("rss", "RSS after, MB"),
    Figure("back", "s until memory is back", 1),
    Figure("left", "descriptors left"),
)


def _measure(
    setting: Setting, system: System, *, attack: Attack, name: str, gateway: type[Ferry], least: float, after: float
) -> dict[str, float]:
    assert isinstance(system, Ferry)
    effort = setting.effort
    seconds = max(effort.attack_seconds, least)
    lengths = Lengths(seconds, effort.attack_warm_seconds, effort.attack_calm_seconds, after)
    with setting.site(gateway(system.checkout)) as site:
        told = besiege(setting, site, attack, lengths)
    setting.details[f"{name}, {system.name}"] = told.detail
    return told.figures


def _row(
    name: str, title: str, attack: Attack, *, gateway: type[Ferry] = Unexempt, least: float = 0.0, after: float = 2.0
) -> Row:
    measure = partial(_measure, attack=attack, name=name, gateway=gateway, least=least, after=after)
    return Row(name, title, FIGURES, ferry_alone, measure, once=True, quick=name in QUICK)


ROWS = (
    *(
        _row(f"slow-{kind}-{number}", f"{kind}, {number} address{'es' * (number > 1)}", Attack(kind, str(number)))
        for kind in KINDS
        for number in ADDRESSES
    ),
    _row("slow-mixed", "all five kinds, 50 addresses", Attack(MIXED, "50"), least=PATIENT_SECONDS),
    _row("slow-room", f"all five kinds, {FEW} of them: there is room", Attack(MIXED, "2", FEW), least=PATIENT_SECONDS),
    _row("slow-idle", f"{IDLERS:,} kept connections on which nothing more is asked", Attack(IDLE, "50", IDLERS)),
    *(
        _row(
            f"slow-exempt-{kind}",
            f"{kind}, everybody from one exempt address",
            Attack(kind, EXEMPT, honest=EXEMPT),
            gateway=Ferry,
            after=EXEMPT_AFTER_SECONDS,
        )
        for kind in KINDS
    ),
)
EXEMPT_ROWS = tuple(row for row in ROWS if row.name.startswith("slow-exempt-"))
STRANGERS = tuple(row for row in ROWS if row not in EXEMPT_ROWS)
ROOM = "slow-room"
