"""Places as a play: visitors come, move or do not, and a newcomer gets a place or none. The clock is in the test's hand."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from ferry import limits
from ferry.limiters.places import Places
from ferry.limiters.shortage import Shortage, Standing
from ferry.limiters.sources import ExemptNetworks

PLACE_LOOK_SECONDS = 0.5
PLACE_PATIENCE_SECONDS = (0.0, 5.0, 20.0, 5.0, 60.0)
PLACE_MOVES_RATE = 1 * 1024
STALLED_SHARE = 1 / 4
TRIAL_SHARE = 8
TRIAL_SECONDS = 0.02
LOOK = PLACE_LOOK_SECONDS
PROXY = "127.0.0.1"


@dataclass(eq=False, repr=False)
class Visitor:
    """One who has a place, or had."""

    play: Play
    host: str
    doing: Standing
    moved: int = 0
    since: float = 0.0
    remembers: bool = False
    """It knows what it had moved at its beginning."""

    def standing(self) -> tuple[Standing, int]:
        return self.doing, self.moved

    def last_check(self) -> tuple[float, int] | None:
        return (self.since, 0) if self.remembers else None

    def displace(self) -> None:
        self.play.displaced.append(self)
        self.leave()

    def leave(self) -> None:
        del self.play.there[self]
        self.play.places.leave(self)

    @property
    def stays(self) -> bool:
        return self in self.play.there


@dataclass(repr=False)
class Play:
    most: int = 80
    now: float = 1000.0
    there: dict[Visitor, None] = field(default_factory=dict)
    displaced: list[Visitor] = field(default_factory=list)
    shortages: int = 0
    """So many have begun."""

    def __post_init__(self) -> None:
        self.places = Places(self.most, ExemptNetworks(), self.listed)

    def listed(self) -> dict[Visitor, None]:
        self.shortages += 1
        return self.there

    def come(self, host: str, doing: Standing = Standing.WAITING, **more: bool) -> Visitor | None:
        visitor = Visitor(self, host, doing, since=self.now, **more)
        if not self.places.enter(visitor, doing, self.now):
            return None
        self.there[visitor] = None
        return visitor

    def fill(self, host: str, doing: Standing, count: int | None = None, **more: bool) -> list[Visitor]:
        """`count` visitors of `host`, or as many as there is room for, who came before places were short."""
        wanted = self.most - self.places.in_use if count is None else count
        if host == PROXY:
            came = [self.come(host, doing, **more) for _ in range(wanted)]
            return [visitor for visitor in came if visitor is not None]
        assert not self.shortages
        there = [Visitor(self, host, doing, since=self.now, **more) for _ in range(wanted)]
        self.there |= dict.fromkeys(there)
        self.places.in_use += wanted
        return there

    def wait(self, seconds: float, *moving: Visitor, rate: float = 10_000) -> None:
        """Time goes by, in looks; those who move do."""
        for _ in range(max(1, round(seconds / LOOK))):
            self.now += LOOK
            for visitor in moving:
                visitor.moved += round(rate * LOOK)


@pytest.mark.parametrize("doing", [one for one in Standing if one is not Standing.GONE])
def test_a_newcomer_gets_the_place_of_a_stalled_visitor_of_the_largest_source(doing: Standing) -> None:
    play = Play()
    (quiet,) = play.fill("192.0.2.1", doing, 1)
    two = play.fill("192.0.2.2", doing, 30)
    three = play.fill("192.0.2.3", doing)
    assert play.come("192.0.2.9") is None  # nobody has been looked at: nobody is known not to move
    play.wait(1)
    assert play.come("192.0.2.9") is not None
    assert play.displaced == [three[0]]
    play.now += LOOK
    assert all(play.come(f"198.51.100.{n}") for n in range(30))
    assert {visitor.host for visitor in play.displaced} == {"192.0.2.2", "192.0.2.3"}
    assert quiet.stays
    assert two[-1].stays


@pytest.mark.parametrize("most", range(1, 9))
def test_with_few_places_too_each_displaced_visitor_goes_for_a_newcomer(most: int) -> None:
    play = Play(most)
    play.fill("192.0.2.1", Standing.SILENT)
    play.come("192.0.2.9")  # looked at for the first time
    gone = len(play.displaced)
    for number in range(20):
        play.wait(PLACE_PATIENCE_SECONDS[Standing.SILENT] + 1)
        assert play.come(f"198.51.100.{number}", Standing.SILENT) is not None
        assert play.places.in_use == len(play.there) == most
        assert len(play.displaced) == gone + number + 1


def test_a_place_is_given_once_it_is_free_and_not_before() -> None:
    """One who is displaced while it ends already leaves later."""

    class Ending(Visitor):
        def displace(self) -> None:
            self.play.displaced.append(self)

    play = Play(most=4)
    ending = Ending(play, PROXY, Standing.GONE, since=play.now)
    play.there[ending] = None
    play.places.in_use += 1
    play.fill(PROXY, Standing.WAITING)
    assert play.come("192.0.2.9") is None
    assert play.displaced == [ending]
    assert play.places.in_use == play.most
    ending.leave()
    assert play.come("192.0.2.9") is not None


def test_a_visitor_that_leaves_twice_is_counted_once() -> None:
    play = Play(most=8)
    first, *others = play.fill("192.0.2.1", Standing.STREAM)
    shortage = Shortage(play.there, ExemptNetworks(), play.most, play.now)
    assert shortage.remove(first)
    assert not shortage.remove(first)
    assert all(shortage.remove(one) for one in others)


@pytest.mark.parametrize("doing", [Standing.SILENT, Standing.UNREAD, Standing.STREAM])
def test_a_moving_visitor_is_never_displaced(doing: Standing) -> None:
    play = Play()
    moving = play.fill("192.0.2.2", doing)
    for _ in range(200):
        play.wait(LOOK, *moving)
        assert play.come("192.0.2.9") is None
    assert not play.displaced


def test_bytes_sent_while_waiting_for_an_answer_do_not_count_as_moving() -> None:
    """Or requests to a service that never answers would keep their places by the next requests behind them."""
    play = Play()
    waiting = play.fill("192.0.2.2", Standing.WAITING)
    play.come("192.0.2.9")
    play.wait(1, *waiting)
    assert play.come("192.0.2.9") is not None
    assert play.displaced == [waiting[0]]


@pytest.mark.parametrize("doing", [Standing.SILENT, Standing.UNREAD])
def test_a_byte_now_and_then_is_no_movement(doing: Standing) -> None:
    play = Play()
    dripping = play.fill("192.0.2.2", doing)
    play.come("192.0.2.9")
    play.wait(1, *dripping, rate=PLACE_MOVES_RATE * 0.9)
    assert play.come("192.0.2.9") is not None


def test_a_stream_moves_by_a_single_byte() -> None:
    play = Play()
    streams = play.fill("192.0.2.2", Standing.STREAM)
    play.come("192.0.2.9")
    play.wait(1, *streams, rate=2)
    assert play.come("192.0.2.9") is None


def test_classes_go_in_their_order() -> None:
    play = Play(most=100)
    for kind in Standing:
        play.fill(f"192.0.2.{kind + 1}", kind, 20)
    play.come("192.0.2.9")
    play.wait(1)
    for number in range(90):
        play.come(f"198.51.100.{number}")
        play.now += 0.001
    order = [visitor.doing for visitor in play.displaced]
    assert order == sorted(order)
    assert [order.count(kind) for kind in Standing] == [20, 19, 19, 19, 14]  # each source keeps one, but who is gone


def test_the_visitor_stalled_for_longest_goes_first() -> None:
    play = Play(most=16)
    early = play.fill("192.0.2.2", Standing.STREAM, 8)
    late = play.fill("192.0.2.2", Standing.STREAM)
    play.come("192.0.2.9")
    for seconds in (1, 0.5):
        play.wait(seconds, *early)
        play.come("192.0.2.2")  # it holds its share, and only has all looked at
    play.wait(1)
    assert play.come("192.0.2.9") is not None
    assert play.displaced == [late[0]]


def test_honest_visitors_do_not_cut_one_another() -> None:
    """One place each: a newcomer has no better claim, until a holder has lost its patience."""
    play = Play(most=40)
    for number in range(40):
        play.fill(f"192.0.2.{number}", Standing.STREAM, 1)
    play.come("198.51.100.1")
    play.wait(PLACE_PATIENCE_SECONDS[Standing.STREAM] - 1)
    assert play.come("198.51.100.1") is None
    play.wait(2)
    assert play.come("198.51.100.1") is not None
    assert [one.host for one in play.displaced] == ["192.0.2.0"]


@pytest.mark.parametrize("doing", [Standing.WAITING, Standing.STREAM])
def test_patience_takes_no_place_from_a_small_source_for_a_large_one(doing: Standing) -> None:
    play = Play(most=40)
    few = play.fill("192.0.2.1", doing, 2)
    play.fill("192.0.2.2", Standing.STREAM)
    play.come("192.0.2.2")
    play.wait(10 * PLACE_PATIENCE_SECONDS[doing])
    assert play.come("192.0.2.2") is not None
    assert all(one.stays for one in few)


def test_an_exempt_address_gives_to_others_by_patience_alone() -> None:
    play = Play(most=40)
    play.fill(PROXY, Standing.WAITING)
    play.come("192.0.2.9")
    play.wait(PLACE_PATIENCE_SECONDS[Standing.WAITING] - 2)
    assert all(one.host == PROXY for one in play.there)
    others = [play.come("192.0.2.9") for _ in range(40)]
    assert len([one for one in others if one]) <= 40 // TRIAL_SHARE  # what was on trial
    play.wait(3)
    assert play.come("192.0.2.10") is not None


def test_exempt_addresses_are_sources_of_their_own() -> None:
    play = Play(most=40)
    play.fill(PROXY, Standing.SILENT, 20)
    other = play.fill("127.0.0.2", Standing.SILENT)
    play.come(PROXY)
    play.wait(1)
    for one in other:
        one.leave()
    assert play.places.in_use == 20


@pytest.mark.parametrize("doing", [Standing.SILENT, Standing.UNREAD])
def test_among_many_stalled_visitors_patience_is_short(doing: Standing) -> None:
    """Also at the newcomer's own address: a proxy in front of a visitor with many places."""
    play = Play()
    stalled = play.fill(PROXY, doing, round(play.most * STALLED_SHARE))
    play.fill(PROXY, Standing.STREAM)
    play.come(PROXY)
    play.wait(1)
    assert play.come(PROXY) is not None
    assert play.displaced == [stalled[0]]


