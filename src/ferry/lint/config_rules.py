"""The rules about settings: for everybody once, and for what counts below each Match block."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from ferry.amounts import span
from ferry.protocol.host_patterns import matches
from ferry.protocol.key_options import System
from ferry.protocol.permits import Permit
from ferry.protocol.sshd_config import Place, Version, count, permit, seconds

from .findings import Finding, found
from .rules import Severity
from .views import DIALLING, LISTENING, Setting, View

SLOW_SECONDS: Final = 300  # a client that is gone for longer and still has its port keeps its machine away
STARTUPS: Final = 100  # log-ins in progress from which sshd may drop some; a fleet comes back at once
_DOUBLED_BEFORE: Final = (9, 5)
_PENALTIES_SINCE: Final = (9, 8)
_LOCALE: Final = re.compile(r"LANG|LANGUAGE|LC_[A-Z*]+|XMODIFIERS|COLORTERM|NO_COLOR|TERM|TZ|GIT_PROTOCOL")


@dataclass(frozen=True, slots=True)
class Server:
    """What is known of the sshd itself."""

    system: System
    """The services and the time zone that its settings and keys mean."""
    version: Version | None = None


def of_everybody(view: View, server: Server) -> Iterator[Finding]:
    """The rules about settings that stand at the top alone. `view`: what counts there."""
    yield from _startups(view)
    setting = view["persourcepenalties"]
    known = setting.written or bool(setting.values) or (server.version or (0, 0)) >= _PENALTIES_SINCE
    if known and setting.word != "no" and view["persourcepenaltyexemptlist"].word == "none":
        yield found("penalties", setting.place)
    if seconds(view["logingracetime"].word) == 0:
        yield found("login-grace", view["logingracetime"].place)


def _startups(view: View) -> Iterator[Finding]:
    setting = view["maxstartups"]
    match = re.fullmatch(r"([0-9]+)(?::[0-9]+:([0-9]+))?", setting.word)
    if match and (begin := count(match[1])) is not None and begin < STARTUPS:
        values = {"begin": match[1], "full": match[2] or match[1], "value": setting}
        yield found("max-startups", setting.place, values)
    source = view["persourcemaxstartups"]
    if source.word.isdecimal():
        yield found("startups-per-source", source.place, {"value": source})


def of_account(view: View, server: Server) -> Iterator[Finding]:
    """The rules about what counts for some accounts."""
    yield from _keepalive(view, server)
    yield from _timeouts(view)
    yield from _sockets(view)
    yield from _refused(view)
    yield from _gateway_ports(view, server)
    yield from _beyond_listening(view)


def _keepalive(view: View, server: Server) -> Iterator[Finding]:
    if not view.listens:
        return
    asked, most = view["clientaliveinterval"], view["clientalivecountmax"]
    interval, missed = seconds(asked.word), count(most.word)
    if missed is None:
        missed = 3
    if not interval:
        endless = view["tcpkeepalive"].word == "no"
        lasting = "for ever (TCPKeepAlive is no, too)" if endless else "for two hours and more"
        yield found("keepalive-off", asked.place, {"lasting": lasting}, scope=view.title)
        return
    if missed == 0:
        yield found("keepalive-endless", most.place, scope=view.title)
        return
    doubled = server.version is not None and server.version < _DOUBLED_BEFORE
    meant = interval * (missed + 1)
    real = meant * 2 if doubled else meant
    if real > SLOW_SECONDS:
        factor = ", doubled before OpenSSH 9.5" if doubled else ""
        sums = {"real": span(real), "sum": f"{interval} s, {missed + 1} times{factor}"}
        yield found("keepalive-slow", asked.place, sums, scope=view.title)
    elif doubled:
        assert server.version
        version = ".".join(map(str, server.version))
        values = {"version": version, "real": span(real), "meant": span(meant), "half": max(1, interval // 2)}
        yield found("keepalive-doubled", asked.place, values, scope=view.title)


def _timeouts(view: View) -> Iterator[Finding]:
    if not view.listens:
        return
    unused, channels = view["unusedconnectiontimeout"], view["channeltimeout"]
    if seconds(unused.word):
        yield found("unused-timeout", unused.place, {"value": unused}, scope=view.title)
    if any(_closes_visits(value) for value in channels.values):
        yield found("channel-timeout", channels.place, {"value": channels}, scope=view.title)


def _closes_visits(value: str) -> bool:
    """Whether a value of ChannelTimeout, such as `*=5m`, is for the channel of a connection through a tunnel."""
    pattern, _, time = value.partition("=")
    kinds = ("forwarded-tcpip", "direct-tcpip", "forwarded-streamlocal@openssh.com")
    return bool(seconds(time)) and any(matches(pattern, kind) for kind in kinds)


def _sockets(view: View) -> Iterator[Finding]:
    setting, tcp = view["allowstreamlocalforwarding"], view["allowtcpforwarding"]
    bounds = _bounds(view)
    if view.socket_listens and view.listens and bounds:
        name, place = bounds
        values = {"bound": name, "value": setting}
        yield found("streamlocal-escape", _nearest(setting, place), values, scope=view.title)
    elif more := _more_than_ports(view):
        meant = tcp.word if tcp.word in ("no", "local", "remote") else "no"
        values = {"tcp": tcp, "value": setting, "does": ", and to ".join(more), "meant": meant}
        yield found("streamlocal-open", _nearest(setting, tcp.place), values, scope=view.title)
    elif view.socket_listens and not view.certain_keys:
        yield found("streamlocal-default", setting.place, {"value": setting}, scope=view.title)
    if setting.written and view.socket_listens and view["streamlocalbindunlink"].word != "yes":
        yield found("stale-socket", setting.place, scope=view.title)


def _more_than_ports(view: View) -> list[str]:
    """What AllowTcpForwarding refuses for ports, and sshd lets a client do with Unix sockets."""
    tcp = view["allowtcpforwarding"].word
    more = []
    if view.socket_listens and tcp not in LISTENING:
        more.append("open sockets itself (`-R /path:...`)")
    if view.socket_dials and tcp not in DIALLING:
        more.append("reach every socket that it may open, a container runtime's too (`-L PORT:/path`)")
    return more


def _bounds(view: View) -> tuple[str, Place] | None:
    """What bounds the ports that clients may listen on: PermitListen, or the first key with permitlisten=."""
    if view.listening_is_bound:
        return "PermitListen", view["permitlisten"].place
    bound = next(
        (key.line for key in view.certain_keys if key.line.listens and key.line.allows("port-forwarding")), None
    )
    return ("permitlisten=", bound.place) if bound else None


def _nearest(setting: Setting, otherwise: Place) -> Place:
    """The line of a setting, or of what makes it matter where it is not written."""
    return otherwise if setting.place.line is None else setting.place


def _refused(view: View) -> Iterator[Finding]:
    """Ports are given, and sshd's own setting refuses to forward them."""
    bounds = _bounds(view)
    tcp, disabled = view["allowtcpforwarding"], view["disableforwarding"]
    if not view.forwards:
        if bounds:
            values = {"keyword": "DisableForwarding", "value": "yes", "place": bounds[1], "meant": "no"}
            yield found("forwarding-refused", disabled.place, values, scope=view.title)
        elif tcp.written and tcp.word in ("yes", "all", "remote", "local"):
            values = {"keyword": "AllowTcpForwarding", "value": tcp, "place": tcp.place}
            yield found("forwarding-disabled", disabled.place, values, scope=view.title)
    elif bounds and tcp.word in ("no", "local"):
        meant = "remote" if tcp.word == "no" else "yes"
        values = {"keyword": "AllowTcpForwarding", "value": tcp, "place": bounds[1], "meant": meant}
        yield found("forwarding-refused", _nearest(tcp, bounds[1]), values, scope=view.title)


