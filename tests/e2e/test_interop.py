"""Every client that people have makes a tunnel and moves a file both ways."""

from __future__ import annotations

import hashlib
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import paramiko
import pytest

from child_process import Child
from gateway_process import Gateway
from origin_server import FILE, FILE_SHA256, Origin
from ssh_command import environment
from web_client import visit

Connect = Callable[[Gateway, Path, Path, str], AbstractContextManager[None]]


@contextmanager
def openssh(gateway: Gateway, folder: Path, key: Path, forward: str) -> Iterator[None]:
    with gateway.ssh(folder, key).start("-N", "-v", "-R", forward) as child:
        child.error_line("remote forward success")
        yield


@contextmanager
def openssh_with_chacha20(gateway: Gateway, folder: Path, key: Path, forward: str) -> Iterator[None]:
    with gateway.ssh(folder, key).start("-N", "-v", "-c", "chacha20-poly1305@openssh.com", "-R", forward) as child:
        child.error_line("cipher: chacha20-poly1305@openssh.com")
        child.error_line("remote forward success")
        yield


@contextmanager
def openssh_with_ctr(gateway: Gateway, folder: Path, key: Path, forward: str) -> Iterator[None]:
    """Not an AEAD cipher: asyncssh's own send path."""
    with gateway.ssh(folder, key).start("-N", "-v", "-c", "aes128-ctr", "-R", forward) as child:
        child.error_line("cipher: aes128-ctr")
        child.error_line("remote forward success")
        yield


@contextmanager
def openssh_that_rekeys(gateway: Gateway, folder: Path, key: Path, forward: str) -> Iterator[None]:
    with gateway.ssh(folder, key).start("-N", "-v", "-o", "RekeyLimit=512K", "-R", forward) as child:
        child.error_line("remote forward success")
        yield
        assert child.err.text.count("SSH2_MSG_NEWKEYS sent") > 5


@contextmanager
def dropbear(gateway: Gateway, folder: Path, key: Path, forward: str) -> Iterator[None]:
    subprocess.run(
        ["dropbearconvert", "openssh", "dropbear", key, folder / "dropbear_key"], check=True, capture_output=True
    )
    command: list[str | Path] = ["dbclient", "-T", "-y", "-i", folder / "dropbear_key", "-p", str(gateway.ports.ssh)]
    command += ["-R", forward, "dev@127.0.0.1"]
    with Child(command, env=environment(folder), cwd=folder, keyboard=True) as child:
        child.line("Forwarding HTTP")
        yield


@contextmanager
def plink(gateway: Gateway, folder: Path, key: Path, forward: str) -> Iterator[None]:
    subprocess.run(
        ["puttygen", key, "-o", folder / "key.ppk"], check=True, capture_output=True, env=environment(folder)
    )
    host_keys = [line.split()[1] for line in gateway.ask("status")["host_keys"]]
    command: list[str | Path] = ["plink", "-batch", "-ssh", "-P", str(gateway.ports.ssh), "-i", folder / "key.ppk"]
    for fingerprint in host_keys:
        command += ["-hostkey", fingerprint]
    with Child([*command, "-R", forward, "dev@127.0.0.1"], env=environment(folder), cwd=folder, keyboard=True) as child:
        child.line("Forwarding HTTP")
        yield


@contextmanager
def autossh(gateway: Gateway, folder: Path, key: Path, forward: str) -> Iterator[None]:
    command = gateway.ssh(folder, key).command("-T", "-R", forward)
    with Child(["autossh", "-M", "0", *command[1:]], env=environment(folder), cwd=folder) as child:
        child.line("Forwarding HTTP")
        yield


@contextmanager
def paramiko_client(gateway: Gateway, folder: Path, key: Path, forward: str) -> Iterator[None]:
    del folder
    name, port, target, target_port = forward.split(":")
    transport = paramiko.Transport(("127.0.0.1", gateway.ports.ssh))
    locals_: list[socket.socket] = []
    relays: list[threading.Thread] = []

    def incoming(channel: paramiko.Channel, _origin: object, _server: object) -> None:
        locals_.append(local := socket.create_connection((target, int(target_port))))
        for pair in ((channel, local), (local, channel)):
            relays.append(threading.Thread(target=relay, args=pair, daemon=True))
            relays[-1].start()

    try:
        transport.connect(username="dev", pkey=paramiko.Ed25519Key.from_private_key_file(str(key)))
        transport.request_port_forward(name, int(port), incoming)
        yield
    finally:
        transport.close()
        for local in locals_:
            with suppress(OSError):
                local.shutdown(socket.SHUT_RDWR)
        for thread in relays:
            thread.join(20)
        for local in locals_:
            local.close()


def relay(source: socket.socket | paramiko.Channel, sink: socket.socket | paramiko.Channel) -> None:
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except (OSError, EOFError):
        pass  # one end is gone; the test closes the other


CLIENTS: list[Connect] = [
    openssh,
    openssh_with_chacha20,
    openssh_with_ctr,
    openssh_that_rekeys,
    dropbear,
    plink,
    autossh,
    paramiko_client,
]


@pytest.mark.parametrize("client", CLIENTS, ids=[client.__name__ for client in CLIENTS])
def test_a_file_goes_down_and_up(
    gateway: Gateway, tmp_path: Path, key: Path, origin: Origin, name: str, client: Connect
) -> None:
    with client(gateway, tmp_path, key, f"{name}:80:127.0.0.1:{origin.port}"):
        down = visit(gateway, name, "/file")
        assert hashlib.sha256(down.body).hexdigest() == FILE_SHA256
        up = visit(gateway, name, "/put", method="PUT", body=FILE)
        assert up.text == FILE_SHA256


def test_autossh_comes_back_by_itself(gateway: Gateway, tmp_path: Path, key: Path, origin: Origin, name: str) -> None:
    command = gateway.ssh(tmp_path, key).command("-T", "-R", f"{name}:80:localhost:{origin.port}")
    environ = environment(tmp_path) | {"AUTOSSH_GATETIME": "0"}
    with Child(["autossh", "-M", "0", *command[1:]], env=environ, cwd=tmp_path) as child:
        child.line("Forwarding HTTP")
        before = len(child.out.lines)
        (session,) = [one for one in gateway.ask("sessions") if f"{name}.localhost" in one["tunnels"]]
        gateway.ask(f"sessions/{session['id']}", "DELETE")
        child.line("Forwarding HTTP", after=before + 1)
        assert visit(gateway, name).text == "origin"
