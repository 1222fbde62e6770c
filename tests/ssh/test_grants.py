"""What opens a stream is a grant for exactly this address."""

from __future__ import annotations

from pathlib import Path

import pytest

from ferry.errors import LocalProtocolError
from ferry.names import Address, Endpoint, Kind
from ferry.streams import OpenFailure
from inside_gateway import inside_gateway, visit_grant
from public_grant import public_grant


class Nobody:
    """A sink that must never hear of a stream."""

    def stream_opened(self) -> None:
        raise AssertionError

    def stream_refused(self, failure: OpenFailure) -> None:
        raise AssertionError(failure)

    def stream_lost(self, error: Exception | None) -> None:
        raise AssertionError(error)

    def data_received(self, data: bytes) -> None:
        raise AssertionError(data)

    eof_received = pause_writing = resume_writing = stream_opened


async def test_a_tunnel_is_dialled_with_its_own_grant_alone(key: Path) -> None:
    async with inside_gateway() as inside, inside.client(key) as client:
        client.hold_opens()
        assert await client.forward(b"blog", 80)
        (tunnel,) = inside.tunnels
        visitor = Endpoint("192.0.2.7", 4711)
        others = [
            public_grant(Address(Kind.HTTP, "shop.localhost")),
            public_grant(Address(Kind.TCP, "", 80)),
        ]
        for grant in others:
            with pytest.raises(LocalProtocolError):
                tunnel.dial(grant, visitor, Nobody())
        assert await client.lives()
        assert client.opens.empty()
        tunnel.dial(visit_grant(tunnel), visitor, Nobody())
        assert (await client.opens.get())[1]
