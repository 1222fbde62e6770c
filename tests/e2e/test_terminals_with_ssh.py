"""A session of stock ssh in a real terminal: what stands on the screen, at any width."""

from __future__ import annotations

import re
import socket
import socketserver
import threading
from collections.abc import Callable
from contextlib import closing
from typing import ClassVar

import pytest

from gateway_process import Gateway
from origin_server import Origin
from ssh_command import StockSsh, environment
from terminal_child import TerminalChild
from threaded_server import ThreadedServer
from web_client import visit

Start = Callable[..., TerminalChild]


@pytest.fixture
def start(ssh: StockSsh, origin: Origin, name: str) -> Start:
    """Starts `ssh -R NAME:80:...` in a terminal."""

    def start(
        *arguments: str, columns: int = 80, words: str = "", port: int = origin.port, **env: str
    ) -> TerminalChild:
        forward = ("-R", f"{name}:80:localhost:{port}")
        return TerminalChild(
            ssh.command("-t", *forward, *arguments, words=words),
            env=environment(ssh.folder) | env,
            cwd=ssh.folder,
            columns=columns,
        )

    return start


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_lines_fit_the_width_and_the_live_line_is_the_last(
    gateway: Gateway, start: Start, name: str, columns: int
) -> None:
    with start(columns=columns) as child:
        child.shows("^0 visitors now   0 requests   0 B  $")
        assert visit(gateway, name, "/" + "x" * 200).status == 200
        line = child.shows("/xxx")
        assert len(line) == columns - 1
        assert line.endswith(" 127.0.0.1")
        child.shows(r"^0 visitors now   1 request   6 B   p50 \d+ms  $")
        assert child.screen.lines.index(line) == len(child.screen.lines) - 2
        assert child.screen.title == f"{name}.localhost: 0 visitors"
        child.typed(b"q")
        assert child.exit_code() == 0
        assert "visitors" not in child.screen.lines[-1]
    assert visit(gateway, name).status == 503


def test_a_line_of_ssh_about_a_refused_forward_stands_alone(ssh: StockSsh, start: Start) -> None:
    """It stood behind the live line."""
    shared = ("-S", str(ssh.folder / "shared"))
    with start("-M", *shared, "-R", "admin:80:127.0.0.1:9") as child:
        child.shows("^0 visitors now   0 requests   0 B  $")
        child.shows("^Warning: remote port forwarding failed for listen port 80$")
        assert ssh.run(*shared, "-O", "forward", "-R", "www:80:127.0.0.1:9").code == 255
        child.shows("^[a-z_]*: remote port forwarding failed for listen port 80$")
        child.shows("^0 visitors now   0 requests   0 B  $")
        assert sum("visitors now" in line for line in child.screen.lines) == 1


def test_a_window_that_changes_its_width_changes_the_lines(gateway: Gateway, start: Start, name: str) -> None:
    with start() as child:
        child.shows("0 visitors now")
        for columns in (60, 120):
            child.resize(columns)
            target = f"/{columns}"
            while len(line := _line_of(child, gateway, name, target)) != columns - 1:
                target += "x"  # the new width was on its way
            assert line.endswith(" 127.0.0.1")


def _line_of(child: TerminalChild, gateway: Gateway, name: str, target: str) -> str:
    assert visit(gateway, name, target).status == 200
    return child.shows(f" {target} ")


class Lasting(ThreadedServer):
    """A service whose visits last until `over` is set: `/ws` is upgraded, `/events` is an event stream."""

    def __init__(self) -> None:
        self.over = threading.Event()
        super().__init__(_Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"over": self.over})))


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True


class _Handler(socketserver.StreamRequestHandler):
    over: ClassVar[threading.Event]

    def handle(self) -> None:
        target = self.rfile.readline().split()[1]
        while self.rfile.readline() != b"\r\n":
            pass
        if target == b"/ws":
            self.wfile.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        else:
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")
        self.over.wait(30)


