"""A gateway that may open few files stops accepting in time: what is open goes on, and newcomers wait."""

from __future__ import annotations

import contextlib
import http.client
import socket
from pathlib import Path

import pytest

from gateway_process import DOMAIN, Gateway
from line_service import LineService
from origin_server import Origin

DESCRIPTORS = 240
TOO_MANY = 300


@pytest.mark.parametrize("kind", ["http", "tcp"])
def test_accepting_stops_at_nine_tenths_and_goes_on(
    tmp_path: Path, key: Path, origin: Origin, lines: LineService, kind: str
) -> None:
    gateway = Gateway(tmp_path, {"http": {"head_timeout": "100s"}, "limits": {"visitors_per_tunnel": 2000}})
    gateway.descriptors = DESCRIPTORS
    with contextlib.closing(gateway), contextlib.ExitStack() as stack:
        gateway.start()
        port = next(gateway.loopback_ports)
        web, tcp = f"blog:80:localhost:{origin.port}", f"{port}:localhost:{lines.port}"
        child = stack.enter_context(gateway.ssh(tmp_path, key).start("-R", web, "-R", tcp))
        child.line("^Forwarding HTTP")
        child.line("^Forwarding TCP")
        held = stack.enter_context(
            contextlib.closing(http.client.HTTPConnection("127.0.0.1", gateway.ports.http, timeout=20))
        )

        def page() -> bytes:
            held.request("GET", "/", headers={"Host": f"blog.{DOMAIN}"})
            return held.getresponse().read()

        assert page() == b"origin"
        crowded = gateway.ports.http if kind == "http" else port
        with contextlib.ExitStack() as crowd:
            for _ in range(TOO_MANY):
                crowd.enter_context(socket.create_connection(("127.0.0.1", crowded), 20))
            stopped = gateway.event('"accept.stopped"')
            assert stopped["limit"] == DESCRIPTORS
            for _ in range(20):
                assert page() == b"origin"
            waiting = [
                stack.enter_context(socket.create_connection(("127.0.0.1", one), 20))
                for one in (gateway.ports.ssh, gateway.ports.http, gateway.ports.https, port)
            ]
            waiting[1].sendall(f"GET / HTTP/1.1\r\nHost: blog.{DOMAIN}\r\nConnection: close\r\n\r\n".encode())
            waiting[0].settimeout(1)
            with pytest.raises(TimeoutError):  # the greeting comes at once from a listener that accepts
                waiting[0].recv(100)
            waiting[0].settimeout(20)
            open_files = len(list(Path(f"/proc/{gateway.running.process.pid}/fd").iterdir()))
            assert DESCRIPTORS * 0.85 <= open_files < DESCRIPTORS
            assert gateway.ask("status")["counts"]["sessions"] == 1  # the operator still gets an answer
        gateway.event('"accept.resumed"')
        assert waiting[0].recv(100).startswith(b"SSH-2.0-Ferry")
        assert waiting[1].recv(100).startswith(b"HTTP/1.1 200")
        assert gateway.ssh(tmp_path, key).run(words="whoami").code == 0
        assert page() == b"origin"
        log = gateway.running.err.text
        assert (log.count("accept.stopped"), log.count("accept.resumed"), log.count("accept.paused")) == (1, 1, 0)
        gateway.stop()
