"""The record of a visit through a client's own channel, to an alias, during the visit and at its end."""

from __future__ import annotations

import pytest
from asyncssh.constants import MSG_CHANNEL_CLOSE, MSG_CHANNEL_EOF

from ferry.streams import Direction, ExchangeTap
from ferry.visits import Traffic
from ssh.alias_pair import Pair


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
