"""The gateway answers global requests in the order of their arrival."""

from __future__ import annotations

import traceback
from collections.abc import Callable

from ferry.ssh.wire.turns import Reply, Turns

GLOBAL_REQUESTS_WAITING = 64
MANY = 1_000_000
"""Requests in a second: no bound."""


def now(answer: Reply) -> Callable[[], Reply]:
    return lambda: answer


def later() -> None:
    """A step whose answer comes by `Turns.answer`."""


def never(error: Exception) -> None:
    raise AssertionError("a step has failed") from error


def test_answers_keep_the_order_of_the_requests() -> None:
    said: list[Reply] = []
    turns = Turns(said.append, never)
    turns.take(later, wants_reply=True)
    turns.refuse(wants_reply=True)
    turns.take(now(b"port"), wants_reply=True)
    turns.take(later, wants_reply=True)
    turns.take(now(True), wants_reply=True)
    assert said == []
    turns.answer(True)
    assert said == [True, False, b"port"]
    turns.answer(False)
    assert said == [True, False, b"port", False, True]


def test_a_request_that_wants_no_reply_gets_none_and_is_decided() -> None:
    said: list[Reply] = []
    decided: list[str] = []
    turns = Turns(said.append, never)
    turns.take(lambda: decided.append("later"), wants_reply=False)
    turns.take(now(True), wants_reply=False)
    turns.refuse(wants_reply=False)
    turns.take(now(b"x"), wants_reply=True)
    turns.answer(True)
    assert decided == ["later"]
    assert said == [b"x"]


def test_more_may_wait_for_a_decision_up_to_a_bound() -> None:
    said: list[Reply] = []
    turns = Turns(said.append, never)
    assert not turns.deciding
    for _ in range(GLOBAL_REQUESTS_WAITING):
        turns.take(later, wants_reply=False)
        assert turns.deciding
    turns.take(later, wants_reply=False)
    assert not turns.deciding


def test_a_waiting_request_holds_a_bounded_queue_and_further_ones_are_counted() -> None:
    said: list[Reply] = []
    turns = Turns(said.append, never)
    turns.take(later, wants_reply=True)
    for _ in range(GLOBAL_REQUESTS_WAITING):
        assert turns.may_take(0.0, MANY)
        turns.take(now(True), wants_reply=True)
    assert not turns.may_take(0.0, MANY)
    for _ in range(10_000):
        turns.refuse(wants_reply=True)
    turns.answer(b"port")
    assert said == [b"port"] + [True] * GLOBAL_REQUESTS_WAITING + [False] * 10_000
    assert turns.may_take(0.0, MANY)


def test_so_many_requests_may_be_taken_in_a_second() -> None:
    turns = Turns(lambda _answer: None, never)
    assert [turns.may_take(7.5, 2) for _ in range(3)] == [True, True, False]
    assert turns.may_take(8.0, 2)


def test_refusals_in_a_row_take_one_place_in_the_queue() -> None:
    turns = Turns(lambda _answer: None, never)
    turns.take(later, wants_reply=True)
    for _ in range(10 * GLOBAL_REQUESTS_WAITING):
        turns.refuse(wants_reply=True)
    assert turns.may_take(0.0, MANY)


def test_any_number_of_requests_behind_one_is_answered_without_recursion() -> None:
    """One call of another for each, as asyncssh does it, ended the connection at 600."""
    said: list[Reply] = []
    turns = Turns(said.append, never)

    depths: set[int] = set()

    def at_once() -> None:
        depths.add(sum(1 for _ in traceback.walk_stack(None)))
        turns.answer(b"at once")

    for _ in range(20):
        turns.take(later, wants_reply=True)
        for _ in range(GLOBAL_REQUESTS_WAITING // 2):
            turns.take(at_once, wants_reply=True)
            turns.refuse(wants_reply=True)
        turns.answer(True)
    assert len(depths) == 1
    assert said.count(True) == 20
    assert said.count(b"at once") == said.count(False) == 20 * (GLOBAL_REQUESTS_WAITING // 2)


def test_no_request_is_decided_or_answered_after_the_connection() -> None:
    said: list[Reply] = []
    decided: list[str] = []
    turns = Turns(said.append, never)
    turns.take(later, wants_reply=True)
    turns.take(lambda: decided.append("next"), wants_reply=True)
    turns.close()
    turns.answer(True)
    assert (said, decided) == ([], [])


def test_a_step_that_fails_is_refused_in_its_turn_and_reported_and_the_next_are_decided() -> None:
    """Nothing was answered any more on that connection, and a forward whose answer came before it was held for ever."""
    said: list[Reply] = []
    failed: list[Exception] = []
    turns = Turns(said.append, failed.append)

    def fails() -> Reply:
        raise ValueError("on purpose")

    turns.take(later, wants_reply=True)
    turns.take(fails, wants_reply=True)
    turns.take(fails, wants_reply=False)
    turns.take(now(b"port"), wants_reply=True)
    turns.answer(True)
    turns.take(fails, wants_reply=True)
    turns.take(now(True), wants_reply=True)
    assert said == [True, False, b"port", False, True]
    assert [str(error) for error in failed] == ["on purpose"] * 3


def test_a_held_answer_keeps_the_answers_behind_it_and_no_decision() -> None:
    said: list[Reply] = []
    sent: list[str] = []
    turns = Turns(said.append, never)
    turns.take(later, wants_reply=True)
    turns.take(later, wants_reply=True)
    turns.take(lambda: sent.append("decided"), wants_reply=True)
    turns.refuse(wants_reply=True)
    turns.answer(False, held=True, sent=lambda: sent.append("first"))
    turns.answer(b"port", sent=lambda: sent.append("second"))
    assert (said, sent) == ([], ["decided"])
    turns.release()
    assert (said, sent) == ([False, b"port"], ["decided", "first", "second"])
    turns.answer(True)
    assert said == [False, b"port", True, False]


def test_all_requests_behind_a_held_answer_are_decided_at_once() -> None:
    said: list[Reply] = []
    decided: list[int] = []

    def step(number: int) -> Callable[[], Reply]:
        def decide() -> Reply:
            decided.append(number)
            return True

        return decide

    turns = Turns(said.append, never)
    turns.take(later, wants_reply=True)
    for number in range(3):
        turns.take(step(number), wants_reply=True)
    turns.answer(b"port", held=True)
    assert (said, decided) == ([], [0, 1, 2])


def test_the_answers_that_a_held_one_keeps_are_bounded() -> None:
    said: list[Reply] = []
    turns = Turns(said.append, never)
    turns.take(later, wants_reply=True)
    turns.answer(False, held=True)
    for _ in range(GLOBAL_REQUESTS_WAITING):
        assert turns.may_take(0.0, MANY)
        turns.take(now(True), wants_reply=True)
    assert not turns.may_take(0.0, MANY)
    turns.release()
    assert said == [False] + [True] * GLOBAL_REQUESTS_WAITING


def test_an_error_of_the_code_that_hears_of_an_answer_ends_there() -> None:
    said: list[Reply] = []
    failed: list[Exception] = []
    turns = Turns(said.append, failed.append)

    def fails() -> None:
        raise ValueError("on purpose")

    turns.take(later, wants_reply=True)
    turns.answer(True, sent=fails)
    turns.take(now(b"port"), wants_reply=True)
    assert said == [True, b"port"]
    assert [str(error) for error in failed] == ["on purpose"]
