"""What `make fuzz` has found stays mended, and a few values of a fixed seed find nothing new. fuzz/README.md says more."""

from __future__ import annotations

import pytest
from fuzz.drawing import draw
from fuzz.target import CORPUS, Case, cases, reached
from fuzz.targets import TARGETS

SEED = 20261121
NAMED = [(name, case) for name in TARGETS for case in cases(name)]


@pytest.mark.parametrize(("target", "case"), [pytest.param(n, case, id=f"{n}-{case.name}") for n, case in NAMED])
def test_earlier_failures_stay_fixed(target: str, case: Case) -> None:
    TARGETS[target].check(case.value)


@pytest.mark.parametrize("name", TARGETS)
def test_the_corpus_and_a_fixed_seed(name: str) -> None:
    target = TARGETS[name]
    for value in reached(name):
        target.check(value)
    drawn = draw(target, SEED, target.in_tests)
    if drawn.failure is not None:
        raise drawn.failure.error
    assert drawn.count > target.in_tests // 2


def test_a_failure_is_found_and_made_small() -> None:
    """The runner itself: what fails is seen, and the value that is kept is the smallest."""

    def too_long(data: bytes) -> None:
        assert len(data) < 5

    import dataclasses

    from hypothesis import strategies as st

    drawn = draw(dataclasses.replace(TARGETS["heads"], values=st.binary(), check=too_long), SEED, 500)
    assert drawn.failure is not None
    assert drawn.failure.value == bytes(5)


def test_every_file_of_the_corpus_belongs_to_a_target() -> None:
    assert {path.stem for path in CORPUS.iterdir()} <= set(TARGETS)
