"""The values in a policy file: who, targets, networks and times. Each reader raises InvalidInput with what to write."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from ipaddress import ip_network
from typing import Final

from ferry import limits
from ferry.errors import InvalidInput
from ferry.hostnames import first_label, normal
from ferry.names import Fingerprint, printable
from ferry.policy.aims import What
from ferry.policy.rules import ANY_PORT, OWN_NAME, Members, Permit
from ferry.protocol.host_patterns import HostList, parse_host_list

PortRanges = Mapping[str, Sequence[tuple[int, int]]]
"""The names of the gateway's ranges of ports, each with first and last ports."""

ANONYMOUS: Final = "anonymous"
TAG: Final = "tag:"
_FINGERPRINT: Final = re.compile(r"SHA256:[A-Za-z0-9+/]{43}")
_HOLDER: Final = re.compile(rf"{_FINGERPRINT.pattern}:(?P<key_id>[ -~]+)")
_LABEL_PATTERN: Final = re.compile(r"[a-z0-9*?-]+")
_SOCKET_PATTERN: Final = re.compile(r"[A-Za-z0-9_*?][A-Za-z0-9._*?-]*")
_HOST_PATTERN: Final = re.compile(r"[a-z0-9.*?_-]+")
_SPAN: Final = re.compile(r"(?P<first>[0-9]{1,5})(?:-(?P<last>[0-9]{1,5}))?")
_TIME: Final = "2027-01-31T18:00:00Z"


@dataclass(frozen=True, slots=True)
class Member:
    """One entry of `who`, or of a tag."""

    name: str = ""
    fingerprint: Fingerprint | None = None
    holder: str = ""
    keyed: bool = False
    anonymous: bool = False
    tag: str = ""


def parse_member(text: str, tags: Sequence[str]) -> Member:
    """One entry of `who`. `tags` are those of the file."""
    if text == "*":
        return Member(keyed=True)
    if text == ANONYMOUS:
        return Member(anonymous=True)
    if text.startswith(TAG):
        name = text.removeprefix(TAG)
        if name not in tags:
            near = difflib.get_close_matches(name, tags, 1)
            fix = f"did you mean {TAG}{near[0]}?" if near else f'write {printable(name, 40)} = ["web-1"] below [tags]'
            raise InvalidInput(f"there is no tag {printable(name, 60)!r}: {fix}")
        return Member(tag=name)
    if _HOLDER.fullmatch(text) and len(text) <= limits.POLICY_PATTERN_CHARS:
        return Member(holder=text)
    if text.upper().startswith(("SHA256:", "MD5:")):
        return Member(fingerprint=parse_fingerprint(text))
    name = text.lower()
    if len(name) > limits.POLICY_PATTERN_CHARS or not _LABEL_PATTERN.fullmatch(name):
        if text in tags or text.startswith("@"):
            raise InvalidInput(f'{printable(text, 60)!r} is a tag: write "{TAG}{printable(text.lstrip("@"), 60)}"')
        raise InvalidInput(
            f'{printable(text, 60)!r} is nobody: write a name ("web-1", "web-*"), a key ("SHA256:..."), a certificate '
            f'("SHA256:CA:KEY_ID"), "{TAG}NAME", "*" for everybody with a key, or "{ANONYMOUS}"'
        )
    return Member(name=name)


def parse_fingerprint(text: str) -> Fingerprint:
    """A key's fingerprint."""
    bare = text.rstrip("=")
    if not _FINGERPRINT.fullmatch(bare):
        raise InvalidInput(
            f"{printable(text, 60)!r} is no fingerprint of a key: write SHA256:... as `ssh-keygen -lf KEY.pub` prints it"
        )
    return Fingerprint(bare)


def members_of(found: Sequence[Member]) -> Members:
    """The set of several entries."""
    return Members(
        names=tuple(dict.fromkeys(each.name for each in found if each.name)),
        fingerprints=frozenset(each.fingerprint for each in found if each.fingerprint is not None),
        holders=tuple(dict.fromkeys(each.holder for each in found if each.holder)),
        keyed=any(each.keyed for each in found),
        anonymous=any(each.anonymous for each in found),
        tags=tuple(dict.fromkeys(each.tag for each in found if each.tag)),
    )


def parse_permits(what: What, text: str, ranges: PortRanges) -> list[Permit]:
    """One entry of `publish` or `reach`, below the key `what`."""
    match what:
        case What.PORT:
            return _ports(text, ranges)
        case What.NAME:
            return [_web_name(text)]
        case What.ALIAS:
            host, first, last = _pointed(text, "web-1:22", "web-*:22")
            return [Permit(_pattern(host, "alias"), first, last, text=text)]
        case What.SOCKET:
            return [_socket(text)]
        case What.HOST:
            return [_host(text)]


