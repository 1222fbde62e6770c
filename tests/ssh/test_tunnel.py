"""`SshTunnel`: waiting visitors, their release, and openings that time out. An error in one visitor affects no
other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from asyncssh.constants import MSG_CHANNEL_OPEN, OPEN_RESOURCE_SHORTAGE
from asyncssh.misc import ChannelOpenError
from asyncssh.packet import SSHPacket

from ferry.errors import LocalProtocolError
from ferry.kinds.base import ForwardRequest
from ferry.names import Address, Endpoint, Identity, IdentityId, Kind, TunnelId
from ferry.ssh.claims import Claim
from ferry.ssh.tunnel import GrantedForward, SshTunnel
from ferry.ssh.wire.channel import TunnelChannel
from ferry.ssh.wire.channel_state import State
from ferry.streams import OpenFailure
from ferry.visits import Visit
from granted import to_listen, to_visit
from ssh.wire.test_tunnel_channel import Told

CHANNEL_WINDOW_BYTES = 768 * 1024
STREAM_OPEN_SECONDS = 30.0
ADDRESS = Address(Kind.HTTP, "blog.localhost")
VISITOR = Endpoint("192.0.2.7", 4711)
GONE, LIMIT, REFUSED = (
    ("stream_refused", failure) for failure in (OpenFailure.GONE, OpenFailure.LIMIT, OpenFailure.REFUSED)
)


class Line:
    """Stands for the connection: many channels, and what is asked with each."""

    may_send = True
    channel_window = CHANNEL_WINDOW_BYTES

    def __init__(self) -> None:
        self.channels: dict[int, TunnelChannel] = {}
        self.opens: list[bytes] = []
        self.failed: list[Exception] = []
        self.answers: list[float] = []
        self.room = 100
        self.soon: list[tuple[Callable[..., None], tuple[object, ...]]] = []

    def open_channel(self, channel: TunnelChannel, kind: bytes, *args: bytes) -> None:
        if len(self.channels) >= self.room:
            raise ChannelOpenError(OPEN_RESOURCE_SHORTAGE, "too many channels")
        channel.request_open(kind, *args)

    def add_channel(self, channel: TunnelChannel) -> int:
        number = len(self.opens)
        self.channels[number] = channel
        return number

    def remove_channel(self, number: int) -> None:
        del self.channels[number]

    def send_packet(self, message: int, *parts: bytes) -> None:
        if message == MSG_CHANNEL_OPEN:
            self.opens.append(b"".join(parts))

    def send_data(self, *_: object) -> None:
        """Nobody looks."""

    def sink_failed(self, error: Exception) -> None:
        self.failed.append(error)

    def call_soon(self, callback: Callable[..., None], *args: object) -> None:
        self.soon.append((callback, args))

    def answered_in(self, seconds: float) -> None:
        self.answers.append(seconds)

    silent = False
    silent_for = 0.0


class Stage:
    """A tunnel that has a line, a clock, and a client that is nothing but an ear (`TunnelEvents`)."""

    def __init__(self, *, held: bool = True, address: Address = ADDRESS, is_so: bool = False) -> None:
        """`is_so`: the local service speaks TLS, the gateway chose the address, and its owner came without a key."""
        self.now = 100.0
        self.line = Line()
        self.told: list[tuple[str, object]] = []
        ann = Identity(IdentityId("ann"), "ann", None, anonymous=is_so)
        self.tunnel = SshTunnel(
            GrantedForward(
                TunnelId("t"), ForwardRequest(address.kind, None, 0, tls_upstream=is_so), (b"Blog", 80), created=0.0
            ),
            Claim(address, ann, "", derived=is_so, generation=1, reserved=True, made_reservation=False, since=0.0),
            self,
            cast(Any, self.line),
            clock=cast(Any, SimpleNamespace(monotonic=lambda: self.now)),
            report=self.report,
        )
        if not held:
            self.tunnel.let_through()

    def report(self, event: str, /, **fields: object) -> None:
        self.told.append((event, fields.get("failure")))

    def visited(self, address: Address, visit: Visit) -> None:
        """Nobody looks."""

    watched = False

    def long_visit_began(self, address: Address, visit: Visit) -> None:
        """Nobody looks."""

    def tell(self, line: str, **fields: object) -> None:
        """Nobody looks."""

    def target_refused(self, _address: Address, why: str) -> None:
        self.told.append(("owner", why))

    def comes_from(self, _origin: str) -> bool:
        return False

    def visitor(self) -> tuple[TunnelChannel, Told]:
        sink = Told()
        stream = self.tunnel.dial(to_visit(self.tunnel), VISITOR, cast(Any, sink))
        return cast(TunnelChannel, stream), sink

    def turn(self) -> None:
        """What was put off until the loop's next turn."""
        soon, self.line.soon = self.line.soon, []
        for call, args in soon:
            call(*args)

    def confirm(self, channel: TunnelChannel, packet: int = 32_768) -> None:
        channel.process_open_confirmation(9, 2**20, packet, SSHPacket(b""))


