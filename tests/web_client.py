"""A visitor: plain HTTP to a name on a gateway, without any name resolution."""

from __future__ import annotations

import http.client
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
