"""SSH and TLS on a port for plain HTTP are answered at once, in their own protocol."""

from __future__ import annotations

import asyncio

import pytest

from edge.http_rig import GET, URLS, running_edge
from ferry.edge.http.shared import Bounds
from ferry.protocol.wrong_port import TLS_ALERT, to_ssh
from ferry.streams import OpenFailure

PATIENT = Bounds(linger_seconds=0.1, tick_seconds=0.05)  # no answer here may wait for a deadline
HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100)


@pytest.mark.parametrize(
    "version",
    [b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", b"SSH-2.0-dropbear\r\n", b"SSH-2.0-bare\n", b"SSH-2.0-unfinished"],
)
async def test_an_ssh_client_is_told_the_ssh_port_at_once(version: bytes) -> None:
    async with running_edge(1, bounds=PATIENT) as rig, asyncio.timeout(8):  # a head has ten seconds
        assert await rig.talk(version) == to_ssh(URLS)
        assert [(event, fields["status"]) for event, fields in rig.reports] == [("edge.refused", 400)]


async def test_a_version_line_that_comes_in_pieces_is_understood() -> None:
    async with running_edge(1, bounds=PATIENT) as rig, asyncio.timeout(8):
        assert await rig.talk(b"SSH-2.0-slow\r\n", dribble=True) == to_ssh(URLS)


@pytest.mark.parametrize("hello", [HELLO, HELLO + b"\n\n", HELLO + b"\r\n\r\n"])
async def test_a_tls_client_gets_an_alert_at_once(hello: bytes) -> None:
    async with running_edge(1, bounds=PATIENT) as rig, asyncio.timeout(8):
        assert await rig.talk(hello) == TLS_ALERT


async def test_after_a_request_the_same_bytes_are_a_bad_request() -> None:
    async with running_edge(1, bounds=PATIENT) as rig, asyncio.timeout(8):
        rig.tunnel.refuse = OpenFailure.REFUSED
        answer = await rig.talk(GET + b"SSH-2.0-late\r\n")
        assert answer.count(b"HTTP/1.1 502 ") == 1
        assert answer.count(b"HTTP/1.1 400 ") == 1
        assert b"SSH-2.0-Ferry" not in answer