@pytest.mark.parametrize("phone", ["127.0.0.2", "192.0.2.1"])
def test_a_visitor_of_a_small_source_protects_no_places_of_others(phone: str) -> None:
    play = Play()
    honest = play.come(phone, Standing.UNREAD)
    stalled = play.fill(PROXY, Standing.UNREAD)
    play.come(PROXY)
    play.wait(2 * LOOK)
    for _ in range(len(stalled) // 2):
        assert play.come(PROXY, Standing.STREAM) is not None
    assert honest is not None
    assert honest.stays


def test_a_few_stalled_visitors_keep_their_patience() -> None:
    play = Play()
    stalled = play.fill(PROXY, Standing.SILENT, round(play.most * STALLED_SHARE) - 1)
    play.fill(PROXY, Standing.STREAM)
    play.come(PROXY)
    play.wait(PLACE_PATIENCE_SECONDS[Standing.SILENT] - 2)
    assert play.come(PROXY) is None
    play.wait(3)
    assert play.come(PROXY) is not None
    assert play.displaced == [stalled[0]]


UNREAD_SHARES = (23, 39, 71)  # of 80, each past STALLED_SHARE


@pytest.mark.parametrize("unread", UNREAD_SHARES)
@pytest.mark.parametrize("addresses", [2, 71])
def test_a_paused_upload_stays_while_many_unread_visitors_can_be_displaced(unread: int, addresses: int) -> None:
    """It is of an earlier class, and its pause is within its patience. Theirs is lost: there are too many of them."""
    play = Play()
    (upload,) = play.fill("203.0.113.5", Standing.SILENT, 1)
    attackers = [
        one for n in range(unread) for one in play.fill(f"192.0.2.{1 + n % addresses}", Standing.UNREAD, 1)
    ]  # fmt: skip
    moving = play.fill("198.51.101.1", Standing.STREAM, 79 - unread)
    play.come("198.51.101.1")
    for number in range(12):
        play.wait(LOOK, *moving, *([upload] if number < 4 else []))
        if (visitor := play.come(f"198.51.100.{number}", Standing.STREAM)) is not None:
            moving.append(visitor)
    assert upload.stays
    assert play.displaced
    assert set(play.displaced) <= set(attackers)


def test_a_visitor_past_its_patience_stays_while_a_source_of_a_later_class_holds_more_than_the_newcomers() -> None:
    play = Play()
    (upload,) = play.fill("203.0.113.5", Standing.SILENT, 1)
    unread = play.fill("192.0.2.1", Standing.UNREAD, 10)
    moving = play.fill("198.51.101.1", Standing.STREAM)
    play.come("198.51.101.1")
    play.wait(PLACE_PATIENCE_SECONDS[Standing.SILENT] + 1, *moving)
    came = [play.come(f"198.51.100.{number}", Standing.STREAM) for number in range(9)]
    assert all(came)
    assert play.displaced == unread[:9]
    assert play.come("198.51.100.9") is not None  # nobody holds two places without moving any more
    assert not upload.stays


def test_an_end_of_file_goes_before_a_source_of_a_later_class_that_holds_more() -> None:
    play = Play()
    (gone,) = play.fill("203.0.113.5", Standing.GONE, 1)
    play.fill("192.0.2.1", Standing.UNREAD)
    play.come("198.51.100.1")
    play.wait(1)
    assert play.come("198.51.100.1") is not None
    assert play.displaced[0] is gone


@pytest.mark.parametrize("doing", [Standing.SILENT, Standing.WAITING])
def test_a_returning_visitor_has_its_patience_and_its_trial_at_any_time(doing: Standing) -> None:
    """A request that is sent on anew has begun earlier. Time goes on nevertheless."""
    play = Play()
    play.fill("198.51.101.1", Standing.STREAM, play.most - 1)
    play.now += 60
    play.come("192.0.2.1", Standing.STREAM)
    began = play.now - 30
    next(iter(play.there)).leave()
    again = Visitor(play, "203.0.113.5", doing, since=began)
    assert play.places.enter(again, doing, began)
    play.there[again] = None
    play.now += TRIAL_SECONDS / 2
    assert play.come("198.51.100.1") is None
    assert not play.displaced


def test_answers_that_come_soon_go_on_beside_those_that_never_come() -> None:
    """The last eighth is on trial: 1,000 requests/s that take 5 ms, from the same address as what holds the rest."""
    play = Play()
    play.fill(PROXY, Standing.WAITING)
    play.now += 2 * TRIAL_SECONDS
    under_way: list[Visitor] = []
    for _ in range(2000):
        play.now += 0.001
        newcomer = play.come(PROXY)
        assert newcomer is not None
        under_way.append(newcomer)
        if len(under_way) > 5:
            under_way.pop(0).leave()
    assert len(play.displaced) == 6


def test_on_trial_is_only_the_last_eighth_and_only_without_an_answer() -> None:
    play = Play()
    visitors = play.fill(PROXY, Standing.WAITING)
    eighth = play.most // TRIAL_SHARE
    answered = visitors[-1]
    answered.doing = Standing.STREAM
    play.now += 2 * TRIAL_SECONDS
    came = [play.come(PROXY) for _ in range(2 * eighth)]
    assert sum(one is not None for one in came) == eighth - 1
    assert answered.stays
    assert all(one.stays for one in visitors[:-eighth])


def test_a_visitor_that_does_not_read_an_answer_of_its_trial_stays_on_trial() -> None:
    play = Play()
    visitors = play.fill(PROXY, Standing.WAITING)
    for visitor in visitors:
        visitor.doing = Standing.STREAM
    for _ in range(2):
        play.now += 2 * limits.TRIAL_SECONDS
        assert play.come(PROXY) is None
    visitors[-1].doing = Standing.UNREAD
    for _ in range(3):
        play.now += 2 * limits.TRIAL_SECONDS
        play.come(PROXY)
    assert play.displaced[0] is visitors[-1]
    assert all(visitor.stays for visitor in visitors[:-1])


def test_a_source_with_its_share_does_not_enter_the_last_eighth() -> None:
    play = Play()
    eighth = play.most // TRIAL_SHARE
    play.fill("192.0.2.1", Standing.STREAM, 8)
    play.fill("192.0.2.2", Standing.STREAM, play.most - eighth - 8)
    assert play.come("192.0.2.2") is None
    assert play.come("192.0.2.1") is not None  # it holds less than two sources do on average
    assert all(play.come(f"192.0.2.{10 + number}") for number in range(eighth - 1))
    assert not play.displaced


def test_a_source_with_its_share_enters_while_more_than_the_last_eighth_is_free() -> None:
    play = Play()
    play.fill("192.0.2.1", Standing.STREAM, 8)
    most = play.fill("192.0.2.2", Standing.STREAM, play.most - play.most // TRIAL_SHARE - 8)
    assert play.come("192.0.2.2") is None
    most.pop().leave()
    assert play.shortages == 1
    assert play.come("192.0.2.2") is not None
    assert play.come("192.0.2.2") is None


def test_a_source_with_one_place_enters_the_last_eighth() -> None:
    play = Play()
    for number in range(play.most - play.most // TRIAL_SHARE):
        play.fill(f"192.0.2.{number}", Standing.STREAM, 1)
    assert play.come("192.0.2.1") is not None
    assert play.come("192.0.2.1") is None  # it holds two by now


def test_once_movers_are_known_a_share_counts_stalled_visitors_only() -> None:
    play = Play()
    busy = play.fill("192.0.2.1", Standing.STREAM, 45)
    still = play.fill("192.0.2.2", Standing.STREAM)
    assert play.come("192.0.2.9") is None
    play.wait(1, *busy)
    assert play.come("192.0.2.9") is not None  # everybody has been looked at
    assert play.displaced == [still[0]]
    busy.pop().leave()
    assert play.come("192.0.2.2") is None
    assert play.come("192.0.2.1") is not None


def test_a_busy_source_of_quick_requests_enters_it_before_movers_are_known() -> None:
    play = Play()
    for number, places in enumerate((20, 20, 10)):
        play.fill(f"192.0.2.{number}", Standing.STREAM, places)
    play.now += LOOK / 2
    quick = play.fill("198.51.100.1", Standing.WAITING, 20)
    for _ in range(50):
        assert play.come("198.51.100.1") is not None
        quick.pop(0).leave()
        quick.append(next(reversed(play.there)))
    assert play.come("192.0.2.1") is None
    assert not play.displaced


def test_an_exempt_address_enters_the_last_eighth_with_any_number_of_places() -> None:
    play = Play()
    play.fill(PROXY, Standing.STREAM, play.most - play.most // TRIAL_SHARE + 1)
    play.wait(1)
    assert play.come(PROXY) is not None
    assert not play.displaced


def test_a_trial_has_its_time() -> None:
    play = Play()
    play.fill(PROXY, Standing.WAITING)
    play.now += TRIAL_SECONDS * 0.9
    assert play.come(PROXY) is None


def test_bytes_sent_on_trial_do_not_keep_the_place() -> None:
    play = Play()
    waiting = play.fill(PROXY, Standing.WAITING)
    play.now += 2 * TRIAL_SECONDS
    assert play.come(PROXY) is not None
    for visitor in waiting:
        visitor.moved = 1_000_000
    assert play.come(PROXY) is not None


def test_a_visitor_on_trial_is_displaced_just_after_a_look_too() -> None:
    play = Play()
    play.fill(PROXY, Standing.WAITING)
    play.come(PROXY)
    play.now += LOOK
    assert play.come(PROXY) is not None


def test_an_upload_on_trial_that_does_not_move_gives_way() -> None:
    play = Play()
    play.fill(PROXY, Standing.WAITING, play.most - 1)
    upload = play.come(PROXY, Standing.SILENT)
    play.now += 2 * TRIAL_SECONDS
    eighth = play.most // TRIAL_SHARE
    assert all(play.come(PROXY) is not None for _ in range(eighth))
    assert play.displaced[-1] is upload


@pytest.mark.parametrize("pause", [2 * TRIAL_SECONDS, LOOK])
def test_an_upload_on_trial_that_moves_stays(pause: float) -> None:
    play = Play()
    play.fill(PROXY, Standing.WAITING, play.most - 1)
    upload = play.come(PROXY, Standing.SILENT)
    assert upload is not None
    upload.moved = 1_000_000
    play.now += pause
    for _ in range(play.most):
        play.come(PROXY)
    assert upload.stays


def test_an_end_of_file_before_the_answer_gives_way_at_once() -> None:
    play = Play(most=4)
    visitors = play.fill(PROXY, Standing.WAITING)
    assert play.come(PROXY) is None
    visitors[2].doing = Standing.GONE
    play.places.ended(visitors[2], play.now)
    assert play.come(PROXY) is not None
    assert play.displaced == [visitors[2]]


def test_a_visitor_that_moved_since_the_last_look_is_skipped() -> None:
    play = Play()
    stalled = play.fill("192.0.2.2", Standing.SILENT)
    play.come("192.0.2.9")
    play.wait(1)
    assert play.come("192.0.2.9") is not None
    stalled[1].moved = 1_000_000
    assert play.come("192.0.2.9") is not None
    assert play.displaced == [stalled[0], stalled[2]]


def test_facts_from_before_the_shortage_count() -> None:
    play = Play(most=40)
    play.fill("192.0.2.2", Standing.SILENT, remembers=True)
    play.now += LOOK  # before anybody could be looked at twice
    assert play.come("192.0.2.9") is not None


def test_a_look_takes_some_of_many_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PLACES_LOOKED_AT", 10)
    play = Play()
    play.fill("192.0.2.2", Standing.SILENT)
    looks = 0
    while play.come("192.0.2.9") is None:
        play.now += LOOK
        looks += 1
    assert looks <= 2
    for _ in range(play.most // 10):
        play.now += LOOK
        play.come("192.0.2.9")
    assert len(play.displaced) > play.most // 10


def test_many_moving_visitors_cost_a_newcomer_little(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PLACES_CHECKED", 3)
    play = Play()
    stalled = play.fill("192.0.2.2", Standing.SILENT)
    play.come("192.0.2.9")
    play.wait(1)
    assert play.come("192.0.2.9") is not None  # they have been looked at just now
    for one in stalled[1:10]:
        one.moved = 1_000_000
    assert [play.come("192.0.2.9") is not None for _ in range(4)] == [False, False, False, True]


def test_as_shipped_a_look_and_a_newcomer_cost_no_more_than_so_much(monkeypatch: pytest.MonkeyPatch) -> None:
    """PLACES_LOOKED_AT and PLACES_CHECKED, where there are more."""
    looked = 0
    standing = Visitor.standing

    def counted(self: Visitor) -> tuple[Standing, int]:
        nonlocal looked
        looked += 1
        return standing(self)

    play = Play(5_000)
    stalled = play.fill("192.0.2.2", Standing.SILENT)
    play.come("192.0.2.9")
    monkeypatch.setattr(Visitor, "standing", counted)
    play.now += LOOK
    assert play.come("192.0.2.9") is not None
    assert 4096 <= looked < 4096 + 32
    for one in stalled[1:41]:
        one.moved = 1_000_000
    assert [play.come("192.0.2.9") is not None for _ in range(2)] == [False, True]


def test_the_index_is_there_while_places_are_short_and_no_longer() -> None:
    play = Play()
    enough = play.most - play.most // TRIAL_SHARE
    play.fill("192.0.2.2", Standing.WAITING, enough)
    assert play.shortages == 0
    for left, shortages in ((play.most // 2 + 1, 1), (play.most // 2, 2)):
        while play.places.in_use <= enough:
            assert play.come(f"198.51.100.{play.places.in_use}") is not None
        assert play.shortages == 1
        while play.places.in_use > left:
            next(iter(play.there)).leave()
        while play.places.in_use <= enough:
            assert play.come(f"203.0.113.{play.places.in_use}") is not None
        assert play.shortages == shortages


class Coming(RuleBasedStateMachine):
    """Whatever happens: no more than `most`, the count is right, one goes for one, and nobody goes who moves."""

    def __init__(self) -> None:
        super().__init__()
        self.play = Play(most=16)
        self.moving: set[Visitor] = set()

    @rule(host=st.sampled_from(["192.0.2.1", "192.0.2.2", "192.0.2.3", PROXY]), doing=st.sampled_from(list(Standing)))
    def come(self, host: str, doing: Standing) -> None:
        before = len(self.play.displaced)
        self.play.come(host, doing)
        gone = self.play.displaced[before:]
        assert len(gone) <= 1
        assert not any(one in self.moving and one.doing not in (Standing.GONE, Standing.WAITING) for one in gone)

    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        if self.play.there:
            data.draw(st.sampled_from(list(self.play.there))).leave()

    @rule(data=st.data(), doing=st.sampled_from(list(Standing)))
    def change(self, data: st.DataObject, doing: Standing) -> None:
        if self.play.there:
            visitor = data.draw(st.sampled_from(list(self.play.there)))
            visitor.doing = doing
            self.moving.discard(visitor)

    @rule(data=st.data(), seconds=st.sampled_from([0.5, 1, 6, 70]))
    def time(self, data: st.DataObject, seconds: float) -> None:
        if self.play.there:
            self.moving = set(data.draw(st.lists(st.sampled_from(list(self.play.there)), max_size=8)))
        self.play.wait(seconds, *self.moving)

    @invariant()
    def counted(self) -> None:
        assert self.play.places.in_use == len(self.play.there) <= self.play.most


TestComing = Coming.TestCase
TestComing.settings = settings(max_examples=60, stateful_step_count=60)
