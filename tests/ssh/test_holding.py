"""The release of held visitors, and the forwards that the words of a session shape."""

from __future__ import annotations

import asyncio

import pytest

from ferry import limits
from ferry.ssh.holding import Holding, RequestedForward
from keepalives import Keepalives
from turns import timers

PAUSE = 0.05
WHY = "unknown word"


class Tunnel:
    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.host = ""

    def let_through(self) -> None:
        self.open.set()

    def send_host(self, host: str) -> None:
        assert not self.open.is_set()
        self.host = host


class Connection:
    """A client of `Holding`: it answers keepalives when the test says so."""

    def __init__(self, *, session_first: bool = True) -> None:
        self.keepalives = Keepalives()
        self.holding = Holding(self.keepalives.ping, session_first=session_first)
        self.of_login = list(self.keepalives.sent)

    def forward(self) -> tuple[RequestedForward, Tunnel]:
        """Ask for one, and have it granted."""
        asked, tunnel = self.holding.requested(), Tunnel()
        self.holding.granted(asked, tunnel, silence=0.0)
        return asked, tunnel

    async def answer(self) -> None:
        self.keepalives.answer()
        await asyncio.sleep(0)


@pytest.fixture
def short_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "HOLD_SECONDS", PAUSE)


@pytest.fixture
def long_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "HOLD_SECONDS", 60.0)


@pytest.mark.usefixtures("long_pause")
@pytest.mark.parametrize("session_first", [True, False], ids=["ssh", "others"])
async def test_an_answered_keepalive_lets_through_but_words_still_shape(*, session_first: bool) -> None:
    """With `ControlPersist` stock ssh too opens its session after the answer."""
    connection = Connection(session_first=session_first)
    asked, tunnel = connection.forward()
    assert not tunnel.open.is_set()
    await connection.answer()
    assert tunnel.open.is_set()
    assert connection.holding.words_refused(connection.holding.session_opened(), WHY) == [asked]
    assert asked.refused == WHY


@pytest.mark.usefixtures("short_pause")
async def test_after_the_pause_no_words_shape_a_forward_that_was_let_through() -> None:
    connection = Connection()
    asked, _ = connection.forward()
    await connection.answer()
    await timers(2 * PAUSE)
    assert connection.holding.words_refused(connection.holding.session_opened(), WHY) == []
    assert asked.refused is None


@pytest.mark.usefixtures("long_pause")
async def test_an_open_session_holds_until_it_has_said_its_words() -> None:
    connection = Connection()
    _, tunnel = connection.forward()
    session = connection.holding.session_opened()
    await connection.answer()
    assert not tunnel.open.is_set()
    connection.holding.words_said(session)
    assert tunnel.open.is_set()


@pytest.mark.usefixtures("long_pause")
async def test_a_session_that_closes_without_words_holds_no_longer() -> None:
    connection = Connection()
    _, tunnel = connection.forward()
    session = connection.holding.session_opened()
    await connection.answer()
    connection.holding.session_gone(session)
    assert tunnel.open.is_set()
    assert connection.holding.words_refused(connection.holding.session_opened(), WHY) == []


@pytest.mark.usefixtures("long_pause")
async def test_a_session_that_closes_without_words_lets_nothing_through_that_waits_for_the_keepalive() -> None:
    connection = Connection()
    _, tunnel = connection.forward()
    connection.holding.session_gone(connection.holding.session_opened())
    assert not tunnel.open.is_set()
    await connection.answer()
    assert tunnel.open.is_set()


@pytest.mark.usefixtures("long_pause")
async def test_a_forward_that_is_granted_after_its_words_waits_for_nothing() -> None:
    connection = Connection()
    asked, tunnel = connection.holding.requested(), Tunnel()
    connection.holding.words_said(connection.holding.session_opened())
    connection.holding.granted(asked, tunnel, silence=0.0)
    assert tunnel.open.is_set()
    assert connection.keepalives.sent == connection.of_login


@pytest.mark.usefixtures("long_pause")
async def test_refused_words_reach_a_forward_that_is_not_decided_yet() -> None:
    connection = Connection()
    asked = connection.holding.requested()
    assert connection.holding.words_refused(connection.holding.session_opened(), WHY) == [asked]
    assert asked.refused == WHY


@pytest.mark.usefixtures("long_pause")
async def test_a_refused_forward_is_not_shaped_any_more() -> None:
    connection = Connection()
    connection.holding.forget(connection.holding.requested())
    assert connection.holding.words_refused(connection.holding.session_opened(), WHY) == []


@pytest.mark.usefixtures("short_pause")
async def test_a_forward_asked_for_after_a_session_opened_is_held_for_the_pause_and_then_settled() -> None:
    connection = Connection()
    connection.holding.words_said(connection.holding.session_opened())
    asked, tunnel = connection.forward()
    assert (
        connection.keepalives.sent == connection.of_login
    )  # an answer would show nothing: the session of its command may open after it
    assert not tunnel.open.is_set()
    async with asyncio.timeout(10):
        await tunnel.open.wait()
    assert connection.holding.words_refused(connection.holding.session_opened(), WHY) == []
    assert asked.refused is None


