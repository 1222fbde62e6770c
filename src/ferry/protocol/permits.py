"""What `permitlisten=` and `permitopen=` of a key's line name: a host with a port (sshd(8), AUTHORIZED_KEYS FILE FORMAT;
auth-options.c and channels.c of OpenSSH)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from ferry.errors import InvalidInput
from ferry.names import printable

from .host_patterns import matches

_HOST_CHARS: Final = 1024  # as sshd (NI_MAXHOST)
_ANY: Final = "*"

Services = Callable[[str], int | None]
"""The port of a service's name, such as `ssh`; None if there is no such service."""


class Permit(NamedTuple):
    """One `host:port`."""

    host: str
    """Without the brackets of an IPv6 address. `*`: any."""
    port: int | None
    """None: any."""
    bare: bool = False
    """The line names the port alone (`permitlisten="8080"`), which sshd reads as `*:8080`."""

    def __str__(self) -> str:
        """As it is written in a line."""
        port = _ANY if self.port is None else str(self.port)
        if self.bare:
            return port
        return f"[{self.host}]:{port}" if ":" in self.host else f"{self.host}:{port}"

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
        return Permit(_ANY, _port(text, "permitlisten", services), bare=True)
    host, delimiter, port = _split(text, "permitlisten")
    if delimiter == "/":  # sshd takes `[::1]/80`, and fails at each log-in with it
        raise _unreadable(text, "permitlisten")
    return Permit(host, _port(port, "permitlisten", services))


def parse_permit_open(text: str, services: Services) -> Permit:
    """The value of `permitopen=`. Raises InvalidInput with what to write instead."""
    host, _, port = _split(text, "permitopen")
    return Permit(host, _port(port, "permitopen", services))


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
        raise InvalidInput(
            f'an IPv6 address stands in brackets: write {option}="[::1]:80"', detail="no IPv6 in brackets"
        )
    return host, delimiter, port


def _unreadable(text: str, option: str) -> InvalidInput:
    bare = ', or the port alone: "80"' if option == "permitlisten" else ""
    example = "localhost:80" if option == "permitlisten" else "db.example.com:5432"
    return InvalidInput(
        f'{printable(text, 60)!r} is no host with a port: write {option}="{example}"{bare}',
        detail="no host with a port",
    )


def _port(text: str, option: str, services: Services) -> int | None:
    if text == _ANY:
        return None
    if text.isascii() and text.isdigit() and len(text) < 20:
        port: int | None = int(text)
    else:
        port = services(text)
    if port is None or not 1 <= port <= 65535:
        raise InvalidInput(
            f"{printable(text, 60)!r} is no port: write a number from 1 to 65535, or * for every port "
            f'({option}="*:*" is every port of every host)',
            detail="no port",
        )
    return port
