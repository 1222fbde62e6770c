"""The originator of every channel is an endpoint that a socket can have: Go's x/crypto/ssh refuses port 0.

Read from the wire by stock `ssh -v`, which prints what `forwarded-tcpip` carries.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from child_process import Child
from ferry.names import Endpoint
from ferry.ssh.wire.originator import valid_originator
from ferry.streams import ANY_VISITOR
from gateway_process import Gateway
from line_service import LineService
from origin_server import Origin
from ssh_command import StockSsh, run
from web_client import visit


@contextmanager
def told(ssh: StockSsh, *forwards: str) -> Iterator[Child]:
    words = [word for forward in forwards for word in ("-R", forward)]
    with ssh.start("-N", "-v", *words) as child:
        child.error_line("remote forward success for")
        yield child


def originator(child: Child, *, after: int = 0) -> tuple[str, int]:
    found = child.err.wait(r"client_request_forwarded_tcpip: .* originator (\S+) port (\d+)", after=after)
    return found[1], int(found[2])


@pytest.mark.parametrize("port", [80, 443])
def test_pooled_streams_of_a_web_address_have_one_loopback_originator(
    gateway: Gateway, ssh: StockSsh, origin: Origin, name: str, port: int
) -> None:
    with told(ssh, f"{name}:{port}:127.0.0.1:{origin.port}") as child:
        visit(gateway, name)
        assert originator(child) == (ANY_VISITOR.host, ANY_VISITOR.port)


def test_an_upgraded_connection_has_its_visitor_as_originator(
    gateway: Gateway, ssh: StockSsh, origin: Origin, name: str
) -> None:
    with (
        told(ssh, f"{name}:80:127.0.0.1:{origin.port}") as child,
        socket.create_connection(("127.0.0.1", gateway.ports.http), timeout=20) as visitor,
    ):
        fields = "Connection: Upgrade\r\nUpgrade: echo\r\n"
        visitor.sendall(f"GET / HTTP/1.1\r\nHost: {name}.localhost\r\n{fields}\r\n".encode())
        assert originator(child) == visitor.getsockname()


def test_a_port_has_its_visitor_as_originator(gateway: Gateway, ssh: StockSsh, lines: LineService) -> None:
    port = next(gateway.loopback_ports)
    with (
        told(ssh, f"{port}:127.0.0.1:{lines.port}") as child,
        socket.create_connection(("127.0.0.1", port), timeout=20) as visitor,
    ):
        assert originator(child) == visitor.getsockname()


def test_an_alias_has_its_visitors_connection_as_originator(ssh: StockSsh, lines: LineService, name: str) -> None:
    with told(ssh, f"{name}:7:127.0.0.1:{lines.port}") as child:
        assert run(ssh.command("-W", f"{name}:7"), folder=ssh.folder, stdin=b"hi\n").out == "HI\nbye\n"
        host, port = originator(child)
        assert (host, 1024 <= port <= 65535) == ("127.0.0.1", True)


@pytest.mark.parametrize(
    ("known", "said"),
    [
        (Endpoint("192.0.2.7", 1), Endpoint("192.0.2.7", 1)),
        (Endpoint("2001:db8::7", 65535), Endpoint("2001:db8::7", 65535)),
        (Endpoint("0.0.0.0", 0), ANY_VISITOR),
        (Endpoint("192.0.2.7", 0), ANY_VISITOR),
        (Endpoint("192.0.2.7", 65536), ANY_VISITOR),
        (Endpoint("", 0), ANY_VISITOR),
        (Endpoint("", 5000), ANY_VISITOR),
    ],
    ids=str,
)
def test_an_address_that_no_socket_can_have_is_never_sent(known: Endpoint, said: Endpoint) -> None:
    assert valid_originator(known) == said
