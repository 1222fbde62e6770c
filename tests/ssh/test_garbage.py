"""Garbage on the SSH port costs a line in the log, without a traceback, and disturbs no other connection."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway_process import Gateway
from ssh_command import run


@pytest.mark.parametrize(
    "sent",
    [
        b"SSH-2.0-\xff\xfe\r\n",
        b"SSH-2.0-x\r\n" + b"\0\0\0\x0c\x0b" + b"\0" * 11,
        b"SSH-2.0-x\r\n" + b"\xff" * 64,
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\0" * 300,
    ],
    ids=["version", "empty packet", "giant packet", "http", "zeros"],
)
def test_garbage_ends_its_own_connection_with_a_line_at_most(
    start_gateway: Callable[..., Gateway], new_key: Callable[[], Path], tmp_path: Path, sent: bytes
) -> None:
    gateway = start_gateway()
    with socket.create_connection(("127.0.0.1", gateway.ports.ssh), timeout=20) as scanner:
        scanner.sendall(sent)
        scanner.shutdown(socket.SHUT_WR)
        while scanner.recv(4096):
            pass
    assert run(gateway.ssh(tmp_path, new_key()).command(words="whoami"), folder=tmp_path).code == 0
    assert "traceback" not in gateway.running.err.text
    assert "Traceback" not in gateway.running.err.text
