"""The notices: URLs, and the reach of a port."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ferry.hostnames import Domain, Urls
from ferry.kinds.port import TCP
from ferry.kinds.port_hosts import listen_port
from ferry.kinds.rules import ForwardRules, PortRange
from ferry.names import Address, CertificateName, Fingerprint, Identity, IdentityId, Kind
from ferry.registry.contract import Reservation
from ferry.ssh.notices import Notices, who_line

ANN = Identity(IdentityId("ann"), "ann", Fingerprint("SHA256:ann"))
KEY = Identity(IdentityId("key"), None, Fingerprint("SHA256:key"))
NOBODY = Identity(IdentityId("anonymous:1"), None, None, anonymous=True)
PLAIN, SECURE, BARE = "http://blog.example.com", "https://blog.example.com", "blog.example.com"
CA = "  https uses this gateway's own CA: `ferry ca` there says how to trust it"
PUBLIC, PRIVATE, NOT_CONFIGURED = 30001, 20001, 9
RULES = ForwardRules(
    domain=Domain("example.com"), reserved_names=frozenset(), allocate_from=None, serves_web=True, keep=100.0, rest=10.0,
    reserve_after=0.0, ranges=(PortRange(20000, 20009, loopback=True), PortRange(30000, 30009, loopback=False)), reservations_per_identity=20,
    reservations_per_network=None, forwards_per_connection=3, forwards_per_identity=5,
)  # fmt: skip
ITSELF, MAY_BE_OPENED, ANYBODY = (
    "only programs on the gateway's own machine can connect there",
    "its operator may open it to the network (tcp.public_addresses)",
    "anybody who can reach the gateway can connect there",
)


def urls(plain: str | None = PLAIN, secure: str | None = SECURE, *, trusted: bool = True) -> Urls:
    return Urls(Domain("example.com"), 22, 80 if plain else None, 443 if secure else None, lambda _: trusted)


def notices(of: Urls | None = None, *, public_is_loopback: bool = False) -> Notices:
    return Notices(of or urls(), RULES, public_is_loopback)


def opened(address: Address, host: str = "localhost") -> object:
    """Where its port listens, if it has one, for a request with this bind address."""
    return listen_port(host, address.port, RULES, None) if address.port else None


def told(address: Address, of: Notices, *, identity: Identity = KEY, **fields: object) -> list[str]:
    tunnel = {"address": address, "tls_upstream": False, "derived": False, "bind": (b"", 80)}
    tunnel |= {"host_header": b"", "port": opened(address), "anonymous": identity.anonymous, "taken_from": ""} | fields
    return of.forward_lines(cast(Any, SimpleNamespace(**tunnel)))


def web(of: Urls | None = None, *, identity: Identity = KEY, **fields: object) -> list[str]:
    return told(Address(Kind.HTTP, BARE), notices(of), identity=identity, **fields)


@pytest.mark.parametrize(
    ("of", "best", "lines"),
    [
        (urls(), SECURE, [f"Forwarding HTTP traffic from {SECURE}"]),
        (urls(secure=None), PLAIN, [f"Forwarding HTTP traffic from {PLAIN}"]),
        (urls(plain=None), SECURE, [f"Forwarding HTTP traffic from {SECURE}"]),
        (urls(plain=None, secure=None), BARE, [f"HTTP and HTTPS are off on this gateway: nobody reaches {BARE}"]),
        (
            urls(trusted=False),
            PLAIN,
            [f"Forwarding HTTP traffic from {PLAIN}", f"Forwarding HTTP traffic from {SECURE}", CA],
        ),
        (urls(plain=None, trusted=False), SECURE, [f"Forwarding HTTP traffic from {SECURE}", CA]),
        (urls(secure=None, trusted=False), PLAIN, [f"Forwarding HTTP traffic from {PLAIN}"]),
    ],
)
def test_https_is_shown_if_browsers_trust_it_or_http_is_off(of: Urls, best: str, lines: list[str]) -> None:
    assert of.best(BARE) == best
    assert web(of) == lines


def test_the_notice_of_a_web_address() -> None:
    assert web(tls_upstream=True)[1:] == [
        "  the gateway speaks TLS to your local service and does not check its certificate"
    ]
    assert web(derived=True)[1:] == ["  the name stays yours; for another: ssh -R NAME:80:... example.com"]
    assert web(host_header=b"app:3000")[1:] == ["  your local service gets Host: app:3000"]
    without = "  you came without a key: the name "
    assert web(identity=NOBODY)[1:] == [f"{without}stays yours only while you are connected"]
    assert web(identity=NOBODY, derived=True)[1:] == [f"{without}is new each time; with a key it stays yours"]


def test_a_port_that_was_asked_for_alone_may_be_meant_as_a_web_address() -> None:
    """-R 0 is a web address elsewhere."""
    of = notices()
    port = {
        "address": TCP.address(PUBLIC),
        "tls_upstream": False,
        "host_header": b"",
        "port": opened(TCP.address(PUBLIC)),
    }
    port |= {"bind": (b"", PUBLIC), "anonymous": False, "taken_from": ""}
    chosen, asked = (cast(Any, SimpleNamespace(**port, derived=derived)) for derived in (True, False))
    hint = "  for a web address instead: ssh -R 80:... example.com"
    assert of.forward_lines(chosen, alone=True) == [*of.forward_lines(chosen), hint]
    assert of.forward_lines(asked, alone=True) == of.forward_lines(asked)
    off = replace(of, rules=replace(RULES, serves_web=False))
    assert off.forward_lines(chosen, alone=True) == off.forward_lines(chosen)


@pytest.mark.parametrize(
    ("port", "only_here", "who", "where"),
    [
        (PRIVATE, False, [ITSELF], "localhost"),
        (NOT_CONFIGURED, False, [ITSELF], "localhost"),
        (PUBLIC, False, [ANYBODY], "example.com"),
        (PUBLIC, True, [ITSELF, MAY_BE_OPENED], "example.com"),
    ],
)
def test_the_notice_of_a_port_says_if_it_is_public(port: int, *, only_here: bool, who: list[str], where: str) -> None:
    of = notices(public_is_loopback=only_here)
    address = Address(Kind.TCP, "", port)
    assert TCP.forward_fields(cast(Any, SimpleNamespace(address=address, port=opened(address))), of) == {
        "reach": "; ".join(who)
    }
    lines = [f"Forwarding TCP traffic from {where}:{port}", *(f"  {part}" for part in who)]
    assert told(address, of) == lines
    host = told(address, of, host_header=b"app")[len(lines) :]
    assert host == ["  host-header= changes nothing here: it is for web addresses"]
    warned = told(address, of, port=opened(address, "0.0.0.0"))[len(lines) :]
    note = "  the gateway ignores the address that you wrote before the port: the gateway keeps this range of ports on loopback"
    assert warned == ([note] if where == "localhost" else [])


def test_a_port_without_a_key_is_said_to_be_a_new_one_each_time() -> None:
    without = "  you came without a key: the port "
    address = TCP.address(PUBLIC)
    chosen, asked = (told(address, notices(), identity=NOBODY, derived=derived) for derived in (True, False))
    assert chosen[2:] == [f"{without}is new each time; with a key it stays yours"]
    assert asked[2:] == [f"{without}stays yours only while you are connected"]
    assert told(address, notices(), derived=True)[2:] == []


def test_help_fits_eighty_columns() -> None:
    lines = notices().help_lines()
    assert [line for line in lines if len(line) > 80] == []
    assert len(lines) > 20


def test_help_says_if_ports_are_public() -> None:
    assert "  20000-20009: for programs on the gateway's own machine" in notices().help_lines()
    assert "  30000-30009: for everybody" in notices().help_lines()
    assert "  30000-30009: for programs on the gateway's own machine" in notices(public_is_loopback=True).help_lines()
    without = replace(notices(), rules=replace(RULES, ranges=()))
    assert not any("A TCP port" in line for line in without.help_lines())


@pytest.mark.parametrize(
    ("who", "line"),
    [
        (ANN, "ann with key SHA256:ann"),
        (KEY, "key SHA256:key"),
        (NOBODY, "anonymous: you came without a key, so no name can be kept for you"),
        (
            replace(KEY, certificate=CertificateName(Fingerprint("SHA256:ca"), "web-1", 7)),
            "web-1 (certificate, serial 7, CA SHA256:ca) with key SHA256:key",
        ),
    ],
)
def test_the_lines_of_whoami(who: Identity, line: str) -> None:
    assert who_line(who) == line


@pytest.mark.parametrize(
    ("label", "used", "up", "line", "until", "for_good"),
    [
        (None, True, False, "kept until 2001-09-09", 1_000_000_100.0, False),
        (None, True, True, "in use now", None, False),
        ("ssh", True, False, "kept for good", None, True),
        ("ssh", False, False, "kept for good", None, True),
        ("ssh", True, True, "in use now", None, True),
        (None, False, True, "in use now", None, False),
    ],
)
def test_how_long_a_name_is_kept(
    label: str | None, line: str, until: float | None, *, used: bool, up: bool, for_good: bool
) -> None:
    one = Reservation(Address(Kind.ALIAS, "laptop", 22), ANN.id, "ann", False, 1.0, 1_000_000_000.0, used, label)
    assert " ".join(notices().reservation_line(one, up=up).split()) == f"laptop:22 {line}"
    fields = notices().reservation_fields(one, up=up)
    assert (fields["up"], fields["used"], fields["kept_until"], fields["kept_for_good"]) == (up, used, until, for_good)
