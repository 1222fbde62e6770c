"""Whether a list of permits covers a request: `permitlisten=` and `permitopen=` of a key's line, `PermitListen` and
`PermitOpen` of the operator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ferry.names import printable
from ferry.protocol.forward_spec import LOCAL
from ferry.protocol.host_patterns import matches
from ferry.protocol.permits import Permit

_NAMED: Final = 3  # permits in a refusal; the others are counted
_EVERYWHERE: Final = ("*", "localhost")  # bind addresses for which ssh needs none written
_FORMS: Final = (*LOCAL, "0.0.0.0", "::")  # those that a pattern may stand for


def listens(permits: Sequence[Permit], host: bytes, port: int, names: Sequence[str]) -> bool:
    """Whether one of `permits` covers the request to listen on `port` of `host`, as the client has sent them (RFC 4254
    §7.1).

    `names` are the forms of the web name or alias that it asks for. A name, unlike a bind address, needs a permit that
    says something about the host: sshd has no names, so an operator who writes `permitlisten="80"` means a port.
    """
    forms = {host.decode("ascii", "replace").lower(), *names}
    return any(permit.listens(form, port) for permit in permits if not (names and permit.bare) for form in forms)


def to_listen(host: bytes, port: int) -> str:
    """A request to listen, as a permit would name it."""
    return printable(str(Permit(host.decode("ascii", "replace").lower() or "*", port)), 80)


def to_open(host: bytes, port: int) -> str:
    """A connection, as a permit would name it."""
    return printable(str(Permit(_asked(host), port)), 80)


def _asked(host: bytes) -> str:
    return host.decode("utf-8", "backslashreplace")


def opens(permits: Sequence[Permit], host: bytes, port: int) -> bool:
    """Whether one of `permits` covers a connection to `port` of `host`, as the client has sent them (§7.2)."""
    return any(permit.opens(_asked(host), port) for permit in permits)


def names(permits: Sequence[Permit], host: bytes, port: int) -> bool:
    """Whether one of `permits` is exactly this target. sshd lets a client open everything that nothing forbids; here the
    operator has to name what is not the client's own, and a `*` names nothing."""
    return any(permit.names(_asked(host), port) for permit in permits)


def names_socket(permits: Sequence[Permit], path: str) -> bool:
    """Whether one of `permits` names the Unix socket at `path`: `[/run/ferry/web-1/x.sock]:*`, with wildcards in the path.
    `*:*` names none."""
    return any(permit.host.startswith("/") and permit.port is None and matches(permit.host, path) for permit in permits)


def listed(permits: Sequence[Permit]) -> str:
    """Permits, as the operator wrote them: `localhost:80, blog:80 and 3 more`."""
    shown = ", ".join(printable(str(permit), 80) for permit in permits[:_NAMED])
    more = len(permits) - _NAMED
    return f"{shown} and {more} more" if more > 0 else shown


def by_port(permits: Sequence[Permit], port: int) -> tuple[Permit, ...]:
    """The same, with those for `port` first."""
    return tuple(sorted(permits, key=lambda permit: (permit.port != port, permit.port is not None)))


def instead(permits: Sequence[Permit], port: int) -> str:
    """What somebody can do who may not listen on `port` as they have asked, for permits as `by_port` has them."""
    there = [permit for permit in permits if permit.port in (None, port)] or permits
    if (typed := first_to_write(there)) is not None:
        return f"write -R {typed}:..."
    permit = there[0]
    if permit.host != permit.host.lower():
        return f"only the operator can write {printable(permit.host, 60)} in lower case, without which nobody listens there"
    if permit.host[:1] in ("!", "/"):
        return "only the operator can allow more"
    return f"write -R NAME:{_port(permit)}:... with a name that {printable(permit.host, 60)} stands for"


def first_to_write(permits: Sequence[Permit]) -> str | None:
    """What stands behind -R for a forward that one of `permits` covers, without the local service; None if nothing that can
    be typed does, as a name in capitals, or any of several names."""
    return next((typed for typed in map(_to_write, permits) if typed is not None), None)


def _to_write(permit: Permit) -> str | None:
    port = _port(permit)
    if permit.host in _EVERYWHERE:
        return port
    if permit.host != permit.host.lower() or permit.host[:1] in ("!", "/"):
        return None
    if "*" not in permit.host and "?" not in permit.host:
        return f"[{permit.host}]:{port}" if ":" in permit.host else f"{printable(permit.host, 80)}:{port}"
    form = next((form for form in _FORMS if matches(permit.host, form)), None)
    if form is None:
        return None
    return port if form == "localhost" else f"[{form}]:{port}" if ":" in form else f"{form}:{port}"


def _port(permit: Permit) -> str:
    return "PORT" if permit.port is None else str(permit.port)
