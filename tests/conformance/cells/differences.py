"""The differences that are wanted, of those that cells can meet. docs/reference/differences-from-sshd.md has the reasons."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from .asking import BY_SSH, SESSION, Outcome
from .drawing import Cell, Request

REFUSED_COMMAND: Final = 1
_FAILED: Final = "connect failed"
_SHORTAGE: Final = "resource shortage"
_LOOPBACK: Final = ("127.", "::1")
_OWN: Final = ("localhost", "127.0.0.1", "[::1]")


@dataclass(frozen=True, slots=True)
class Difference:
    """One of them."""

    name: str
    row: str
    """The first cell of its row in the page."""
    ours: Callable[[Cell, Outcome], Outcome]
    """What Ferry makes of a cell, of which sshd makes that. The same if the difference does not count there."""


def expected(cell: Cell, real: Outcome) -> tuple[Outcome, list[str]]:
    """What Ferry has to make of a cell, of which sshd makes `real`, and the names of the differences that count."""
    names = []
    for each in WANTED:
        changed = each.ours(cell, real)
        if changed != real:
            names.append(each.name)
        real = changed
    return real, names


def _ends_if_all_is_refused(_: Cell, real: Outcome) -> Outcome:
    alone = real.ends is None and real.bound and all(addresses is None for addresses in real.bound.values())
    return Outcome(ends=BY_SSH) if alone else real


def _runs_no_command(cell: Cell, real: Outcome) -> Outcome:
    given = any(option.startswith("command=") for option in cell.options)
    ran = cell.session and real.logs_in and real.ends != BY_SSH
    return replace(real, ends=REFUSED_COMMAND) if given and ran else real


def _names_a_bound(_: Cell, real: Outcome) -> Outcome:
    failures = {name: _SHORTAGE if name == SESSION else word for name, word in real.failures.items()}
    return replace(real, failures=failures)


def _is_open(request: Request, real: Outcome) -> bool:
    """Whether the network reaches a SOCKS proxy of ssh."""
    addresses = real.bound.get(request.shown) or ()
    return request.flag == "-R" and bool(request.proxy) and not all(each.startswith(_LOOPBACK) for each in addresses)


def _closes_open_proxies(cell: Cell, real: Outcome) -> Outcome:
    if not (closed := [request for request in cell.requests if _is_open(request, real)]):
        return real
    shown = {request.shown for request in closed}
    got = {name: b"" if name.partition(" at ")[0] in shown else body for name, body in real.got.items()}
    if not shown >= {name for name, addresses in real.bound.items() if addresses}:
        ports = {request.listen.rpartition(":")[2] for request in closed}
        visitors = [each for each in cell.requests if each.flag != "-R" and each.to.rpartition(":")[2] in ports]
        failures = {**{each.shown: _FAILED for each in visitors}, **real.failures}
        return replace(real, got=got, failures=failures)
    # Nothing is left of the connection, which ends.
    visited = {name: body for name, body in got.items() if name.startswith("-R")}
    return replace(real, ends=BY_SSH, got=visited, failures={})


def _leads_to_tunnels(cell: Cell, real: Outcome) -> Outcome:
    got, failures = dict(real.got), dict(real.failures)
    for visitor, tunnel in itertools.product(cell.requests, cell.requests):
        host, _, port = visitor.to.rpartition(":")
        addresses = real.bound.get(tunnel.shown)
        if not addresses or tunnel.listen.rpartition(":")[2] != port or _is_open(tunnel, real):
            continue
        if host not in _OWN or visitor.flag == "-R" or (visitor.proxy == "socks4" and host == "[::1]"):
            continue  # curl knows that SOCKS 4 has no IPv6
        failure = real.failures.get(visitor.shown)
        if failure not in (None, _FAILED) or visitor.shown not in real.got:
            continue
        if "{closed}" in tunnel.to:
            failures[visitor.shown] = _FAILED  # sshd connects to its own listener, before it asks the client
        elif failure == _FAILED:
            got[visitor.shown] = b"" if tunnel.proxy else real.got[f"{tunnel.shown} at {addresses[0]}"]
            failures.pop(visitor.shown)
    return replace(real, got=got, failures=failures)


WANTED: Final = (
    Difference(
        "ends if all is refused", "`ssh -N -R … -L …` of which every `-R` is refused, without `ExitOnForwardFailure`", _ends_if_all_is_refused
    ),
    Difference("runs no command", '`command="…"`', _runs_no_command),
    Difference("names a bound", "a session above `MaxSessions`", _names_a_bound),
    Difference("closes open proxies", "`-R 22081` (a SOCKS proxy of ssh) on a port that is open to the network", _closes_open_proxies),
    Difference("leads to tunnels", "`-L`, `-D` or `-W` to `localhost`, `127.0.0.1` or `[::1]`, where a tunnel has the port", _leads_to_tunnels),
)  # fmt: skip
