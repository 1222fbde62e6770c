"""A gateway with few descriptors: stalled visitors make room for others, and accepting stops in time."""

from __future__ import annotations

import contextlib
import http.client
import resource
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway_process import DOMAIN, Gateway
from line_service import LineService
from origin_server import Origin
from ssh_command import StockSsh

UVLOOP_BURST = 256
CAREFUL = 240
CROWD = {"http": b" 200", "tcp": b""}
"""How the first 12 bytes end that each of them is sent."""
USUAL = 11 * UVLOOP_BURST
"""Enough for the loop's own server, which is what serves where nobody has lowered the limit."""


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """For this process, at whose end of all those connections the other half is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _get(gateway: Gateway, source: str) -> bytes:
    """What a newcomer from `source` is answered, on a connection of its own; nothing if it was closed at once."""
    with socket.create_connection(("127.0.0.1", gateway.ports.http), 20, (source, 0)) as sock:
        sock.sendall(f"GET / HTTP/1.1\r\nHost: blog.{DOMAIN}\r\nConnection: close\r\n\r\n".encode())
        with contextlib.suppress(ConnectionResetError):
            return sock.recv(12)
        return b""


@contextlib.contextmanager
def published(gateway: Gateway, ssh: StockSsh, origin: Origin, lines: LineService) -> Iterator[list[int]]:
    """The gateway is started, with `blog` and two ports while the context lasts. Yields the ports."""
    gateway.start()
    ports = [next(gateway.loopback_ports) for _ in range(2)]
    forwards = [f"{port}:localhost:{lines.port}" for port in ports]
    with ssh.start("-R", f"blog:80:localhost:{origin.port}", "-R", forwards[0], "-R", forwards[1]) as child:
        child.line("^Forwarding HTTP")
        for _ in ports:
            child.line("^Forwarding TCP")
        yield ports


def open_files(gateway: Gateway) -> int:
    return len(list(Path(f"/proc/{gateway.running.process.pid}/fd").iterdir()))


@pytest.mark.parametrize("kind", CROWD)
def test_stalled_visitors_make_room_for_others(
    tmp_path: Path, key: Path, origin: Origin, lines: LineService, kind: str
) -> None:
    settings: dict[str, dict[str, object]] = {
        "http": {"head_timeout": "100s"},
        "limits": {"visitors_per_tunnel": 2000, "exempt": ["192.0.2.0/24"]},
    }
    gateway = Gateway(tmp_path, settings)
    gateway.descriptors = CAREFUL
    with contextlib.closing(gateway), contextlib.ExitStack() as stack:
        ports = stack.enter_context(published(gateway, gateway.ssh(tmp_path, key), origin, lines))
        # Visitors from where the client is, as here, have a share of one port only.
        crowded = [gateway.ports.http] if kind == "http" else ports
        crowd = stack.enter_context(contextlib.ExitStack())
        with contextlib.suppress(ConnectionResetError):  # where they are short, who holds most of them gets no more
            for number in range(CAREFUL):
                address = ("127.0.0.1", crowded[number % len(crowded)])
                sock = crowd.enter_context(socket.create_connection(address, 20, ("127.0.1.1", 0)))
                sock.sendall(f"GET / HTTP/1.1\r\nHost: blog.{DOMAIN}\r\n\r\n".encode())
                if not sock.recv(12).endswith(CROWD[kind]):
                    break
        assert open_files(gateway) > CAREFUL * 0.75
        served = 0
        for _ in range(200):  # nobody is judged who has not been there for a moment
            served += _get(gateway, "127.0.9.9") == b"HTTP/1.1 200"
        assert served > 100
        assert {_get(gateway, "127.0.9.9") for _ in range(50)} == {b"HTTP/1.1 200"}
        assert gateway.ssh(tmp_path, key).run(words="whoami").code == 0
        assert gateway.ask("status")["counts"]["connections"] == 1
        assert CAREFUL * 0.75 < open_files(gateway) < CAREFUL * 0.9
        crowd.close()  # a drain would wait for them
        gateway.stop()


@pytest.mark.usefixtures("many_descriptors")
@pytest.mark.parametrize("most", [CAREFUL, USUAL])
def test_accepting_stops_at_nine_tenths_and_goes_on(
    tmp_path: Path, key: Path, origin: Origin, lines: LineService, most: int
) -> None:
    """It is SSH clients who come: no visitor can make room for them."""
    gateway = Gateway(tmp_path, {"ssh": {"handshakes": 5000}})
    gateway.descriptors = most
    with contextlib.closing(gateway), contextlib.ExitStack() as stack:
        port, _ = stack.enter_context(published(gateway, gateway.ssh(tmp_path, key), origin, lines))
        held = stack.enter_context(
            contextlib.closing(http.client.HTTPConnection("127.0.0.1", gateway.ports.http, timeout=20))
        )

        def page() -> bytes:
            held.request("GET", "/", headers={"Host": f"blog.{DOMAIN}"})
            return held.getresponse().read()

        assert page() == b"origin"
        with contextlib.ExitStack() as crowd:
            for _ in range(most + 60):
                crowd.enter_context(socket.create_connection(("127.0.0.1", gateway.ports.ssh), 20))
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
            assert most * 0.85 <= open_files(gateway) < most
            assert gateway.ask("status")["counts"]["connections"] == 1  # the operator still gets an answer
        gateway.event('"accept.resumed"')
        assert waiting[0].recv(100).startswith(b"SSH-2.0-Ferry")
        assert waiting[1].recv(100).startswith(b"HTTP/1.1 200")
        assert gateway.ssh(tmp_path, key).run(words="whoami").code == 0
        assert page() == b"origin"
        log = gateway.running.err.text
        assert (log.count("accept.stopped"), log.count("accept.resumed"), log.count("accept.paused")) == (1, 1, 0)
        waiting[3].close()  # a drain would wait for it
        gateway.stop()
