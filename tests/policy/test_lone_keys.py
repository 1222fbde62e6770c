"""Keys that let nobody in where a log-in needs several, and what is written about them."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferry.names import Fingerprint
from ferry.policy.keys import KeyLine
from ferry.policy.lone_keys import LoneKeys
from ferry.policy.several_keys import Proven, refusal_beside
from ferry.policy.sshd import Match, SshdOptions, SshdRules

TWO = SshdRules(SshdOptions(keys_needed=2))
ASKS = "AuthenticationMethods publickey,publickey asks for 2"
Line = tuple[str, str | None, str | None]
"""A key, the name in its line, and the only login name for which that counts."""


def told(lines: list[Line], rules: SshdRules = TWO, *, has_cas: bool = False) -> tuple[bool, list[str]]:
    """Whether anybody may log in, and the texts. Each login name has a file of its own."""
    found: dict[Fingerprint, tuple[KeyLine, ...]] = {}
    for number, (key, name, user) in enumerate(lines, 1):
        of_key = found.get(Fingerprint(key), ())
        found[Fingerprint(key)] = (*of_key, KeyLine(name, user=user, file=f"/{user or 'keys'}", number=number))
    lone = LoneKeys(rules, has_cas)
    texts = list(lone.texts(found))
    return lone.anybody, texts


def test_keys_without_a_name_are_told_with_their_lines() -> None:
    anybody, texts = told([(key, None, None) for key in "abcdefg"])
    assert (anybody, texts) == (
        False,
        [
            f"/keys, lines 1, 2, 3, 4, 5 and 2 more: these keys let nobody in: {ASKS} keys of one name, and they have none: "
            "write the same name= behind each key of a person: `ssh-ed25519 AAAA... name=ann`"
        ],
    )
    anybody, texts = told([("a", "ann", None), ("b", None, None), ("c", "ann", None)])
    assert (anybody, len(texts)) == (True, 1)
    assert texts[0].startswith("/keys, line 2: this key lets nobody in: ")
    assert "and it has none" in texts[0]


@pytest.mark.parametrize(
    ("lines", "texts"),
    [
        (
            [("a", "ann", None), ("b", "bob", None), ("c", "bob", None)],
            [
                f"/keys, line 1: ann has too few keys to log in: {ASKS} different keys of one name: add a line with another key "
                "and name=ann"
            ],
        ),
        (
            [("a", "ann", None), ("a", "ann", None), ("b", "bob", None)],
            [
                f"/keys, lines 1, 2, 3: ann, bob have too few keys to log in: {ASKS} different keys of one name: add a line "
                "with another key and name=ann"
            ],
        ),
        (
            [("a", None, "dev")],
            [f"/dev, line 1: nobody logs in as dev: {ASKS} different keys, and this file has fewer: add a"],
        ),
        ([("a", None, "dev"), ("b", None, "dev")], []),
    ],
)
def test_a_key_without_another_one_is_told(lines: list[Line], texts: list[str]) -> None:
    found = told(lines)[1]
    assert len(found) == len(texts)
    assert all(one.startswith(text) for one, text in zip(found, texts, strict=True))


def test_a_certificate_may_stand_beside_a_key_of_a_login_name() -> None:
    assert told([("a", None, "dev")], has_cas=True) == (True, [])
    assert len(told([("a", None, None)], has_cas=True)[1]) == 1


def test_some_log_ins_alone_may_need_several() -> None:
    """By identity it is known whose; by login name and address it may be anybody's."""
    both: list[Line] = [("a", None, None), ("b", "bob", None)]
    assert told(both, SshdRules()) == (True, [])
    assert told(both, SshdRules(SshdOptions(keys_needed=1))) == (True, [])
    for_bob = SshdRules(matches=(Match(SshdOptions(keys_needed=2), identity="bob"),))
    anybody, (text,) = told(both, for_bob)
    assert (anybody, text.startswith("/keys, line 2: bob has too few keys")) == (True, True)
    for_root = SshdRules(matches=(Match(SshdOptions(max_sessions=1)), Match(SshdOptions(keys_needed=2), user="root")))
    anybody, (first, second) = told(both, for_root)
    assert anybody
    assert first.startswith("/keys, line 1: where sshd.match 2 counts, this key lets nobody in")
    assert second.startswith("/keys, line 2: where sshd.match 2 counts, bob has too few keys")
    assert told([("a", None, "dev")], for_root) == (True, [])
    assert told([("a", None, "root")], for_root)[0] is False


KEYS = st.tuples(st.sampled_from("abc"), st.sampled_from(["ann", "bob", None]), st.none())
OF_FILES = st.tuples(st.sampled_from("abc"), st.none(), st.sampled_from(["dev", "root"]))


@given(st.lists(KEYS | OF_FILES, min_size=1, max_size=5, unique=True))
def test_a_line_is_told_if_no_other_key_may_stand_beside_it(lines: list[Line]) -> None:
    proven = [Proven(user or "dev", Fingerprint(key), None, KeyLine(name, user=user)) for key, name, user in lines]
    works = {
        first
        for first, second in permutations(range(len(lines)), 2)
        if (lines[first][2] or lines[second][2]) in (lines[second][2], None)
        and refusal_beside([], proven[first], 2) is None
        and refusal_beside([proven[first]], proven[second], 2) is None
    }
    anybody, texts = told(lines)
    numbers = {
        int(word) for text in texts for word in text.partition(":")[0].replace(",", "").split() if word.isdecimal()
    }
    assert numbers == {number + 1 for number in range(len(lines)) if number not in works}
    assert anybody is bool(works)