def _ports(text: str, ranges: PortRanges) -> list[Permit]:
    if text == "*":
        return [Permit(text=text)]
    if text in ranges:
        return [Permit("*", first, last, text=text) for first, last in ranges[text]]
    if not text[:1].isdigit():
        known = f" ({', '.join(ranges)})" if ranges else ""
        raise InvalidInput(
            f'{printable(text, 60)!r} is no port: write "21023", "21000-21999", "*", or the name of a range{known}'
        )
    first, last = _span(text)
    return [Permit("*", first, last, text=text)]


def _span(text: str) -> tuple[int, int]:
    """The first and the last port."""
    if text == "*":
        return ANY_PORT
    match = _SPAN.fullmatch(text)
    first, last = (int(match["first"]), int(match["last"] or match["first"])) if match else (0, 0)
    if not 1 <= first <= 65535 or not 1 <= last <= 65535:
        raise InvalidInput(f'{printable(text, 60)!r} is no port: write 1 to 65535, "21000-21999", or "*" for all')
    if first > last:
        raise InvalidInput(f'{text!r} ends before it begins: write "{last}-{first}"')
    return first, last


def _web_name(text: str) -> Permit:
    name, colon, port = text.partition(":")
    if port in ("80", "443"):
        raise InvalidInput(
            f"{printable(text, 60)!r} has a port, and a web name has none: write {printable(name, 60)!r}"
        )
    if colon:
        raise InvalidInput(f"{printable(text, 60)!r} has a port: write it in aliases, and web names without one")
    if "." in name:
        first = printable(first_label(name), 60)
        raise InvalidInput(f"{printable(name, 60)!r} has dots: write the name below the gateway's domain, {first!r}")
    return Permit(_pattern(name, "name"), text=text)


def _pattern(text: str, what: str) -> str:
    """A pattern for labels."""
    bare = text.lower()
    if len(bare) > limits.POLICY_PATTERN_CHARS or not _LABEL_PATTERN.fullmatch(bare.replace(OWN_NAME, "x")):
        raise InvalidInput(
            f"{printable(text, 60)!r} is no {what}: use letters, digits and hyphens, * for any text, ? for one character, "
            f"and {OWN_NAME} for the name of who asks"
        )
    return bare


def _socket(text: str) -> Permit:
    if text == "*":
        return Permit(text=text)
    name = text.removeprefix("/")
    if name == text:
        raise InvalidInput(f'{printable(text, 60)!r} is no socket: write "/{printable(name, 60)}", or "*" for all')
    if len(name) > limits.POLICY_PATTERN_CHARS or not _SOCKET_PATTERN.fullmatch(name.replace(OWN_NAME, "x")):
        raise InvalidInput(
            f"{printable(text, 60)!r} is no socket: write its name in the folder of the identity, such as /x.sock or "
            f"/*.sock, without folders; {OWN_NAME} is the name of who asks"
        )
    return Permit(name, text=text)


def _pointed(text: str, *examples: str) -> tuple[str, int, int]:
    """The name before the port, and the first and last port."""
    host, _, port = text.rpartition(":")
    if not host:
        shown = " or ".join(f'"{example}"' for example in examples)
        bare = f', and "{printable(text, 60)}:*" for every port' if port and not port.isdigit() else ""
        raise InvalidInput(f"{printable(text, 60)!r} has no port behind a name: write {shown}{bare}")
    return (host, *_span(port))


def _host(text: str) -> Permit:
    host, first, last = _pointed(text, "db.example.com:5432", "10.1.0.0/16:22")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise InvalidInput(f'an IPv6 address stands in brackets: write "[{printable(host.strip("[]"), 60)}]:{first}"')
    host = normal(host)
    if "/" in host or ":" in host or host.replace(".", "").isdigit():
        try:
            return Permit("*", first, last, ip_network(host), text)
        except ValueError as error:
            fix = f"write {ip_network(host, strict=False)}" if "host bits" in str(error) else "write 10.1.0.0/16"
            raise InvalidInput(f"{printable(host, 60)!r} is no address or network: {fix}") from None
    if len(host) > limits.POLICY_PATTERN_CHARS or not _HOST_PATTERN.fullmatch(host):
        raise InvalidInput(
            f"{printable(host, 60)!r} is no host: write a name, a pattern of one, an address or a network"
        )
    return Permit(host, first, last, text=text)


def parse_origins(entries: Sequence[str]) -> HostList:
    """The value of `from`."""
    if any("," in entry or not entry for entry in entries):
        raise InvalidInput('one address or network is one entry: write ["10.0.0.0/8", "!10.9.0.0/16"]')
    return parse_host_list(",".join(entries))


def parse_time(value: object) -> float:
    """A time with its zone, in seconds since the epoch."""
    if not isinstance(value, datetime):
        raise InvalidInput(f"{printable(str(value), 60)} is no time with a zone: write {_TIME}, without quotes")
    if value.tzinfo is None:
        raise InvalidInput(f"{value.isoformat()} has no zone: write {value.isoformat()}Z for UTC, or +02:00 behind it")
    return value.timestamp()