@pytest.mark.parametrize(("target", "status"), [("/ws", 101), ("/events", 200)])
def test_a_visit_that_lasts_has_a_line_when_it_opens_and_one_when_it_ends(
    gateway: Gateway, start: Start, name: str, target: str, status: int
) -> None:
    with closing(Lasting()) as service, start(port=service.port) as child:
        child.shows("0 visitors now")
        with socket.create_connection(("127.0.0.1", gateway.ports.http), timeout=20) as visitor:
            upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\n" if status == 101 else b""
            head = f"GET {target} HTTP/1.1\r\nHost: {name}.localhost\r\n".encode()
            visitor.sendall(head + upgrade + b"\r\n")
            assert visitor.recv(1000).startswith(b"HTTP/1.1 %d " % status)
            child.shows(f"Z {status}  open GET  {target} ")
            child.shows("^1 visitor now   0 requests")
            service.over.set()
        child.shows(rf"Z {status} +\d+m?s GET  {target} ")
        child.shows(r"^0 visitors now   1 request   \d+ B  $")


@pytest.mark.parametrize("term", ["dumb", "xterm"])
def test_dumb_terminals_and_no_color_get_plain_text(gateway: Gateway, start: Start, name: str, term: str) -> None:
    no_color = {} if term == "dumb" else {"NO_COLOR": "1"}
    with start("-o", "SendEnv=NO_COLOR", TERM=term, **no_color) as child:
        child.shows("^[?] help ")
        assert visit(gateway, name, "/plain").status == 200
        child.shows(r"Z 200 +\d+ms GET  /plain ")
        child.typed(b"s")
        child.shows("^1 request, ")
        child.typed(b"\x03")
        assert child.exit_code() == 0
        assert b"\x1b" not in child.raw


def test_all_keys(gateway: Gateway, start: Start, name: str) -> None:
    with start() as child:
        child.shows("^[?] help ")
        for key, shown in (
            (b"?", "^q quit"), (b"s", "^0 requests, 0 B in"), (b"r", f"^http://{name}"), (b"p", "^paused: p goes on"),
        ):  # fmt: skip
            child.typed(key)
            child.shows(shown)
        assert visit(gateway, name, "/hidden").status == 200
        child.shows("^paused: 1 request not shown")
        child.typed(b"c")
        child.shows_no("c clear  ")
        child.shows(f"^Forwarding HTTP traffic from http://{name}")
        assert not any("hidden" in line for line in child.screen.lines)
        child.typed(b"p")
        child.shows("^1 request not shown$")
        child.typed(b"\x04")
        assert child.exit_code() == 0


def test_a_file_behind_a_terminal_gets_plain_text(gateway: Gateway, ssh: StockSsh, origin: Origin, name: str) -> None:
    """`ssh … gw > log`: ssh requests a terminal all the same. Nobody answers the one question in its output."""
    command = ssh.command("-t", "-R", f"{name}:80:localhost:{origin.port}")
    seen = gateway.log_lines
    with TerminalChild(
        ["sh", "-c", '"$@" > log', "sh", *command], env=environment(ssh.folder), cwd=ssh.folder
    ) as child:
        gateway.event(rf'"tunnel\.opened".*{name}', after=seen)
        assert visit(gateway, name, "/filed").status == 200
        child.typed(b"q")
        assert child.exit_code() == 0
    log = (ssh.folder / "log").read_bytes()
    assert log.startswith(f"Forwarding HTTP traffic from http://{name}.localhost".encode())
    assert re.search(rb"\d\dZ 200 +\d+ms GET  /filed +127\.0\.0\.1\r\n\Z", log)
    assert log.count(b"\x1b") == 1


def test_a_pipe_never_sees_an_escape_sequence(gateway: Gateway, ssh: StockSsh, origin: Origin, name: str) -> None:
    with ssh.start("-R", f"{name}:80:localhost:{origin.port}", env={"TERM": "xterm-256color"}) as child:
        child.line("Forwarding HTTP")
        for number in range(3):
            assert visit(gateway, name, f"/{number}?q=secret").status == 200
            child.line(rf"^GET /{number}\?q=\.\.\. 200 \d+ms 127\.0\.0\.1$")
        assert "\x1b" not in child.out.text + child.err.text
        assert "visitors now" not in child.out.text
