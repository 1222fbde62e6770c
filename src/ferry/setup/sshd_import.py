"""Translates an sshd_config into Ferry's settings, as far as Ferry has them; of the rest it says why it stays behind."""

from __future__ import annotations

import difflib
import ipaddress
import itertools
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Final

from ferry.config.model import TcpRange
from ferry.config.rules import overlap
from ferry.config.words import FIELDS
from ferry.errors import InvalidInput
from ferry.limiters.sources import LOOPBACK, parse_network
from ferry.lint.views import Setting, View, views
from ferry.names import Endpoint
from ferry.protocol.forward_spec import LOCAL
from ferry.protocol.permits import Permit
from ferry.protocol.sshd_config import Parsed, Place, count, permit, seconds
from ferry.protocol.sshd_keywords import SPELLED
from ferry.this_host import THIS_HOST

from .sshd_blocks import (
    CARRIED,
    NoMatch,
    Translated,
    blocks_of,
    match_of,
    ports_of,
    restrictions,
    value_of,
)
from .sshd_entry import Lost, allows_more
from .sshd_left import CHOSEN, MEMBERS, NOT_FOR_SOME, NOT_TAKEN, WHY, WHY_NOT, ZERO
from .sshd_toml import Carried

_ANY_PORT: Final = (
    "sshd lets each key listen on any port from 1024 on. Ferry has tcp.ranges: write there the ports in use, which "
    "`ss -ltn` shows on the host of sshd"
)
_REACH: Final = (
    "sshd lets each key reach any host that it does not forbid. With Ferry a key reaches its own tunnels, and what "
    "permitopen= in its line or a rule of access.policy names"
)
_DOMAIN: Final = (
    "sshd has no such setting. Write the name by which clients reach this host, such as domain = "
    '"bastion.example.com", above all tables: `ferry keys add` prints it into their commands'
)
_NOT_PRINTED: Final = (
    "`sshd -T` prints what counts for everybody, and no Match block: import the sshd_config itself to take them along"
)
_LEVELS: Final[Mapping[str, str]] = MappingProxyType(
    {"quiet": "error", "fatal": "error", "error": "error", "info": "info", "verbose": "info"}
)
_HANDLED: Final = frozenset(
    {
        "addressfamily", "authorizedkeysfile", "clientalivecountmax", "clientaliveinterval", "gatewayports",
        "authorizedprincipalsfile", "listenaddress", "logingracetime", "loglevel", "maxauthtries", "maxstartups",
        "revokedkeys", "strictmodes", "trustedusercakeys",
        "persourcemaxstartups", "persourcepenalties", "persourcepenaltyexemptlist", "port", "usedns",
        *CARRIED,
    }
)  # fmt: skip
_FAMILIES: Final[Mapping[str, list[str]]] = MappingProxyType({"inet": ["0.0.0.0"], "inet6": ["::"]})
_WIDEST: Final[Mapping[str, int]] = MappingProxyType({"::": 0, "0.0.0.0": 1})
_TOKEN: Final = re.compile("(?<!%)(?:%%)*%[hU]")  # of a home or a number, which Ferry does not know


@dataclass(frozen=True, slots=True)
class Left:
    """A setting that does not carry over, or not as it is."""

    place: Place
    keyword: str
    why: str


@dataclass(slots=True)
class Translation:
    """What carries over, and what does not."""

    name: str
    """The file that was translated."""
    key_files: Sequence[str]
    """The values of AuthorizedKeysFile for everybody."""
    has_cas: bool
    """TrustedUserCAKeys names a file for everybody."""
    carried: list[Carried] = field(default_factory=list)
    left: list[Left] = field(default_factory=list)

    def carry(self, key: str, value: object, keyword: str, setting: Setting | None) -> None:
        written = f"{SPELLED[keyword]}, {self.where(setting.place)}" if setting else keyword
        self.carried.append(Carried(key, value, written))

    def leave(self, setting: Setting, keyword: str, why: str) -> None:
        self.left.append(Left(setting.place, SPELLED[keyword], why))

    def allows_more(self, keyword: str, values: Sequence[str], criteria: Collection[str] = ()) -> str:
        """As `sshd_entry.allows_more`, of a setting below Match lines with these criteria."""
        return allows_more(Lost(keyword, values, criteria, self.key_files, self.has_cas))

    def where(self, place: Place) -> str:
        """`line 12`, or with the file where it is an included one."""
        return f"line {place.line}" if place.file == self.name else str(place)


