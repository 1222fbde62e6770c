"""What a measure is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bench.setting import Setting, Site
from bench.systems import Direct, Ferry, FerryPort, FerryQuiet, Sshd, System

AtSite = Callable[[Setting, Site], dict[str, float]]
"""A measure through a tunnel that is up."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One number that a measure gives: a column of the table."""

    key: str
    title: str
    digits: int = 0
    more_is_better: bool = False
    worst: bool = False
    """Shown is the highest of all rounds, not the median: one bad round is what the figure is there to show."""


@dataclass(frozen=True, slots=True)
class Row:
    """One measure: what it is called on the command line, whom it concerns, and how it is made."""

    name: str
    title: str
    figures: tuple[Figure, ...]
    concerns: Callable[[System], bool]
    measure: Callable[[Setting, System], dict[str, float]]
    once: bool = False
    """In the first round alone."""
    quick: bool = True
    """Part of a quick run too, even if it was not asked for by name."""
    turn: AtSite | None = None
    """One turn of it, where two checkouts can take turns within a measure (`bench.turns`)."""
    turns: int = 0
    """How many each of them has in a round."""


def on_new_site(measure: AtSite) -> Callable[[Setting, System], dict[str, float]]:
    """`measure` through a tunnel of its own."""

    def measured(setting: Setting, system: System) -> dict[str, float]:
        with setting.site(system) as site:
            return measure(setting, site)

    return measured


def by_name(system: System) -> bool:
    """Systems that serve names over HTTP, and the origin without any of them."""
    return system.http and not isinstance(system, FerryQuiet)


def by_name_and_quiet(system: System) -> bool:
    """Likewise, and Ferry with a quiet log too."""
    return system.http


def by_port(system: System) -> bool:
    """Plain TCP ports, and the origin."""
    return isinstance(system, FerryPort | Sshd | Direct)


def stock_names(system: System) -> bool:
    """Gateways that give stock `ssh` a name."""
    return system.stock_ssh and by_name(system)


def stock(system: System) -> bool:
    """Everything that takes stock `ssh`, once each."""
    return system.stock_ssh and not isinstance(system, FerryPort | FerryQuiet)


def ferry_alone(system: System) -> bool:
    return type(system) is Ferry
