"""The tables in this folder, row by row. Strings in them stand for octets (ISO 8859-1)."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Request:
    """A visitor's request and the required outcome."""

    name: str
    send: bytes
    status: int = 0
    """What the visitor gets when it is refused; the service must then have seen no whole request."""
    sees: bytes = b""
    """Otherwise: the head that the service must see, without our forwarding fields."""
    body: bytes = b""
    edge_only: bool = False
    """Says nothing about the head alone."""
    refused_by: tuple[str, ...] = ()
    """Services that answer 400 to it, as they may."""

    def __str__(self) -> str:
        return self.name


def requests() -> list[Request]:
    """All rows of `requests.toml` and all members of `families.toml`."""
    rows = [_row(row) for row in rows_of("requests.toml")] + list(_members())
    assert len({row.name for row in rows}) == len(rows), "two rows have one name"
    return rows


def rows_of(file: str) -> list[Any]:
    """The `[[case]]` tables of a file."""
    rows: list[Any] = tomllib.loads((FOLDER / file).read_text())["case"]
    return rows


def _row(row: dict[str, Any]) -> Request:
    text, times = row.get("repeated", ("", 0))
    return Request(
        row["name"],
        row["send"].replace("{repeated}", text * times).encode("latin-1"),
        row.get("status", 0),
        row.get("sees", "").encode("latin-1"),
        row.get("body", "").encode("latin-1"),
        row.get("edge_only", False),
        tuple(row.get("refused_by", ())),
    )


def _members() -> Iterator[Request]:
    for family in tomllib.loads((FOLDER / "families.toml").read_text())["family"]:
        content, body = family.get("content", ""), family.get("body", "")
        length = str(len(body or content))
        seen = family.get("members_seen", family["members"])
        for member, member_seen in zip(family["members"], seen, strict=True):
            yield _row(
                family
                | {
                    "name": f"{family['name']}: {ascii(member)[1:-1][:80]}",
                    "send": family["send"].replace("{member}", member).replace("{length}", length) + content,
                    "sees": family.get("sees", "").replace("{member}", member_seen).replace("{length}", length),
                }
            )


@dataclass(frozen=True)
class Answer:
    """A service's answer to the first request of a connection, and the required outcome."""

    name: str
    send: bytes
    statuses: tuple[int, ...]
    """Of the answers that the visitor gets, interim ones included."""
    asked: bytes = b"GET / HTTP/1.1\r\nHost: a.localhost\r\n\r\n"
    gets: bytes | None = None
    """The whole answer, where it matters."""
    closes: bool = False
    """The visitor's connection ends with it."""
    reused: bool = False
    """The stream may carry another request."""

    def __str__(self) -> str:
        return self.name


def answers() -> list[Answer]:
    """Everything in `answers.toml`, and the heads of `responses.toml` that are refused."""
    file = tomllib.loads((FOLDER / "answers.toml").read_text())
    rows = list(file["case"])
    for family in file["family"]:
        rows += [
            family
            | {
                "name": f"{family['name']}: {ascii(member)[1:-1][:80]}",
                "send": family["send"].replace("{member}", member),
            }
            for member in family["members"]
        ]
    rows += [row | {"statuses": [502]} for row in rows_of("responses.toml") if row.get("refused")]
    assert len({row["name"] for row in rows}) == len(rows), "two rows have one name"
    return [_answer(row) for row in rows]


def _answer(row: dict[str, Any]) -> Answer:
    asked, gets = row.get("asked"), row.get("gets")
    return Answer(
        row["name"],
        row["send"].encode("latin-1"),
        tuple(row["statuses"]),
        Answer.asked if asked is None else asked.encode("latin-1"),
        None if gets is None else gets.encode("latin-1"),
        row.get("closes", False),
        row.get("reused", False),
    )