def translate(parsed: Parsed) -> Translation:
    """Ferry's settings for an sshd_config."""
    view = views(parsed, None)[0]
    cas = view.settings.get("trustedusercakeys")
    has_cas = cas is not None and cas.word != "none"
    made = Translation(parsed.name, view["authorizedkeysfile"].values, has_cas)
    for step in (_listen, _keepalive, _grace, _tries, _startups, _penalties, _keys, _log):
        step(view, made)
    top = views(replace(parsed, statements=[each for each in parsed.statements if not each.blocks]), None)[0]
    below = list(blocks_of(parsed))
    _forwarding(top, made)
    _ports(top, below, made)
    _match(view, below, made)
    _sockets(below, made)
    made.left.append(Left(Place(made.name), "domain", _DOMAIN))
    for keyword in dict.fromkeys(each.keyword for each in parsed.statements if not each.blocks):
        setting = view[keyword]
        if keyword not in _HANDLED and setting.written:
            why = _why(keyword, "Ferry has no such setting")
            made.left.append(
                Left(setting.place, _spelled(keyword), f"{why}{made.allows_more(keyword, setting.values)}")
            )
    if not parsed.is_effective:
        made.left += [Left(each.place, "this line", f"{each.why}: write {each.fix}") for each in parsed.mistakes]
    else:
        made.left.append(Left(Place(parsed.name), "Match blocks", _NOT_PRINTED))
    _wider(top, made)
    made.carried.sort(key=lambda each: list(FIELDS).index(each.key))
    return made


def _why(keyword: str, otherwise: str) -> str:
    """Why a keyword stays behind."""
    if keyword in SPELLED:
        return WHY.get(keyword, otherwise)
    near = difflib.get_close_matches(keyword, SPELLED, 1, 0.8)
    return f"sshd does not know it, and does not start{f': did you mean {SPELLED[near[0]]}?' if near else ''}"


def _wider(top: View, made: Translation) -> None:
    """What sshd allows as long as nothing is written, and Ferry does not."""
    if top["disableforwarding"].word == "yes":
        return
    directions = top["allowtcpforwarding"].word
    if directions not in ("no", "local") and not top["permitlisten"].written:
        made.left.append(Left(Place(made.name), "PermitListen, which is not set", _ANY_PORT))
    if directions not in ("no", "remote") and top["permitopen"].word != "none":
        written = top["permitopen"] if top["permitopen"].written else None
        what = "PermitOpen" if written else "PermitOpen, which is not set"
        made.left.append(Left(written.place if written else Place(made.name), what, _REACH))


def _spelled(keyword: str) -> str:
    return SPELLED.get(keyword, keyword)


def _listen(view: View, made: Translation) -> None:
    settings = view.settings
    port, address = settings.get("port"), settings.get("listenaddress")
    ports = [number for text in (port.values if port else ("22",)) if (number := _port(text))]
    origin = address or port
    if address:
        endpoints = list(_addresses(address, ports, made))
    else:
        endpoints = [
            Endpoint(host, each) for each in ports for host in _FAMILIES.get(view["addressfamily"].word, ["::"])
        ]
    if endpoints:
        keyword = "listenaddress" if address else "port" if port else "Port 22, sshd's default"
        made.carry("ssh.listen", _distinct(endpoints), keyword, origin)
        if origin:
            made.leave(origin, keyword, "it carries over; stop sshd first, or move it to another port")


