"""`ssh -L` back to a client's own port, as autossh watches a connection, and to no other port."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from child_process import Child
from gateway_process import Gateway, gateway_in
from line_service import LineService
from ssh_command import environment

OWN_PORT_STREAMS = 8


@pytest.fixture(scope="module")
def apart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway whose public ports are not on 127.0.0.1, where a client on this machine listens for its `-L`."""
    with gateway_in(tmp_path_factory.mktemp("gateway"), tcp={"public_addresses": ["127.0.0.2"]}) as running:
        yield running


def test_autossh_sees_its_connection_alive_through_its_own_loop(apart: Gateway, tmp_path: Path, key: Path) -> None:
    """It restarted ssh at every poll."""
    port = next(apart.public_ports)
    command = apart.ssh(tmp_path, key).command("-N")
    environ = environment(tmp_path) | {
        "AUTOSSH_FIRST_POLL": "1", "AUTOSSH_POLL": "1", "AUTOSSH_DEBUG": "1", "AUTOSSH_GATETIME": "0",
    }  # fmt: skip
    with Child(["autossh", "-M", str(port), *command[1:]], env=environ, cwd=tmp_path) as child:
        child.error_line("connection ok")
        child.err.wait("connection ok", after=len(child.err.lines))
        assert "restarting ssh" not in child.err.text


@pytest.fixture
def held(apart: Gateway, tmp_path: Path, key: Path, lines: LineService, free_port: int) -> Iterator[tuple[Child, int]]:
    """A client that holds a port, and its `-L` back to it."""
    port = next(apart.public_ports)
    with apart.ssh(tmp_path, key).start(
        *("-v", "-T", "-R", f"{port}:127.0.0.1:{lines.port}", "-L", f"{free_port}:127.0.0.1:{port}")
    ) as child:
        child.line("^Forwarding TCP")
        yield child, free_port


def test_the_way_back_carries_bytes_both_ways(held: tuple[Child, int]) -> None:
    with socket.create_connection(("127.0.0.1", held[1]), timeout=20) as visitor:
        visitor.sendall(b"hello\n")
        assert b"hello" in visitor.recv(100).lower()


def test_streams_of_a_way_back_are_few(held: tuple[Child, int]) -> None:
    """A port whose local service is its own way back goes round. Each pass opens one more stream."""
    child, port = held
    visitors = [socket.create_connection(("127.0.0.1", port), timeout=20) for _ in range(OWN_PORT_STREAMS)]
    for visitor in visitors:
        visitor.sendall(b"hello\n")
        assert b"hello" in visitor.recv(100).lower()
    with socket.create_connection(("127.0.0.1", port), timeout=20) as one_more:
        assert one_more.recv(100) == b""
    child.error_line("resource shortage: .* works with fewer than")
    for visitor in visitors:
        visitor.close()


def test_an_own_port_is_reached_by_a_loopback_address_only(
    apart: Gateway, tmp_path: Path, key: Path, lines: LineService, free_port: int
) -> None:
    port = next(apart.public_ports)
    with apart.ssh(tmp_path, key).start(
        *("-v", "-T", "-R", f"{port}:127.0.0.1:{lines.port}", "-L", f"{free_port}:elsewhere.example:{port}")
    ) as child:
        child.line("^Forwarding TCP")
        with socket.create_connection(("127.0.0.1", free_port), timeout=20) as visitor:
            assert visitor.recv(100) == b""
        child.error_line("open failed")


@pytest.mark.parametrize("what", ["somebody-elses", "the-gateways-own"])
def test_no_other_port_is_reached(
    apart: Gateway,
    tmp_path: Path,
    key: Path,
    new_key: Callable[[], Path],
    lines: LineService,
    free_port: int,
    what: str,
) -> None:
    theirs = next(apart.public_ports)
    with apart.ssh(tmp_path, new_key()).start("-T", "-R", f"{theirs}:127.0.0.1:{lines.port}") as other:
        other.line("^Forwarding TCP")
        port = theirs if what == "somebody-elses" else apart.ports.http
        with apart.ssh(tmp_path, key).start("-v", "-N", "-L", f"{free_port}:127.0.0.1:{port}") as child:
            child.error_line("Entering interactive session")
            with socket.create_connection(("127.0.0.1", free_port), timeout=20) as visitor:
                assert visitor.recv(100) == b""
            child.error_line(f"administratively prohibited: no port {port} here for you: `ssh -p [0-9]+ localhost ls`")
