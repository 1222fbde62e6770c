"""The rules about lines: those at which sshd does not start, and those that it never looks at."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final

from ferry.protocol.sshd_config import Block, Parsed, Place, Statement, count, permit, seconds
from ferry.protocol.sshd_keywords import ADDED_UP, BELOW_MATCH, SINCE, SPELLED

from .config_rules import Server
from .findings import Finding, found

_FORWARDING: Final = ("yes", "all", "no", "local", "remote")
_FLAG: Final = ("yes", "no")
_WORDS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "allowagentforwarding": _FLAG,
        "allowstreamlocalforwarding": _FORWARDING,
        "allowtcpforwarding": _FORWARDING,
        "disableforwarding": _FLAG,
        "gatewayports": ("yes", "no", "clientspecified"),
        "permittunnel": ("yes", "no", "point-to-point", "ethernet"),
        "streamlocalbindunlink": _FLAG,
        "strictmodes": _FLAG,
        "tcpkeepalive": _FLAG,
        "usedns": _FLAG,
    }
)
_TIMES: Final = frozenset({"clientaliveinterval", "logingracetime", "unusedconnectiontimeout"})
_COUNTS: Final = frozenset({"clientalivecountmax", "maxauthtries", "maxsessions"})
_PERMITS: Final = frozenset({"permitlisten", "permitopen"})


def of_lines(parsed: Parsed, server: Server) -> Iterator[Finding]:
    """All of them, in the order of the lines."""
    if parsed.is_effective:  # sshd has read the lines already
        return
    for mistake in parsed.mistakes:
        yield found("unreadable", mistake.place, {"why": mistake.why, "fix": mistake.fix})
    first: dict[tuple[str, tuple[Block, ...]], Statement] = {}
    for each in parsed.statements:
        if each.keyword not in SPELLED:
            yield _unknown(each)
            continue
        yield from _misplaced(each, server)
        yield from _values(each, server)
        earlier = first.setdefault((each.keyword, each.blocks), each)
        if earlier.values != each.values and each.keyword not in ADDED_UP:
            yield _unheard(each, earlier)


def _unknown(line: Statement) -> Finding:
    near = difflib.get_close_matches(line.keyword, SPELLED, 1, 0.8)
    if near:
        values = {"keyword": line.written, "meant": f"{SPELLED[near[0]]} {' '.join(line.values)}"}
        return found("unknown-keyword", line.place, values)
    return found("other-keyword", line.place, {"keyword": line.written})


def _misplaced(line: Statement, server: Server) -> Iterator[Finding]:
    if line.blocks and line.keyword not in BELOW_MATCH:
        yield found("not-below-match", line.place, {"keyword": line.written, "place": line.blocks[-1].place})
    since = SINCE.get(line.keyword, (0, 0))
    if server.version is not None and server.version < since:
        versions = {"since": ".".join(map(str, since)), "version": ".".join(map(str, server.version))}
        yield found("newer-keyword", line.place, {"keyword": line.written} | versions)


def _unheard(line: Statement, earlier: Statement) -> Finding:
    if line.keyword in _PERMITS:
        together = " ".join(dict.fromkeys((*earlier.values, *line.values)))
        fix = f"{line.written} {together}\n(in {earlier.place}, and delete this line)"
        return _first_counts(line, earlier.place, " Several values stand on one line.", fix)
    elsewhere = earlier.place.file != line.place.file
    more = " Files that Include names come first." if elsewhere else ""
    return _first_counts(line, earlier.place, more, f"delete this line, or {earlier.place}")


def _first_counts(line: Statement, place: Place, more: str, fix: str) -> Finding:
    return found("first-counts", line.place, {"keyword": line.written, "place": place, "more": more, "fix": fix})


def _values(line: Statement, server: Server) -> Iterator[Finding]:
    word = line.values[0].lower()
    meant = ""
    if line.keyword in _WORDS and word not in _WORDS[line.keyword]:
        meant = ", ".join(_WORDS[line.keyword][:-1]) + f" or {_WORDS[line.keyword][-1]}"
    elif line.keyword in _TIMES and seconds(word) is None and word != "none":
        meant = "15 (seconds), 5m or 1h"
    elif line.keyword in _COUNTS and count(word) is None:
        meant = "3"
    if meant:
        yield found("bad-value", line.place, {"keyword": line.written, "value": line.values[0], "meant": meant})
    if line.keyword in _PERMITS and word not in ("any", "none"):
        yield from _bad_permits(line, server)


def _bad_permits(line: Statement, server: Server) -> Iterator[Finding]:
    listens = line.keyword == "permitlisten"
    for value in line.values:
        if permit(value, server.system.port_of, listens=listens) is None:
            anything = value.lower() in ("any", "none", "any:any")
            why = "it is no HOST:PORT with a port from 1 to 65535"
            if anything:
                why = "any and none stand alone, without a port"
            meant = "any" if anything else "localhost:PORT" if listens else "HOST:PORT"
            yield found("bad-permit", line.place, {"keyword": line.written, "value": value, "why": why, "meant": meant})


def of_blocks(parsed: Parsed, *, resolves: bool) -> Iterator[Finding]:
    """Match lines that never hold, as sshd resolves no names (UseDNS)."""
    if resolves:
        return
    for block in parsed.blocks:
        for patterns in block.values("host"):
            for pattern in patterns.split(","):
                if is_name(pattern):
                    values = {"pattern": pattern, "meant": "Match Address NETWORK, or UseDNS yes at the top"}
                    yield found("name-without-dns", block.place, values)


def is_name(pattern: str) -> bool:
    """Whether a pattern of hosts can match names alone: it has letters, and is no IPv6 address."""
    return ":" not in pattern and any(char.isalpha() for char in pattern)
