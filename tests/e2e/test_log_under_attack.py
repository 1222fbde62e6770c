"""Visitors with as many requests as they can send fill no disk, and the gateway counts all of them."""

from __future__ import annotations

import json
import socket
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gateway_process import Gateway
from origin_server import Origin

AT_ONCE = 100
VISITS = AT_ONCE
REFUSED = 40 * AT_ONCE


def ask(gateway: Gateway, host: str, count: int) -> int:
    """`count` requests, AT_ONCE in each write and on one connection. How many were answered."""
    answered = 0
    for _ in range(count // AT_ONCE):
        with socket.create_connection(("127.0.0.1", gateway.ports.http), timeout=30) as visitor:
            head = f"GET /{'a' * 300} HTTP/1.1\r\nHost: {host}\r\nAccept: text/plain\r\n"
            visitor.sendall(f"{head}\r\n".encode() * (AT_ONCE - 1) + f"{head}Connection: close\r\n\r\n".encode())
            answer = b""
            while data := visitor.recv(65536):
                answer += data
        answered += answer.count(b"HTTP/1.1 ")
    return answered


def lines_of(gateway: Gateway) -> list[dict[str, Any]]:
    """The log of a gateway that is stopped now."""
    child = gateway.running
    gateway.stop()
    return [json.loads(line) for line in child.err.lines if line.startswith("{")]


def test_a_flood_of_visits_and_of_refusals_is_summed_up(
    start_gateway: Callable[..., Gateway], tmp_path: Path, key: Path, origin: Origin, name: str
) -> None:
    gateway = start_gateway(limits={"exempt": ["192.0.2.0/24"]}, log={"visits_per_tunnel": 1})
    with gateway.ssh(tmp_path, key).start("-T", "-R", f"{name}:80:127.0.0.1:{origin.port}") as ssh:
        ssh.line("^Forwarding HTTP")
        assert ask(gateway, f"{name}.localhost", VISITS) == VISITS
        assert ask(gateway, "nobody.localhost", REFUSED) == REFUSED
    lines = lines_of(gateway)
    written = Counter(line["event"] for line in lines)
    summed = sum(line["count"] for line in lines if line["event"] == "visits")
    omitted = {line["about"]: line for line in lines if line["event"] == "lines.omitted"}
    left_out = sum(line["count"] for line in lines if line.get("about") == "edge.refused")
    assert written["visit"] + summed == VISITS
    assert summed > 0
    assert written["edge.refused"] + left_out == REFUSED
    assert omitted["edge.refused"]["most"] == "127.0.0.1"
    assert sum(len(json.dumps(line)) for line in lines) < 200_000  # a line for each would be 800 KB
