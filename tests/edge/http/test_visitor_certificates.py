"""A connection that was opened for one name serves others of the same certificate alone (RFC 9110 §7.4). As a play."""

from __future__ import annotations

import re
from typing import Any, cast

import pytest

from edge.http_play import Transport
from edge.http_rig import running_edge

BARE = "localhost"  # is answered with 404 on the spot
CERTIFICATES = {"a.localhost": "one", BARE: "one", "c.localhost": "another"}


@pytest.mark.parametrize(
    ("sni", "hosts", "statuses"),
    [
        (None, [BARE], [404]),
        (BARE, [BARE, BARE], [404, 404]),
        ("a.localhost", [BARE, BARE], [404, 404]),
        ("a.localhost", [BARE, "c.localhost"], [404, 421]),
        ("c.localhost", [BARE], [421]),
        ("c.localhost", ["nobody.localhost"], [421]),
        ("nobody.localhost", [BARE], [421]),
        (BARE, ["c.localhost"], [421]),
        (BARE, ["nobody.localhost"], [421]),
    ],
)
async def test_each_request_is_for_a_name_of_the_connection_s_certificate(
    sni: str | None, hosts: list[str], statuses: list[int]
) -> None:
    async with running_edge(1) as rig:
        visitor = rig.edge.protocol(secure=True, port=443, sni=lambda _: sni, certificate_for=CERTIFICATES.get)
        transport = Transport(visitor)
        visitor.connection_made(cast(Any, transport))
        for host in hosts:
            visitor.data_received(b"GET /x HTTP/1.1\r\nHost: %b\r\n\r\n" % host.encode())
        assert [int(code) for code in re.findall(rb"HTTP/1\.1 (\d{3}) ", transport.written)] == statuses
        assert transport.ends == (["eof"] if 421 in statuses else [])
        visitor.connection_lost(None)


async def test_a_connection_without_tls_is_for_every_name() -> None:
    async with running_edge(1) as rig:
        visitor = rig.edge.protocol(secure=False, port=80)
        transport = Transport(visitor)
        visitor.connection_made(cast(Any, transport))
        for _ in range(2):
            visitor.data_received(b"GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert transport.written.count(b"HTTP/1.1 404 ") == 2
        visitor.connection_lost(None)
