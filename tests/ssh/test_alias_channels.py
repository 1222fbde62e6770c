"""Both channels of `ssh -J`, message by message: ends, back-pressure, and nothing left behind."""

from __future__ import annotations

import asyncssh
import pytest
from asyncssh.constants import (
    MSG_CHANNEL_CLOSE,
    MSG_CHANNEL_DATA,
    MSG_CHANNEL_EOF,
    MSG_CHANNEL_OPEN_CONFIRMATION,
    MSG_CHANNEL_OPEN_FAILURE,
    MSG_CHANNEL_WINDOW_ADJUST,
)
from asyncssh.packet import String, UInt32

from raw_session import open_session
from ssh.alias_pair import Pair, Side

HIGH_WATER_BYTES = 256 * 1024
CHANNEL_WINDOW_BYTES = 768 * 1024
LEAVES = "the visitor left before the alias answered"


def visits(pair: Pair) -> list[tuple[int, int, str]]:
    told = [fields["visit"] for fields in pair.gateway.said("visit")]
    return [(visit.up, visit.down, visit.note) for visit in told]


async def closed(pair: Pair, *sides: Side) -> None:
    """Answer a close with a close, as every client does."""
    for side in sides:
        side.say(MSG_CHANNEL_CLOSE)
    await pair.settle()


# --- before it is open


async def test_a_machine_refuses_a_channel_by_closing_it_unopened(pair: Pair) -> None:
    """`ssh -J` waited for ever, and the number of its channel was never free again."""
    before = pair.gateway.kept()
    _, number, _ = await pair.ask()
    pair.machine.send(MSG_CHANNEL_CLOSE, UInt32(number))
    what, packet = await pair.answer()
    assert what == "failed"
    packet.get_uint32(), packet.get_uint32()
    assert packet.get_string() == b"the alias's local service cannot be reached"
    await pair.gateway.back_to(before)
    assert visits(pair) == [(0, 0, "the alias's local service cannot be reached")]
    await pair.settle()


async def test_a_machine_that_refuses(pair: Pair) -> None:
    before = pair.gateway.kept()
    _, number, _ = await pair.ask()
    pair.machine.send(MSG_CHANNEL_OPEN_FAILURE, UInt32(number), UInt32(2), String(b"no"), String(b""))
    assert (await pair.answer())[0] == "failed"
    await pair.gateway.back_to(before)


async def test_a_visitor_that_closes_before_it_was_answered_gets_an_answer(pair: Pair) -> None:
    """It cannot know the number, but it can guess it."""
    before = pair.gateway.kept()
    _, number, _ = await pair.ask()
    for theirs in range(5):
        pair.visitor.send(MSG_CHANNEL_CLOSE, UInt32(theirs))
    assert (await pair.answer())[0] == "failed"
    pair.machine.send(MSG_CHANNEL_OPEN_CONFIRMATION, UInt32(number), UInt32(7), UInt32(1000), UInt32(1000))
    pair.machine.send(MSG_CHANNEL_CLOSE, UInt32(number))
    await pair.gateway.back_to(before)
    assert visits(pair) == [(0, 0, LEAVES)]


async def test_a_visitors_connection_ends_before_the_answer(pair: Pair) -> None:
    before = pair.gateway.kept()
    _, number, _ = await pair.ask()
    pair.visitor.connection.abort()
    await pair.visitor.connection.wait_closed()
    while not visits(pair):  # the gateway has noticed
        assert await pair.machine.lives()
    pair.machine.send(MSG_CHANNEL_OPEN_CONFIRMATION, UInt32(number), UInt32(7), UInt32(1000), UInt32(1000))
    pair.machine.send(MSG_CHANNEL_CLOSE, UInt32(number))
    await pair.gateway.back_to(before)
    assert visits(pair) == [(0, 0, LEAVES)]


async def test_a_tunnel_closes_before_its_request_is_answered(pair: Pair) -> None:
    await pair.ask()
    pair.machine.connection.abort()
    what, packet = await pair.answer()
    assert what == "failed"
    packet.get_uint32(), packet.get_uint32()
    assert packet.get_string() == b"the alias has just closed"


@pytest.mark.parametrize(
    ("host", "port", "says"),
    [
        ("desktop", 22, "no alias desktop:22 here for you"),
        ("laptop", 23, "no alias laptop:23 here for you"),
        ("192.0.2.1", 22, "through this gateway you can reach your own aliases and ports only"),
        ("localhost", 22, "no port 22 here for you"),
    ],
)
async def test_a_target_that_is_no_served_alias_is_refused_and_the_connection_goes_on(
    pair: Pair, host: str, port: int, says: str
) -> None:
    with pytest.raises(asyncssh.ChannelOpenError) as caught:
        await pair.machine.connection.open_connection(host, port)
    assert says in caught.value.reason
    await pair.settle()


# --- ends


@pytest.mark.parametrize("first", ["visitor", "machine"])
async def test_an_end_of_file_closes_one_direction_only(pair: Pair, first: str) -> None:
    before = pair.gateway.kept()
    visitor, machine = await pair.open()
    one, other = (visitor, machine) if first == "visitor" else (machine, visitor)
    one.data(b"question")
    one.say(MSG_CHANNEL_EOF)
    await other.until("eof", size=8)
    other.data(b"an answer")
    other.say(MSG_CHANNEL_EOF)
    other.say(MSG_CHANNEL_CLOSE)
    await one.until("eof", "close", size=9)
    await other.until("eof", "close")
    one.say(MSG_CHANNEL_CLOSE)
    await pair.gateway.back_to(before)
    assert (one.got, other.got) == (b"an answer", b"question")
    assert visits(pair) == [(8, 9, "") if first == "visitor" else (9, 8, "")]


