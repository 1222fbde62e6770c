"""Tables of the commands. On a terminal a table fits its width, as far as the columns that people look for are whole: those
are never cut. In a pipe no value is cut or broken, so that `grep` and `awk` see all of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

_GAP: Final = "  "
_FOLDED: Final = 24  # the fewest columns of a value that folds
_READABLE: Final = 48  # columns of a value that folds, beside which optional columns are shown
_BESIDE: Final = 48  # the fewest columns of a value that may stand below its row
_INDENT: Final = "    "  # of a value below its row
_BEFORE: Final = 6  # columns of a value before an end that is never cut
_CUT: Final = "…"
_BREAKS: Final = (" ,", "/")  # a value folds behind one of the first, or else of the second, if it can


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table. What these say counts on a terminal alone. A column with none of them is never cut."""

    title: str
    right: bool = False
    whole: bool = False
    """It folds, and is never cut."""
    below: bool = False
    """It folds, and where it would be narrow its values stand below their rows."""
    optional: bool = False
    """It is left out where the others need the width."""
    least: int | None = None
    """It is cut to so many characters where the terminal is narrow."""
    most: int | None = None
    """It is cut to so many characters everywhere."""
    end: bool = False
    """Of a value that is cut the end stays: the line behind a file's name."""
    keeps: str = ""
    """Of a value that is cut, what stands from the last such mark on is whole: the CA behind a key id."""

    @property
    def folds(self) -> bool:
        return self.whole or self.below

    def kept(self, text: str) -> str:
        """The end of a value that is never cut; empty if it has none."""
        return text[text.rfind(self.keeps) :] if self.keeps in text else ""  # behind the text, if there is no mark

    def holding(self, texts: Iterable[str]) -> Column:
        """The column with room for the ends of these values."""
        more = max((len(self.kept(text)) for text in texts), default=0)
        if not more:
            return self
        least = None if self.least is None else max(self.least, _BEFORE + more)
        return replace(self, least=least, most=None if self.most is None else self.most + more)


def table(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int | None) -> Iterator[str]:
    """The lines, the titles first. `width`: of the terminal; None: a pipe."""
    columns = [column.holding(row[i] for row in rows) for i, column in enumerate(columns)]
    natural = [max([len(column.title), *(len(row[i]) for row in rows)]) for i, column in enumerate(columns)]
    widths = dict(enumerate(natural)) if width is None else _fitted(columns, natural, width)
    yield _line(columns, widths, [column.title for column in columns])
    below = [i for i, column in enumerate(columns) if column.below and i not in widths]
    room = _FOLDED if width is None else max(width - len(_INDENT), _FOLDED)
    for row in rows:
        parts = {
            i: folded(row[i], wide) if columns[i].folds else [_cut(row[i], wide, columns[i])]
            for i, wide in widths.items()
        }
        for number in range(max(map(len, parts.values()))):
            cells = [""] * len(columns)
            for i, lines in parts.items():
                cells[i] = lines[number] if number < len(lines) else ""
            yield _line(columns, widths, cells)
        for i in below:
            if row[i] != "-":
                yield from (f"{_INDENT}{line}" for line in folded(row[i], room))


def folded(text: str, width: int) -> list[str]:
    """The text in lines of `width` columns, broken behind a blank, a comma or a slash if that is possible."""
    lines = []
    while len(text) > width:
        ends = (1 + max(text.rfind(mark, width // 3, width) for mark in marks) for marks in _BREAKS)
        at = next(filter(None, ends), width)
        lines.append(text[:at].rstrip(" "))
        text = text[at:].lstrip(" ")
    return [*lines, text]


def _line(columns: Sequence[Column], widths: Mapping[int, int], cells: Sequence[str]) -> str:
    shown = (cells[i].rjust(wide) if columns[i].right else cells[i].ljust(wide) for i, wide in widths.items())
    return _GAP.join(shown).rstrip()


def _cut(text: str, width: int, column: Column) -> str:
    if len(text) <= width:
        return text
    if kept := column.kept(text):
        return f"{text[: max(0, width - len(kept) - 1)]}{_CUT}{kept}"
    return _CUT + text[len(text) - width + 1 :] if column.end else text[: width - 1] + _CUT


def _fitted(columns: Sequence[Column], natural: Sequence[int], width: int) -> dict[int, int]:
    """The columns that are shown, each with its width. Columns that may not be cut stay, however narrow the terminal is."""
    wide = [min(natural[i], column.most or natural[i]) for i, column in enumerate(columns)]
    least = [min(wide[i], _least(column, wide[i])) for i, column in enumerate(columns)]
    needed = [min(wide[i], _READABLE) if column.folds else wide[i] for i, column in enumerate(columns)]
    shown = [i for i, column in enumerate(columns) if not column.optional]
    beside = {i: needed[i] for i in shown}
    if _total({i: least[i] for i in shown}) > width:
        shown = [i for i in shown if not columns[i].below]
        beside = {i: needed[i] for i in shown}
    for i, column in enumerate(columns):
        if column.optional:
            if _total(beside | {i: least[i]}) > width:
                break
            beside[i] = least[i]
    widths = {i: beside[i] for i in sorted(beside)}
    _shrink(widths, least, [i for i in widths if columns[i].least is not None], width)
    _shrink(widths, least, [i for i in widths if columns[i].folds], width)
    for i, now in widths.items():
        widths[i] = now + max(0, min(wide[i] - now, width - _total(widths)))
    return widths


def _least(column: Column, wide: int) -> int:
    if column.below:
        return _BESIDE
    if column.whole:
        return max(_FOLDED, len(column.title))
    return wide if column.least is None else max(column.least, len(column.title))


def _shrink(widths: dict[int, int], least: Sequence[int], which: Sequence[int], width: int) -> None:
    """Make columns narrower until all fit, those on the right first."""
    for i in reversed(which):
        widths[i] -= max(0, min(widths[i] - least[i], _total(widths) - width))


def _total(widths: Mapping[int, int]) -> int:
    return sum(widths.values()) + len(_GAP) * (len(widths) - 1)