@pytest.mark.usefixtures("long_pause")
async def test_a_later_session_shapes_only_forwards_since_the_session_before() -> None:
    connection = Connection()
    _, first = connection.forward()
    one = connection.holding.session_opened()
    between, _ = connection.forward()
    two = connection.holding.session_opened()
    after, _ = connection.forward()
    three = connection.holding.session_opened()
    assert connection.holding.words_refused(three, WHY) == [after]
    assert connection.holding.words_refused(two, WHY) == [between]
    connection.holding.words_said(one)
    assert first.open.is_set()


@pytest.mark.usefixtures("long_pause")
async def test_valid_words_do_not_settle_forwards_of_another_open_session() -> None:
    connection = Connection()
    one = connection.holding.session_opened()
    asked, tunnel = connection.forward()
    two = connection.holding.session_opened()
    connection.holding.words_said(one)
    assert not tunnel.open.is_set()
    assert connection.holding.words_refused(two, WHY) == [asked]


@pytest.mark.usefixtures("short_pause")
async def test_a_session_that_says_nothing_holds_no_longer_than_the_pause_but_its_words_still_close() -> None:
    connection = Connection()
    session = connection.holding.session_opened()
    asked, tunnel = connection.forward()
    async with asyncio.timeout(10):
        await tunnel.open.wait()
    assert connection.holding.words_refused(session, WHY) == [asked]


@pytest.mark.usefixtures("short_pause")
async def test_a_forward_that_comes_late_is_not_let_through_by_a_keepalive() -> None:
    connection = Connection()
    await connection.answer()  # the first moments of the connection are over
    asked, tunnel = connection.forward()
    assert not asked.early
    assert connection.keepalives.sent == connection.of_login
    async with asyncio.timeout(10):
        await tunnel.open.wait()


@pytest.mark.usefixtures("short_pause")
@pytest.mark.parametrize("session_first", [True, False], ids=["ssh", "others"])
async def test_a_forward_of_the_log_in_comes_before_its_keepalive_is_answered_or_at_once(
    *, session_first: bool
) -> None:
    """Ssh requests its own forwards before it answers anything. What others do at once is theirs too."""
    connection = Connection(session_first=session_first)
    assert len(connection.of_login) == session_first
    assert connection.holding.requested().early
    await timers(2 * PAUSE)
    assert connection.holding.requested().early is session_first  # the network may be slow
    await connection.answer()
    assert not connection.holding.requested().early


@pytest.mark.usefixtures("short_pause")
async def test_the_command_of_the_first_session_has_made_the_connection_for_its_forwards() -> None:
    plain, others, shared = Connection(), Connection(session_first=False), Connection()
    for connection in (plain, shared):
        connection.forward()
    plain.holding.session_opened()
    await shared.answer()  # a master without a session: the forwards are nobody's
    await timers(2 * PAUSE)
    others.holding.session_opened()
    shared.forward()  # of a second command, before its session
    shared.holding.session_opened()
    for connection, made in ((plain, True), (others, True), (shared, False)):
        assert not connection.holding.made_connection(1)
        connection.holding.words_said(1)
        assert connection.holding.made_connection(1) is made
        connection.forward()
        connection.holding.words_said(connection.holding.session_opened())
        assert not connection.holding.made_connection(2)


@pytest.mark.usefixtures("short_pause")
async def test_a_forward_with_refused_words_is_never_let_through() -> None:
    """Neither by a keepalive that is answered afterwards, nor by the end of its pause."""
    connection = Connection()
    asked, tunnel = connection.forward()
    assert connection.holding.words_refused(connection.holding.session_opened(), WHY) == [asked]
    await connection.answer()
    _, later = connection.forward()
    async with asyncio.timeout(10):
        await later.open.wait()
    assert not tunnel.open.is_set()


@pytest.mark.usefixtures("short_pause")
@pytest.mark.parametrize("others", [0, 1])
async def test_a_session_that_closes_without_words_settles_its_own_forwards(others: int) -> None:
    connection = Connection()
    silent = connection.holding.session_opened()
    asked, tunnel = connection.forward()
    async with asyncio.timeout(10):
        await tunnel.open.wait()
    for _ in range(others):
        connection.holding.session_opened()
    connection.holding.session_gone(silent)
    assert connection.holding.words_refused(2, WHY) == [asked] * others


@pytest.mark.usefixtures("long_pause")
async def test_words_of_a_later_command_let_no_other_forward_through() -> None:
    connection = Connection()
    _, tunnel = connection.forward()
    connection.holding.session_gone(connection.holding.session_opened())
    connection.holding.words_said(connection.holding.session_opened())
    assert not tunnel.open.is_set()
    await connection.answer()
    assert tunnel.open.is_set()


@pytest.mark.usefixtures("long_pause")
async def test_words_with_a_host_shape_their_own_forwards_before_visitors_come_through() -> None:
    connection = Connection()
    decided_later = connection.holding.requested()
    _, first = connection.forward()
    one = connection.holding.session_opened()
    _, between = connection.forward()
    connection.holding.session_opened()
    assert connection.holding.words_said(one, "app:3000") == 3
    assert (first.host, between.host) == ("app:3000", "app:3000")
    late = Tunnel()
    connection.holding.granted(decided_later, late, silence=0.0)
    assert late.host == "app:3000"
    _, other = connection.forward()
    assert other.host == ""


@pytest.mark.usefixtures("long_pause")
async def test_words_without_a_forward_shape_none() -> None:
    connection = Connection()
    assert connection.holding.words_said(connection.holding.session_opened(), "app") == 0
