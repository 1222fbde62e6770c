"""The end of a gateway, as visitors and clients see it."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from gateway_process import Gateway
from line_service import LineService
from origin_server import Origin
from web_client import Page, visit


def in_background(action: Callable[[], Page]) -> tuple[threading.Thread, list[Page | Exception]]:
    """A visit that goes on while the test does; its page, or error, is in the list once the thread has ended."""
    pages: list[Page | Exception] = []

    def run() -> None:
        try:
            pages.append(action())
        except Exception as error:  # whatever it is, the test looks at it
            pages.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, pages


def health(gateway: Gateway) -> tuple[int, str]:
    """What a load balancer is told on the admin address."""
    with closing(http.client.HTTPConnection("127.0.0.1", gateway.ports.admin, timeout=20)) as connection:
        connection.request("GET", "/health")
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())["status"]


def test_a_request_in_flight_is_finished_and_clients_are_told_when_to_come_back(
    start_gateway: Callable[..., Gateway], key: Path, origin: Origin, tmp_path: Path
) -> None:
    gateway = start_gateway()
    with gateway.ssh(tmp_path, key).start("-R", f"blog:80:localhost:{origin.port}") as child:
        child.line("Forwarding HTTP")
        thread, pages = in_background(lambda: visit(gateway, "blog", "/slow"))
        assert origin.reached.wait(20)
        gateway.running.signal(signal.SIGTERM)
        child.line(r"^the gateway is stopping; retry-after=\d+$")
        gateway.event('"gateway.draining"')
        assert "Connection refused" in gateway.ssh(tmp_path, key).run().err  # nobody new
        assert health(gateway) == (503, "draining")
        assert gateway.running.running
        origin.go.set()
        thread.join(20)
        assert [page.text for page in pages if isinstance(page, Page)] == ["halfdone"]
        assert gateway.running.exit_code() == 0
        child.error_line(r"disconnect from .*the gateway is stopping; retry-after=\d+")
        assert child.exit_code() == 255


def test_a_second_signal_ends_at_once(
    start_gateway: Callable[..., Gateway], key: Path, origin: Origin, tmp_path: Path
) -> None:
    gateway = start_gateway()
    with gateway.ssh(tmp_path, key).start("-R", f"blog:80:localhost:{origin.port}") as child:
        child.line("Forwarding HTTP")
        thread, pages = in_background(lambda: visit(gateway, "blog", "/slow"))
        assert origin.reached.wait(20)
        gateway.running.signal(signal.SIGTERM)
        gateway.event('"gateway.draining"')
        gateway.running.signal(signal.SIGTERM)
        assert gateway.running.exit_code(10) == 0
        origin.go.set()
        thread.join(20)
        assert isinstance(pages[0], Exception)  # cut, never a clean end of half an answer


def test_an_idle_gateway_ends_at_once_with_clients_connected(
    start_gateway: Callable[..., Gateway], key: Path, origin: Origin, tmp_path: Path
) -> None:
    gateway = start_gateway()
    with gateway.ssh(tmp_path, key).start("-R", f"blog:80:localhost:{origin.port}") as child:
        child.line("Forwarding HTTP")
        assert visit(gateway, "blog").status == 200
        gateway.running.signal(signal.SIGTERM)
        assert gateway.running.exit_code(10) == 0
        child.line("retry-after=")
        assert child.exit_code() == 255


def test_a_frozen_client_does_not_hold_up_the_end(
    start_gateway: Callable[..., Gateway], key: Path, origin: Origin, tmp_path: Path
) -> None:
    gateway = start_gateway()
    with gateway.ssh(tmp_path, key).start("-R", f"blog:80:localhost:{origin.port}") as child:
        child.line("Forwarding HTTP")
        child.signal(signal.SIGSTOP)
        gateway.running.signal(signal.SIGTERM)
        assert gateway.running.exit_code(10) == 0


def test_dead_peers_are_cut_by_keepalive(
    start_gateway: Callable[..., Gateway], key: Path, origin: Origin, tmp_path: Path
) -> None:
    gateway = start_gateway(ssh={"keepalive_interval": "200ms", "keepalive_count": 2})
    with gateway.ssh(tmp_path, key).start("-R", f"blog:80:localhost:{origin.port}") as child:
        child.line("Forwarding HTTP")
        child.signal(signal.SIGSTOP)
        closed = gateway.event('"connection.closed"')
        assert closed["seconds"] < 10
        assert visit(gateway, "blog").status == 503


def say(connection: socket.socket, text: bytes) -> bytes:
    """One line, and its answer."""
    connection.sendall(text)
    return connection.makefile("rb").readline()


def test_connections_through_ports_and_aliases_have_the_drains_time_too(
    start_gateway: Callable[..., Gateway], key: Path, lines: LineService, origin: Origin, tmp_path: Path, free_port: int
) -> None:
    gateway = start_gateway()
    ssh = gateway.ssh(tmp_path, key)
    with ssh.start(
        *("-R", f"0:localhost:{lines.port}", "-R", f"laptop:7:localhost:{lines.port}"),
        *("-R", f"blog:80:localhost:{origin.port}"),
    ) as child, ssh.start("-N", "-v", "-L", f"127.0.0.1:{free_port}:laptop:7") as visitor:  # fmt: skip
        port = int(child.error_line(r"^Allocated port (\d+) for remote forward")[1])
        child.line("Forwarding HTTP")
        visitor.error_line("Entering interactive session")  # its port listens by now
        with (
            socket.create_connection(("127.0.0.1", port), timeout=20) as tcp,
            socket.create_connection(("127.0.0.1", free_port), timeout=20) as alias,
        ):
            assert (say(tcp, b"a\n"), say(alias, b"b\n")) == (b"A\n", b"B\n")
            thread, pages = in_background(lambda: visit(gateway, "blog", "/slow"))
            assert origin.reached.wait(20)
            gateway.running.signal(signal.SIGTERM)
            gateway.event('"gateway.draining"')
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port), timeout=20)
            origin.go.set()
            thread.join(20)
            assert [page.text for page in pages if isinstance(page, Page)] == ["halfdone"]
            # The last request has ended; these go on, each by itself.
            assert (say(tcp, b"c\n"), say(alias, b"d\n")) == (b"C\n", b"D\n")
            tcp.shutdown(socket.SHUT_WR)
            assert tcp.recv(100) == b"bye\n"
            assert say(alias, b"e\n") == b"E\n"
            alias.shutdown(socket.SHUT_WR)
            assert alias.recv(100) == b"bye\n"
        assert gateway.running.exit_code(20) == 0


@pytest.mark.parametrize("end", ["time", "a second signal"])
def test_the_drain_resets_a_connection_that_outlasts_it(
    end: str, key: Path, lines: LineService, tmp_path: Path
) -> None:
    with closing(Gateway(tmp_path, top={"drain": "300ms"} if end == "time" else {})) as gateway:
        gateway.start()
        with gateway.ssh(tmp_path, key).start("-R", f"0:localhost:{lines.port}") as child:
            port = int(child.error_line(r"^Allocated port (\d+) for remote forward")[1])
            child.line("Forwarding TCP")
            with socket.create_connection(("127.0.0.1", port), timeout=20) as tcp:
                assert say(tcp, b"a\n") == b"A\n"
                gateway.running.signal(signal.SIGTERM)
                gateway.event('"gateway.draining"')
                if end != "time":
                    assert say(tcp, b"b\n") == b"B\n"
                    gateway.running.signal(signal.SIGTERM)
                with pytest.raises(ConnectionResetError):
                    tcp.recv(100)
            assert gateway.running.exit_code(10) == 0