def _gateway_ports(view: View, server: Server) -> Iterator[Finding]:
    if not view.listens:
        return
    setting, permitted = view["gatewayports"], view["permitlisten"]
    texts = permitted.values if view.listening_is_bound else ()
    permits = [(permit(text, server.system.port_of, listens=True), text) for text in texts]
    if setting.word == "yes":
        yield found("gateway-ports", setting.place, scope=view.title)
    elif setting.word == "clientspecified":
        keys_bound = view.keys and all(key.line.listens for key in view.keys if not key.line.refused)
        if not view.listening_is_bound and not keys_bound:
            yield found("gateway-ports-open", setting.place, scope=view.title)
        for each, text in permits:
            if each and each.host == "*":
                values = {"bound": "PermitListen", "value": text, "meant": f"PermitListen {on_loopback(each)}"}
                yield found("gateway-ports-any-host", permitted.place, values, scope=view.title)
    else:
        for each, text in permits:
            if each and is_public(each):
                values = {"bound": "PermitListen"}
                yield found("gateway-ports-unheard", permitted.place, values, scope=view.title, value=text)


def on_loopback(given: Permit) -> Permit:
    """The same port of localhost."""
    return Permit("localhost", given.port)


def is_public(given: Permit) -> bool:
    """Whether a host is an address beyond loopback."""
    try:
        return not ipaddress.ip_address(given.host).is_loopback
    except ValueError:
        return False


def _beyond_listening(view: View) -> Iterator[Finding]:
    """What an account may do besides listening on its ports."""
    title, tcp = view.title, view["allowtcpforwarding"]
    if view.listens and view.listening_is_bound:
        if view.dials and view["permitopen"].word == "any":
            yield found("dial-out", _nearest(tcp, view["permitlisten"].place), {"value": tcp}, scope=title)
        sessions, forced = view["maxsessions"], view["forcecommand"]
        if sessions.word != "0" and forced.word == "none":
            values = {"value": sessions}
            yield found("shell", _nearest(sessions, view["permitlisten"].place), values, scope=title)
    if view.listens:
        asked = [name for name in view["acceptenv"].values if not _LOCALE.fullmatch(name)]
        if asked:
            yield found("accept-env", view["acceptenv"].place, {"value": ", ".join(asked)}, scope=title)
        program = view["authorizedkeyscommand"]
        if program.word != "none":
            yield found("keys-command", program.place, scope=title)
            if "authorizedkeyscommanduser" not in view.settings:
                yield found("keys-command-user", program.place, scope=title)
    if view.forwards and view["permittunnel"].word != "no":
        yield found("tun-device", view["permittunnel"].place, {"value": view["permittunnel"]}, scope=title)


def of_no_account(made: Sequence[View]) -> Iterator[Finding]:
    """A host on which nobody can open a tunnel: none of its views listens."""
    view = made[0]
    disabled, tcp, listen = view["disableforwarding"], view["allowtcpforwarding"], view["permitlisten"]
    if not view.forwards:
        values = {"keyword": "DisableForwarding", "value": disabled, "meant": "no"}
        yield found("no-tunnels", disabled.place, values)
    elif tcp.word in ("no", "local"):
        yield found("no-tunnels", tcp.place, {"keyword": "AllowTcpForwarding", "value": tcp, "meant": "remote"})
    else:
        values = {"keyword": "PermitListen", "value": listen, "meant": "localhost:PORT"}
        yield found("no-tunnels", listen.place, values, severity=Severity.NOTE)
