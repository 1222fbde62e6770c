from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferry.protocol.first_bytes import LOOK_BYTES, FirstBytes, classify

WHOLE = {
    FirstBytes.SSH: [b"SSH-2.0-OpenSSH_9.2\r\n", b"SSH-1.99-x"],
    FirstBytes.TLS: [b"\x16\x03\x01\x02\x00\x01", b"\x16\x03"],
    FirstBytes.HTTP: [
        b"GET / HTTP/1.1\r\n",
        b"SEARCH / HTTP/1.1",
        b"VERSION-CONTROL /",
        b"UPDATEREDIRECTREF / HTTP/1.1",
        b"S /",
    ],
    FirstBytes.UNKNOWN: [
        b"\x16\x02",
        b"\x00",
        b"get / ",
        b"SSH/2",
        b"GET/",
        b"-",
        b" ",
        b"\r\n",
        b"A" * LOOK_BYTES,
        b"\x80\x2e\x01",
    ],
}


@pytest.mark.parametrize(("expected", "head"), [(kind, head) for kind, heads in WHOLE.items() for head in heads])
def test_whole_heads(expected: FirstBytes, head: bytes) -> None:
    assert classify(head) is expected


@pytest.mark.parametrize("head", [b"", b"S", b"SS", b"SSH", b"\x16", b"G", b"GET", b"VERSION-"])
def test_too_short_to_tell(head: bytes) -> None:
    assert classify(head) is FirstBytes.MORE


@given(st.binary(min_size=LOOK_BYTES, max_size=LOOK_BYTES + 8))
def test_enough_bytes_always_decide(head: bytes) -> None:
    assert classify(head) is not FirstBytes.MORE


@given(
    st.binary(min_size=1, max_size=LOOK_BYTES) | st.from_regex(rb"(SSH-|\x16\x03|[A-Z]{1,9} ).{0,9}", fullmatch=True)
)
def test_a_decision_is_never_taken_back_by_later_bytes(head: bytes) -> None:
    decided = [found for end in range(len(head) + 1) if (found := classify(head[:end])) is not FirstBytes.MORE]
    assert len(set(decided)) <= 1
