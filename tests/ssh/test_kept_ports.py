"""A port that a line of a key file keeps for another is given to nobody else, also where the gateway chooses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from asyncssh.packet import SSHPacket, String, UInt32

from ferry.errors import Refusal
from ferry.kinds.rules import Purpose
from ferry.names import Address, Fingerprint, Identity, IdentityId, Kind
from ferry.policy.allowance import Allowance
from ferry.policy.grants import Grant
from ferry.policy.keys import ANY_KEY, KeyLine
from ferry.policy.port_lines import NO_PORT_LINES, PortLine, PortLines
from ferry.policy.sshd import UNSET
from ferry.protocol.key_options import parse_options
from ferry.registry.contract import Reservation, StoreUnavailable
from ferry.ssh.forward_settings import ForwardSettings
from ferry.ssh.kept_ports import grant_of, label_of, naming_own_ports
from granted import RULES
from inside_gateway import Inside
from known_system import KNOWN
from memory_registry import MemoryRegistry
from raw_client import RawClient


class OneLine:
    """The line of another key, which names `port`."""

    def __init__(self, port: int) -> None:
        self.port = port

    def lines_with_port(self, port: int) -> Sequence[PortLine]:
        return (PortLine(Fingerprint("SHA256:other"), KeyLine("other")),) if port == self.port else ()

    def gives(self, _port: int, _identity: Identity) -> bool:
        return False

    def ports(self) -> Mapping[int, Sequence[PortLine]]:
        return {self.port: self.lines_with_port(self.port)}

    def ports_in_vain(self) -> Mapping[int, Sequence[PortLine]]:
        return {}

    def comment_of(self, _fingerprint: Fingerprint) -> str:
        return ""


async def any_port(client: RawClient) -> int:
    """Ask for a port, and give it back."""
    granted, answer = await client.ask(b"tcpip-forward", String(b""), UInt32(0))
    assert granted
    port = SSHPacket(answer).get_uint32()
    assert await client.cancel(b"", port)
    return port


async def test_the_gateway_chooses_no_port_that_is_kept_for_another(inside: Inside, key: Path) -> None:
    async with inside.client(key) as client:
        own = await any_port(client)
        assert await any_port(client) == own
        inside.change(port_lines=OneLine(own))
        assert await any_port(client) != own
        assert not await client.forward(b"", own)
        (refused,) = inside.said("tunnel.refused")
        assert refused["code"] == "port_kept"
        assert "permitlisten= keeps it for other (SHA256:other)" in refused["detail"]


BOB, NOBODY = Identity(IdentityId("bob"), "bob", None), Identity(IdentityId("anonymous:1"), None, None, anonymous=True)
OTHER = Identity(IdentityId("other"), "other", None)
PORT, LAPTOP = Address(Kind.TCP, "", 21022), Address(Kind.ALIAS, "laptop", 21022)
TAKEN = Refusal("it belongs to somebody else: ask for another", code="name_live", detail="refused")
FLEET = replace(RULES, purposes=(Purpose("ssh", 21000, 21999),), keeps_ports=True)


def settings(lines: PortLines = NO_PORT_LINES) -> ForwardSettings:
    nothing = cast(Any, None)
    return ForwardSettings(FLEET, nothing, nothing, nothing, lines)


@pytest.mark.parametrize(
    ("who", "address", "port", "code"),
    [
        (BOB, PORT, 21022, "port_kept"),
        (BOB, PORT, 21023, None),
        (OTHER, PORT, 21022, None),
        (BOB, LAPTOP, 21022, None),
        (BOB, Address(Kind.TCP, "", 70000), 70000, "port_outside"),
    ],
)
def test_a_port_that_is_kept_for_another_is_not_granted(
    who: Identity, address: Address, port: int, code: str | None
) -> None:
    """No line keeps an alias, and a port that nobody may have is refused for that."""
    answer = grant_of(who, address, settings(OneLine(port)), None)
    assert isinstance(answer, Grant) is (code is None)
    assert (answer.code if isinstance(answer, Refusal) else None) == code


@pytest.mark.parametrize(
    ("who", "address", "derived", "label"),
    [(BOB, PORT, False, "ssh"), (BOB, PORT, True, None), (NOBODY, PORT, False, None), (BOB, LAPTOP, False, None)],
)
def test_a_port_stays_its_identitys_for_good_if_the_identity_has_asked_for_it(
    who: Identity, address: Address, label: str | None, *, derived: bool
) -> None:
    assert label_of(who, address, settings(), derived=derived) == label


class OwnPorts(MemoryRegistry):
    """Bob has one port for good, and another by use. Nobody else can be looked up."""

    async def reservations(self, owner: IdentityId | None) -> list[Reservation]:
        if owner != BOB.id:
            raise StoreUnavailable("away")
        kept = Reservation(Address(Kind.TCP, "", 21030), owner, "", False, 1.0, 1.0, label="ssh")
        return [kept, replace(kept, address=Address(Kind.TCP, "", 21040), label=None)]


@pytest.mark.parametrize(
    ("who", "address", "options", "told"),
    [
        (BOB, PORT, "", "yours is 21030"),
        (BOB, PORT, 'permitlisten="21025",permitlisten="21030"', "yours are 21025 and 21030"),
        (NOBODY, PORT, "", ""),
        (OTHER, LAPTOP, "", ""),
    ],
)
async def test_who_asks_for_a_port_of_another_reads_which_are_its_own(
    who: Identity, address: Address, options: str, told: str
) -> None:
    """The database is not asked about those who can have none, and not about names."""
    line = replace(ANY_KEY, options=parse_options(options, KNOWN)) if options else ANY_KEY
    client = SimpleNamespace(identity=who, may=Allowance(line, UNSET))
    refusal = await naming_own_ports(OwnPorts(), client, address, TAKEN, settings())
    assert told in refusal.public
    assert (refusal == TAKEN) is (not told)
