"""The public text, the log detail and the kept text of a refusal."""

from __future__ import annotations

from ferry.errors import InvalidInput, Refusal


def test_without_a_detail_the_log_gets_the_public_text() -> None:
    refusal = Refusal("ask for another", code="taken")
    assert (refusal.public, refusal.detail, refusal.kept) == ("ask for another",) * 3


def test_the_detail_for_the_log_is_neither_shown_nor_kept() -> None:
    refusal = Refusal("ask for another", code="taken", detail="ann has it")
    assert (refusal.public, refusal.detail, refusal.kept) == ("ask for another", "ann has it", "ask for another")


def test_typed_input_is_shown_and_not_kept() -> None:
    refusal = Refusal.of_input(InvalidInput("'hunter2' is no name", detail="it is no name"))
    assert refusal.code == "invalid"
    assert (refusal.public, refusal.detail, refusal.kept) == ("'hunter2' is no name", "it is no name", "it is no name")