def _addresses(setting: Setting, ports: Sequence[int], made: Translation) -> Iterator[Endpoint]:
    values = iter(setting.values)
    for text in values:
        if text == "rdomain":
            made.leave(
                setting, "listenaddress", f"rdomain {next(values, '')} stays behind: Ferry has no routing domains"
            )
            continue
        bare = text if text.count(":") > 1 and "[" not in text else None
        match = re.fullmatch(r"(?:\[([^]]+)\]|([^:]*))(?::([0-9]+))?", text)
        host = bare or (match and (match[1] or match[2])) or ""
        if host in ("", "*"):
            host = "::"
        try:
            numeric = str(ipaddress.ip_address(host))
        except ValueError:
            made.leave(setting, "listenaddress", f"'{text}' is a name: write its numeric address in ssh.listen")
            continue
        own = match[3] if match else None
        yield from (Endpoint(numeric, port) for port in ([_port(own)] if own else ports) if port)


def _port(text: str) -> int | None:
    number = count(text)
    return number if number is not None and 0 < number <= 65535 else None


def _distinct(endpoints: Iterable[Endpoint]) -> list[Endpoint]:
    """Those that do not stand in each other's way: `::` is every address in Ferry, IPv4 too."""
    kept: list[Endpoint] = []
    for each in sorted(dict.fromkeys(endpoints), key=lambda one: _WIDEST.get(one.host, len(_WIDEST))):
        if not any(overlap(each, other) for other in kept):
            kept.append(each)
    return kept


def _keepalive(view: View, made: Translation) -> None:
    interval, most = view["clientaliveinterval"], view["clientalivecountmax"]
    if interval.written and (time := seconds(interval.word)) is not None:
        made.carry("ssh.keepalive_interval", float(time), "clientaliveinterval", interval)
        if not time:
            made.leave(
                interval, "clientaliveinterval", "0 carries over: a client that vanishes keeps its names for hours"
            )
    if most.written and (missed := count(most.word)) is not None:
        if missed:
            made.carry("ssh.keepalive_count", missed, "clientalivecountmax", most)
        else:
            made.leave(most, "clientalivecountmax", ZERO)


def _grace(view: View, made: Translation) -> None:
    setting = view["logingracetime"]
    if setting.written:
        if time := seconds(setting.word):
            made.carry("ssh.login_grace", float(time), "logingracetime", setting)
        else:
            made.leave(setting, "logingracetime", "Ferry always bounds a log-in: write ssh.login_grace")


def _tries(view: View, made: Translation) -> None:
    setting = view["maxauthtries"]
    if setting.written and (tries := count(setting.word)):
        made.carry("ssh.auth_tries", tries, "maxauthtries", setting)


def _startups(view: View, made: Translation) -> None:
    setting, source = view["maxstartups"], view["persourcemaxstartups"]
    match = re.fullmatch(r"([1-9][0-9]*)(?::([0-9]+):([1-9][0-9]*))?", setting.word)
    if setting.written and match and (most := count(match[3] or match[1])):
        made.carry("ssh.handshakes", most, "maxstartups", setting)
        if match[3]:
            why = "its largest number carries over; Ferry drops nobody at random, a newcomer displaces who is slowest"
            made.leave(setting, "maxstartups", why)
    if of_source := count(source.word):
        made.carry("ssh.handshakes_per_network", of_source, "persourcemaxstartups", source)
        made.leave(source, "persourcemaxstartups", "it carries over, but counts by IPv4 /24 and IPv6 /64")


def _penalties(view: View, made: Translation) -> None:
    setting, exempt = view["persourcepenalties"], view["persourcepenaltyexemptlist"]
    if setting.word == "no":
        made.carry("ssh.penalties", False, "persourcepenalties", setting)
    elif setting.written:
        made.leave(setting, "persourcepenalties", "Ferry's own times count: 15 s to 10 min, for failed log-ins")
    if exempt.word != "none":
        known = [text for text in str(exempt).split(",") if _is_network(text)]
        if known:
            made.carry("limits.exempt", [*LOOPBACK, *known], "persourcepenaltyexemptlist", exempt)
        if len(known) < str(exempt).count(",") + 1:
            made.leave(exempt, "persourcepenaltyexemptlist", "names, wildcards and ! do not: write networks")


