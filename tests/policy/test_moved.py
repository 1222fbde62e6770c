"""Whether the settings of now open a port or a socket where it is open."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ferry.errors import Refusal
from ferry.kinds import kind_of
from ferry.kinds.base import ForwardRequest, Opening
from ferry.kinds.rules import ForwardRules, GatewayPorts, PortRange
from ferry.names import Address, Kind
from ferry.policy.allowance import Allowance
from ferry.policy.keys import ANY_KEY
from ferry.policy.moved import moved
from ferry.policy.sshd import SshdOptions
from granted import RULES as BASE

PORT, SOCKET = Address(Kind.TCP, "", 30001), Address(Kind.SOCKET, "web-1/x.sock")
HERE, HOST, OTHER, ALL = "127.0.0.1", "192.0.2.7", "192.0.2.8", "0.0.0.0"
NO, YES, CLIENT = GatewayPorts.NO, GatewayPorts.YES, GatewayPorts.CLIENTSPECIFIED
ADDRESSES, RANGES, SETTING = "tcp.public_addresses", "tcp.ranges", "GatewayPorts"

Settings = tuple[ForwardRules, Allowance]


def settings(
    public: str, gateway_ports: GatewayPorts | None = None, *, loopback: bool = False, sockets: str = "/run/sockets"
) -> Settings:
    rules = replace(
        BASE,
        ranges=(PortRange(30000, 30999, loopback=loopback),),
        public_addresses=tuple(public.split()),
        sockets=sockets,
    )
    return rules, Allowance(ANY_KEY, SshdOptions(gateway_ports=gateway_ports))


def reason(before: Settings, now: Settings, asked: str = "", address: Address = PORT) -> str:
    """What moves an address that was opened under `before`; empty: it stays."""
    request = ForwardRequest(address.kind, address.name or None, address.port, host=asked)
    rules, may = before
    opened: Opening | Refusal | None = kind_of(address.kind).opening(address, request, rules, may.listening)
    assert opened is not None
    assert not isinstance(opened, Refusal)
    refusal = moved(opened, address, request, *now)
    return "" if refusal is None else refusal.public.partition("(")[2].partition(")")[0]


@pytest.mark.parametrize(
    ("before", "now", "why"),
    [
        (f"{HERE} {HOST}", HERE, ADDRESSES), (f"{HERE} {HOST}", f"{HOST} {HERE}", ""), (HERE, f"{HERE} {HOST}", ""),
        (ALL, HOST, ADDRESSES), (HOST, ALL, ""), (f"{HERE} ::1", f"{ALL} ::", ""), (f"{HERE} ::1", "::", ""),
        ("::1", ALL, ADDRESSES), ("::", ALL, ADDRESSES), (f"{ALL} ::", "::", ""), ("::", f"{ALL} ::", ""), (HOST, OTHER, ADDRESSES),
    ],
)  # fmt: skip
@pytest.mark.parametrize("gateway_ports", [None, YES])
def test_a_port_stays_while_all_its_addresses_are_public(
    before: str, now: str, why: str, gateway_ports: GatewayPorts | None
) -> None:
    assert reason(settings(before, gateway_ports), settings(now, gateway_ports)) == why


@pytest.mark.parametrize(
    ("asked", "before", "now", "why"),
    [
        ("", None, NO, SETTING), ("", YES, NO, SETTING), ("localhost", None, CLIENT, SETTING), ("", NO, YES, ""), ("localhost", CLIENT, YES, ""),
        (HOST, CLIENT, YES, ""), (HOST, CLIENT, None, ""), (HOST, YES, CLIENT, SETTING), ("", None, CLIENT, ""),
    ],
)  # fmt: skip
def test_gateway_ports_closes_what_it_no_longer_opens(
    asked: str, before: GatewayPorts | None, now: GatewayPorts | None, why: str
) -> None:
    public = f"{HERE} {HOST}"
    assert reason(settings(public, before), settings(public, now), asked) == why


def test_gateway_ports_is_named_where_the_addresses_have_changed_too() -> None:
    assert reason(settings(HOST, YES), settings(OTHER, NO)) == SETTING
    assert reason(settings(HERE, YES), settings(HERE, NO)) == SETTING
    assert reason(settings(HOST, None), settings(OTHER, None)) == ADDRESSES


def test_all_of_ipv6_with_ipv4_is_more_than_all_of_ipv6() -> None:
    assert reason(settings("::"), settings("::", CLIENT), "::") == SETTING
    assert reason(settings("::", CLIENT), settings("::"), "::") == ""


def test_an_address_that_was_asked_for_closes_with_it() -> None:
    before = settings(f"{HERE} {HOST} {OTHER}", CLIENT)
    assert reason(before, settings(f"{HERE} {HOST}", CLIENT), HOST) == ""
    assert reason(before, settings(f"{HERE} {HOST}", CLIENT), OTHER).startswith(f"{HERE}, {HOST}")


@pytest.mark.parametrize("gateway_ports", [None, *GatewayPorts])
def test_a_range_that_becomes_local_keeps_what_is_local(gateway_ports: GatewayPorts | None) -> None:
    public = f"{HERE} {HOST}"
    assert reason(settings(public), settings(public, gateway_ports, loopback=True)) == RANGES
    assert reason(settings(HERE), settings(public, gateway_ports, loopback=True)) == ""
    assert reason(settings(public, loopback=True), settings(HOST, gateway_ports)) == ""


def test_a_socket_stays_in_its_folder() -> None:
    assert reason(settings(HERE), settings(HERE), address=SOCKET) == ""
    assert reason(settings(HERE), settings(HERE, sockets="/run/other"), address=SOCKET) == "sshd.streamlocal_folder"
