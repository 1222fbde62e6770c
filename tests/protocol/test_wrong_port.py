"""The answers to clients on the port of another protocol."""

from __future__ import annotations

import struct

import pytest

from disconnect_packet import disconnect_in
from ferry.hostnames import Domain, Urls
from ferry.protocol.first_bytes import FirstBytes
from ferry.protocol.ssh_disconnect import SERVICE_NOT_AVAILABLE, ssh_disconnect
from ferry.protocol.wrong_port import on_ssh_port, to_ssh

REASON_BYTES = 400  # ssh cuts longer ones


def urls(ssh: int = 2222, http: int | None = 8080, https: int | None = 8443) -> Urls:
    return Urls(Domain("gw.example.com"), ssh, http, https, lambda _host: True)


@pytest.mark.parametrize("size", range(20))
def test_a_disconnect_is_whole_at_any_length_of_its_reason(size: int) -> None:
    assert disconnect_in(ssh_disconnect("x" * size, 12)) == (12, "x" * size)


@pytest.mark.parametrize(
    ("port", "command"),
    [(22, "Port 22 does: ssh gw.example.com"), (2222, "Port 2222 does: ssh -p 2222 gw.example.com")],
)
def test_an_ssh_client_is_told_the_ssh_port(port: int, command: str) -> None:
    code, reason = disconnect_in(to_ssh(urls(ssh=port)))
    assert code == SERVICE_NOT_AVAILABLE
    assert reason.endswith(command)
    assert len(reason) < REASON_BYTES


@pytest.mark.parametrize(
    ("where", "named"),
    [
        (urls(), b"HTTP is on port 8080: http://gw.example.com:8080"),
        (urls(http=80), b"HTTP is on port 80: http://gw.example.com"),
        (urls(http=None), b"HTTPS is on port 8443: https://gw.example.com:8443"),
        (urls(http=None, https=None), b"HTTP and HTTPS are off on this gateway."),
    ],
)
def test_an_http_client_gets_one_line_that_names_the_http_port(where: Urls, named: bytes) -> None:
    line = on_ssh_port(FirstBytes.HTTP, where)
    assert line.endswith(named + b"\r\n")
    assert line.count(b"\n") == 1
    assert len(line) <= 82


def test_a_tls_client_gets_a_fatal_alert() -> None:
    kind, major, _minor, size, level, _description = struct.unpack(">BBBHBB", on_ssh_port(FirstBytes.TLS, urls()))
    assert (kind, major, size, level) == (21, 3, 2, 2)
