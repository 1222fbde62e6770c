"""What `permitlisten=` and `permitopen=` of a key's line name: a host with a port (sshd(8), AUTHORIZED_KEYS FILE FORMAT;
auth-options.c and channels.c of OpenSSH)."""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import IPv6Address
from typing import Final, NamedTuple

from ferry.errors import InvalidInput
from ferry.names import printable

from .host_patterns import matches

_HOST_CHARS: Final = 1024  # as sshd (NI_MAXHOST)
_ANY: Final = "*"
_NUMBER: Final = re.compile(r"[ \t\n\v\f\r]*\+?([0-9]{1,19})")  # as strtonum(3), by which sshd reads ports

Services = Callable[[str], int | None]
"""The port of a service's name, such as `ssh`; None if there is no such service."""


class Permit(NamedTuple):
    """One `host:port`."""

    host: str
    """Without the brackets of an IPv6 address, or of the path of a socket. `*`: any."""
    port: int | None
    """None: any."""
    bare: bool = False
    """The line names the port alone (`permitlisten="8080"`), which sshd reads as `*:8080`."""

    def __str__(self) -> str:
        """As it is written in a line."""
        port = _ANY if self.port is None else str(self.port)
        if self.bare:
            return port
        return f"[{self.host}]:{port}" if ":" in self.host or "/" in self.host else f"{self.host}:{port}"

    def listens(self, host: str, port: int) -> bool:
        """Whether it covers the request to listen on `port` of `host`, which is in lower case. The host is a pattern."""
        return self._has(port) and matches(self.host, host)

    def opens(self, host: str, port: int) -> bool:
        """Whether it covers the request to connect to `port` of `host`. The host is no pattern, and its case counts."""
        return self._has(port) and self.host in (_ANY, host)

    def names(self, host: str, port: int) -> bool:
        """Whether it is exactly `port` of `host`, without a `*`."""
        return self.host != _ANY and (self.host, self.port) == (host, port)

    def _has(self, port: int) -> bool:
        return self.port is None or self.port == port


ANYWHERE: Final = (Permit(_ANY, None),)
"""`*:*`."""


def parse_permit_listen(text: str, services: Services) -> Permit:
    """The value of `permitlisten=`. Raises InvalidInput with what to write instead."""
    if ":" not in text:
        return Permit(_ANY, _port(text, text, "permitlisten", services), bare=True)
    host, delimiter, port = _split(text, "permitlisten")
    if delimiter == "/":  # sshd takes `[::1]/80`, and fails at each log-in with it
        raise _unreadable(text, "permitlisten")
    return Permit(host, _port(port, text, "permitlisten", services))


def parse_permit_open(text: str, services: Services) -> Permit:
    """The value of `permitopen=`. Raises InvalidInput with what to write instead."""
    host, _, port = _split(text, "permitopen")
    return Permit(host, _port(port, text, "permitopen", services))


def _split(text: str, option: str) -> tuple[str, str, str]:
    """The host, the character that ends it (`:`, or `/`), and the port."""
    if text.startswith("["):
        host, _, rest = text.partition("]")
        if rest[:1] not in (":", "/"):
            raise _unreadable(text, option)
        host, delimiter, port = host[1:], rest[0], rest[1:]
    else:
        end = next((at for at, char in enumerate(text) if char in ":/"), len(text))
        host, delimiter, port = text[:end], text[end : end + 1], text[end + 1 :]
    if not delimiter or len(host) > _HOST_CHARS:
        raise _unreadable(text, option)
    if ":" in port:
        if "," in text:
            raise _several(text, option)
        raise InvalidInput(
            f'an IPv6 address stands in brackets: write {option}="{_bracketed(text)}"', detail="no IPv6 in brackets"
        )
    return host, delimiter, port


def _unreadable(text: str, option: str) -> InvalidInput:
    bare = ', or the port alone: "80"' if option == "permitlisten" else ""
    example = "localhost:80" if option == "permitlisten" else "db.example.com:5432"
    return InvalidInput(
        f'{printable(text, 60)!r} is no host with a port: write {option}="{example}"{bare}',
        detail="no host with a port",
    )


def _bracketed(text: str) -> str:
    """`[2001:db8::1]:22` for `2001:db8::1:22`; an example for what has no address."""
    address, _, port = text.rpartition(":")
    try:
        return f"[{IPv6Address(address)}]:{printable(port, 60)}"
    except ValueError:
        return "[::1]:80"


def _several(text: str, option: str) -> InvalidInput:
    """The error of a list in one option."""
    host = text.partition(":")[0]
    each = (part.strip() for part in text.split(","))
    listed = [part if ":" in part or ":" not in text else f"{host}:{part}" for part in each if part]
    shown = ",".join(f'{option}="{printable(part, 60)}"' for part in listed[:2])
    more = ", and so on" if len(listed) > 2 else ""
    return InvalidInput(f"an option has one host and port, and no list: write {shown}{more}", detail="a list")


def _port(text: str, whole: str, option: str, services: Services) -> int | None:
    if text == _ANY:
        return None
    if (number := _NUMBER.fullmatch(text)) is not None:
        port: int | None = int(number[1])
    else:
        port = services(text)
    if port is None or not 1 <= port <= 65535:
        if "," in text:
            raise _several(whole, option)
        raise InvalidInput(
            f"{printable(text, 60)!r} is no port: write a number from 1 to 65535, or * for every port "
            f'({option}="*:*" is every port of every host)',
            detail="no port",
        )
    return port
