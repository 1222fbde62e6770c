"""The table of requests through a whole gateway and a stock ssh to services that parse differently.

`test_differential` looks closer, at an edge without SSH: what is broken off, and which stream carries what.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path

from edge.http.test_differential import AFTER, TLS_BEGINS, as_meant, check_sight
from edge.http_origins import Origin, origins
from edge.http_rig import statuses
from ferry.protocol.wrong_port import TLS_ALERT
from gateway_process import Gateway
from vectors.http1.table import Request, requests

SERVICES = ("nginx", "haproxy", "node", "uvicorn, h11")
ROWS = [case for case in requests() if b"xn--bcher" not in case.send.lower()]
"""A client is refused a name in punycode, which `test_differential` has."""


async def test_each_service_gets_the_intended_request_or_none_through_ssh(
    start_gateway: Callable[..., Gateway], key: Path, tmp_path: Path
) -> None:
    gateway = start_gateway()
    wrong: list[str] = []
    async with origins(tmp_path) as services:
        for service in services:
            if service.name not in SERVICES:
                continue
            ssh = gateway.ssh(tmp_path, key).start("-T", "-R", f"a:80:127.0.0.1:{service.port}")
            try:
                await asyncio.to_thread(ssh.line, "http://a.localhost")
                for number, case in enumerate(ROWS):
                    try:
                        await one(case, service, gateway.ports.http, f"/probe-{number}")
                    except AssertionError as error:
                        wrong.append(f"{service.name}: {case}: {error}")
            finally:
                await asyncio.to_thread(ssh.close)
    assert not wrong


async def one(case: Request, service: Origin, port: int, probe: str) -> None:
    """One visitor sends a row of the table, then another visitor sends a request."""
    answer = await talk(port, case.send + AFTER)
    own = await talk(port, AFTER.replace(b"/after", probe.encode()))
    *seen, _ = await service.sights(probe)
    assert statuses(own) == [200]
    assert own.endswith(b"\r\n\r\n" + probe.encode())
    assert not [sight for sight in seen if "smuggled" in sight.target]
    whole = [sight for sight in seen if sight.whole]
    if case.status in (404, 503):
        assert [sight.target for sight in whole] == ["/after"]
    elif case.status:
        assert answer == TLS_ALERT if case.send.startswith(TLS_BEGINS) else statuses(answer) == [case.status]
        assert not whole
    elif service.name in case.refused_by:
        assert {sight.target for sight in whole} <= {"/after"}
    else:
        check_sight(whole[0], as_meant(case))
        assert {sight.target for sight in whole[1:]} <= {"/after"}


async def talk(port: int, data: bytes) -> bytes:
    """Send it, and read until the gateway closes. Who sends on after it asked for the close may be reset."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answer = b""
    with contextlib.suppress(ConnectionError):
        writer.write(data)
        async with asyncio.timeout(10):
            while piece := await reader.read(65536):
                answer += piece
    writer.close()
    return answer
