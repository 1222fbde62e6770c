"""Where a port listens, by its range, by GatewayPorts and by the bind address (channel_fwd_bind_addr of OpenSSH)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ferry.errors import Refusal
from ferry.kinds.base import ListenPort
from ferry.kinds.port_hosts import listen_port
from ferry.kinds.rules import GatewayPorts, PortRange, Purpose
from granted import RULES as BASE

PUBLIC, LOCAL = 30001, 21001
RULES = replace(
    BASE,
    ranges=(PortRange(21000, 21999, loopback=True), PortRange(30000, 30999, loopback=False)),
    public_addresses=("0.0.0.0", "::"),
)
BOTH, ALL = ("127.0.0.1", "::1"), ("0.0.0.0", "::")
NO, YES, CLIENT = GatewayPorts.NO, GatewayPorts.YES, GatewayPorts.CLIENTSPECIFIED
HOSTS = ("localhost", "127.0.0.1", "::1", "", "*", "0.0.0.0", "::", "192.0.2.7", "127.8.8.8")


def hosts(host: str, port: int, setting: GatewayPorts | None, public: tuple[str, ...] = ALL) -> tuple[str, ...]:
    opening = listen_port(host, port, replace(RULES, public_addresses=public), setting)
    assert isinstance(opening, ListenPort), opening
    return opening.hosts


@pytest.mark.parametrize(
    ("setting", "opened"),
    [
        (None, [ALL] * 9),
        (YES, [ALL] * 9),
        (NO, [BOTH, BOTH[:1], BOTH[1:], BOTH, BOTH, BOTH, BOTH, BOTH, BOTH]),
        (CLIENT, [BOTH, BOTH[:1], BOTH[1:], ALL, ALL, ("0.0.0.0",), ("::",), ("192.0.2.7",), ("127.8.8.8",)]),
    ],
)
def test_a_public_port_listens_as_in_sshd(setting: GatewayPorts | None, opened: list[tuple[str, ...]]) -> None:
    assert [hosts(host, PUBLIC, setting) for host in HOSTS] == opened


@pytest.mark.parametrize("setting", [None, *GatewayPorts])
def test_a_port_of_a_loopback_range_stays_there(setting: GatewayPorts | None) -> None:
    assert {hosts(host, LOCAL, setting) for host in HOSTS} == {BOTH, BOTH[:1], BOTH[1:]}
    assert hosts("127.0.0.1", LOCAL, setting) == BOTH[:1]


@pytest.mark.parametrize(
    ("host", "said"), [("", True), ("0.0.0.0", True), ("192.0.2.7", True), ("127.8.8.8", False), ("localhost", False)]
)
@pytest.mark.parametrize(
    ("port", "why"), [(PUBLIC, "GatewayPorts no"), (LOCAL, "the gateway keeps this range of ports on loopback")]
)
def test_a_fall_back_to_loopback_is_said(port: int, why: str, host: str, *, said: bool) -> None:
    opening = listen_port(host, port, RULES, NO)
    assert isinstance(opening, ListenPort)
    assert opening.instead == (why if said else "")
    assert not opening.public


def test_a_client_chooses_among_the_public_addresses() -> None:
    mine = ("192.0.2.7", "2001:db8::7")
    assert hosts("*", PUBLIC, CLIENT, mine) == mine
    assert hosts("0.0.0.0", PUBLIC, CLIENT, mine) == mine[:1]
    assert hosts("::", PUBLIC, CLIENT, mine) == mine[1:]
    assert hosts("2001:db8::7", PUBLIC, CLIENT, mine) == mine[1:]
    assert hosts("0.0.0.0", PUBLIC, CLIENT, ("::",)) == ("0.0.0.0",), "`::` alone is IPv4 too"
    assert hosts("127.8.8.8", PUBLIC, CLIENT, mine) == ("127.8.8.8",), "loopback is there whatever is public"
    for host, public in (("192.0.2.8", mine), ("::", mine[:1])):
        refused = listen_port(host, PUBLIC, replace(RULES, public_addresses=public), CLIENT)
        assert isinstance(refused, Refusal)
        assert refused.code == "bind_address"
        assert f"{host} is no address for tunnels here ({', '.join(public)})" in refused.public


def test_ipv6_alone_where_the_client_asks_for_it() -> None:
    asked = {host: listen_port(host, PUBLIC, RULES, CLIENT) for host in ("::", "*")}
    assert [opening.ipv4_too for opening in asked.values() if isinstance(opening, ListenPort)] == [False, True]


@pytest.mark.parametrize(
    ("purposes", "ports"),
    [
        ((), [LOCAL, 21500]),
        ((Purpose("ssh", 21000, 21099),), [LOCAL]),
        ((Purpose("db", 21000, 21099),), [LOCAL, 21500]),
    ],
)
def test_a_port_of_another_purpose_than_ssh_leads_to_no_sshd(purposes: tuple[Purpose, ...], ports: list[int]) -> None:
    rules = replace(RULES, purposes=purposes)
    assert [port for port in (LOCAL, 21500, PUBLIC, 40000) if rules.may_be_sshd(port)] == ports
