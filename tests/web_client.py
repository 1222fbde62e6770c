"""A visitor: plain HTTP to a name on a gateway, without any name resolution."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass

from gateway_process import DOMAIN, Gateway

SECONDS = 20


@dataclass(frozen=True, slots=True)
class Page:
    """One answer."""

    status: int
    body: bytes
    fields: dict[str, str]

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")


def visit(
    gateway: Gateway,
    name: str,
    path: str = "/",
    *,
    method: str = "GET",
    body: bytes | None = None,
    fields: Mapping[str, str] | None = None,
) -> Page:
    """One request for `name.localhost`."""
    connection = http.client.HTTPConnection("127.0.0.1", gateway.ports.http, timeout=SECONDS)
    with closing(connection):
        connection.request(method, path, body, {"Host": f"{name}.{DOMAIN}:{gateway.ports.http}", **(fields or {})})
        with closing(connection.getresponse()) as answer:
            return Page(answer.status, answer.read(), {key.lower(): value for key, value in answer.getheaders()})


def unread(port: int, name: str, path: str = "/") -> socket.socket:
    """A visitor with a small receive buffer, which does not read the answer to its request."""
    visitor = socket.socket()
    visitor.settimeout(SECONDS)
    visitor.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    visitor.connect(("127.0.0.1", port))
    visitor.sendall(f"GET {path} HTTP/1.1\r\nHost: {name}.{DOMAIN}\r\n\r\n".encode())
    return visitor