def _is_network(text: str) -> bool:
    try:
        parse_network(text)
    except InvalidInput:
        return False
    return True


def _keys(view: View, made: Translation) -> None:
    setting = view["authorizedkeysfile"]
    of_accounts = [pattern for pattern in setting.values if pattern != "none" and _key_path(pattern) is None]
    paths = [path for pattern in setting.values if (path := _key_path(pattern))]
    if of_accounts:
        example = of_accounts[0].removeprefix("%h/")
        why = f"files of each account ({', '.join(of_accounts)}): name them in access.keys, as in /home/%u/{example}"
        made.leave(setting, "authorizedkeysfile", why)
    given = paths or [Path("/etc/ferry/keys")]
    made.carry("access.mode", "keys", "Ferry lets in keys alone", None)
    named = setting if paths else None
    made.carry("access.keys", given, "authorizedkeysfile" if paths else "put public keys there", named)
    if paths:
        why = "the files carry over; `ferry check-config` names the lines that Ferry does not take"
        made.leave(setting, "authorizedkeysfile", why)
    _certificates(view, made)
    names = view["usedns"]
    if names.word == "yes":
        made.carry("access.use_dns", True, "usedns", names)


def _certificates(view: View, made: Translation) -> None:
    """The files of CAs, of principals and of revoked keys, which Ferry reads as sshd does."""
    of_cas = _carried_file(view, made, "trustedusercakeys", "access.trusted_ca_keys", several=True)
    principals = view.settings.get("authorizedprincipalsfile")
    if of_cas:
        _carried_file(view, made, "authorizedprincipalsfile", "access.authorized_principals")
    elif principals is not None and principals.word != "none":
        made.leave(principals, "authorizedprincipalsfile", "it is for the CAs of TrustedUserCAKeys, and there is none")
    _carried_file(view, made, "revokedkeys", "access.revoked_keys")


def _carried_file(view: View, made: Translation, keyword: str, key: str, *, several: bool = False) -> bool:
    """Carry the file that a setting names. Whether there is one."""
    setting = view.settings.get(keyword)
    if setting is None or setting.word == "none":
        return False
    path = _key_path(str(setting))
    if path is None or (several and "%" in str(setting)):
        more = made.allows_more(keyword, setting.values, {"user"})
        made.leave(setting, keyword, f"its path depends on the account: write {key}, with %u where it takes one{more}")
        return False
    made.carry(key, [path] if several else path, keyword, setting)
    return True


def _key_path(pattern: str) -> Path | None:
    """The file, or the file for each account, as Ferry writes it too; None for `none` or a path in a home."""
    return Path(pattern) if pattern.startswith("/") and not _TOKEN.search(pattern) else None


def _forwarding(view: View, made: Translation) -> None:
    """The keywords that Ferry has by the same name."""
    if (strict := view["strictmodes"]).word == "no":
        made.carry("sshd.strict_modes", False, "strictmodes", strict)
    for keyword, (name, _) in CARRIED.items():
        setting = view[keyword] if keyword in view.settings else None
        if setting is None or not setting.written:
            continue
        value = value_of(keyword, setting.values)
        if value is None:
            why = WHY_NOT.get(keyword, NOT_TAKEN)
            made.leave(setting, keyword, f"{why}{made.allows_more(keyword, setting.values)}")
        else:
            made.carry(f"sshd.{name}", value, keyword, setting)


def _sockets(below: Sequence[Translated], made: Translation) -> None:
    """The folder of Unix sockets, which sshd has not."""
    name = "allow_streamlocal_forwarding"
    given = [each.value for each in made.carried if each.key == f"sshd.{name}"]
    given += [each.settings[name] for each in below if name in each.settings]
    if any(value != "no" for value in given):
        made.carry("sshd.streamlocal_folder", Path("/run/ferry/sockets"), "each identity has a folder there", None)


