"""The record of a visit through a client's own channel, to an alias, during the visit and at its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import asyncssh
import pytest
from asyncssh.constants import MSG_CHANNEL_CLOSE, MSG_CHANNEL_EOF

from ferry.policy.keys import KeyLine
from ferry.protocol.key_options import parse_options
from ferry.streams import Direction, ExchangeTap
from ferry.visits import Traffic
from inside_gateway import SECONDS
from known_system import KNOWN
from ssh.alias_pair import Pair
from turns import until


class Watch:
    """A tap that writes down what it sees."""

    def __init__(self) -> None:
        self.saw: list[str] = []

    def begin(self, request: object) -> ExchangeTap:
        assert request is None
        return self

    def seen(self, direction: Direction, data: bytes) -> None:
        self.saw.append(f"{direction.value} {data.decode()}")

    def ended(self, error: Exception | None) -> None:
        self.saw.append("ended" if error is None else "broke")


async def test_bytes_are_counted_while_they_pass_and_the_visit_at_its_end(pair: Pair) -> None:
    (tunnel,) = pair.gateway.tunnels
    visitor, machine = await pair.open()
    visitor.data(b"question")
    machine.data(b"an answer")
    await visitor.until(size=9)
    await machine.until(size=8)
    assert tunnel.traffic == Traffic(up=8, down=9, visits=0)
    visitor.say(MSG_CHANNEL_CLOSE)
    await machine.until("close")
    assert tunnel.traffic == Traffic(up=8, down=9, visits=1)
    (visit,) = [fields["visit"] for fields in pair.gateway.said("visit")]
    assert (visit.tunnel, visit.kind, visit.target, visit.status) == (tunnel.id, "alias", visit.address, 0)
    assert (visit.address, visit.peer.host) == (str(tunnel.address), "127.0.0.1")
    machine.say(MSG_CHANNEL_CLOSE)
    await pair.settle()


async def test_new_options_of_a_key_end_the_visits_that_they_do_not_allow(pair: Pair) -> None:
    """At both ends; a visit that has ended is no part of that."""
    (laptop,) = pair.gateway.tunnels
    (here,) = [client for client in pair.gateway.clients if not client.forwards]
    past, _ = await pair.open()
    past.say(MSG_CHANNEL_CLOSE)
    await past.until("close")
    visitor, machine = await pair.open()
    allowed = 'permitopen="laptop:22"'
    here.use_key_line(KeyLine(options=parse_options(allowed, KNOWN)))
    visitor.data(b"question")
    await machine.until(size=8)
    here.use_key_line(KeyLine(options=parse_options('permitopen="desk:22"', KNOWN)))
    await visitor.until("close")
    await machine.until("close", size=8)
    assert not laptop.closed
    assert laptop.traffic.visits == 2
    for side in (visitor, machine):
        side.say(MSG_CHANNEL_CLOSE)
    await pair.settle()


async def test_a_right_that_is_taken_away_ends_the_visit(pair: Pair, new_key: Callable[[], Path]) -> None:
    """`permitopen=` without a `*` opens another identity's alias. Once the line names it no more, the visit ends."""
    async with pair.gateway.client(new_key()) as stranger:
        here = pair.gateway.clients[-1]
        assert str(here.identity) != str(pair.gateway.tunnels[0].owner)
        for options in ("", 'permitopen="*:22"', 'permitopen="laptop:*"', 'permitopen="*:*"'):
            here.use_key_line(KeyLine(options=parse_options(options, KNOWN)))
            with pytest.raises(asyncssh.ChannelOpenError, match="no alias laptop:22 here for you"):
                await stranger.connection.open_connection("laptop", 22)
        here.use_key_line(KeyLine(options=parse_options('permitopen="laptop:22"', KNOWN)))
        pair.machine.accept_opens()
        reader, _ = await stranger.connection.open_connection("laptop", 22)
        here.use_key_line(KeyLine(options=parse_options('permitopen="*:*",permitopen="laptop:22"', KNOWN)))
        assert len(here.direct) == 1
        here.use_key_line(KeyLine(options=parse_options('permitopen="*:*"', KNOWN)))
        async with asyncio.timeout(SECONDS):
            assert await reader.read() == b""
        await until(lambda: not here.direct)


@pytest.mark.parametrize("breaks", [False, True])
async def test_a_tap_sees_both_directions_and_the_end(pair: Pair, breaks: bool) -> None:
    watch = Watch()
    (tunnel,) = pair.gateway.tunnels
    tunnel.tap = watch
    visitor, machine = await pair.open()
    visitor.data(b"question")
    await machine.until(size=8)
    machine.data(b"answer")
    await visitor.until(size=6)
    if breaks:
        machine.client.connection.abort()
        await visitor.until("close")
    else:
        machine.say(MSG_CHANNEL_EOF)
        machine.say(MSG_CHANNEL_CLOSE)
        await visitor.until("eof", "close")
        visitor.say(MSG_CHANNEL_CLOSE)
    assert await visitor.client.lives()
    assert watch.saw == ["up question", "down answer", "broke" if breaks else "ended"]


async def test_the_drain_waits_until_the_visitors_client_has_closed_its_channel_too(pair: Pair) -> None:
    """Stock ssh drops the last bytes for its visitor if the connection ends before it has closed the channel."""
    visitor, machine = await pair.open()
    machine.data(b"the last words")
    machine.say(MSG_CHANNEL_CLOSE)
    await visitor.until("close", size=14)
    other, machine = await pair.open()
    machine.say(MSG_CHANNEL_CLOSE)
    await other.until("close")
    drained = asyncio.ensure_future(pair.gateway.drain(SECONDS))
    await pair.settle()
    other.say(MSG_CHANNEL_CLOSE)
    await pair.settle()
    assert not drained.done()
    visitor.say(MSG_CHANNEL_CLOSE)
    await drained
    assert await visitor.client.lives()


async def test_a_client_whose_only_tunnel_is_taken_away_stays_while_it_visits(pair: Pair) -> None:
    assert await pair.visitor.forward(b"desk", 22)
    visitor, machine = await pair.open()
    (desk,) = [tunnel for tunnel in pair.gateway.tunnels if tunnel.address.name == "desk"]
    pair.gateway.take_away(desk, "the operator took it")
    machine.data(b"still here")
    await visitor.until(size=10)
    assert await pair.visitor.lives()
