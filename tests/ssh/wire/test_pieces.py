"""Waiting data of a channel takes memory for its bytes, with any sizes of pieces."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferry import limits
from ferry.ssh.wire.pieces import Pieces

SMALL_PIECE_BYTES = 4 * 1024
CHANNEL_PACKET_BYTES = 32 * 1024
HELD = 64 * limits.KIB
SMALL, PACKET = SMALL_PIECE_BYTES, CHANNEL_PACKET_BYTES
PATTERN = bytes(range(251)) * (3 * PACKET // 251 + 2)
SIZES = st.sampled_from([0, 1, 2, 100, SMALL - 1, SMALL, SMALL + 1, PACKET, 3 * PACKET])


@given(st.lists(st.one_of(SIZES.map(lambda size: ("add", size)), SIZES.map(lambda size: ("take", size + 1)))))
def test_first_in_first_out_however_it_is_cut(steps: list[tuple[str, int]]) -> None:
    pieces, put, got = Pieces(), b"", b""
    for step, size in steps:
        if step == "add":
            at = len(put) % 251
            data = PATTERN[at : at + size]
            put += data
            pieces.add(data)
        elif pieces:
            taken = bytes(pieces.take(size))
            assert len(taken) <= size
            got += taken
        assert pieces.size == len(put) - len(got)
    while pieces:
        got += bytes(pieces.take(PACKET))
    assert got == put


@pytest.mark.parametrize("size", [1, 2, 50, SMALL - 1, SMALL])
def test_it_takes_little_more_memory_than_it_holds(size: int) -> None:
    count = HELD // size
    pieces = Pieces()
    tracemalloc.start()
    try:
        for number in range(count):
            pieces.add(number.to_bytes(size, "big", signed=False) if size > 2 else bytes((number % 255, 7))[:size])
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert pieces.size == count * size
    assert taken <= HELD * 5 // 4


def test_a_partly_taken_piece_is_not_extended() -> None:
    pieces = Pieces()
    pieces.add(b"one")
    assert bytes(pieces.take(1)) == b"o"
    pieces.add(b"two")
    assert [bytes(pieces.take(9)), bytes(pieces.take(9))] == [b"ne", b"two"]


def test_joined_pieces_are_no_larger_than_a_packet() -> None:
    pieces = Pieces()
    for _ in range(PACKET // 1000 * 3):
        pieces.add(bytes(1000))
    assert {len(pieces.take(10**9)) for _ in range(len(pieces))} == {PACKET // 1000 * 1000}


def test_cleared_it_holds_nothing() -> None:
    pieces = Pieces()
    pieces.add(b"one")
    pieces.clear()
    assert (bool(pieces), pieces.size) == (False, 0)


def test_a_large_piece_is_kept_without_a_copy() -> None:
    pieces, first, second = Pieces(), b"x" * SMALL, b"y" * SMALL
    pieces.add(b"small")
    pieces.add(first)
    pieces.add(second)
    assert bytes(pieces.take(PACKET)) == b"small"
    assert pieces.take(PACKET) is first
    assert pieces.take(PACKET) is second
