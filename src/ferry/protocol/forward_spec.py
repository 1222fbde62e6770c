"""Reads the bind address and port of a `tcpip-forward` request (RFC 4254 §7.1), which people type after `ssh -R`.

    -R 80:...            http, the gateway chooses a name ('localhost', 80) on the wire
    -R blog:80:...       http, that name                  ('blog', 80)
    -R 443:...           http, the local service speaks TLS
    -R 8080:...          the same as 80, where 8080 is the gateway's own HTTP port
    -R 0:...             a TCP port that the gateway chooses
    -R 30042:...         that TCP port
    -R laptop:22:...     a private alias with a port

This module reads the bytes. `ferry.kinds` decides what each form means.

A bind address (`''`, `*`, `localhost`, `0.0.0.0`, `::`, any numeric one) is never a name: stock `ssh` sends `localhost`
if none was typed. `ferry.policy` decides who may have a name, port or alias.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final, NamedTuple

from ferry import limits
from ferry.errors import InvalidInput
from ferry.hostnames import Domain, first_label, normal
from ferry.names import parse_label, printable

EVERYWHERE: Final = ("", "*", "0.0.0.0", "::")
"""Bind addresses that mean all addresses of the gateway."""
LOOPBACK: Final = ("127.0.0.1", "::1")
LOCAL: Final = ("localhost", *LOOPBACK)
"""Bind addresses, and hosts, that mean the gateway's own loopback."""


class BindRequest(NamedTuple):
    """The bind address and port of one request."""

    label: str | None
    """The name before the port; None for a bind address or nothing."""
    port: int
    host: str = ""
    """The bind address in lower case, without brackets; the zone of a link-local one is as it was sent."""


def read_forward(host: bytes, port: int, domain: Domain, *, is_web: bool) -> BindRequest:
    """Read the address and port of one request. `is_web`: a name with this port is a hostname below `domain`. Raises
    InvalidInput with what to write instead."""
    if len(host) > limits.HOST_BYTES:
        raise InvalidInput(f"the name before the port is longer than {limits.HOST_BYTES} bytes")
    try:
        text = host.decode("ascii").lower()
    except UnicodeDecodeError:
        shown = printable(host.decode("utf-8", "backslashreplace"), 80)
        raise InvalidInput(
            f"name '{shown}' is not plain ASCII: use letters, digits and hyphens",
            detail="a name that is not plain ASCII",
        ) from None
    if not 0 <= port <= 65535:
        raise InvalidInput(f"port {port} does not exist: use 0 to 65535")
    if text in (*EVERYWHERE, *LOCAL, "localhost.") or is_numeric(text):
        address, percent, _ = text.strip("[]").partition("%")
        zone = host.decode("ascii").strip("[]").partition("%")[2]  # large and small letters differ in it
        return BindRequest(None, port, f"{address}{percent}{zone}")
    return BindRequest(_label(text, port, domain, is_web=is_web), port)


def _label(text: str, port: int, domain: Domain, *, is_web: bool) -> str:
    """The one label of the host. Raises InvalidInput with the nearest form that works."""
    if "@" in text:
        name = text.rpartition("@")[2]
        raise InvalidInput(
            f"a name cannot contain a user name or a password: write -R {printable(name)}:{port}:...",
            detail="a user name or password in a name",
        )
    if "/" in text:
        name = text.partition("/")[0]
        raise InvalidInput(
            f"a name has no path: write -R {printable(name) or 'NAME'}:{port}:...", detail="a name with a path"
        )
    if text.startswith("*."):
        raise InvalidInput(
            f"wildcard names are not offered: write -R {printable(first_label(text[2:]))}:{port}:...",
            detail="a wildcard name",
        )
    bare = normal(text)
    if bare == domain.name:
        whole = f" for {domain.host('NAME')}" if is_web else ""
        raise InvalidInput(f"{domain} is the gateway itself: write -R NAME:{port}:...{whole}")
    bare = domain.relative(bare)
    if "." in bare:
        first = printable(first_label(bare)) or "NAME"
        whole = f" for {domain.host(first)}" if is_web else ""
        raise InvalidInput(
            f"{printable(text)} is not one name below {domain}: write -R {first}:{port}:...{whole}",
            detail=f"a name with dots that is not below {domain}",
        )
    if bare == "localhost":
        raise InvalidInput(f"localhost is what ssh sends when no name is typed: write -R NAME:{port}:... with another")
    return parse_label(bare)


def is_numeric(text: str) -> bool:
    """Whether a bind address is the number of one, in brackets or without."""
    try:
        address = ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return False
    return not isinstance(address, ipaddress.IPv6Address) or _is_zone(address.scope_id)


def _is_zone(text: str | None) -> bool:
    """Whether an address has no zone, or one that may be the name of an interface: people read it."""
    return text is None or re.fullmatch(r"[\w.@-]{1,15}", text, re.ASCII) is not None
