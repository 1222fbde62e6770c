"""Writes `Host` blocks for ssh_config(5), by which people reach machines through the gateway with a short name."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from ferry.hostnames import SSH_PORT
from ferry.names import Address

GATEWAY: Final = "gw"  # the name of the gateway's own block
_PLAIN: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")  # `*`, `?` and `!` are patterns there


class Held(NamedTuple):
    """An address that may lead to a machine's sshd."""

    address: Address
    owner: str | None
    """The name that the operator gave to its identity."""


@dataclass(frozen=True, slots=True)
class Machine:
    """One block."""

    host: str
    """What people type after `ssh`, and the name under which `ssh` keeps the machine's host key."""
    hostname: str
    """What the gateway is asked for: an alias, or `localhost` for one of its ports."""
    port: int
    address: Address


def machines_of(held: Iterable[Held], may_be_sshd: Callable[[int], bool]) -> list[Machine]:
    """The machines behind aliases with port 22, and behind those ports that `may_be_sshd`, in the order of their names. No
    two have one name. The names of keys go first: the operator gives them, and anybody may take an alias."""
    ssh = [one for one in held if _is_machine(one.address, may_be_sshd)]
    ports = Counter(one.owner for one in ssh if not one.address.name)
    taken = {GATEWAY}
    found = []
    for one in sorted(ssh, key=lambda one: (one.address.name, one.address.port)):
        address = one.address
        if address.name:
            name = address.name
        elif one.owner is None or not is_plain(one.owner):
            name = f"port-{address.port}"
        else:
            name = one.owner if ports[one.owner] == 1 else f"{one.owner}-{address.port}"
        while name in taken:
            name = f"{name}-{address.port}"
        taken.add(name)
        found.append(Machine(name, address.name or "localhost", address.port, address))
    return sorted(found, key=lambda machine: machine.host)


def is_plain(host: str) -> bool:
    """Whether ssh_config(5) takes a name as it is, and not for a pattern or several words."""
    return _PLAIN.fullmatch(host) is not None


def _is_machine(address: Address, may_be_sshd: Callable[[int], bool]) -> bool:
    return address.port == SSH_PORT if address.name else may_be_sshd(address.port)  # a port of the gateway has no name


def gateway_block(hostname: str, port: int) -> Iterator[str]:
    """The lines of the gateway's own block."""
    yield f"Host {GATEWAY}"
    yield f"    HostName {hostname}"
    yield f"    Port {port}"


def host_blocks(machines: Sequence[Machine], jump: str) -> Iterator[str]:
    """The lines of the blocks of `machines`, an empty one before each. `jump` is the gateway, for `ProxyJump`.

    All ports of the gateway have the name `localhost`. `HostKeyAlias` keeps their host keys apart.
    """
    for machine in machines:
        yield ""
        yield f"Host {machine.host}"
        yield f"    HostName {machine.hostname}"
        yield f"    Port {machine.port}"
        yield f"    ProxyJump {jump}"
        yield f"    HostKeyAlias {machine.host}"
