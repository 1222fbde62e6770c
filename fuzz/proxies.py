"""The recogniser of SOCKS proxies: how the bytes are cut does not matter, and a final verdict stays."""

from __future__ import annotations

from hypothesis import strategies as st

from ferry.protocol.socks import SocksRecogniser, Verdict

from .target import Target, Value, grown


def verdict(turns: list[tuple[str, bytes]]) -> Verdict:
    """What is known in the end; on the way a verdict never changes but from MORE."""
    recogniser, known = SocksRecogniser(), Verdict.MORE
    for side, data in turns:
        now = recogniser.visitor(data) if side == "v" else recogniser.tunnel(data)
        assert known in (Verdict.MORE, now), "a verdict changed"
        known = now
    return known


def joined(turns: Value) -> list[tuple[str, bytes]]:
    """Neighbouring turns of one side as one."""
    out: list[tuple[str, bytes]] = []
    for side, data in turns:
        if out and out[-1][0] == side:
            out[-1] = (side, out[-1][1] + data)
        elif data:
            out.append((side, data))
    return [turn for turn in out if turn[1]]


def check(turns: Value) -> None:
    whole = joined(turns)
    known = verdict(whole)
    assert verdict([(side, bytes([byte])) for side, data in whole for byte in data]) is known, "the cut matters"
    assert verdict([(side, data) for side, data in turns if data]) is known, "the cut matters"
    visitor = b"".join(data for side, data in whole[:1] if side == "v")
    if known is Verdict.PROXY:
        assert visitor[:1] in (b"\4", b"\5")
        assert any(side == "t" for side, _ in whole)
    replies = whole[1][1] if len(whole) > 1 else b""
    methods = visitor[1] if len(visitor) > 1 else 0
    if (
        visitor[:1] == b"\5"
        and methods
        and len(visitor) >= 2 + methods
        and replies[:2] in (b"\5\0", b"\5\2", b"\5\xff")
    ):
        assert known is Verdict.PROXY, "a proxy is not seen"


_PARTS = st.sampled_from(
    [b"\5", b"\5\1\0", b"\5\2\0\2", b"\5\0", b"\5\2", b"\5\xff", b"\5\1", b"\4\1\0\x50\x7f\0\0\1", b"\4\2\0\x50\x7f\0\0\1ann\0", b"\0",
     b"\0\x5a\0\0\0\0\0\0", b"\0\x5b", b"\4", b"GET / HTTP/1.1\r\n", b"SSH-2.0-x", b"a" * 300, b"\5\xff" + bytes(255)]
) | st.binary(min_size=1, max_size=4)  # fmt: skip
_TURNS = st.lists(st.tuples(st.sampled_from("vt"), _PARTS), max_size=6)
_LIKELY = st.tuples(_PARTS, _PARTS, _PARTS).map(lambda three: [("v", three[0]), ("v", three[1]), ("t", three[2])])
TARGET = Target("proxies", grown("proxies", _TURNS | _LIKELY, _TURNS), check, ("ferry.protocol.socks",), in_tests=200)
