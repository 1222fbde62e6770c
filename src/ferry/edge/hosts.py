"""Connects the gateway to hosts of the network, for clients whose keys may reach them (`policy.reach`), and to Unix sockets
of its own host (`policy.sockets`). Both take places of one number.

A name is looked up once, each of its addresses is decided on, and the gateway connects to those very addresses: one after
the other, a quarter of a second apart, until the first answers (RFC 8305).
"""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from ferry import limits, tasks
from ferry.errors import Refusal
from ferry.policy.grants import HostGrant, SocketGrant
from ferry.policy.reach import Host
from ferry.protocol.targets import IpAddress
from ferry.this_host import is_own_address

from .descriptors import DescriptorGate
from .host_lookups import HostLookups
from .host_stream import GrantT, HostStream, Join
from .listeners import set_options
from .socket_folder import connect

Decide = Callable[[IpAddress, bool], HostGrant | Refusal]
"""The decision on an address, and whether it is one of this host's own."""


class Hosts:
    """All connections from one gateway to hosts and sockets: OUTBOUND_STREAMS at once, and OUTBOUND_STREAMS_PER_IDENTITY."""

    def __init__(
        self,
        gate: DescriptorGate | None,
        lookups: HostLookups | None = None,
        is_here: Callable[[IpAddress], bool] = is_own_address,
    ) -> None:
        self._gate = gate
        self._lookups = lookups or HostLookups()
        self._is_here = is_here
        self._streams: Counter[str] = Counter()
        """The connections of each identity, those that connect included."""

    def __len__(self) -> int:
        """The number of connections."""
        return self._streams.total()

    async def connect(self, identity: str, host: Host, decide: Decide, join: Join[HostGrant]) -> Refusal | None:
        """Connect to `host` for an identity, and give the stream to `join`. Returns the refusal otherwise. The grants of
        `decide` have the port."""
        if (full := self._full(identity)) is not None:
            return full
        with self._placed(identity, join) as stream:
            return await self._connect(stream, identity, host, decide)

    async def _connect(
        self, stream: HostStream[HostGrant], identity: str, host: Host, decide: Decide
    ) -> Refusal | None:
        found: list[IpAddress] | Refusal = (
            await self._lookups.addresses_of(host.name, identity) if host.address is None else [host.address]
        )
        grants = found if isinstance(found, Refusal) else self._decided(found, decide)
        connected = grants if isinstance(grants, Refusal) else await self._connected(grants)
        if isinstance(connected, Refusal):
            return connected
        sock, grant = connected
        opening = asyncio.get_running_loop().create_connection(partial(stream.to, grant), sock=sock)
        if (error := await _begun(opening, stream, sock)) is not None:
            return _unreached(f"{grant.endpoint}: {error}")
        return None

    async def connect_socket(self, identity: str, grant: SocketGrant, join: Join[SocketGrant]) -> Refusal | None:
        """Connect to a Unix socket for an identity, and give the stream to `join`. Returns the refusal otherwise."""
        if (full := self._full(identity)) is not None:
            return full
        try:
            sock = connect(grant.root, grant.folder, grant.name)
        except OSError as error:
            return _silent(grant, error)
        with self._placed(identity, join) as stream:
            opening = asyncio.get_running_loop().create_unix_connection(partial(stream.to, grant), sock=sock)
            failed = await _begun(opening, stream, sock)
        return None if failed is None else _silent(grant, failed)

    @contextmanager
    def _placed(self, identity: str, join: Join[GrantT]) -> Iterator[HostStream[GrantT]]:
        """A stream with a place of an identity. Once it has begun it keeps that until it is gone."""
        self._streams[identity] += 1
        place = ExitStack()
        place.callback(self._left, identity)
        stream = HostStream(join, gone=place.close)
        try:
            yield stream
        finally:
            if not stream.begun:
                place.close()

    def _full(self, identity: str) -> Refusal | None:
        if self._gate is not None and self._gate.short:
            return Refusal("the gateway has too few descriptors left: try again", code="too_many_streams")
        if len(self) >= limits.OUTBOUND_STREAMS:
            return Refusal("the gateway has too many connections to hosts: try again", code="too_many_streams")
        if self._streams[identity] >= limits.OUTBOUND_STREAMS_PER_IDENTITY:
            return Refusal(
                f"you have {limits.OUTBOUND_STREAMS_PER_IDENTITY} connections through this gateway, which is the limit",
                code="too_many_streams",
            )
        return None

    def _left(self, identity: str) -> None:
        self._streams[identity] -= 1
        if not self._streams[identity]:
            del self._streams[identity]

    def _decided(self, found: Sequence[IpAddress], decide: Decide) -> list[HostGrant] | Refusal:
        """Those of the addresses that may be connected to; the refusal of the first if there is none."""
        decisions = [decide(address, self._is_here(address)) for address in found]
        grants = [decision for decision in decisions if isinstance(decision, HostGrant)]
        refusals = [decision for decision in decisions if isinstance(decision, Refusal)]
        if grants:
            return grants
        return refusals[0] if refusals else _unreached("the name has no address that can be connected to")

    async def _connected(self, grants: Sequence[HostGrant]) -> tuple[socket.socket, HostGrant] | Refusal:
        """A socket that is connected to the first of the addresses that answers."""
        waiting, failures = list(reversed(grants)), list[str]()
        running: set[asyncio.Task[tuple[HostGrant, socket.socket | OSError]]] = set()
        try:
            async with asyncio.timeout(limits.OUTBOUND_CONNECT_SECONDS):
                while waiting or running:
                    if waiting:
                        running.add(tasks.spawn("connect to a host", self._attempt(waiting.pop())))
                    wait = limits.OUTBOUND_ATTEMPT_SECONDS if waiting else None
                    done, _ = await asyncio.wait(running, timeout=wait, return_when=asyncio.FIRST_COMPLETED)
                    for task in done:
                        running.discard(task)
                        grant, outcome = task.result()
                        if not isinstance(outcome, OSError):
                            running |= done - {task}  # another one may have connected as well
                            return outcome, grant
                        failures.append(f"{grant.endpoint}: {outcome.strerror or outcome}")
        except TimeoutError:
            failures += [f"{grant.endpoint}: not tried" for grant in waiting]
            return Refusal(
                f"the host does not answer within {limits.OUTBOUND_CONNECT_SECONDS:.0f} s",
                code="host_unreached",
                detail="; ".join(["no answer in time", *failures]),
            )
        finally:
            for task in running:
                task.add_done_callback(_unused)
                task.cancel()
        return _unreached("; ".join(failures))

    async def _attempt(self, grant: HostGrant) -> tuple[HostGrant, socket.socket | OSError]:
        endpoint = grant.endpoint
        family = socket.AF_INET6 if ":" in endpoint.host else socket.AF_INET
        try:
            sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        except OSError as error:
            return grant, error
        try:
            if self._gate is not None:
                self._gate.seen(sock.fileno())
            set_options(sock)
            await asyncio.get_running_loop().sock_connect(sock, (endpoint.host, endpoint.port))
        except OSError as error:
            sock.close()
            return grant, error
        except BaseException:
            sock.close()
            raise
        return grant, sock


async def _begun(opening: Coroutine[Any, Any, object], stream: HostStream[Any], sock: socket.socket) -> OSError | None:
    """Make the stream of a connected socket, also if the client leaves meanwhile: of a transport that is given up in its
    first turn uvloop tells no end."""

    async def begin() -> OSError | None:
        try:
            await opening
        except OSError as error:
            sock.close()
            return error
        if stream.ended:  # uvloop has closed the descriptor already: it may be another connection's
            sock.detach()
        return None

    return await asyncio.shield(tasks.spawn("begin a stream", begin()))


def _unused(task: asyncio.Task[tuple[HostGrant, socket.socket | OSError]]) -> None:
    """Close the socket of an attempt that was quick too."""
    if not task.cancelled() and task.exception() is None and isinstance(sock := task.result()[1], socket.socket):
        sock.close()


def _silent(grant: SocketGrant, error: OSError) -> Refusal:
    return Refusal(
        "your socket cannot be reached: does a program listen there?",
        code="host_unreached",
        detail=f"{grant}: {error.strerror or error}",
    )


def _unreached(detail: str) -> Refusal:
    return Refusal("the host cannot be reached from the gateway", code="host_unreached", detail=detail)
