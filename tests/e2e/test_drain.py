"""The end of a gateway, as visitors and clients see it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from pathlib import Path

from gateway_process import Gateway
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
        assert gateway.ssh(tmp_path, key).run().code == 255  # nobody new
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
