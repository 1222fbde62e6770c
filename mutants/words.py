"""Which files of tests name the words of a mutant: its bound, its attributes."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache

from .tree import ROOT

_WORD = re.compile(r"[a-z][a-z0-9_]*[a-z0-9]")
_LEAST_LETTERS = 4
_IN_MOST = 6
"""A word that more than one in six files names says nothing."""


def naming(source: str) -> dict[str, int]:
    """Files that name a word of this code, each with how many of them name the rarest of those that it names."""
    words = {word for word in _words(source) if len(word) >= _LEAST_LETTERS}
    count = _count()
    told = {word: count[word] for word in words if 0 < count[word] <= len(_files()) / _IN_MOST}
    return {
        file: min(told[word] for word in named) for file, words in _files().items() if (named := told.keys() & words)
    }


def unnamed() -> float:
    """What stands for that number for a file that names none of them."""
    return len(_files()) / 2


def _words(text: str) -> frozenset[str]:
    """`_requests` and REQUESTS are one word."""
    return frozenset(_WORD.findall(text.lower()))


@cache
def _files() -> dict[str, frozenset[str]]:
    return {str(file.relative_to(ROOT)): _words(file.read_text()) for file in (ROOT / "tests").rglob("test_*.py")}


@cache
def _count() -> Counter[str]:
    return Counter(word for words in _files().values() for word in words)
