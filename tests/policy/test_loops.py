"""Requests in a circle."""

from __future__ import annotations

from ferry.policy.loops import Loops

LOOP_PASSES = 8
SECRET = b"one installation's"


def test_marks_are_the_same_after_a_restart_and_say_nothing() -> None:
    mark = Loops(SECRET).mark("blog.example.com")
    assert mark == Loops(SECRET).mark("blog.example.com")
    assert b"blog" not in mark
    assert b"example" not in mark
    assert mark != Loops(b"another's").mark("blog.example.com")
    assert len({Loops(SECRET).mark(f"{n}.example.com") for n in range(1000)}) == 1000


def test_the_same_tunnel_again_is_a_circle_and_another_is_not() -> None:
    loops = Loops(SECRET)
    mine, other = loops.mark("a.example.com"), loops.mark("b.example.com")
    assert loops.closed(mine, mine)
    assert loops.closed(b"cdn.example; x=y, " + other + b"," + mine + b",fastly", mine)
    assert not loops.closed(other, mine)
    assert not loops.closed(b"cdn.example, foo", mine)
    assert not loops.closed(Loops(b"another's").mark("a.example.com"), mine)


def test_a_chain_ends_after_the_bound_of_passes() -> None:
    loops = Loops(SECRET)
    passed = [loops.mark(f"{n}.example.com") for n in range(LOOP_PASSES)]
    mine = loops.mark("last.example.com")
    assert not loops.closed(b", ".join(passed[1:]), mine)
    assert loops.closed(b", ".join(passed), mine)
