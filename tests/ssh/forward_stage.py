"""Helpers of the tests of forwards: a client at a gateway, ports that fail, and refusals."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from ferry.errors import Refusal
from ferry.kinds.base import ListenPort
from ferry.names import Address, Endpoint, Fingerprint, Identity, IdentityId, Kind
from ferry.policy.grants import Grant, Use
from ferry.registry.contract import Terms
from ferry.registry.routes import Tunnel
from inside_gateway import SECONDS, Inside, inside_gateway
from memory_registry import MemoryRegistry
from raw_client import RawClient
from turns import until

BLOG = Address(Kind.HTTP, "blog.localhost")
KEEP = 86400.0
STRANGER = Identity(IdentityId("stranger"), None, Fingerprint("SHA256:stranger"))
TERMS = Terms(keep=KEEP, rest=KEEP, reserve=True, derived=False, max_reservations=9)
TRIAL = replace(TERMS, reserve=False)


class NoPorts:
    """Opens no port: `listening` is set when one is asked for, which fails once `let_go` is, or `at_once`."""

    def __init__(self, code: str = "port_in_use", *, but: int = 0, at_once: bool = False) -> None:
        self.code, self.but = code, but
        self.listening, self.let_go = asyncio.Event(), asyncio.Event()
        if at_once:
            self.let_go.set()
        self.asked: list[int] = []
        self.opened: list[_Port] = []

    async def listen(self, tunnel: Tunnel, grant: Grant, opening: ListenPort) -> _Port | Refusal:
        port = opening.port
        grant.require(tunnel.address, tunnel.owner, Use.LISTEN)
        self.asked.append(port)
        self.listening.set()
        await self.let_go.wait()
        if port != self.but and len(self.asked) <= 3:
            return Refusal("no", code=self.code)
        self.opened.append(_Port())
        return self.opened[-1]


class _Port:
    endpoints: Sequence[Endpoint] = ()
    closed: bool | None = None
    """With or without its visitors."""

    def close(self, *, cut: bool) -> None:
        self.closed = cut

    def __len__(self) -> int:
        return 0


def refusals(gateway: Inside) -> list[object]:
    return [fields["code"] for fields in gateway.said("tunnel.refused")]


async def closed(gateway: Inside) -> None:
    """Wait until no tunnel is left and every close has finished."""

    def is_done() -> bool:
        releasing = any(task.get_name().startswith("release") for task in asyncio.all_tasks())
        return not gateway.tunnels and not releasing

    await until(is_done)


@asynccontextmanager
async def one_client(
    key: Path, registry: MemoryRegistry, ports: NoPorts | None = None
) -> AsyncIterator[tuple[Inside, RawClient]]:
    async with asyncio.timeout(SECONDS), inside_gateway(registry=registry) as gateway:
        if ports is not None:
            gateway.change(ports=ports)
        async with gateway.client(key) as client:
            yield gateway, client


async def own_and_leave(gateway: Inside, client: RawClient) -> None:
    """`blog` is reserved for the client, and not served."""
    assert await client.forward(b"blog", 80)
    assert await client.cancel(b"blog", 80)
    await closed(gateway)
