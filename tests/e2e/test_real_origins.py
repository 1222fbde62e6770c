"""Real software at the far end: nginx, a WebSocket server, server-sent events, and an origin that speaks TLS."""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import http.server
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

from child_process import Child
from ferry_command import clean_environment
from gateway_process import Gateway
from origin_server import FILE, FILE_SHA256, Origin
from ssh_command import StockSsh, environment
from web_client import visit


@pytest.fixture
def nginx(tmp_path: Path, free_port: int) -> Iterator[int]:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "file").write_bytes(FILE)
    (tmp_path / "nginx.conf").write_text(f"""
        daemon off; master_process off; pid {tmp_path}/pid; error_log stderr;
        events {{}}
        http {{ access_log off; client_body_temp_path {tmp_path}/body; proxy_temp_path {tmp_path}/proxy;
               fastcgi_temp_path {tmp_path}/fastcgi; uwsgi_temp_path {tmp_path}/uwsgi; scgi_temp_path {tmp_path}/scgi;
               server {{ listen 127.0.0.1:{free_port}; root {tmp_path}/site; }} }}
    """)
    command: list[str | Path] = [
        "/usr/sbin/nginx",
        "-p",
        tmp_path,
        "-c",
        tmp_path / "nginx.conf",
        "-g",
        "error_log stderr info;",
    ]
    with Child(command, env=environment(tmp_path), cwd=tmp_path) as child:
        while True:
            try:
                socket.create_connection(("127.0.0.1", free_port), timeout=5).close()
                break
            except ConnectionRefusedError:
                assert child.running, child.err.text
        yield free_port


def test_files_ranges_and_keep_alive_of_nginx(gateway: Gateway, ssh: StockSsh, nginx: int, name: str) -> None:
    with ssh.start("-R", f"{name}:80:localhost:{nginx}") as child:
        child.line("Forwarding HTTP")
        connection = http.client.HTTPConnection("127.0.0.1", gateway.ports.http, timeout=20)
        host = {"Host": f"{name}.localhost"}
        with closing(connection):
            bodies = []
            for method, fields in (("GET", {}), ("HEAD", {}), ("GET", {"Range": "bytes=1000-1999"})):
                connection.request(method, "/file", headers=host | fields)
                answer = connection.getresponse()
                bodies.append((answer.status, answer.getheader("Content-Length"), answer.read()))
                assert not answer.will_close
        assert hashlib.sha256(bodies[0][2]).hexdigest() == FILE_SHA256
        assert bodies[1] == (200, str(len(FILE)), b"")
        assert bodies[2] == (206, "1000", FILE[1000:2000])
        assert visit(gateway, name, "/nothing").status == 404


async def test_a_websocket_both_ways(gateway: Gateway, ssh: StockSsh, name: str) -> None:
    async def echo(peer: ServerConnection) -> None:
        async for message in peer:
            await peer.send(message)

    async with serve(echo, "127.0.0.1", 0, max_size=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        with ssh.start("-R", f"{name}:80:127.0.0.1:{port}") as child:
            await asyncio.to_thread(child.line, "Forwarding HTTP")
            uri = f"ws://{name}.localhost/chat"
            visitor = connect(
                uri, host="127.0.0.1", port=gateway.ports.http, max_size=None, proxy=None, compression=None
            )
            async with visitor as peer:
                for message in ("hello", FILE[:1_000_000], "bye"):
                    await peer.send(message)
                    assert await peer.recv() == message
            await asyncio.to_thread(child.line, "^GET /chat 101")


def test_events_arrive_one_by_one(gateway: Gateway, ssh: StockSsh, origin: Origin, name: str) -> None:
    """The first half of an answer is with the visitor while the origin has not sent the second."""
    with ssh.start("-R", f"{name}:80:localhost:{origin.port}") as child:
        child.line("Forwarding HTTP")
        with socket.create_connection(("127.0.0.1", gateway.ports.http), timeout=20) as visitor:
            visitor.sendall(f"GET /slow HTTP/1.1\r\nHost: {name}.localhost\r\n\r\n".encode())
            got = b""
            while not got.endswith(b"half"):
                got += visitor.recv(1000)
            assert not origin.go.is_set()
            origin.go.set()
            assert visitor.recv(1000) == b"done"


def test_443_means_that_the_local_service_speaks_tls(
    gateway: Gateway, ssh: StockSsh, name: str, tmp_path: Path
) -> None:
    key = tmp_path / "tls.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ed25519", "-nodes", "-subj", "/CN=localhost", "-keyout", key, "-out", tmp_path / "tls.crt"],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "tls.crt", key)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Hello)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        with ssh.start("-R", f"{name}:443:localhost:{server.server_address[1]}") as child:
            child.line("the gateway speaks TLS to your local service and does not check its certificate")
            assert visit(gateway, name).text == "over tls"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


class _Hello(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b"over tls" if isinstance(self.connection, ssl.SSLSocket) else b"in clear"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_https_with_the_gateways_own_ca(gateway: Gateway, ssh: StockSsh, origin: Origin, name: str) -> None:
    port = gateway.ports.https
    with ssh.start("-R", f"{name}:80:localhost:{origin.port}") as child:
        child.line(f"https://{name}.localhost:{port}$")
        ca = gateway.state / "ca" / "ca.crt"
        command = ["curl", "-q", "-sS", "--cacert", str(ca), "--resolve", f"{name}.localhost:{port}:127.0.0.1"]
        done = subprocess.run(
            [*command, f"https://{name}.localhost:{port}/"],
            capture_output=True,
            text=True,
            check=False,
            env=clean_environment(),
        )
        assert (done.returncode, done.stdout) == (0, "origin"), done.stderr
        child.line("^GET / 200")


def test_ssh_on_the_https_port(gateway: Gateway, key: Path, origin: Origin, name: str, tmp_path: Path) -> None:
    ssh = StockSsh(tmp_path, "127.0.0.1", gateway.ports.https, key)
    with ssh.start("-R", f"{name}:80:localhost:{origin.port}") as child:
        child.line("Forwarding HTTP")
        assert visit(gateway, name).text == "origin"


def test_under_n_the_address_is_shown_with_v_and_listed_by_another_command(
    gateway: Gateway, new_key: Callable[[], Path], tmp_path: Path, origin: Origin
) -> None:
    ssh = gateway.ssh(tmp_path, new_key())
    with ssh.start("-N", "-v", "-R", f"80:localhost:{origin.port}") as child:
        name = child.error_line(r"Remote: granted http://([a-z-]+)\.localhost")[1]
        assert visit(gateway, name).text == "origin"
        assert f"http://{name}.localhost:" in ssh.run(words="ls").out
        assert "ferry:" not in child.err.text
