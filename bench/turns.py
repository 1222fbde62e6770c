"""Checkouts that take turns within a measure: their gateways run side by side, and only one is under load at a time.

Two measures of 4 s, one after the other, differ by up to a half on a rented machine with the same code, because its
speed drifts from one second to the next. Turns of one second see the same drift. Their order rotates (A B C, B C A,
C A B, …): each checkout comes first equally often, and none comes behind itself.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace

from .rows import Row
from .setting import Setting
from .systems import System

SECONDS = 1.0  # of a turn, for measures that run by the clock; wrk takes whole seconds


def in_turns(row: Row, setting: Setting, systems: Sequence[System]) -> dict[str, dict[str, float]]:
    """By system, the means over its turns (of errors and the like: the worst). The first turn of each does not count."""
    assert row.turn is not None
    short = replace(setting, effort=replace(setting.effort, load_seconds=SECONDS, warm_seconds=0.0))
    samples: dict[str, list[dict[str, float]]] = {system.name: [] for system in systems}
    with ExitStack() as stack:
        sites = [stack.enter_context(setting.site(system)) for system in systems]
        turns = row.turns + -row.turns % len(sites)  # so that each comes first equally often
        for turn in range(1 + turns):
            first = turn % len(sites)
            for site in sites[first:] + sites[:first]:
                sample = row.turn(short, site)
                if turn:
                    samples[site.system.name].append(sample)
    return {name: _together(row, each) for name, each in samples.items()}


def _together(row: Row, samples: Sequence[dict[str, float]]) -> dict[str, float]:
    worst = {figure.key for figure in row.figures if figure.worst}
    return {key: (max if key in worst else statistics.fmean)(sample[key] for sample in samples) for key in samples[0]}
