from __future__ import annotations

import asyncio
import logging

import pytest

from ferry.clock import timestamp
from ferry.observe.events import Event, EventRing, TooManySubscribers
from ferry.observe.texts import shown_fields


def add(ring: EventRing, name: str, **fields: object) -> Event:
    return ring.add(1_700_000_000.25, logging.INFO, name, fields)


def test_frequent_events_do_not_push_rare_ones_out() -> None:
    ring = EventRing(3)
    add(ring, "tunnel.opened")
    for number in range(10):
        add(ring, "visit", number=number)
    add(ring, "tunnel.closed")
    assert [(e.seq, e.name) for e in ring.last()] == [
        (1, "tunnel.opened"),
        (9, "visit"),
        (10, "visit"),
        (11, "visit"),
        (12, "tunnel.closed"),
    ]
    assert [e.seq for e in ring.last(2)] == [11, 12]
    assert ring.last(0) == []


def test_a_document_is_escaped_and_its_head_is_never_overwritten() -> None:
    event = Event(7, 1_700_000_000.25, logging.WARNING, "visit", {"target": "/\x1b[2J\n", "level": "x", "note": None})
    assert event.document() == {
        "seq": 7,
        "time": "2023-11-14T22:13:20.250Z",
        "level": "warning",
        "event": "visit",
        "target": "/\\x1b[2J\\n",
        "note": None,
    }


def test_a_document_has_lists_and_tables_as_such_with_their_texts_escaped() -> None:
    fields = {"list": ["a\x1b", 3], "set": {"b\n"}, "table": {"k\x1b": ["v\x1b"]}, "rate": 0.12345678, "no": None}
    document = Event(7, 0.0, logging.INFO, "tunnel.opened", fields).document()
    assert {key: document[key] for key in fields} == {
        "list": ["a\\x1b", 3], "set": ["b\\n"], "table": {"k\\x1b": ["v\\x1b"]}, "rate": 0.123457, "no": None,
    }  # fmt: skip


def test_timestamp_of_a_whole_second_has_milliseconds() -> None:
    assert timestamp(0) == "1970-01-01T00:00:00.000Z"


async def test_a_follower_gets_the_events_after_its_subscription() -> None:
    ring = EventRing()
    add(ring, "before")
    with ring.subscribe() as subscription:
        reading = asyncio.ensure_future(anext(aiter(subscription)))
        await asyncio.sleep(0)  # it waits now
        add(ring, "after")
        assert (await reading).name == "after"


async def test_a_slow_follower_loses_the_oldest_and_is_told_how_many() -> None:
    ring = EventRing(queue=2)
    with ring.subscribe() as subscription:
        for number in range(5):
            add(ring, "tunnel.opened", number=number)
        ring.close()
        async with asyncio.timeout(5):
            got = [(e.name, *shown_fields(e.fields).values()) async for e in subscription]
    assert got == [("events.dropped", 3), ("tunnel.opened", 3), ("tunnel.opened", 4)]
    assert ring.dropped == 3


async def test_followers_are_bounded_and_a_place_becomes_free_again() -> None:
    ring = EventRing(subscribers=1)
    with ring.subscribe(), pytest.raises(TooManySubscribers, match="1 readers follow"), ring.subscribe():
        pass
    with ring.subscribe():
        pass


async def test_after_close_a_new_follower_ends_at_once() -> None:
    ring = EventRing()
    ring.close()
    with ring.subscribe() as subscription:
        async with asyncio.timeout(5):
            assert [e async for e in subscription] == []
