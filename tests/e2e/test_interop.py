"""Clients that Debian and Python bring take the steps of `make interop` in small; ciphers and rekeys of stock ssh."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from interop.services import Web
from interop.stacks import DEBIAN_AND_PYTHON, Stack
from interop.steps import SMALL, Place, take

from child_process import Child
from gateway_process import Gateway
from line_service import LineService
from origin_server import FILE, FILE_SHA256, Origin
from ssh_command import environment
from web_client import visit

Connect = Callable[[Gateway, Path, Path, str], AbstractContextManager[None]]


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
    """At 512K stock ssh exchanges keys for every 64 KiB, and the gateway allows four exchanges a second."""
    with gateway.ssh(folder, key).start("-N", "-v", "-o", "RekeyLimit=1M", "-R", forward) as child:
        child.error_line("remote forward success")
        yield
        assert child.err.text.count("SSH2_MSG_NEWKEYS sent") > 5


CLIENTS: list[Connect] = [openssh_with_chacha20, openssh_with_ctr, openssh_that_rekeys]

STEPS_IN_SMALL = ("-R 0", "direct", "bulk", "cancel", "end")
"""The others are parts of these, or take seconds a client: `make interop` takes them all."""
CANNOT_BE = {("PuTTY plink", "-R 0"), ("autossh", "direct")}
"""What a client has no way to do."""


@pytest.mark.parametrize("stack", DEBIAN_AND_PYTHON, ids=[stack.name for stack in DEBIAN_AND_PYTHON])
def test_a_client_takes_every_step(gateway: Gateway, tmp_path: Path, name: str, stack: Stack) -> None:
    with Web() as web, LineService() as lines:
        place = Place(gateway, tmp_path, name, stack.prepared(), SMALL, web, lines)
        verdicts = {step: take(step, place) for step in STEPS_IN_SMALL}
    assert {step: verdict for step, verdict in verdicts.items() if verdict.state == "failed"} == {}
    cannot = {(stack.name, step) for step, verdict in verdicts.items() if verdict.state == "n/a"}
    assert cannot == {pair for pair in CANNOT_BE if pair[0] == stack.name}


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
        (connection,) = [one for one in gateway.ask("connections") if f"{name}.localhost" in one["tunnels"]]
        gateway.ask(f"connections/{connection['id']}", "DELETE")
        child.line("Forwarding HTTP", after=before + 1)
        assert visit(gateway, name).text == "origin"
