"""The rules about lines of key files, and about lines that go together badly."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

from ferry.protocol.forward_spec import LOOPBACK
from ferry.protocol.host_patterns import matches
from ferry.protocol.key_options import expiry
from ferry.protocol.permits import Permit
from ferry.protocol.sshd_config import permit

from .config_rules import Server, is_public, on_loopback
from .file_rules import is_name
from .findings import Finding, found
from .key_lines import KeyLine
from .rules import Severity
from .views import Key, View

_EXTENDED: Final = timedelta(days=365)


class _Allowed:
    """The values of PermitListen. There may be thousands, and as many keys."""

    def __init__(self, permits: Sequence[Permit]) -> None:
        self._all = permits
        self._exact = {(each.host, each.port) for each in permits}
        self._wide = [each for each in permits if _is_wide(each)]

    def has(self, one: Permit) -> bool:
        """Whether some request is allowed by `one` too."""
        if (one.host, one.port) in self._exact:
            return True
        return any(_meet(one, each) for each in (self._all if _is_wide(one) else self._wide))


def _is_wide(given: Permit) -> bool:
    return given.port is None or "*" in given.host or "?" in given.host


def _meet(one: Permit, other: Permit) -> bool:
    hosts = matches(one.host, other.host) or matches(other.host, one.host)
    return hosts and (one.port == other.port or None in (one.port, other.port))


def of_view(view: View, server: Server, now: datetime) -> Iterator[Finding]:
    """The rules about each key, by what else counts for its account."""
    values = view["permitlisten"].values if view.listening_is_bound else ()
    allowed = _Allowed([each for value in values if (each := permit(value, server.system.port_of, listens=True))])
    for key in view.keys:
        line = key.line
        if line.refused:
            yield _refused(line)
            continue
        yield from _restrict(line, view)
        yield from _bounds(line, view)
        yield from _ports(line, view, allowed)
        yield from _login(line, view, server, now)


def _refused(line: KeyLine) -> Finding:
    assert line.refused
    if line.refused.any_any:
        meant = "*:*" if line.refused.any_any == "permitopen" else "localhost:PORT"
        return found("any-any", line.place, {"option": line.refused.any_any, "meant": meant})
    return found("key-refused", line.place, {"why": line.refused.why, "fix": line.refused.fix})


def _restrict(line: KeyLine, view: View) -> Iterator[Finding]:
    if line.has("cert-authority"):
        return
    sessions = view["maxsessions"].word != "0"
    if sessions and not line.is_restricted:
        fix = "restrict,port-forwarding," + (
            "the options that are there" if line.options else 'permitlisten="localhost:PORT"'
        )
        yield found("missing-restrict", line.place, {"fix": f"{fix}, before the key type"})
    if line.listens and not line.allows("port-forwarding"):
        yield _closed(line)
    runs = sessions and view["forcecommand"].word == "none" and not line.has("command")
    if runs and line.listens and not view.listening_is_bound:  # otherwise the rule `shell` says it once for all
        yield found("key-shell", line.place)


def _closed(line: KeyLine) -> Finding:
    if line.has("no-port-forwarding"):
        values = {"why": "no-port-forwarding stands beside permitlisten=", "fix": "the line without no-port-forwarding"}
    elif line.has("port-forwarding"):
        values = {
            "why": "Options count in their order, and restrict comes after port-forwarding",
            "fix": "restrict,port-forwarding,... in this order",
        }
    else:
        values = {"why": "restrict closes forwarding", "fix": 'restrict,port-forwarding,permitlisten="..."'}
    return found("restrict-closes-ports", line.place, values)


def _bounds(line: KeyLine, view: View) -> Iterator[Finding]:
    if not line.allows("port-forwarding") or line.has("cert-authority"):
        return
    if view.listens and not line.listens and not view.listening_is_bound:
        yield found("key-listens-anywhere", line.place)
    if view.dials and line.listens and not line.has("permitopen") and view["permitopen"].word == "any":
        yield found("key-dials-out", line.place)


def _ports(line: KeyLine, view: View, allowed: _Allowed) -> Iterator[Finding]:
    asked = line.listens_on
    if view.listening_is_bound:
        unheard = [one for one in asked if not allowed.has(one)]
        place = view["permitlisten"].place
        yield from (found("permitlisten-unheard", line.place, {"place": place}, value=one) for one in unheard)
    setting = view["gatewayports"].word
    for each in asked if view.listens else ():
        if each.host in LOOPBACK:
            host = f"[{each.host}]" if ":" in each.host else each.host
            yield found("permitlisten-loopback", line.place, {"host": host}, value=each)
        elif each.host == "*" and setting == "clientspecified":
            values = {"bound": "permitlisten=", "value": each, "meant": f'permitlisten="{on_loopback(each)}"'}
            yield found("gateway-ports-any-host", line.place, values)
        elif is_public(each) and setting == "no":
            yield found("gateway-ports-unheard", line.place, {"bound": "permitlisten="}, value=each)


def _login(line: KeyLine, view: View, server: Server, now: datetime) -> Iterator[Finding]:
    ends = [(expiry(value, server.system), value) for value in line.values("expiry-time")]
    if ends and min(ends)[0] < now.timestamp():
        later = f"{now + _EXTENDED:%Y%m%d}"
        yield found("key-expired", line.place, {"value": min(ends)[1], "later": later})
    if view["usedns"].word != "yes":
        for pattern in (each for value in line.values("from") for each in value.split(",")):
            if is_name(pattern):
                values = {
                    "pattern": pattern,
                    "meant": 'from="ADDRESS" or from="NETWORK/24", or UseDNS yes in sshd_config',
                }
                yield found("name-without-dns", line.place, values)
    if names := [value.partition("=")[0] for value in line.values("environment")]:
        refused = view["permituserenvironment"].word == "no"
        more = ", and PermitUserEnvironment is no" if refused else ""
        yield found("key-environment", line.place, {"value": ", ".join(names), "more": more})


def of_pairs(keys: Sequence[Key]) -> Iterator[Finding]:
    """The rules about two lines: a port or a key that both have. `keys`: of all files, each line once."""
    ports: dict[tuple[str, int | None], KeyLine] = {}
    blobs: dict[str, Key] = {}
    for key in keys:
        line = key.line
        if line.fingerprint is None:  # sshd refuses the line
            continue
        same = blobs.setdefault(line.fingerprint, key)
        if same.line is not line:
            rule = "key-twice" if same.user == key.user else "key-of-two-accounts"
            yield found(rule, line.place, {"place": same.line.place})
        for one in line.listens_on:
            host = "localhost" if one.host in LOOPBACK else one.host
            earlier = ports.setdefault((host, one.port), line)
            if one.port is not None and earlier.fingerprint != line.fingerprint:
                values = {"permit": f'permitlisten="{one}"', "place": earlier.place, "host": one.host}
                twin = line.comment and line.comment == earlier.comment  # two keys of one machine
                yield found("port-twice", line.place, values, severity=Severity.NOTE if twin else None)
