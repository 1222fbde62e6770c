"""A reload that takes a port, an address, a name or a folder of sockets away closes what is open there, and nothing else."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway_process import Gateway
from kernel_sockets import listening_on
from line_service import LineService
from sockets_gateway import gateway_with_sockets
from ssh_command import StockSsh

HERE, THERE = "127.0.0.1", "127.0.0.2"


def reload(gateway: Gateway, **tables: dict[str, object]) -> None:
    """Reload the gateway with these settings, beside those that it has."""
    seen = gateway.log_lines
    gateway.settings = gateway.settings | tables
    gateway.write_config()
    gateway.running.signal(signal.SIGHUP)
    gateway.event(r'"config\.reloaded"', after=seen)


def ranges(gateway: Gateway, *, last: int = 0, public: str = "public") -> list[dict[str, object]]:
    """The ranges of the test's gateway; the public ports end with `last`, and listen as `public` says."""
    local, chosen = gateway.ports.loopback, gateway.ports.chosen
    return [
        {"first": local[0], "last": local[-1], "listen": "loopback"},
        {"first": chosen[0], "last": last or chosen[-1], "listen": public},
    ]


@pytest.fixture
def gateway(modules_gateway: Gateway) -> Gateway:
    """A gateway whose public ports listen on two addresses."""
    reload(modules_gateway, tcp={"public_addresses": [HERE, THERE], "ranges": ranges(modules_gateway)}, names={})
    return modules_gateway


@contextmanager
def visitor(port: int) -> Iterator[Callable[[bytes], bytes]]:
    """Somebody who stays connected to a port, and gets an answer to a line."""
    with socket.create_connection((HERE, port), timeout=20) as connected, connected.makefile("rb") as answers:

        def ask(text: bytes) -> bytes:
            connected.sendall(text + b"\n")
            return answers.readline()

        yield ask


def test_an_address_that_is_taken_away_closes_its_ports(gateway: Gateway, ssh: StockSsh, lines: LineService) -> None:
    public, local, seen = next(gateway.public_ports), next(gateway.loopback_ports), gateway.log_lines
    with (
        ssh.start("-N", "-R", f"{public}:localhost:{lines.port}") as exposed,
        ssh.start("-R", f"{local}:localhost:{lines.port}") as inside,
    ):
        inside.line(f"^Forwarding TCP traffic from localhost:{local}$")
        gateway.event(f'"tunnel.opened".*port {public}', after=seen)
        assert listening_on(public) == {HERE, THERE}
        with visitor(local) as asks:
            assert asks(b"before") == b"BEFORE\n"
            reload(gateway, tcp={"public_addresses": [HERE], "ranges": ranges(gateway)})
            exposed.error_line(
                r"was closed: the operator has changed where it may listen \(tcp.public_addresses\): ask for it again"
            )
            assert listening_on(public) == set()
            assert asks(b"after") == b"AFTER\n"
    with ssh.start("-R", f"{public}:localhost:{lines.port}") as again:
        again.line(f"^Forwarding TCP traffic from .*:{public}$")
        assert listening_on(public) == {HERE}


def test_more_addresses_and_ports_leave_open_ports_alone(gateway: Gateway, ssh: StockSsh, lines: LineService) -> None:
    port = next(gateway.public_ports)
    for setting in ("yes", None):
        sshd: dict[str, object] = {} if setting is None else {"gateway_ports": setting}
        reload(gateway, tcp={"public_addresses": [HERE], "ranges": ranges(gateway, last=port)}, sshd=sshd)
        with ssh.start("-R", f"{port}:localhost:{lines.port}") as child:
            child.line(f"^Forwarding TCP traffic from .*:{port}$")
            with visitor(port) as asks:
                assert asks(b"before") == b"BEFORE\n"
                reload(gateway, tcp={"public_addresses": [HERE, THERE], "ranges": ranges(gateway)})
                assert asks(b"after") == b"AFTER\n"
                assert listening_on(port) == {HERE}


def test_a_range_that_becomes_local_closes_its_ports(gateway: Gateway, ssh: StockSsh, lines: LineService) -> None:
    port, seen = next(gateway.public_ports), gateway.log_lines
    with ssh.start("-N", "-R", f"{port}:localhost:{lines.port}") as child:
        gateway.event('"tunnel.opened"', after=seen)
        reload(gateway, tcp={"public_addresses": [HERE, THERE], "ranges": ranges(gateway, public="loopback")})
        child.error_line(r"was closed: the operator has changed where it may listen \(tcp.ranges\): ask for it again")
        assert listening_on(port) == set()


def test_a_port_that_is_in_no_range_any_more_closes(gateway: Gateway, ssh: StockSsh, lines: LineService) -> None:
    kept, gone = next(gateway.public_ports), next(gateway.public_ports)
    asked = [f"{port}:localhost:{lines.port}" for port in (kept, gone)]
    with ssh.start("-R", asked[0], "-R", asked[1]) as child:
        child.line(f"^Forwarding TCP traffic from .*:{gone}$")
        with visitor(kept) as asks:
            assert asks(b"before") == b"BEFORE\n"
            reload(gateway, tcp={"public_addresses": [HERE, THERE], "ranges": ranges(gateway, last=kept)})
            child.line(f"port {gone} was closed: port {gone} is outside the ports that may be forwarded")
            assert listening_on(gone) == set()
            assert asks(b"after") == b"AFTER\n"
            assert listening_on(kept) == {HERE, THERE}


def test_a_name_that_the_operator_reserves_is_taken_away(
    gateway: Gateway, ssh: StockSsh, lines: LineService, name: str
) -> None:
    with ssh.start("-R", f"{name}:80:localhost:{lines.port}", "-R", f"{name}:22:localhost:{lines.port}") as child:
        child.line(f"http://{name}.localhost")
        reload(gateway, names={"reserved_more": [name]})
        why = f"was closed: the operator has reserved the name '{name}': ask for another"
        child.line(f"{name}.localhost {why}")
        child.error_line(f"{name}:22 {why}")


@pytest.mark.parametrize("moved", [True, False])
def test_sockets_of_a_folder_that_is_taken_away_close(tmp_path: Path, lines: LineService, *, moved: bool) -> None:
    with gateway_with_sockets(tmp_path, {"web-1": ""}) as (gateway, root):
        ssh = gateway.ssh(tmp_path, tmp_path / "web-1")
        with ssh.start("-N", "-R", f"/x.sock:localhost:{lines.port}") as child:
            gateway.event('"tunnel.opened"')
            assert (root / "web-1" / "x.sock").is_socket()
            (other := tmp_path / "other").mkdir()
            sshd: dict[str, object] = {"allow_streamlocal_forwarding": "yes", "streamlocal_folder": other}
            reload(gateway, sshd=sshd if moved else {})
            child.error_line(r"was closed: .*\(sshd.streamlocal_folder\)" if moved else "was closed: ")
            assert not (root / "web-1" / "x.sock").exists()


def test_web_addresses_close_when_the_gateway_serves_none(
    gateway: Gateway, ssh: StockSsh, lines: LineService, name: str
) -> None:
    with ssh.start("-R", f"{name}:80:localhost:{lines.port}") as child:
        child.line(f"http://{name}.localhost")
        reload(gateway, http={"listen": []}, https={"listen": []})
        child.error_line(f"{name}.localhost was closed: HTTP and HTTPS are off on this gateway")
        reload(gateway, http={}, https={})