@pytest.mark.parametrize("is_so", [False, True])
def test_what_a_tunnel_says_of_itself(*, is_so: bool) -> None:
    stage = Stage(is_so=is_so)
    stage.watched = is_so
    tunnel = stage.tunnel
    assert [tunnel.tls_upstream, tunnel.derived, tunnel.anonymous, tunnel.watched] == [is_so] * 4
    assert tunnel.listens_at == {}, "it has no port of its own"


# --- held


def test_a_held_visitors_channel_opens_when_it_is_let_through() -> None:
    stage = Stage()
    channel, sink = stage.visitor()
    channel.write(b"GET")
    assert (stage.line.opens, stage.tunnel.streams) == ([], 0)
    stage.tunnel.let_through()
    (asked,) = stage.line.opens
    packet = SSHPacket(asked)
    assert packet.get_string() == b"forwarded-tcpip"
    packet.get_uint32(), packet.get_uint32(), packet.get_uint32()
    assert [packet.get_string(), packet.get_uint32()] == [b"Blog", 80]  # the client's exact words
    assert [packet.get_string(), packet.get_uint32()] == [b"192.0.2.7", 4711]
    assert (stage.tunnel.streams, sink.news()) == (1, [])
    stage.tunnel.let_through()
    assert len(stage.line.opens) == 1


def test_a_held_visitor_that_leaves_opens_no_channel() -> None:
    stage = Stage()
    channel, sink = stage.visitor()
    channel.abort()
    stage.tunnel.let_through()
    assert (stage.line.opens, sink.news(), channel.state) == ([], [], State.CLOSED)


@pytest.mark.parametrize("how", ["close", "let_through"])
def test_the_end_of_a_waiting_visitor_ends_another(how: str) -> None:
    stage = Stage()
    stage.line.room = 0
    _, first = stage.visitor()
    second, second_sink = stage.visitor()

    def leave_together() -> None:
        second.abort()
        stage.line.room = 100  # there would be room for it now

    first.then = leave_together
    getattr(stage.tunnel, how)()
    assert first.news() == [GONE if how == "close" else LIMIT]
    assert second_sink.news() == []
    assert stage.line.opens == []


def test_the_end_of_a_waiting_visitor_closes_the_tunnel() -> None:
    stage = Stage()
    (_, first), (_, second) = stage.visitor(), stage.visitor()
    stage.line.room = 0

    def close() -> None:
        stage.line.room = 100
        stage.tunnel.close()

    first.then = close
    stage.tunnel.let_through()
    assert stage.line.opens == []
    assert (first.news(), second.news()) == ([LIMIT], [GONE])


def test_a_closing_tunnel_refuses_waiting_and_new_visitors() -> None:
    stage = Stage()
    _, waiting = stage.visitor()
    stage.tunnel.close()
    assert waiting.news() == [GONE]
    stage.tunnel.let_through()  # the hold's timer comes later
    late, late_sink = stage.visitor()
    assert late_sink.news() == []  # dial has to return first
    stage.turn()
    assert late_sink.news() == [GONE]
    assert (stage.line.opens, late.state) == ([], State.CLOSED)


def test_a_visitor_without_a_channel_is_refused_after_dial_has_returned() -> None:
    stage = Stage(held=False)
    stage.line.room = 0
    channel, sink = stage.visitor()
    assert (sink.news(), stage.tunnel.streams) == ([], 0)
    stage.turn()
    assert sink.news() == [LIMIT]
    assert ("channel.failed", "limit") in stage.told
    assert channel.state is State.CLOSED


def test_only_a_grant_for_visits_to_this_address_of_this_owner_opens_a_stream() -> None:
    stage = Stage(held=False)
    other, sold = Stage(address=Address(Kind.HTTP, "other.localhost")).tunnel, Stage().tunnel
    sold.owner = IdentityId("bob")
    for grant in (to_visit(other), to_visit(sold), to_listen(stage.tunnel)):
        with pytest.raises(LocalProtocolError):
            stage.tunnel.dial(grant, VISITOR, cast(Any, Told()))
    assert stage.line.opens == []
    stage.tunnel.dial(to_visit(stage.tunnel), VISITOR, cast(Any, Told()))
    assert len(stage.line.opens) == 1


# --- answers


def test_the_reports_of_answers_to_opens() -> None:
    stage = Stage(held=False)
    (opened, _), (refused, refused_sink), (unfit, unfit_sink) = stage.visitor(), stage.visitor(), stage.visitor()
    stage.now += 0.25
    stage.confirm(opened)
    assert stage.told == [("channel.opened", None)]
    refused.process_open_failure(2, "", "")
    assert refused_sink.news() == [REFUSED]
    stage.confirm(unfit, packet=16)
    assert unfit_sink.news() == [REFUSED]
    assert stage.told[1:] == [
        ("channel.failed", "refused"),
        (
            "owner",
            "your local service cannot be reached: does it run, and on that port? If it listens on [::1] only, "
            "write localhost as its host",
        ),
        ("channel.failed", "refused"),
        ("owner", "your SSH client takes packets of 16 bytes only; 256 are needed at least"),
    ]
    assert stage.line.answers == [0.25, 0.25, 0.25]


