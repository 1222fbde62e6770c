"""What a measure is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bench.setting import Setting
from bench.systems import Direct, Ferry, FerryPort, Sshd, System


@dataclass(frozen=True, slots=True)
class Figure:
    """One number that a measure gives: a column of the table."""

    key: str
    title: str
    digits: int = 0
    more_is_better: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """One measure: what it is called on the command line, whom it concerns, and how it is made."""

    name: str
    title: str
    figures: tuple[Figure, ...]
    concerns: Callable[[System], bool]
    measure: Callable[[Setting, System], dict[str, float]]


def by_name(system: System) -> bool:
    """Systems that serve names over HTTP, and the origin without any of them."""
    return system.http


def by_port(system: System) -> bool:
    """Plain TCP ports, and the origin."""
    return isinstance(system, FerryPort | Sshd | Direct)


def stock_names(system: System) -> bool:
    """Gateways that give stock `ssh` a name."""
    return system.http and system.stock_ssh


def stock(system: System) -> bool:
    """Everything that takes stock `ssh`, once each."""
    return system.stock_ssh and not isinstance(system, FerryPort)


def ferry_alone(system: System) -> bool:
    return type(system) is Ferry
