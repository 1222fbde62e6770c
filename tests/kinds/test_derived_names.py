"""Names and ports that the gateway chooses."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from ferry.kinds.derived import DERIVED_TRIES, derived_labels, derived_ports
from ferry.kinds.wordlist import ADJECTIVES, NOUNS
from ferry.names import IdentityId, parse_label


@given(secret=st.binary(min_size=1, max_size=32), identity=st.text(max_size=40).map(IdentityId))
def test_derived_names_are_always_the_same_and_always_labels(secret: bytes, identity: IdentityId) -> None:
    labels = list(derived_labels(secret, identity))
    assert labels == list(derived_labels(secret, identity))
    assert len(labels) == DERIVED_TRIES
    assert all(parse_label(label) == label for label in labels)


@given(identity=st.text(max_size=40).map(IdentityId), first=st.integers(1, 65535), size=st.integers(1, 2000))
def test_ports_are_in_their_range(identity: IdentityId, first: int, size: int) -> None:
    last = min(first + size - 1, 65535)
    ports = list(derived_ports(b"secret", identity, first, last))
    assert ports == list(derived_ports(b"secret", identity, first, last))
    assert all(first <= port <= last for port in ports)


def test_first_choices_of_many_identities_are_spread() -> None:
    identities = [IdentityId(f"identity-{n}") for n in range(5000)]
    labels = Counter(next(derived_labels(b"secret", identity)) for identity in identities)
    assert len(labels) > 4600  # of about 80,000: some hundred share one, none is everybody's
    assert max(labels.values()) <= 4
    ports = Counter(next(derived_ports(b"secret", identity, 30000, 39999)) for identity in identities)
    assert len(ports) > 3700
    assert max(ports.values()) <= 8


def test_the_words_are_plain_distinct_and_many() -> None:
    for words in (ADJECTIVES, NOUNS):
        assert len(set(words)) == len(words) > 200
        assert all(word.isascii() and word.isalpha() and word.islower() for word in words)