def _match(view: View, below: Sequence[Translated], made: Translation) -> None:
    """The Match lines, with what Ferry has below them."""
    uses_dns = view["usedns"].word == "yes"
    told: set[Place] = set()
    for each in below:
        written, place = each.blocks[-1].written, each.blocks[-1].place
        for statement in each.left:
            why = WHY_NOT.get(statement.keyword)
            if why is None:
                why = NOT_TAKEN if statement.keyword in CARRIED else _why(statement.keyword, NOT_FOR_SOME)
            why += made.allows_more(statement.keyword, statement.values, each.criteria)
            made.left.append(Left(statement.place, f"{_spelled(statement.keyword)} below {written}", why))
        if not each.settings:
            continue
        try:
            match = match_of(each, uses_dns=uses_dns)
        except NoMatch as error:
            lost = restrictions(each)
            allows = f". So these people may do more than with sshd: {' and '.join(lost)} does not hold" if lost else ""
            made.left.append(Left(place, written, f"{error}{allows}"))
            continue
        made.carried.append(Carried("sshd.match", match, f"{written}, {made.where(place)}"))
        if place in told:
            continue
        told.add(place)
        if "group" in each.criteria:
            made.left.append(Left(place, written, MEMBERS))
        if each.criteria & {"user", "group"}:
            made.left.append(Left(place, written, CHOSEN))


def _ports(view: View, below: Sequence[Translated], made: Translation) -> None:
    """The ranges of ports: those that PermitListen names."""
    gateway, setting, family = view["gatewayports"], view["permitlisten"], view["addressfamily"]
    given = [(each, gateway.word) for text in setting.values if (each := permit(text, THIS_HOST.port_of, listens=True))]
    given += [(each, own or gateway.word) for each, own in ports_of(below)]
    numbers = {each.port for each, _ in given if each.port}
    public = {each.port for each, word in given if each.port and _is_public(each, word)}
    opening = ("yes", "clientspecified")
    block = next((each for each in below if each.settings.get("gateway_ports") in opening), None)
    if gateway.word in opening or block is not None:
        addresses = _FAMILIES.get(family.word, ["0.0.0.0", "::"])
        if gateway.word in opening:
            made.carry("tcp.public_addresses", addresses, "gatewayports", gateway if gateway.written else None)
        elif block is not None:
            where = f"GatewayPorts below {block.blocks[-1].written}, {made.where(block.blocks[-1].place)}"
            made.carried.append(Carried("tcp.public_addresses", addresses, where))
    if numbers:
        ranges = [TcpRange(first=first, last=last, listen="loopback") for first, last in _spans(numbers - public)]
        ranges += [TcpRange(first=first, last=last, listen="public") for first, last in _spans(public)]
        named = setting if setting.written else None
        made.carry("tcp.ranges", ranges, "permitlisten" if named else "PermitListen below Match", named)
        made.carry("tcp.allocate_from", 0, "`-R 0:...` gets a port of the first range", None)
    elif setting.word not in ("any", "none"):
        made.leave(setting, "permitlisten", "it has no port that is a number: write tcp.ranges for its ports")
    if numbers and any(not each.port for each, _ in given):
        made.leave(
            setting, "permitlisten", "it has hosts with any port (*), too: write tcp.ranges for the ports in use"
        )


def _is_public(given: Permit, gateway_ports: str) -> bool:
    """Whether sshd may open a port beyond loopback."""
    if gateway_ports == "clientspecified":
        return given.host not in LOCAL
    return gateway_ports == "yes"


def _spans(numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Ports that follow each other, as first and last."""
    for _, group in itertools.groupby(enumerate(sorted(numbers)), lambda pair: pair[1] - pair[0]):
        span = [number for _, number in group]
        yield span[0], span[-1]


def _log(view: View, made: Translation) -> None:
    setting = view["loglevel"]
    if setting.written:
        made.carry("log.level", _LEVELS.get(setting.word, "debug"), "loglevel", setting)
