"""`ssh -R 80 gw` names no local service. It is seen at the first visit, and told on the page and in the session."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from socketserver import BaseRequestHandler, ThreadingTCPServer

import pytest

from gateway_process import Gateway
from ssh_command import StockSsh
from threaded_server import ThreadedServer
from web_client import visit

HINT = "closed a visit without an answer: if your -R 80 names no local service, write -R 80:localhost:3000"


@pytest.fixture
def closing() -> Iterator[ThreadedServer]:
    """A service that reads a request and closes, as many do to plain HTTP that speak TLS."""

    class Handler(BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(65536)
            self.request.shutdown(socket.SHUT_RDWR)

    class Server(ThreadingTCPServer):
        daemon_threads = True

    with ThreadedServer(Server(("127.0.0.1", 0), Handler)) as running:
        yield running


def test_the_page_and_the_session_say_what_to_write_once(gateway: Gateway, ssh: StockSsh, name: str) -> None:
    with ssh.start("-R", f"{name}:80") as child:
        child.line("Forwarding HTTP")
        for _ in range(2):
            page = visit(gateway, name, fields={"Accept": "text/html"})
            assert page.status == 502
            assert "write <code>-R 80:localhost:3000</code>" in page.text
            child.line("GET / 502 .*as ssh does for -R 80 without a local service")
        assert child.out.flat.count(f"{name}.localhost {HINT}") == child.out.flat.count(HINT) == 1


def test_before_a_visit_nothing_is_opened(gateway: Gateway, ssh: StockSsh, name: str) -> None:
    """A probe would send bytes to a service that has no visitor."""
    with ssh.start("-v", "-R", f"{name}:80") as child:
        child.line("Forwarding HTTP")
        assert "client_input_channel_open" not in child.err.text
        visit(gateway, name)
        child.error_line("client_input_channel_open: ctype forwarded-tcpip")


def test_a_service_that_closes_is_not_taken_for_none(
    gateway: Gateway, ssh: StockSsh, name: str, closing: ThreadedServer
) -> None:
    with ssh.start("-R", f"{name}:80:localhost:{closing.port}") as child:
        child.line("Forwarding HTTP")
        assert "closed without an answer" in visit(gateway, name).text.lower()
        child.line("closes without an answer: if it speaks TLS, write -R 443:...")
        assert HINT not in child.out.flat


def test_with_443_too(gateway: Gateway, ssh: StockSsh, name: str) -> None:
    with ssh.start("-R", f"{name}:443") as child:
        child.line("Forwarding HTTP")
        page = visit(gateway, name, fields={"Accept": "text/html"})
        assert page.status == 502
        assert "names no local service, write <code>-R 443:localhost:8443</code>" in page.text
        child.line("-R 443:localhost:8443$")
        assert "if your -R 443 names no local service, write -R 443:localhost:8443" in child.out.flat


def test_an_alias_too(ssh: StockSsh, name: str) -> None:
    with ssh.start("-R", f"{name}:22") as child:
        child.line("Forwarding private alias")
        with ssh.start("-W", f"{name}:22", keyboard=True) as visitor:
            visitor.typed("SSH-2.0-x\r\n")
            assert visitor.exit_code() in (0, 255)
            assert visitor.out.lines == []
        child.line(f"-R {name}:22:localhost:22$")
        assert f"{name}:22 closed a visit without an answer: if your -R {name}:22 names no local" in child.out.flat
