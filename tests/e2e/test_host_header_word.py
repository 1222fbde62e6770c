"""`host-header=` behind the host, as people type it."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from gateway_process import Gateway
from origin_server import Origin
from ssh_command import StockSsh
from threaded_server import ThreadedServer
from web_client import visit


class LikeVite(BaseHTTPRequestHandler):
    """Serves `localhost` alone, and refuses other hosts as Vite does."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        host = self.headers["Host"].partition(":")[0]
        refused = f'Blocked request. This host ("{host}") is not allowed.\nTo allow this host, add "{host}" to …'
        body = b"the app" if host == "localhost" else refused.encode()
        self.send_response(200 if host == "localhost" else 403)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def test_a_framework_that_refuses_the_host_gets_a_hint_and_the_word_helps(
    gateway: Gateway, ssh: StockSsh, name: str
) -> None:
    with ThreadedServer(ThreadingHTTPServer(("127.0.0.1", 0), LikeVite)) as app:
        forward = f"{name}:80:localhost:{app.port}"
        with ssh.start("-R", forward) as child:
            child.line("Forwarding HTTP")
            assert visit(gateway, name).status == 403
            child.line("or host-header=localhost")
            assert f"Vite refuses {name}.localhost: write server: {{ allowedHosts: [" in child.out.flat
        with ssh.start("-R", forward, words="host-header=localhost") as child:
            child.line("your local service gets Host")
            assert visit(gateway, name).text == "the app"


@pytest.mark.parametrize("words", ["host-header=localhost:3000", "-- --host-header localhost:3000"])
def test_the_forwards_of_the_session_get_that_host(
    gateway: Gateway, ssh: StockSsh, origin: Origin, name: str, words: str
) -> None:
    target = f"80:localhost:{origin.port}"
    with ssh.start("-R", f"{name}:{target}", "-R", f"{name}2:{target}", words=words) as child:
        child.line("Forwarding HTTP")
        child.line("  your local service gets Host: localhost:3000")
        for each in (name, f"{name}2"):
            fields = visit(gateway, each, "/headers").text.splitlines()
            assert "Host: localhost:3000" in fields
            assert any(field.startswith(f"X-Forwarded-Host: {each}.localhost") for field in fields)


def test_a_forward_without_the_word_has_the_visitors_host(
    gateway: Gateway, ssh: StockSsh, origin: Origin, name: str
) -> None:
    with ssh.start("-R", f"{name}:80:localhost:{origin.port}") as child:
        child.line("Forwarding HTTP")
        assert f"Host: {name}.localhost" in visit(gateway, name, "/headers").text


def test_a_wrong_host_closes_its_forwards_and_says_what_to_write(ssh: StockSsh, origin: Origin, name: str) -> None:
    ended = ssh.run("-R", f"{name}:80:localhost:{origin.port}", words="host-header=http://localhost")
    assert ended.code == 1
    assert "write host-header=localhost. This command's forwards are closed." in ended.err


def test_without_a_forward_it_is_an_error(ssh: StockSsh) -> None:
    ended = ssh.run(words="host-header=localhost")
    assert ended.code == 1
    assert "write it behind ssh -R ..." in ended.err
