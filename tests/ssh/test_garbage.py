"""Garbage on the SSH port costs a line in the log, without a traceback, and disturbs no other connection."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from gateway_process import Gateway


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
    modules_gateway: Gateway, key: Path, tmp_path: Path, sent: bytes
) -> None:
    before = modules_gateway.log_lines
    with socket.create_connection(("127.0.0.1", modules_gateway.ports.ssh), timeout=20) as scanner:
        scanner.sendall(sent)
        scanner.shutdown(socket.SHUT_WR)
        while scanner.recv(4096):
            pass
    assert modules_gateway.ssh(tmp_path, key).run(words="whoami").code == 0
    assert not [line for line in modules_gateway.running.err.lines[before:] if "traceback" in line.lower()]
