"""Whether the operator's settings still open a port or a socket where it is open."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Final

from ferry.errors import Refusal
from ferry.kinds import kind_of
from ferry.kinds.base import ForwardRequest, ListenPort, ListenSocket, Opening
from ferry.kinds.rules import ForwardRules
from ferry.names import Address

from .allowance import Allowance

_WILD: Final = {4: "0.0.0.0", 6: "::"}


def moved(
    opened: Opening, address: Address, request: ForwardRequest, rules: ForwardRules, may: Allowance
) -> Refusal | None:
    """The refusal of a public port, or of a socket, that the settings of now do not open where it was `opened`. A port that
    is local stays: no setting could make it reach less far. Whether a setting allows it at all is another question."""
    if isinstance(opened, ListenSocket):
        return None if opened.root == rules.sockets else _moved_by("sshd.streamlocal_folder")
    if not opened.public:
        return None
    now = kind_of(address.kind).opening(address, request, rules, may.listening)
    if isinstance(now, Refusal):
        return now
    assert isinstance(now, ListenPort)  # as its kind opens
    lost = [host for host in _hosts(opened) if not _has(_hosts(now), host)]
    if rules.on_loopback(address.port):
        return _moved_by("tcp.ranges") if lost else None
    everywhere = _hosts(ListenPort(address.port, rules.public_addresses, public=True))
    if not now.public or any(_has(everywhere, host) for host in lost):
        return _moved_by("GatewayPorts", "gateway_ports", may.sshd.rule("gateway_ports"))
    return _moved_by("tcp.public_addresses") if lost else None


def _hosts(port: ListenPort) -> tuple[str, ...]:
    """The numeric addresses that it listens on, with that of all IPv4 where `::` means it too."""
    return (*port.hosts, "0.0.0.0") if "::" in port.hosts and port.ipv4_too else port.hosts


def _has(hosts: Sequence[str], host: str) -> bool:
    """Whether `host` is one of `hosts`, or one of all addresses that one of them stands for."""
    return host in hosts or _WILD[ipaddress.ip_address(host).version] in hosts


def _moved_by(setting: str, code: str = "moved", rule: str | None = None) -> Refusal:
    return Refusal(f"the operator has changed where it may listen ({setting}): ask for it again", code=code, rule=rule)