@pytest.mark.parametrize("first", ["visitor", "machine"])
async def test_a_broken_stream_does_not_end_in_order(pair: Pair, first: str) -> None:
    """The other's channel is closed without an end of file."""
    visitor, machine = await pair.open()
    one, other = (visitor, machine) if first == "visitor" else (machine, visitor)
    one.data(b"half of what")
    await other.until(size=12)
    one.client.connection.abort()
    await other.until("close")
    assert other.got == b"half of what"
    other.say(MSG_CHANNEL_CLOSE)
    assert await other.client.lives()
    assert visits(pair) == [(12, 0, "") if first == "visitor" else (0, 12, "broken")]


@pytest.mark.parametrize("first", ["visitor", "machine"])
async def test_a_break_drops_waiting_bytes(pair: Pair, first: str) -> None:
    visitor, machine = await pair.open(window=10, machine_window=10)
    one, other = (visitor, machine) if first == "visitor" else (machine, visitor)
    one.data(bytes(20))
    await other.until(size=10)
    one.client.connection.abort()
    await other.until("close", size=10)
    other.say(MSG_CHANNEL_WINDOW_ADJUST, UInt32(100))
    assert await other.client.lives()
    assert len(other.got) == 10


@pytest.mark.parametrize("first", ["visitor", "machine"])
async def test_bytes_sent_before_a_close_still_arrive(pair: Pair, first: str) -> None:
    visitor, machine = await pair.open(window=10, machine_window=10)
    one, other = (visitor, machine) if first == "visitor" else (machine, visitor)
    one.data(bytes(20))
    one.say(MSG_CHANNEL_EOF)
    one.say(MSG_CHANNEL_CLOSE)
    await other.until(size=10)
    other.say(MSG_CHANNEL_WINDOW_ADJUST, UInt32(100))
    await other.until("eof", "close", size=20)
    await closed(pair, other)


@pytest.mark.parametrize(("answer", "before", "told"), [(b"", 0, True), (b"hello", 0, False), (b"", 1, False)])
async def test_an_alias_that_closes_its_first_visit_without_an_answer_may_lead_nowhere(
    pair: Pair, answer: bytes, before: int, *, told: bool
) -> None:
    """Its owner is told what to write, once: other machines answer, or have answered before."""
    [tunnel] = pair.gateway.tunnels
    tunnel.traffic.visits = before
    session = await open_session(pair.machine)
    assert session is not None
    assert await session.ask(b"shell")
    visitor, machine = await pair.open()
    if answer:
        machine.data(answer)
    machine.say(MSG_CHANNEL_CLOSE)
    await visitor.until("close", size=len(answer))
    await pair.settle()
    assert (b"laptop:22 closed a visit without an answer" in session.said) is told


# --- back-pressure


@pytest.mark.parametrize("who", ["visitor", "machine"])
async def test_a_receiver_that_reads_nothing_pauses_the_sender(pair: Pair, who: str) -> None:
    """One end has no window: the other may send HIGH_WATER_BYTES and a window, not a byte more; then all arrives."""
    visitor, machine = await pair.open(window=0, machine_window=0)
    sender, taker = (machine, visitor) if who == "visitor" else (visitor, machine)
    sent, most = 0, HIGH_WATER_BYTES + CHANNEL_WINDOW_BYTES + 32_768
    while sender.credit and sent <= most:
        size = min(sender.credit, 32_768)
        sender.data(bytes([sent // 32_768 % 251]) * size)
        sent += size
        if not sender.credit:
            await pair.settle()
    assert sent <= most
    assert sent > HIGH_WATER_BYTES
    assert taker.heard == []
    taker.say(MSG_CHANNEL_WINDOW_ADJUST, UInt32(2**24))
    await taker.until(size=sent)
    assert taker.got == b"".join(bytes([at // 32_768 % 251]) * min(32_768, sent - at) for at in range(0, sent, 32_768))
    await pair.settle()
    assert sender.credit > 0  # it may go on
    before = len(taker.got)
    sender.data(b"more")
    await taker.until(size=before + 4)


async def test_data_for_a_visitor_without_a_channel_is_a_fault_of_the_machine_alone(pair: Pair) -> None:
    _, number, _ = await pair.ask()
    pair.machine.send(MSG_CHANNEL_DATA, UInt32(number), String(b"early"))
    assert (await pair.answer())[0] == "failed"
    assert "beyond the window" in await pair.machine.said_at_the_end()
    assert await pair.visitor.lives()


async def test_a_visitor_that_takes_tiny_packets_only_is_refused_with_the_reason(pair: Pair) -> None:
    before = pair.gateway.kept()
    side = pair.number(pair.visitor)
    target = String(b"laptop"), UInt32(22), String(b"127.0.0.1"), UInt32(4711)
    pair.visitor.send(90, String(b"direct-tcpip"), UInt32(side.ours), UInt32(1000), UInt32(1), *target)
    what, packet = await pair.answer()
    assert what == "failed"
    packet.get_uint32(), packet.get_uint32()
    assert packet.get_string() == b"packets must hold 256 bytes at least"
    assert await pair.machine.lives()
    assert pair.machine.opens.empty()
    await pair.gateway.back_to(before)
