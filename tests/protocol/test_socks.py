from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferry.protocol.socks import SocksRecogniser, Verdict

V5 = b"\x05\x01\x00"
V4 = b"\x04\x01\x00\x50\x7f\x00\x00\x01me\x00"
V4_OK = b"\x00\x5a" + bytes(6)


def run(*steps: tuple[str, bytes]) -> Verdict:
    """Feed steps ("v": visitor, "t": tunnel) and return the last verdict."""
    recogniser = SocksRecogniser()
    verdict = Verdict.MORE
    for side, data in steps:
        verdict = recogniser.visitor(data) if side == "v" else recogniser.tunnel(data)
    return verdict


@pytest.mark.parametrize("method", [b"\x00", b"\x02", b"\xff"])
def test_version_5_reply(method: bytes) -> None:
    assert run(("v", V5), ("t", b"\x05" + method)) is Verdict.PROXY


@pytest.mark.parametrize("code", [0x5A, 0x5B, 0x5C, 0x5D])
def test_version_4_reply(code: int) -> None:
    assert run(("v", V4), ("t", bytes([0, code]) + bytes(6))) is Verdict.PROXY


def test_a_reply_in_pieces_is_held_until_it_is_known() -> None:
    assert run(("v", V5), ("t", b"\x05")) is Verdict.MORE
    assert run(("v", V5), ("t", b"\x05"), ("t", b"\x00")) is Verdict.PROXY
    assert run(("v", V4), ("t", V4_OK[:7])) is Verdict.MORE
    assert run(("v", V4), ("t", V4_OK[:7]), ("t", V4_OK[7:])) is Verdict.PROXY


@pytest.mark.parametrize("last", [V4_OK[7:], b"x" * 100])
def test_held_bytes_are_those_before_the_verdict(last: bytes) -> None:
    recogniser = SocksRecogniser()
    recogniser.visitor(V4)
    assert recogniser.buffered == b""
    for size in range(1, 8):
        recogniser.tunnel(V4_OK[size - 1 : size])
        assert recogniser.buffered == V4_OK[:size]
    assert recogniser.tunnel(last) is recogniser.verdict is Verdict.PROXY
    assert recogniser.buffered == V4_OK[:7]


def test_a_client_that_does_not_wait_for_the_method_is_seen_too() -> None:
    connect = b"\x05\x01\x00\x01\x7f\x00\x00\x01\x00\x50"
    assert run(("v", V5 + connect), ("t", b"\x05\x00\x05\x00\x00\x01" + bytes(6))) is Verdict.PROXY


@pytest.mark.parametrize(
    "steps",
    [
        [("v", b"GET / HTTP/1.1\r\n")],
        [("v", b"\x05\x00\x0b\x03\x10\x00")],  # DCE/RPC bind: as a greeting it would offer no method
        [("v", b"\x04\x09")],
        [("v", b"G")],  # somebody types
        [("v", b"\x06\x01\x00")],
        [("t", b"\x05\x00")],  # the tunnel's side speaks first
        [("t", V4_OK)],
        [("v", b"\x05\x02\x00"), ("t", b"\x05\x00")],  # answers half a greeting
        [("v", V5), ("t", b"\x05\x01")],
        [("v", V5), ("t", b"HTTP/1.1 400")],
        [("v", V5), ("t", b"\x04\x00")],
        [("v", V5), ("t", b"H")],
        [("v", V4), ("t", b"\x00\x59")],
        [("v", V4), ("t", b"\x05\x00")],
        [("v", V4), ("t", b"\x05" + V4_OK[1:])],
    ],
)
def test_everything_else_is_clean(steps: list[tuple[str, bytes]]) -> None:
    assert run(*steps) is Verdict.CLEAN


def test_a_long_user_id_does_not_hide_a_proxy() -> None:
    assert run(("v", V4[:8] + b"a" * 100_000 + b"\x00"), ("t", V4_OK)) is Verdict.PROXY


@pytest.mark.parametrize(("greeting", "reply"), [(V5, b"\x05\x00"), (V4, V4_OK)])
def test_a_byte_at_a_time_is_seen_too(greeting: bytes, reply: bytes) -> None:
    typed, answered = ([(side, bytes([byte])) for byte in data] for side, data in (("v", greeting), ("t", reply)))
    assert run(*typed) is Verdict.MORE
    assert run(*typed, *answered) is Verdict.PROXY


@given(st.lists(st.integers(1, 20), max_size=20), st.sampled_from([(V5, b"\x05\x00"), (V4, V4_OK)]))
def test_how_the_bytes_are_cut_does_not_matter(cuts: list[int], dialogue: tuple[bytes, bytes]) -> None:
    steps = []
    for side, data in zip("vt", dialogue, strict=True):
        at = 0
        for cut in [*cuts, len(data)]:
            if piece := data[at : at + cut]:
                steps.append((side, piece))
            at += cut
    assert run(*steps) is Verdict.PROXY


@given(st.lists(st.tuples(st.sampled_from("vt"), st.binary(min_size=1, max_size=12))))
def test_a_final_verdict_stays(steps: list[tuple[str, bytes]]) -> None:
    recogniser = SocksRecogniser()
    final = None
    for side, data in steps:
        verdict = recogniser.visitor(data) if side == "v" else recogniser.tunnel(data)
        assert final in (None, verdict)
        final = None if verdict is Verdict.MORE else verdict
