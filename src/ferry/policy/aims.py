"""Aims: what somebody wants to publish or to reach, as the operator's policy is asked about it."""

from __future__ import annotations

import enum
import re
from typing import Final, NamedTuple

from ferry import limits
from ferry.errors import InvalidInput
from ferry.hostnames import Domain, normal
from ferry.names import parse_label, printable
from ferry.protocol.forward_spec import EVERYWHERE, LOCAL, is_numeric
from ferry.protocol.socket_path import is_name

_PORT: Final = re.compile(r"[0-9]{1,5}")
EVERY_ADDRESS: Final = "*"
_WEB_PORTS: Final = frozenset({80, 443})


class Act(enum.StrEnum):
    """What a rule allows. The values are the keys of the policy file."""

    PUBLISH = "publish"
    REACH = "reach"


class What(enum.StrEnum):
    """The sort of target. The values are the keys below `publish` and `reach`."""

    NAME = "names"
    """A web name below the gateway's domain."""
    PORT = "ports"
    """A TCP port of the gateway: to open, or to reach through the gateway while a tunnel holds it."""
    ALIAS = "aliases"
    """A private alias with a port."""
    HOST = "hosts"
    """A host that the gateway dials itself, by its name or address, with a port."""
    SOCKET = "sockets"
    """A Unix socket in the folder of who asks."""


class Aim(NamedTuple):
    """One target."""

    act: Act
    what: What
    name: str
    """In lower case: the label of a name or alias, or a host; empty for a port. The name of a socket, as it is written."""
    port: int
    """0 for a web name, a socket, and to publish a port that the gateway chooses."""
    typed: str = ""
    """The host as somebody types it, if that is another form of the name: an alias below the gateway's domain, the address by
    which a port is reached, or the one on which a port is to listen (EVERY_ADDRESS: all)."""

    @property
    def is_any_port(self) -> bool:
        """Whether the gateway is to choose the port (`-R 0:...`)."""
        return self.what is What.PORT and not self.port

    @property
    def target(self) -> str:
        """The target for people: `port 21023`, `the name blog`, `the alias web-1:22`, `the socket /x.sock`."""
        match self.what:
            case What.PORT:
                return f"port {self.port}" if self.port else "a port that the gateway chooses"
            case What.NAME:
                return f"the name {printable(self.name, 80)}"
            case What.ALIAS:
                return f"the alias {printable(self.name, 80)}:{self.port}"
            case What.HOST:
                host = f"[{self.name}]" if ":" in self.name else self.name
                return f"the host {printable(host, 80)}:{self.port}"
            case What.SOCKET:
                return f"the socket /{printable(self.name, 80)}"

    def __str__(self) -> str:
        return f"{self.act} {self.target}"


def publish_port(port: int) -> Aim:
    """To publish a port."""
    return Aim(Act.PUBLISH, What.PORT, "", port)


def parse_publish(text: str, domain: Domain | None = None) -> Aim:
    """`21023`, `localhost:21023`, `*:21023`, `blog`, `blog:80`, `web-1:22`, `/x.sock`, as they stand behind `ssh -R`. A name may
    have the gateway's `domain` behind it. Raises InvalidInput."""
    if is_path(text):
        return _socket(Act.PUBLISH, text)
    host, port = _split(text, least=0)
    if port is None:
        if _PORT.fullmatch(host):
            return publish_port(_port(host, least=0))
        return Aim(Act.PUBLISH, What.NAME, parse_label(_below(domain, host)), 0)
    if host in (*EVERYWHERE, *LOCAL) or is_numeric(host):
        return publish_port(port)._replace(typed=host.removeprefix("localhost") if host else EVERY_ADDRESS)
    label = parse_label(_below(domain, host))
    if not port:
        raise InvalidInput(f"a name has a port: write {label}:80, or {label}:22")
    if port in _WEB_PORTS:
        return Aim(Act.PUBLISH, What.NAME, label, 0)
    return Aim(Act.PUBLISH, What.ALIAS, label, port)


def parse_reach(text: str, domain: Domain | None = None) -> list[Aim]:
    """`web-1:22`, `localhost:21023`, `db.example.com:5432`, `/x.sock`. A name without dots, or with the gateway's `domain` behind
    it, may be an alias or a host, and `localhost` a port that a tunnel holds or the gateway's own host: the gateway looks for
    the tunnel first. Raises InvalidInput."""
    if is_path(text):
        return [_socket(Act.REACH, text)]
    host, port = _split(text)
    if port is None or not host:
        raise InvalidInput(f"'{printable(text, 80)}' is no host with a port: write web-1:22, or localhost:21023")
    wanted = Aim(Act.REACH, What.HOST, normal(host), port)
    if host in LOCAL:
        return [Aim(Act.REACH, What.PORT, "", port, host.removeprefix("localhost")), wanted]
    label = _below(domain, host)
    if "." in label or ":" in label:
        return [wanted]
    typed = "" if label == host else host
    return [wanted._replace(what=What.ALIAS, name=parse_label(label, "alias"), typed=typed), wanted]


def _below(domain: Domain | None, host: str) -> str:
    """A name without the gateway's domain behind it. Any other host stays as it is."""
    return host if domain is None else domain.relative(normal(host))


def is_path(text: str) -> bool:
    """Whether a target is the path of a socket."""
    return text.startswith(("/", "./"))


def _socket(act: Act, text: str) -> Aim:
    name = text.removeprefix(".").removeprefix("/")
    if not is_name(name):
        raise InvalidInput(
            f"'{printable(text, 80)}' is no socket of somebody: write /x.sock, its name in the folder of who asks"
        )
    return Aim(act, What.SOCKET, name, 0)


def _split(text: str, *, least: int = 1) -> tuple[str, int | None]:
    """The host in lower case, without brackets, and the port, from `least` on. Raises InvalidInput."""
    if len(text) > limits.HOST_BYTES:
        raise InvalidInput(f"{len(text)} characters are no name with a port: write web-1:22")
    host, colon, port = text.rpartition(":")
    if not colon:
        return text.lower(), None
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise InvalidInput(f"'{printable(text, 80)}' has colons: an IPv6 address stands in brackets, as in [::1]:22")
    return host.lower(), _port(port, least)


def _port(text: str, least: int = 1) -> int:
    if not _PORT.fullmatch(text) or not least <= int(text) <= 65535:
        raise InvalidInput(f"'{printable(text, 80)}' is no port: write a number from 1 to 65535")
    return int(text)
