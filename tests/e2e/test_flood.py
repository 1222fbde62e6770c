"""Floods of silent connections and of unknown keys: known keys still log in.

Any address of 127.0.0.0/8 may be the source of a connection here, so with an empty `limits.exempt` each 127.x.y.0/24
stands for a network of its own.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

from child_process import SECONDS
from ferry_command import ferry
from gateway_process import Gateway
from looks import until
from origin_server import Origin
from ssh_command import Ended
from web_client import visit

MIB = 1024 * 1024
IDLE = 400
NETWORKS = 20
BRUTES = "127.0.50.7"


@contextlib.contextmanager
def idle_connections(gateway: Gateway, count: int, networks: int) -> Iterator[list[socket.socket]]:
    """Connections from that many networks that read and never say a word."""
    with contextlib.ExitStack() as stack:
        made = []
        for n in range(count):
            source = (f"127.1.{n % networks}.1", 0)
            made.append(
                stack.enter_context(
                    socket.create_connection(("127.0.0.1", gateway.ports.ssh), SECONDS, source_address=source)
                )
            )
        yield made


def has_ended(sock: socket.socket) -> bool:
    """Whether the gateway has ended this connection, with a word or without."""
    try:
        sock.recv(4096)
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True
    return True


def brute_force(gateway: Gateway, folder: Path, key: Path) -> Ended:
    """Fail to log in until the address is blocked; what ssh prints then."""
    ssh = gateway.ssh(folder, key)
    for _ in range(20):
        ended = ssh.run("-b", BRUTES, "-o", "BatchMode=yes")
        assert ended.code == 255
        if "your address is blocked" in ended.err:
            return ended
        assert "Permission denied" in ended.err
    raise AssertionError("never blocked")


def closed_gateway(start_gateway: Callable[..., Gateway], known: Path, **limits: object) -> Gateway:
    return start_gateway(access={"mode": "keys", "keys": [known.with_suffix(".pub")]}, limits={"exempt": []} | limits)


def test_a_login_gets_through_a_flood_and_memory_stays(
    start_gateway: Callable[..., Gateway], new_key: Callable[[], Path], tmp_path: Path, origin: Origin
) -> None:
    known, unknown = new_key(), new_key()
    gateway = closed_gateway(start_gateway, known)
    with gateway.ssh(tmp_path, known).start("-b", "127.0.99.1", "-R", f"before:80:localhost:{origin.port}") as before:
        before.line("^Forwarding HTTP traffic")
        memory = gateway.memory()
        with idle_connections(gateway, IDLE, NETWORKS) as idle:
            until(lambda: gateway.ask("status")["counts"]["handshakes"] == 200)
            brute_force(gateway, tmp_path, unknown)
            ssh = gateway.ssh(tmp_path, known)
            with ssh.start("-b", "127.0.98.1", "-R", f"blog:80:localhost:{origin.port}") as child:
                child.line("^Forwarding HTTP traffic")
                assert visit(gateway, "blog").text == "origin"
            assert visit(gateway, "before").text == "origin"
            heard = [one.recv(4096) for one in idle]  # each got a greeting, or was refused
            admitted = [one for one, said in zip(idle, heard, strict=True) if said.startswith(b"SSH-2.0-Ferry_")]
            assert len(admitted) >= 200
            for one in admitted:
                one.settimeout(0)
            assert sum(has_ended(one) for one in admitted) + sum(b"others wait" in said for said in heard) > 0
            assert gateway.ask("status")["counts"]["handshakes"] <= 200
            assert gateway.memory() - memory < 40 * MIB
        until(lambda: gateway.ask("status")["counts"]["handshakes"] == 0)
    log = gateway.running.err.text
    assert log.count('"event": "handshakes.crowded"') + log.count('"event":"handshakes.crowded"') <= 2
    assert len(gateway.running.err.lines) < IDLE  # not a line each


def test_a_blocked_address_lets_a_known_key_in_and_the_operator_can_lift_it(
    start_gateway: Callable[..., Gateway], new_key: Callable[[], Path], tmp_path: Path
) -> None:
    known, unknown = new_key(), new_key()
    gateway = closed_gateway(start_gateway, known)
    brute_force(gateway, tmp_path, unknown)
    blocked = gateway.event('"address.blocked"')
    assert blocked["address"] == BRUTES
    neighbour, stranger = gateway.ssh(tmp_path, known), gateway.ssh(tmp_path, unknown)

    def logs_in(who: Path) -> bool:
        return gateway.ssh(tmp_path, who).run("-b", BRUTES, "-o", "BatchMode=yes", words="whoami").code == 0

    until(lambda: logs_in(known))  # its turn in the slow lane comes
    assert gateway.ask("blocked")[0]["address"] == BRUTES  # that was the lane
    assert not logs_in(unknown)
    assert neighbour.run("-b", "127.0.50.8", words="whoami").code == 0  # the next address is not concerned
    with contextlib.ExitStack() as stack:
        greeting = b""
        while not greeting.startswith(b"SSH-2.0-Ferry_"):  # until this one has the lane
            lane = socket.create_connection(("127.0.0.1", gateway.ports.ssh), SECONDS, source_address=(BRUTES, 0))
            stack.enter_context(lane)
            greeting = lane.recv(100)
        told = neighbour.run("-b", BRUTES, "-o", "BatchMode=yes")
        assert "your address is blocked" in told.err
        assert "retry-after=" in told.err

        listed = ferry("unblock", "--state", gateway.state, cwd=tmp_path)
        assert listed.out.startswith(BRUTES)
        assert "blocked     1 " in ferry("status", "--state", gateway.state, cwd=tmp_path).out
        assert ferry("unblock", BRUTES, "--state", gateway.state, cwd=tmp_path).code == 0
        assert ferry("unblock", BRUTES, "--state", gateway.state, cwd=tmp_path).code == 1
        assert neighbour.run("-b", BRUTES, words="whoami").code == 0
    assert "Permission denied" in stranger.run("-b", BRUTES, "-o", "BatchMode=yes").err
    assert ferry("unblock", "--state", gateway.state, cwd=tmp_path).out == "no address is blocked\n"
    assert gateway.running.err.text.count("address.blocked") == 1


def test_loopback_is_never_blocked_unless_asked_for(
    start_gateway: Callable[..., Gateway], new_key: Callable[[], Path], tmp_path: Path
) -> None:
    known, unknown = new_key(), new_key()
    gateway = start_gateway(access={"mode": "keys", "keys": [known.with_suffix(".pub")]})
    for _ in range(6):
        assert "Permission denied" in gateway.ssh(tmp_path, unknown).run("-o", "BatchMode=yes").err
    assert gateway.ssh(tmp_path, known).run(words="whoami").code == 0