def test_an_open_without_an_answer_is_given_up_after_its_time() -> None:
    stage = Stage(held=False)
    (first, first_sink) = stage.visitor()
    stage.now += 1
    (_, second_sink) = stage.visitor()
    stage.tunnel.give_up_openings(stage.now + STREAM_OPEN_SECONDS - 1.5)
    assert first_sink.news() == []
    stage.tunnel.give_up_openings(stage.now + STREAM_OPEN_SECONDS - 0.5)
    assert first_sink.news() == [("stream_refused", OpenFailure.TIMEOUT)]
    assert second_sink.news() == []
    assert ("channel.failed", "timeout") in stage.told
    assert stage.tunnel.streams == 2  # its number is still the client's to answer for
    stage.confirm(first)
    assert first.state is State.CLOSING
    assert stage.line.answers == []  # too late to say how near it is


def test_an_answered_open_is_not_given_up() -> None:
    stage = Stage(held=False)
    channel, sink = stage.visitor()
    stage.confirm(channel)
    sink.news()
    stage.tunnel.give_up_openings(stage.now + 2 * STREAM_OPEN_SECONDS)
    assert (sink.news(), channel.state) == ([], State.OPEN)


def test_an_abandoned_open_is_not_given_up_after_its_connection_forgot_it() -> None:
    stage = Stage(held=False)
    channel, _ = stage.visitor()
    channel.process_open_failure(2, "", "")
    stage.told.clear()
    stage.tunnel.give_up_openings(stage.now + 2 * STREAM_OPEN_SECONDS)
    assert stage.told == []


# --- one failure ends one thing


def fail() -> None:
    raise RuntimeError("a fault")


def test_a_sink_that_raises_delays_no_other_visitor() -> None:
    for act in (
        lambda stage: stage.tunnel.close(),
        lambda stage: (stage.line.__setattr__("room", 0), stage.tunnel.let_through()),
        lambda stage: (stage.tunnel.let_through(), stage.tunnel.cut()),
        lambda stage: (stage.tunnel.let_through(), stage.tunnel.give_up_openings(stage.now + 60)),
    ):
        stage = Stage()
        (_, first), (_, second) = stage.visitor(), stage.visitor()
        first.then = fail
        act(stage)
        assert [len(first.news()), len(second.news())] == [1, 1]
        assert len(stage.line.failed) == 1


def test_a_failed_callback_of_a_closing_tunnel_leaves_the_others_called() -> None:
    stage = Stage()
    heard: list[str] = []
    stage.tunnel.on_close(fail)
    stage.tunnel.on_close(lambda: heard.append("second"))
    stage.tunnel.close()
    stage.tunnel.close()
    assert (heard, len(stage.line.failed)) == (["second"], 1)
    stage.tunnel.on_close(lambda: heard.append("late"))
    assert heard == ["second", "late"]


# --- the end


def test_a_cut_breaks_every_stream() -> None:
    stage = Stage(held=False)
    (opened, opened_sink), (_, opening_sink) = stage.visitor(), stage.visitor()
    stage.confirm(opened)
    opened_sink.news()
    stage.tunnel.cut()
    ((what, error),) = cast(Any, opened_sink.news())
    assert (what, str(error)) == ("stream_lost", "the tunnel was closed")
    assert opening_sink.news() == [GONE]


async def test_a_tunnel_is_idle_after_its_last_stream() -> None:
    stage = Stage(held=False)
    async with asyncio.timeout(10):
        await stage.tunnel.wait_idle(1000)  # nothing is open
    channels = [stage.visitor()[0] for _ in range(2)]
    waiting = asyncio.ensure_future(stage.tunnel.wait_idle(1000))
    await asyncio.sleep(0)  # it waits
    channels[0].process_open_failure(2, "", "")
    for _ in range(3):
        await asyncio.sleep(0)
    assert not waiting.done()
    channels[1].process_open_failure(2, "", "")
    async with asyncio.timeout(10):
        await waiting


async def test_waiting_for_idleness_ends() -> None:
    stage = Stage(held=False)
    stage.visitor()
    async with asyncio.timeout(10):
        await stage.tunnel.wait_idle(0.01)
    assert stage.tunnel.streams == 1


@pytest.mark.parametrize(
    ("address", "serves"),
    [(Address(Kind.TCP, "", 4000), True), (ADDRESS, False)],
    ids=["port", "web, whose idle streams are open too"],
)
def test_a_stopping_gateway_waits_for_open_streams_that_are_in_use(address: Address, serves: bool) -> None:
    stage = Stage(held=False, address=address)
    assert not stage.tunnel.serving
    channel, _ = stage.visitor()
    stage.confirm(channel)
    assert stage.tunnel.serving is serves
