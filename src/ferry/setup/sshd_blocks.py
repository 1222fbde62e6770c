"""Translates the keywords about forwarding, and the Match lines above them, into `[sshd]` and `[[sshd.match]]`."""

from __future__ import annotations

import grp
import itertools
import pwd
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from pydantic import ValidationError

from ferry.config.sshd import SshdMatch, keys_needed
from ferry.errors import InvalidInput
from ferry.protocol.host_patterns import parse_host_list
from ferry.protocol.key_algorithms import parse_algorithms
from ferry.protocol.permits import Permit
from ferry.protocol.sshd_config import Block, Parsed, Statement, count, permit, seconds
from ferry.this_host import THIS_HOST

from .values import literal

Value = str | int | float | bool | list[str]

_DIRECTIONS: Final = ("yes", "all", "no", "local", "remote")


def _word(*words: str) -> Callable[[Sequence[str]], Value | None]:
    def read(values: Sequence[str]) -> Value | None:
        return values[0].lower() if values[0].lower() in words else None

    return read


def _number(values: Sequence[str]) -> Value | None:
    return count(values[0])


def _truth(values: Sequence[str]) -> Value | None:
    return {"yes": True, "no": False}.get(values[0].lower())


def _time(values: Sequence[str]) -> Value | None:
    time = seconds(values[0])
    return None if time is None else float(time)


def _intervals(values: Sequence[str]) -> Value | None:
    return count(values[0]) or None


def _methods(values: Sequence[str]) -> Value | None:
    """Ferry has public keys alone."""
    try:
        keys_needed(list(values))
    except InvalidInput:
        return None
    return list(values)


def _algorithms(values: Sequence[str]) -> Value | None:
    words = [word for value in values for word in value.split(",") if word]
    try:
        parse_algorithms(words)
    except InvalidInput:
        return None
    return words


def _permits(values: Sequence[str], *, listens: bool) -> Value | None:
    if values in (("any",), ("none",)):
        return list(values)
    good = all(permit(text, THIS_HOST.port_of, listens=listens) is not None for text in values)
    return list(values) if good else None


CARRIED: Final[Mapping[str, tuple[str, Callable[[Sequence[str]], Value | None]]]] = MappingProxyType(
    {
        "allowtcpforwarding": ("allow_tcp_forwarding", _word(*_DIRECTIONS)),
        "gatewayports": ("gateway_ports", _word("no", "yes", "clientspecified")),
        "permitlisten": ("permit_listen", lambda values: _permits(values, listens=True)),
        "permitopen": ("permit_open", lambda values: _permits(values, listens=False)),
        "disableforwarding": ("disable_forwarding", _truth),
        "maxsessions": ("max_sessions", _number),
        "allowstreamlocalforwarding": ("allow_streamlocal_forwarding", _word(*_DIRECTIONS)),
        "streamlocalbindunlink": ("streamlocal_bind_unlink", _truth),
        "authenticationmethods": ("authentication_methods", _methods),
        "pubkeyacceptedalgorithms": ("pubkey_accepted_algorithms", _algorithms),
    }
)
"""The key in `[sshd]` for each keyword, and the reader of its value: None for one that sshd does not take."""


BELOW_MATCH: Final[Mapping[str, tuple[str, Callable[[Sequence[str]], Value | None]]]] = MappingProxyType(
    {
        **CARRIED,
        "clientaliveinterval": ("client_alive_interval", _time),
        "clientalivecountmax": ("client_alive_count_max", _intervals),
    }
)
"""The same for `[[sshd.match]]`. For all, `[ssh]` has the last two."""


def value_of(keyword: str, values: Sequence[str]) -> Value | None:
    """The value of a keyword in `CARRIED`, as Ferry writes it. None if sshd does not take it."""
    return CARRIED[keyword][1](tuple(values))


@dataclass(slots=True)
class Translated:
    """One `[[sshd.match]]`."""

    blocks: tuple[Block, ...]
    settings: dict[str, Value] = field(default_factory=dict)
    left: list[Statement] = field(default_factory=list)
    """What stands below the Match lines, and has no such setting."""

    @property
    def criteria(self) -> frozenset[str]:
        """The names of the criteria in the Match lines; none of `Match all`."""
        return frozenset(name for block in self.blocks for name, _ in block.criteria if name != "all")


