"""`-L`, `-D` and `-W` to hosts of the network, with stock ssh and the gateway's own process: bytes, ends and refusals."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from gateway_process import Gateway, gateway_in
from line_service import LineService
from ssh_command import StockSsh, environment, make_key, run

MEBIBYTES = 32
SECONDS = 20


class Sums:
    """A host: it sums up what it gets until the end-of-file, and answers with the sum, or sends bytes and reads none."""

    def __init__(self, send: bytes | None = None) -> None:
        self._send = send
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.ended: list[str] = []
        self.accepted = threading.Event()
        self.told = threading.Event()
        """Set when a visit has ended."""
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        try:
            while True:
                visitor, _ = self._listener.accept()
                threading.Thread(target=self._visit, args=(visitor,), daemon=True).start()
        except OSError:
            pass  # it is closed

    def _visit(self, visitor: socket.socket) -> None:
        self.accepted.set()
        found = hashlib.sha256()
        try:
            with visitor:
                if self._send is not None:
                    visitor.sendall(self._send)
                while data := visitor.recv(65536):
                    found.update(data)
                if self._send is None:
                    visitor.sendall(found.hexdigest().encode())
            self.ended.append("eof")
        except OSError:
            self.ended.append("broken")
        self.told.set()

    def close(self) -> None:
        self._listener.close()


@contextmanager
def sums(send: bytes | None = None) -> Iterator[Sums]:
    made = Sums(send)
    try:
        yield made
    finally:
        made.close()


class Rig:
    """A gateway with a key file, and a key for the targets of one test."""

    def __init__(self, gateway: Gateway, file: Path, folder: Path) -> None:
        self.gateway, self.file, self.folder = gateway, file, folder

    def ssh(self, *targets: str) -> StockSsh:
        """A client whose new key may reach these."""
        key = make_key(self.folder / f"key{len(list(self.folder.iterdir()))}")
        permits = ",".join(f'permitopen="{target}"' for target in targets)
        with self.file.open("a") as file:
            file.write(f"{permits} {key.with_suffix('.pub').read_text()}")
        self.gateway.event(f'"keys.loaded".*"keys": {len(self.file.read_text().splitlines())},')
        return self.gateway.ssh(self.folder, key)


@pytest.fixture
def rig(hosts_gateway: Gateway, tmp_path: Path) -> Rig:
    return Rig(hosts_gateway, hosts_gateway.folder / "keys", tmp_path)


@pytest.fixture(scope="module")
def hosts_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("gateway")
    (folder / "keys").write_text("")
    with gateway_in(folder, access={"mode": "keys", "keys": [folder / "keys"]}) as running:
        yield running


def test_bulk_up_arrives_whole_and_the_answer_comes_behind_the_end_of_file(rig: Rig) -> None:
    sent = os.urandom(2**20) * MEBIBYTES
    with sums() as host:
        ended = run(
            rig.ssh(f"localhost:{host.port}").command("-W", f"localhost:{host.port}"), folder=rig.folder, stdin=sent
        )
        assert (ended.code, ended.out) == (0, hashlib.sha256(sent).hexdigest()), ended.err
    closed = rig.gateway.event(f'"host.closed".*localhost:{host.port}')
    assert (closed["up"], closed["down"], closed["note"]) == (len(sent), 64, "")
    assert closed["address"] == f"127.0.0.1:{host.port}"


def test_explain_says_what_a_host_needs_besides_the_option_that_names_it(rig: Rig) -> None:
    ssh = rig.ssh("169.254.169.254:80", "db.example:5432")
    for target, condition in (
        ("169.254.169.254:80", "if it answers"),
        ("db.example:5432", "if it is there and its address is no special one"),
    ):
        ended = ssh.run(words=f"explain -W {target}")
        host = target.partition(":")[0]
        said = f"yes: -W {target} would connect to the host {host}, {condition} (permitopen=)"
        assert (ended.code, " ".join(ended.out.split())) == (0, said)
    assert "your key may reach" in ssh.run(words="explain -W 169.254.169.254:81").out


def test_bulk_down_arrives_whole_and_a_slow_reader_stops_the_host(rig: Rig) -> None:
    sent = os.urandom(2**20) * MEBIBYTES
    with sums(sent) as host:
        ssh = rig.ssh(f"127.0.0.1:{host.port}")
        before = rig.gateway.memory()
        command = ssh.command("-W", f"127.0.0.1:{host.port}")
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment(rig.folder)
        ) as child:
            assert child.stdout is not None
            assert child.stdin is not None
            assert host.accepted.wait(SECONDS)
            found, size = hashlib.sha256(os.read(child.stdout.fileno(), 1)), 1
            assert rig.gateway.memory() - before < 16 * 2**20
            while size < len(sent):
                data = os.read(child.stdout.fileno(), 2**16)
                found.update(data)
                size += len(data)
            child.stdin.close()
            assert child.wait(SECONDS) == 0
        assert found.hexdigest() == hashlib.sha256(sent).hexdigest()


def test_a_client_that_is_killed_breaks_the_connection_to_the_host(rig: Rig, free_port: int) -> None:
    with (
        sums() as host,
        rig.ssh(f"localhost:{host.port}").start(
            "-N", "-v", "-L", f"127.0.0.1:{free_port}:localhost:{host.port}"
        ) as child,
    ):
        child.error_line("Entering interactive session|pledge")
        with socket.create_connection(("127.0.0.1", free_port), timeout=SECONDS) as visitor:
            visitor.sendall(b"half a message")
            rig.gateway.event(f'"host.opened".*localhost:{host.port}')
            child.signal(signal.SIGKILL)
            closed = rig.gateway.event(f'"host.closed".*localhost:{host.port}')
            assert closed["note"] == "broken"
            host.told.wait(SECONDS)
            assert host.ended == ["broken"]


def test_each_of_the_ways_carries_lines_and_a_half_close(rig: Rig, lines: LineService, free_port: int) -> None:
    ssh = rig.ssh(f"localhost:{lines.port}")
    ended = run(ssh.command("-W", f"localhost:{lines.port}"), folder=rig.folder, stdin=b"one\n")
    assert (ended.code, ended.out) == (0, "ONE\nbye\n"), ended.err


def test_a_session_reads_why_a_host_was_not_reached(rig: Rig, lines: LineService) -> None:
    port, place = rig.gateway.ports.outside, rig.folder / "l"
    ssh = rig.ssh("nowhere.invalid:80", f"127.0.0.1:{port}", "127.1:80", "*:*")
    targets = {
        "one": ("nowhere.invalid:80", "connect failed", "the gateway knows no host of that name"),
        "two": (f"127.0.0.1:{port}", "connect failed", "the host cannot be reached from the gateway"),
        "three": (
            "127.1:80",
            "administratively prohibited",
            "an IPv4 address is four decimal numbers: write it as 192.0.2.7",
        ),
        "four": ("localhost:9", "administratively prohibited", "no port 9 here for you"),
    }
    forwards = [word for end, (target, *_) in targets.items() for word in ("-L", f"{place}-{end}:{target}")]
    own = next(rig.gateway.loopback_ports)
    with ssh.start("-R", f"{own}:localhost:{lines.port}", *forwards) as child:
        child.line("^Forwarding TCP")
        for end, (target, code, why) in targets.items():
            with socket.socket(socket.AF_UNIX) as visitor:
                visitor.settimeout(SECONDS)
                visitor.connect(f"{place}-{end}")
                assert visitor.recv(100) == b""
            child.error_line(f"open failed: {code}: {why}")
            child.error_line(f"^Refused a connection to {target}: {why}")


def test_a_stopping_gateway_waits_for_the_bytes_of_a_host(
    tmp_path: Path, start_gateway: Callable[..., Gateway]
) -> None:
    sent = os.urandom(2**20) * MEBIBYTES
    (tmp_path / "keys").write_text("")
    gateway = start_gateway(access={"mode": "keys", "keys": [tmp_path / "keys"]})
    with ExitStack() as stack:
        host = stack.enter_context(sums(sent))
        command = (
            Rig(gateway, tmp_path / "keys", tmp_path)
            .ssh(f"localhost:{host.port}")
            .command("-W", f"localhost:{host.port}")
        )
        child = stack.enter_context(
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment(tmp_path))
        )
        assert child.stdout is not None
        assert child.stdin is not None
        found, size = hashlib.sha256(os.read(child.stdout.fileno(), 1)), 1
        gateway.running.signal(signal.SIGTERM)
        gateway.event('"gateway.draining"')
        while size < len(sent):
            data = os.read(child.stdout.fileno(), 2**16)
            assert data, f"{size} of {len(sent)} bytes"
            found.update(data)
            size += len(data)
        child.stdin.close()
        assert gateway.running.exit_code() == 0
    assert found.hexdigest() == hashlib.sha256(sent).hexdigest()
