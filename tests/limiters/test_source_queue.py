"""`SourceQueue` against a search of a list."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from ferry.limiters.source_queue import SourceQueue

MOVES = st.lists(st.tuples(st.sampled_from(["add", "remove"]), st.integers(0, 30), st.sampled_from("abc")))


@given(MOVES)
def test_the_queue_finds_the_same_holder_as_a_search(moves: list[tuple[str, int, str]]) -> None:
    queue: SourceQueue[int] = SourceQueue()
    there: dict[int, str] = {}
    for move, thing, source in moves:
        if move == "add" and thing not in there:
            there[thing] = source
            queue.add(thing, source)
        elif move == "remove" and thing in there:
            del there[thing]
            queue.remove(thing)
        counts = Counter(there.values())
        most, oldest = queue.fullest()
        assert most == max(counts.values(), default=0)
        if most:
            assert oldest is not None
            fullest = there[oldest]
            assert counts[fullest] == most
            assert oldest == next(one for one, name in there.items() if name == fullest)
        assert list(queue) == list(there)
        assert len(queue) == len(there)
        assert all((one in queue) is (one in there) for one in range(31))
