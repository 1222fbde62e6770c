"""Writes modules that hold all their mutants at once: `switch.off` says at each place whether its mutant is on."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .sites import Site

_IMPORT = b"from mutants.switch import off as _is_off, watch_bounds as _watch_bounds\n"
_STATEMENTS = frozenset({"flag", "demand"})


@dataclass(frozen=True)
class _Place:
    """One stretch of a text with the mutants that change it as a whole."""

    start: int
    end: int
    statement: bool
    sites: tuple[tuple[int, Site], ...]


def instrumented(text: bytes, sites: Mapping[int, Site]) -> bytes:
    """The text of a module as it is, and as each of its mutants (by number) makes it when it is on."""
    if any(site.kind == "limit" for site in sites.values()):
        rows = ", ".join(f"{site.source!r}: ({number}, {site.becomes})" for number, site in sites.items())
        return _with_import(text) + f"_watch_bounds(__name__, {{{rows}}})\n".encode()
    result = _rendered(text, 0, len(text), _places(sites))
    return _with_import(result) if sites else text


def _places(sites: Mapping[int, Site]) -> list[_Place]:
    """Outer ones before those inside them."""
    found: dict[tuple[int, int, bool], list[tuple[int, Site]]] = {}
    for number, site in sites.items():
        found.setdefault((site.start, -site.end, site.kind not in _STATEMENTS), []).append((number, site))
    return [
        _Place(start, -end, not expression, tuple(found[start, end, expression]))
        for start, end, expression in sorted(found)
    ]


def _rendered(text: bytes, start: int, end: int, places: Iterable[_Place]) -> bytes:
    waiting = list(places)
    result = b""
    while waiting:
        place = waiting.pop(0)
        inside = [other for other in waiting if other.start < place.end]
        del waiting[: len(inside)]
        result += text[start : place.start] + _switched(_rendered(text, place.start, place.end, inside), place)
        start = place.end
    return result + text[start:end]


def _switched(plain: bytes, place: _Place) -> bytes:
    for number, site in place.sites:
        if place.statement:
            plain = b"if _is_off(%d): %b" % (number, plain)
        else:
            plain = b"((%b) if _is_off(%d) else %b)" % (plain, number, site.becomes.encode())
    return plain


def _with_import(text: bytes) -> bytes:
    """Below the docstring and the imports from `__future__`."""
    lines = text.splitlines(keepends=True)
    at = 0
    for node in ast.parse(text).body:
        docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if not docstring and not (isinstance(node, ast.ImportFrom) and node.module == "__future__"):
            break
        at = node.end_lineno or at
    return b"".join([*lines[:at], _IMPORT, *lines[at:]])
