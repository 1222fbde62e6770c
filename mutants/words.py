"""Which files of tests name the words of a mutant: its bound, its attributes."""

from __future__ import annotations

import ast
import re
import threading
from collections import Counter
from functools import cache

from .sites import Site
from .tree import ROOT

_WORD = re.compile(r"[a-z][a-z0-9_]*[a-z0-9]")
_LEAST_LETTERS = 4
_IN_MOST = 6
"""A word that more than one in six files names says nothing."""
_FARTHER = 4
"""A word of the function counts as if so many times as many files named it."""
_parsing = threading.Lock()
"""Judges are threads, and CPython 3.11 may raise SystemError where two of them make a tree at once."""


def naming(site: Site) -> dict[str, int]:
    """Files that name a word of the mutant or an attribute of its function, each with how many files name the rarest of
    those that it names."""
    around = _attributes(site.path).get(site.where, frozenset())
    told = {word: _FARTHER * files for word, files in _telling(around).items()}
    told |= _telling(_words(site.source))
    return {
        file: min(told[word] for word in named) for file, words in _files().items() if (named := told.keys() & words)
    }


def unnamed() -> float:
    """What stands for that number for a file that names none of them."""
    return len(_files()) / 2


def _telling(words: frozenset[str]) -> dict[str, int]:
    """Those that tell files apart, each with how many name it."""
    most = len(_files()) / _IN_MOST
    return {word: _count()[word] for word in words if len(word) >= _LEAST_LETTERS and 0 < _count()[word] <= most}


def _words(text: str) -> frozenset[str]:
    """`_requests` and REQUESTS are one word."""
    return frozenset(_WORD.findall(text.lower()))


@cache
def _files() -> dict[str, frozenset[str]]:
    return {str(file.relative_to(ROOT)): _words(file.read_text()) for file in (ROOT / "tests").rglob("test_*.py")}


@cache
def _count() -> Counter[str]:
    return Counter(word for words in _files().values() for word in words)


@cache
def _attributes(path: str) -> dict[str, frozenset[str]]:
    """Of each function of a module, the attributes that it names."""
    found: dict[str, frozenset[str]] = {}

    def look(node: ast.AST, where: tuple[str, ...]) -> None:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            where = (*where, node.name)
            named = (inside.attr for inside in ast.walk(node) if isinstance(inside, ast.Attribute))
            found[".".join(where)] = _words(" ".join(named))
        for inside in ast.iter_child_nodes(node):
            look(inside, where)

    with _parsing:
        tree = ast.parse((ROOT / "src/ferry" / path).read_text())
    look(tree, ())
    return found
