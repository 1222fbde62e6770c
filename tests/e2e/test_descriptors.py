"""A gateway that may open few files stops accepting in time: what is open goes on, and newcomers wait."""

from __future__ import annotations

import contextlib
import http.client
import resource
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from ferry import limits
from gateway_process import DOMAIN, Gateway
from line_service import LineService
from origin_server import Origin

CAREFUL = 240
USUAL = 11 * limits.UVLOOP_BURST
"""Enough for the loop's own server, which is what serves where nobody has lowered the limit."""


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """For this process, at whose end of all those connections the other half is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_descriptors")
@pytest.mark.parametrize("most", [CAREFUL, USUAL])
@pytest.mark.parametrize("kind", ["http", "tcp"])
def test_accepting_stops_at_nine_tenths_and_goes_on(
    tmp_path: Path, key: Path, origin: Origin, lines: LineService, kind: str, most: int
) -> None:
    many: dict[str, object] = {"visitors_per_tunnel": 5000, "channels_per_connection": 5000}
    gateway = Gateway(tmp_path, {"http": {"head_timeout": "100s"}, "limits": many})
    gateway.descriptors = most
    with contextlib.closing(gateway), contextlib.ExitStack() as stack:
        gateway.start()
        port = next(gateway.loopback_ports)
        web, tcp = f"blog:80:localhost:{origin.port}", f"{port}:localhost:{lines.port}"
        stack.enter_context(gateway.ssh(tmp_path, key).start("-R", web)).line("^Forwarding HTTP")
        frozen = stack.enter_context(gateway.ssh(tmp_path, key).start("-R", tcp))
        frozen.line("^Forwarding TCP")
        frozen.signal(signal.SIGSTOP)  # its visitors wait; ssh itself could not have so many
        held = stack.enter_context(
            contextlib.closing(http.client.HTTPConnection("127.0.0.1", gateway.ports.http, timeout=20))
        )

        def page() -> bytes:
            held.request("GET", "/", headers={"Host": f"blog.{DOMAIN}"})
            return held.getresponse().read()

        assert page() == b"origin"
        crowded = gateway.ports.http if kind == "http" else port
        with contextlib.ExitStack() as crowd:
            for _ in range(most + 60):
                crowd.enter_context(socket.create_connection(("127.0.0.1", crowded), 20))
            stopped = gateway.event('"accept.stopped"')
            assert stopped["limit"] == most
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
            assert most * 0.85 <= open_files < most
            assert gateway.ask("status")["counts"]["sessions"] == 2  # the operator still gets an answer
        frozen.close()
        gateway.event('"accept.resumed"')
        assert waiting[0].recv(100).startswith(b"SSH-2.0-Ferry")
        assert waiting[1].recv(100).startswith(b"HTTP/1.1 200")
        assert gateway.ssh(tmp_path, key).run(words="whoami").code == 0
        assert page() == b"origin"
        log = gateway.running.err.text
        assert (log.count("accept.stopped"), log.count("accept.resumed"), log.count("accept.paused")) == (1, 1, 0)
        gateway.stop()
