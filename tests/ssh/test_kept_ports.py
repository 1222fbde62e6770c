"""A port that a line of a key file keeps for another is given to nobody else, also where the gateway chooses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from asyncssh.packet import SSHPacket, String, UInt32

from ferry.names import Fingerprint, Identity
from ferry.policy.keys import KeyLine
from ferry.policy.port_lines import PortLine
from inside_gateway import Inside
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
