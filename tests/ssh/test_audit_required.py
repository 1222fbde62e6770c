"""While the audit log cannot be written and is required, nothing new is allowed; what is open goes on."""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncssh
import pytest

from ferry.errors import Refusal
from inside_gateway import SECONDS, inside_gateway
from no_audit import NoAudit
from turns import until

CLOSED = Refusal("the gateway cannot write its audit log", code="audit", retry_after=30)


async def test_no_log_in_no_forward_and_no_connection_through_the_gateway(key: Path) -> None:
    audit = NoAudit()
    async with asyncio.timeout(SECONDS), inside_gateway(audit=audit) as gateway, gateway.client(key) as client:
        assert await client.forward(b"laptop", 22)
        audit.refused = CLOSED
        assert not await client.forward(b"other", 22)
        assert [told["code"] for told in gateway.said("tunnel.refused")] == ["audit"]
        with pytest.raises(asyncssh.ChannelOpenError, match="cannot write its audit log"):
            await client.connection.open_connection("laptop", 22)
        for words in ("explain -R other:22:localhost:22", "explain -J laptop"):
            said = await client.connection.run(words)
            assert (said.exit_status, "cannot write its audit log" in str(said.stdout)) == (1, True)
        async with gateway.client(key) as late:
            assert "cannot write its audit log" in await late.said_at_the_end()
        assert len(gateway.said("connection.opened")) == 1
        assert len(gateway.tunnels) == 1
        audit.refused = None
        assert await client.forward(b"other", 22)
        async with gateway.client(key):
            pass


async def test_it_is_no_offence_of_a_client_without_a_key(key: Path) -> None:
    audit = NoAudit()
    async with asyncio.timeout(SECONDS), inside_gateway(audit=audit) as gateway:
        audit.refused = CLOSED
        async with gateway.client(key, username="nokey") as late:
            assert "cannot write its audit log" in await late.said_at_the_end()
        await until(lambda: gateway.said("handshake.ended"))
        (ended,) = gateway.said("handshake.ended")
        assert (ended["outcome"], "why" in ended) == ("failed", False)
