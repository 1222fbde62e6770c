"""TCP ports: `ssh -R 0:...`, a chosen port, and the meaning of a bind address."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway_process import Gateway
from line_service import LineService, ask
from origin_server import Origin
from ssh_command import StockSsh

ANSWER = b"HELLO\nbye\n"


@pytest.fixture
def public(gateway: Gateway) -> int:
    return next(gateway.public_ports)


@pytest.fixture
def loopback(gateway: Gateway) -> int:
    return next(gateway.loopback_ports)


def test_an_allocated_port_is_returned_and_stays_the_same(gateway: Gateway, ssh: StockSsh, lines: LineService) -> None:
    ports = []
    for _ in range(2):
        with ssh.start("-R", f"0:localhost:{lines.port}") as child:
            ports.append(int(child.error_line(r"^Allocated port (\d+) for remote forward")[1]))
            child.line(f"Forwarding TCP traffic from localhost:{ports[-1]}$")
            assert ask(ports[-1], b"hello\n") == ANSWER
    assert ports[0] == ports[1]
    assert ports[0] in gateway.ports.public


def test_two_allocated_ports_in_one_connection(ssh: StockSsh, lines: LineService, origin: Origin) -> None:
    with ssh.start("-R", f"0:localhost:{lines.port}", "-R", f"0:localhost:{origin.port}") as child:
        first, second = (int(child.line(r"^Forwarding TCP traffic from localhost:(\d+)", after=n)[1]) for n in (0, 2))
        assert first != second
        assert ask(first, b"hello\n") == ANSWER
        assert ask(second, b"GET / HTTP/1.0\r\n\r\n").endswith(b"\r\n\r\norigin")


def test_a_chosen_public_port(ssh: StockSsh, lines: LineService, public: int) -> None:
    with ssh.start("-R", f"{public}:localhost:{lines.port}") as child:
        child.line(f"Forwarding TCP traffic from localhost:{public}$")
        child.line("^  only programs on the gateway's own machine can connect there$")
        child.line(r"^  its operator may open it to the network \(tcp\.public_addresses\)$")
        assert ask(public, b"hello\n") == ANSWER
        child.line(r"127\.0\.0\.1:\d+ \d+ms 6 B in, 10 B out")


def test_a_loopback_port_listens_on_both_loopback_addresses(ssh: StockSsh, lines: LineService, loopback: int) -> None:
    with ssh.start("-R", f"{loopback}:localhost:{lines.port}") as child:
        child.line(f"Forwarding TCP traffic from localhost:{loopback}$")
        child.line("only programs on the gateway's own machine can connect there$")
        assert [ask(loopback, b"hello\n", host) for host in ("127.0.0.1", "::1")] == [ANSWER, ANSWER]


@pytest.mark.parametrize("address", ["*", "0.0.0.0", "[::]", "192.0.2.7"])
def test_a_bind_address_is_no_name_and_opens_no_loopback_port(
    ssh: StockSsh, lines: LineService, loopback: int, address: str
) -> None:
    with ssh.start("-R", f"{address}:{loopback}:localhost:{lines.port}") as child:
        child.line(f"Forwarding TCP traffic from localhost:{loopback}$")
        child.line("the gateway ignores the address that you wrote before the port")
        assert ask(loopback, b"hello\n") == ANSWER


def test_a_port_outside_every_range_is_refused(gateway: Gateway, ssh: StockSsh, lines: LineService) -> None:
    ended = ssh.run("-R", f"{gateway.ports.outside}:localhost:{lines.port}")
    assert ended.code == 1
    assert f"Refused -R {gateway.ports.outside}: port {gateway.ports.outside} is outside" in ended.err
    assert "-R 0:... for any" in ended.err


def test_port_22_names_the_alias_form(ssh: StockSsh, lines: LineService) -> None:
    assert "-R NAME:22:... for a private alias" in ssh.run("-R", f"22:localhost:{lines.port}").err


def test_a_port_that_another_process_has_is_refused(ssh: StockSsh, lines: LineService, public: int) -> None:
    with socket.create_server(("127.0.0.1", public)):
        ended = ssh.run("-R", f"{public}:localhost:{lines.port}")
    assert ended.code == 1
    assert f"port {public}" in ended.err
    assert "in use" in ended.err
    assert f"port {public}" not in ssh.run(words="names").out  # it was never there: nothing is kept


def test_a_port_of_another_identity_is_refused_and_ones_own_is_taken_over(
    gateway: Gateway, ssh: StockSsh, new_key: Callable[[], Path], lines: LineService, public: int, tmp_path: Path
) -> None:
    forward = f"{public}:localhost:{lines.port}"
    with ssh.start("-R", forward) as first:
        first.line("Forwarding TCP")
        stranger = gateway.ssh(tmp_path, new_key()).run("-R", forward)
        assert (stranger.code, "belongs to somebody else" in stranger.err) == (1, True)
        with ssh.start("-R", forward) as second:
            second.line("Forwarding TCP")
            first.line(rf"^port {public} was taken over by your connection from 127\.0\.0\.1:\d+$")
            assert ask(public, b"hello\n") == ANSWER


def test_the_port_is_free_again_when_its_connection_ends(ssh: StockSsh, lines: LineService, public: int) -> None:
    with ssh.start("-R", f"{public}:localhost:{lines.port}") as child:
        child.line("Forwarding TCP")
    with ssh.start("-R", f"{public}:localhost:{lines.port}") as child:
        child.line("Forwarding TCP")
        assert ask(public, b"hello\n") == ANSWER


@pytest.mark.parametrize("allowed", [False, True])
def test_the_operator_decides_whether_a_public_port_may_be_a_proxy(
    start_gateway: Callable[..., Gateway], key: Path, lines: LineService, tmp_path: Path, *, allowed: bool
) -> None:
    """A whole SOCKS 5 conversation (RFC 1928), through the port, to a service behind the client."""
    gateway = start_gateway(tcp={"allow_open_proxy": allowed})
    public = next(gateway.public_ports)
    with gateway.ssh(tmp_path, key).start("-R", str(public)) as child:
        child.line("Forwarding TCP")
        with socket.create_connection(("127.0.0.1", public), timeout=20) as visitor, visitor.makefile("rb") as answers:
            visitor.sendall(b"\x05\x01\x00")
            if not allowed:
                with contextlib.suppress(ConnectionResetError):
                    assert answers.read() == b""
                child.line("a SOCKS proxy answered there")
                return
            assert answers.read(2) == b"\x05\x00"
            visitor.sendall(b"\x05\x01\x00\x01" + socket.inet_aton("127.0.0.1") + lines.port.to_bytes(2, "big"))
            assert answers.read(10)[:2] == b"\x05\x00"
            visitor.sendall(b"hello\n")
            visitor.shutdown(socket.SHUT_WR)
            assert answers.read() == ANSWER
        assert "SOCKS" not in child.out.text


def test_a_socks_proxy_on_a_public_port_is_closed_and_its_owner_told(
    ssh: StockSsh, lines: LineService, public: int
) -> None:
    """`-R 30042` alone is reverse SOCKS: on a public port it would be an open proxy."""
    with ssh.start("-R", str(public)) as child:
        child.line("Forwarding TCP")
        with socket.create_connection(("127.0.0.1", public), timeout=20) as visitor:
            visitor.sendall(b"\x05\x01\x00")
            with contextlib.suppress(ConnectionResetError):
                assert visitor.recv(10) == b""
        child.line("SOCKS|proxy")
        with pytest.raises(OSError, match="refused"):
            ask(public, b"hello\n")
