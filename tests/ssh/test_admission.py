"""Admission: slots and refusals, over real sockets. The test controls the time."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import ExitStack
from typing import Any, cast

import pytest
from asyncssh.constants import DISC_TOO_MANY_CONNECTIONS

from disconnect_packet import disconnect_in
from ferry import limits
from ferry.limiters.handshakes import HandshakeGate, Progress
from ferry.limiters.penalties import Offence, Penalties
from ferry.limiters.sources import ExemptNetworks
from ferry.ssh.admission import Admission, LoginSlot
from reported import said
from resets import reset_at_close

LANE_PACE_SECONDS = 1.0
LINGER_SECONDS = 2.0
HANDSHAKES_NOTE_SECONDS = 60.0
HERE, THERE = "127.0.5.1", "127.0.6.1"


class Handshake(asyncio.Protocol):
    """A connection that logs in, as far as the door knows it."""

    def __init__(self, slot: LoginSlot, door: Door) -> None:
        self.slot = slot
        self.door = door
        self.transport: asyncio.Transport | None = None
        self.begun = asyncio.get_running_loop().create_future()
        self.told: list[str] = []
        self.blame: Offence | None = Offence.KEYS_REFUSED

    @property
    def protocol(self) -> Handshake:
        return self

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.begun.set_result(None)

    def give_way(self, reason: str) -> None:
        self.told.append(reason)
        self.abort()

    def offence(self) -> Offence | None:
        return self.blame

    def abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    def over(self, outcome: str) -> None:
        self.door.admission.over(cast(Any, self), outcome)

    def progressed(self, progress: Progress) -> None:
        self.door.admission.progressed(cast(Any, self), progress)


class Door:
    """An admission with three slots, two for one network, and a clock that stands still."""

    def __init__(self, stack: ExitStack) -> None:
        self.time = 1000.0
        self.retry_after = 7
        self.reports: list[tuple[str, dict[str, Any]]] = []
        self.made: list[Handshake] = []
        self.admission = Admission(
            HandshakeGate(3, 2, ExemptNetworks([])),
            Penalties(ExemptNetworks([])),
            clock=self,
            report=self.report,
            retry_after=lambda: self.retry_after,
        )
        self._stack = stack
        self.listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))

    def monotonic(self) -> float:
        return self.time

    def now(self) -> float:
        return self.time

    def report(self, event: str, /, **fields: object) -> None:
        self.reports.append((event, fields))

    def said(self, event: str) -> list[dict[str, Any]]:
        return said(self.reports, event)

    def make(self, slot: LoginSlot) -> Any:
        self.made.append(Handshake(slot, self))
        return self.made[-1]

    def arrive(self, source: str = HERE) -> tuple[socket.socket, socket.socket]:
        """A client connects. Returns its socket and ours, before any check."""
        theirs = socket.create_connection(self.listener.getsockname(), 10, source_address=(source, 0))
        ours, _ = self.listener.accept()
        ours.setblocking(False)
        return self._stack.enter_context(theirs), self._stack.enter_context(ours)

    async def admit(self, source: str = HERE) -> Handshake:
        """A client that gets a slot."""
        before = len(self.made)
        self.admission.take(self.arrive(source)[1], self.make)
        assert len(self.made) == before + 1, "refused"
        async with asyncio.timeout(10):
            await self.made[-1].begun
        return self.made[-1]

    def refuse(self, source: str = HERE) -> tuple[socket.socket, socket.socket]:
        """A client that gets none."""
        before = len(self.made)
        theirs, ours = self.arrive(source)
        self.admission.take(ours, self.make)
        assert len(self.made) == before, "admitted"
        return theirs, ours

    def told(self, source: str = HERE) -> str:
        """The text for a refused client, to the end of the stream."""
        theirs, _ = self.refuse(source)
        return reason_in(read_all(theirs))

    async def block(self, source: str = HERE) -> None:
        """Log-ins from there fail until it is blocked."""
        while not self.said("address.blocked"):
            (await self.admit(source)).over("failed")


def read_all(sock: socket.socket) -> bytes:
    data = b""
    while more := sock.recv(4096):
        data += more
    return data


def reason_in(said: bytes) -> str:
    """Why a client was turned away."""
    code, reason = disconnect_in(said)
    assert code == DISC_TOO_MANY_CONNECTIONS
    return reason


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    with ExitStack() as stack:
        made = Door(stack)
        yield made
        made.admission.close()
        for connection in made.made:
            connection.abort()


async def test_a_slot_is_taken_and_given_back_once(door: Door) -> None:
    one, two = await door.admit(), await door.admit()
    assert len(door.admission) == 2
    assert list(map(id, door.admission.in_progress)) == [id(one), id(two)]
    assert door.said("handshake.started") == [{"peer": HERE}] * 2
    door.time += 3
    for _ in range(2):  # a connection ends in more ways than one, at once
        one.over("ok")
    assert door.said("handshake.ended") == [{"peer": HERE, "seconds": 3.0, "outcome": "ok"}]
    assert len(door.admission) == 1
    await door.admit()
    assert "too many connections are logging in; retry-after=7" in door.told()


async def test_one_network_has_two_slots_and_all_have_three(door: Door) -> None:
    await door.admit(HERE)
    await door.admit(HERE)
    assert door.told(HERE) == "too many connections are logging in; retry-after=7"
    await door.admit(THERE)
    assert door.said("handshake.ended") == [{"peer": HERE, "seconds": 0.0, "outcome": "limit"}]


async def test_the_log_in_furthest_from_its_end_is_displaced_and_told(door: Door) -> None:
    typing, silent, exchanged = (
        await door.admit("127.0.1.1"),
        await door.admit("127.0.2.1"),
        await door.admit("127.0.3.1"),
    )
    typing.progressed(Progress.PROMISING)
    exchanged.progressed(Progress.EXCHANGED)
    door.time += limits.HANDSHAKE_PATIENCE_SECONDS[Progress.SILENT]
    await door.admit("127.0.4.1")
    assert silent.told == ["login too slow; its slot went to another client; retry-after=7"]
    assert typing.told == exchanged.told == []
    assert len(door.admission) == 3
    assert [one["outcome"] for one in door.said("handshake.ended")] == ["displaced"]
    silent.over("failed")  # its socket closes later
    assert len(door.said("handshake.ended")) == 1


async def test_log_ins_that_fail_block_their_address(door: Door) -> None:
    for _ in range(2):
        (await door.admit()).over("failed")
    assert door.said("address.blocked") == []
    (await door.admit()).over("timeout")
    assert door.said("address.blocked") == [{"address": HERE, "seconds": 15, "why": Offence.KEYS_REFUSED.value}]
    await door.admit(THERE)


@pytest.mark.parametrize("why", ["logged in", "nothing to blame", "draining"])
async def test_an_address_without_an_offence_is_not_blocked(door: Door, why: str) -> None:
    for _ in range(10):
        connection = await door.admit()
        if why == "nothing to blame":
            connection.blame = None
        door.admission.draining = why == "draining"  # it is the gateway that ends them
        connection.over("ok" if why == "logged in" else "failed")
        door.admission.draining = False
    assert door.said("address.blocked") == []


async def test_a_blocked_address_gets_the_reason_and_one_slow_slot(door: Door) -> None:
    await door.block()
    slow = await door.admit()
    assert slow.slot.slow
    told = door.told()
    assert told.startswith("your address is blocked for 15 s: too many log-ins from it failed.")
    assert told.endswith("retry-after=7")
    door.time += 5 * LANE_PACE_SECONDS
    assert "is blocked for 10 s" in door.told()  # somebody is in the lane
    assert not (await door.admit(THERE)).slot.slow
    slow.over("failed")
    again = await door.admit()
    assert again.slot.slow
    again.over("ok")
    assert "is blocked" in door.told()  # the lane has a pace
    assert [one["outcome"] for one in door.said("handshake.ended")].count("blocked") == 3


async def test_the_slow_lane_is_free_again_if_there_is_no_slot(door: Door) -> None:
    await door.block()
    others = [await door.admit(f"127.0.{n}.1") for n in (7, 8, 9)]
    assert "too many connections are logging in" in door.told()
    door.time += LANE_PACE_SECONDS
    others[0].over("ok")
    assert (await door.admit()).slot.slow


async def test_a_stopping_gateway_admits_no_client(door: Door) -> None:
    door.admission.draining = True
    assert door.told() == "the gateway is stopping; retry-after=7"
    assert door.said("handshake.ended") == door.said("handshake.started") == []


@pytest.mark.parametrize("retry_after", [10**n for n in range(8)])
async def test_the_reason_of_a_refusal_is_a_valid_packet_with_any_length(door: Door, retry_after: int) -> None:
    door.admission.draining = True
    door.retry_after = retry_after
    assert door.told().endswith(f"retry-after={retry_after}")


async def test_a_refused_client_may_send_first_and_is_closed_in_good_order(door: Door) -> None:
    """A close before their version line would be a reset, which takes the reason from under their eyes."""
    door.admission.draining = True
    theirs, ours = door.refuse()
    theirs.sendall(b"SSH-2.0-OpenSSH_9.9\r\n")
    door.time += LINGER_SECONDS - 0.1
    door.admission.tick()
    assert ours.fileno() >= 0
    door.time += 0.1
    door.admission.tick()
    assert ours.fileno() == -1
    assert reason_in(read_all(theirs)) == "the gateway is stopping; retry-after=7"


async def test_a_client_that_is_gone_already_costs_nothing(door: Door) -> None:
    theirs, ours = door.arrive()
    reset_at_close(theirs)
    theirs.close()
    door.admission.take(ours, door.make)
    assert (ours.fileno(), door.made, door.reports) == (-1, [], [])


async def test_refused_connections_that_linger_are_bounded(door: Door) -> None:
    """REFUSED_LINGERING, as shipped."""
    door.admission.draining = True
    kept = [door.refuse()[1] for _ in range(258)]
    assert [sock.fileno() >= 0 for sock in kept] == [False] * 2 + [True] * 256
    door.admission.close()
    assert [sock.fileno() for sock in kept] == [-1] * 258


async def test_crowds_are_reported_once_a_minute_with_their_size(door: Door) -> None:
    door.admission.tick()
    assert door.said("handshakes.crowded") == []
    await door.block(THERE)
    await door.admit(THERE)
    for _ in range(2):
        await door.admit(HERE)
    for source in (HERE, HERE, THERE):
        door.refuse(source)
    door.time += limits.HANDSHAKE_PATIENCE_SECONDS[Progress.SILENT]
    await door.admit("127.0.9.1")
    door.admission.tick()
    told = {"in_progress": 3, "limit": 2, "blocked": 1, "displaced": 1}
    assert door.said("handshakes.crowded") == [told]
    door.refuse(THERE)
    door.time += HANDSHAKES_NOTE_SECONDS - 1
    door.admission.tick()
    assert door.said("handshakes.crowded") == [told]
    door.time += 1
    door.admission.tick()
    assert door.said("handshakes.crowded")[1:] == [{"in_progress": 3, "limit": 0, "blocked": 1, "displaced": 0}]
    door.time += 10 * HANDSHAKES_NOTE_SECONDS
    door.admission.tick()
    assert len(door.said("handshakes.crowded")) == 2  # nobody since


async def test_the_close_ends_log_ins_in_progress(door: Door) -> None:
    connection = await door.admit()
    assert connection.transport is not None
    door.admission.close()
    assert connection.transport.is_closing()


async def test_an_ipv4_peer_of_an_ipv6_socket_is_an_ipv4_peer() -> None:
    with ExitStack() as stack:
        door = Door(stack)
        door.listener = stack.enter_context(
            socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
        )
        theirs = stack.enter_context(socket.create_connection(("127.0.0.1", door.listener.getsockname()[1]), 10))
        ours, _ = door.listener.accept()
        ours.setblocking(False)
        door.admission.take(ours, door.make)
        assert door.made[0].slot.host == "127.0.0.1"
        await door.made[0].begun
        door.admission.close()
        theirs.close()