def blocks_of(parsed: Parsed) -> Iterator[Translated]:
    """Each run of statements below the same Match lines, in the order of the file: the first value of a keyword counts."""
    below = [each for each in parsed.statements if each.blocks]
    for blocks, run in itertools.groupby(below, lambda each: each.blocks):
        made = Translated(blocks)
        for statement in run:
            name, read = BELOW_MATCH.get(statement.keyword, ("", None))
            value = read(statement.values) if read else None
            if value is None:
                made.left.append(statement)
            else:
                made.settings.setdefault(name, value)
        yield made


def ports_of(blocks: Iterable[Translated]) -> Iterator[tuple[Permit, str]]:
    """The permits of PermitListen below Match, each with the GatewayPorts of its own block."""
    for made in blocks:
        texts, gateway = made.settings.get("permit_listen"), made.settings.get("gateway_ports", "")
        for text in texts if isinstance(texts, list) else ():
            if (given := permit(text, THIS_HOST.port_of, listens=True)) is not None:
                yield given, str(gateway)


class NoMatch(Exception):
    """Why a Match line has no counterpart, and what to write."""


def restrictions(made: Translated) -> list[str]:
    """What the statements below Match lines forbid, as Ferry writes it."""
    forbidding = {
        "allow_tcp_forwarding": ("no", "local", "remote"),
        "gateway_ports": ("no",),
        "disable_forwarding": (True,),
    }
    given = made.settings.items()
    found = [(name, value) for name, value in given if name in ("permit_listen", "permit_open") and value != ["any"]]
    found += [(name, value) for name, value in given if value in forbidding.get(name, ())]
    found += [each for each in given if each[0] in ("authentication_methods", "pubkey_accepted_algorithms")]
    return [f"{name} = {literal(value)}" for name, value in found]


def match_of(made: Translated, *, uses_dns: bool) -> SshdMatch:
    """The `[[sshd.match]]`. Raises NoMatch."""
    criteria: dict[str, list[str] | list[int]] = {}
    for name, pattern in itertools.chain.from_iterable(block.criteria for block in made.blocks):
        if name == "all":
            continue
        key, values = _criterion(name, pattern, uses_dns=uses_dns)
        if key in criteria:
            raise NoMatch("two criteria about the same: write one [[sshd.match]] by hand")
        criteria[key] = values
    try:
        return SshdMatch.model_validate((criteria or {"user": ["*"]}) | made.settings)
    except ValidationError as error:
        raise NoMatch(f"Ferry does not take it ({error.errors()[0]['msg'].removeprefix('Value error, ')})") from None


def _criterion(name: str, pattern: str, *, uses_dns: bool) -> tuple[str, list[str] | list[int]]:
    """A criterion of `[[sshd.match]]` with its values. Raises NoMatch."""
    patterns = pattern.split(",")
    match name:
        case "user":
            return "user", patterns
        case "group":
            return "user", _members(patterns)
        case "address":
            return "address", patterns
        case "host" if not uses_dns and _is_address_list(pattern):
            return "address", patterns
        case "localaddress":
            return "local_address", patterns
        case "localport" if (port := count(pattern)) is not None and 0 < port <= 65535:
            return "local_port", [port]
        case "localport":
            raise NoMatch("sshd takes one port from 1 to 65535 here, and does not start: write one Match for each")
        case _:
            instead = "" if name != "host" else ': write address = ["192.0.2.0/24"] with their networks'
            raise NoMatch(f"Ferry has no such criterion: {name}{instead}")


def _is_address_list(pattern: str) -> bool:
    try:
        return not parse_host_list(pattern).names
    except InvalidInput:
        return False


def _members(patterns: Sequence[str]) -> list[str]:
    """The login names in groups. Raises NoMatch."""
    found: dict[str, None] = {}
    for name in patterns:
        try:
            group = grp.getgrnam(name)
        except (KeyError, ValueError):
            raise NoMatch(f"Ferry knows no groups, and this host has no group {name}: write user = [...]") from None
        found |= dict.fromkeys(group.gr_mem)
        found |= dict.fromkeys(each.pw_name for each in pwd.getpwall() if each.pw_gid == group.gr_gid)
    if not found:
        raise NoMatch("nobody is in these groups: write user = [...]")
    return list(found)
