"""Reports each request that changes something: what the operator does through the control socket, and who that is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ferry.protocol.audit import described
from ferry.report import Report

_READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_API: Final = "/api/v1/"
_FAILED: Final = 400
_BODY_BYTES: Final = 4096  # of a request, that are kept to say what was asked for
_ACTS: Final[Mapping[tuple[str, str], str]] = MappingProxyType(
    {
        ("DELETE", "tunnels"): "close tunnel",
        ("DELETE", "connections"): "close connection",
        ("DELETE", "names"): "release",
        ("DELETE", "blocked"): "unblock",
        ("POST", "keys"): "keys",
        ("POST", "allowed"): "allow",
        ("POST", "reload"): "reload",
    }
)


class Acts:
    """The middleware of requests, which is all that uvicorn passes on (`web`)."""

    def __init__(self, app: ASGIApp, report: Report) -> None:
        self._app = app
        self._report = report

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] in _READING:
            await self._app(scope, receive, send)
            return
        status, body = 500, bytearray()

        async def read() -> Message:
            message = await receive()
            body.extend(message.get("body", b"")[: _BODY_BYTES - len(body)])
            return message

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, read, noted)
        finally:
            done = status < _FAILED
            detail = {} if done else {"detail": f"status {status}"}
            self._report("operator.acted", act=_act(scope, bytes(body)), by=_who(scope), done=done, **detail)


def _act(scope: Scope, body: bytes) -> str:
    """`close tunnel blog`, `keys enrol name=web-1 ...`; of a path without a name here its method and path."""
    collection, _, target = scope["path"].removeprefix(_API).partition("/")
    act = _ACTS.get((scope["method"], collection))
    said = f"{act} {target}".rstrip() if act else f"{scope['method']} {scope['path']}"
    try:
        fields = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        return f"{said} (a body that is no JSON, or too long)"
    return f"{said} {described(fields)}".rstrip() if isinstance(fields, dict) else said


def _who(scope: Scope) -> str:
    """The user at the other end of the control socket, as the kernel knows it."""
    client = scope.get("client")
    return str(client[0]) if client else ""
