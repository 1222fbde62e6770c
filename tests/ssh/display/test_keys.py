"""Keys from a terminal, in any pieces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferry.ssh.display.keys import Key, Keys

ESCAPE_SEQUENCE_BYTES = 32
TYPED_BYTES = 1024
SEQUENCES = {
    "Home": b"\x1b[H", "F2": b"\x1bOQ", "F1": b"\x1bOP", "right": b"\x1b[C", "Ctrl-right": b"\x1b[1;5C", "Alt-q": b"\x1bq",
    "pasted": b"\x1b[200~", "a report": b"\x1b[24;80R",
}  # fmt: skip


@pytest.mark.parametrize(
    ("typed", "key"),
    [
        (b"?", Key.HELP), (b"h", Key.HELP), (b"H", Key.HELP), (b"c", Key.CLEAR), (b"\x0c", Key.CLEAR),
        (b"s", Key.STATISTICS), (b"r", Key.QR_CODE), (b"p", Key.PAUSE), (b"q", Key.QUIT), (b"Q", Key.QUIT),
        (b"\x03", Key.QUIT), (b"\x04", Key.QUIT),
    ],
)  # fmt: skip
def test_each_key_means_one_thing(typed: bytes, key: Key) -> None:
    assert Keys().typed(typed) == [key]


def test_other_keys_mean_nothing() -> None:
    assert Keys().typed(b"xyz \r\n\t1\x00\xff") == []


def test_keys_are_looked_for_at_the_beginning_of_a_piece_and_the_end_everywhere() -> None:
    """A packet of 32 KB full of escape sequences takes 3 ms."""
    assert Keys().typed(b"s" + b"x" * TYPED_BYTES + b"?") == [Key.STATISTICS]
    for end in (b"\x03", b"\x04"):
        assert Keys().typed(b"x" * TYPED_BYTES + end) == [Key.QUIT]


def test_a_key_counts_once_in_one_piece() -> None:
    assert Keys().typed(b"?" * 30_000) == [Key.HELP]
    assert set(Keys().typed(b"psps")) == {Key.PAUSE, Key.STATISTICS}


@pytest.mark.parametrize("sequence", SEQUENCES.values(), ids=SEQUENCES)
def test_a_key_that_comes_as_a_sequence_means_nothing(sequence: bytes) -> None:
    assert Keys().typed(sequence) == []
    assert Keys().typed(sequence + b"s" + sequence) == [Key.STATISTICS]


@pytest.mark.parametrize("sequence", [one for one in SEQUENCES.values() if one[1] != ord("q")])
def test_also_if_it_comes_in_two_pieces(sequence: bytes) -> None:
    for at in range(2, len(sequence)):
        keys = Keys()
        assert keys.typed(sequence[:at]) == []
        assert keys.typed(sequence[at:] + b"p") == [Key.PAUSE]


@pytest.mark.parametrize("answer", [b"\x1b[?1;2c", b"\x1b[?62;22c", b"\x1b[?6c"])
def test_the_answer_of_the_terminal_itself_is_none_of_the_person(answer: bytes) -> None:
    assert Keys().typed(answer + b"s") == [Key.ANSWER, Key.STATISTICS]
    keys = Keys()
    assert keys.typed(b"p" + answer[:4]) == [Key.PAUSE]
    assert keys.typed(answer[4:]) == [Key.ANSWER]


def test_escape_alone_waits_for_nothing() -> None:
    keys = Keys()
    assert keys.typed(b"\x1b") == []
    assert keys.typed(b"q") == [Key.QUIT]


@pytest.mark.parametrize("end", [b"\x03", b"\x04"])
def test_ctrl_c_ends_it_inside_a_sequence_too(end: bytes) -> None:
    keys = Keys()
    keys.typed(b"\x1b[1;")
    assert keys.typed(end) == [Key.QUIT]


def test_a_sequence_without_an_end_is_not_kept() -> None:
    keys = Keys()
    keys.typed(b"\x1b[" + b"1" * ESCAPE_SEQUENCE_BYTES)
    assert keys.typed(b"q") == [Key.QUIT]


@given(st.lists(st.binary(max_size=20)))
def test_any_input_is_read(pieces: list[bytes]) -> None:
    keys = Keys()
    for piece in pieces:
        found = keys.typed(piece)
        assert len(set(found)) == len(found)
