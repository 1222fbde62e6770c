"""Heads of answers through a running edge."""

from __future__ import annotations

from typing import Any

import pytest

from edge.http_rig import GET, answering, running_edge, service, statuses
from vectors.http1.table import rows_of


@pytest.mark.parametrize("case", rows_of("responses.toml"), ids=lambda case: case["name"])
async def test_vectors_of_answers(case: dict[str, Any]) -> None:
    method = case.get("method", "GET").encode()
    body = {"length": b"x" * max(case.get("length", 0), 0), "chunked": b"1\r\nx\r\n0\r\n\r\n"}
    data = case["send"].encode("latin-1") + body.get(case.get("framing", ""), b"")
    async with service(answering(data, close=not case.get("keep_alive"))) as port, running_edge(port) as rig:
        answer = await rig.talk(GET.replace(b"GET", method), eof=True)
    status = 502 if case.get("refused") else case["status"]
    assert statuses(answer) == [status]
    assert rig.tunnel.visits[0].status == status
    assert bool(rig.tunnel.visits[0].note) is (status == 502)


async def test_a_service_of_another_protocol_gets_its_visitor_502_at_once() -> None:
    """One that speaks first and then waits, as SSH, SMTP and MySQL do, must not leave the visitor waiting."""

    async def ssh(reader: object, writer: Any) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.2\r\n")
        await writer.wait_closed()

    async with service(ssh) as port, running_edge(port) as rig:
        assert statuses(await rig.talk(GET, eof=True)) == [502]
        assert "does not begin with HTTP/1." in rig.tunnel.visits[0].note
