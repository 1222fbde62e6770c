"""Tables fit the terminal, and the columns that people look for are whole in every width."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferry.cli.keys_changes import KEYS
from ferry.cli.ls import NAMES
from ferry.cli.ports import PORTS
from ferry.cli.table import Column, folded, table

FLEET = [
    ["web-1", "21001", "ssh", "web-1", "never seen", "-", "-", "for good", "/etc/ferry/authorized_keys, line 2; /etc/ferry/authorized_keys, line 35"],
    ["grafana.ops.example.com", "22080", "service:grafana", "SHA256:zgxyUnvMD..", "up", "127.0.0.1 ::1", "12d ago", "until 2026-12-24", "-"],
]  # fmt: skip
OPTIONS = 'restrict,port-forwarding,permitlisten="localhost:21033",from="192.0.2.0/24,198.51.100.0/24",expiry-time="20271231",no-pty'
FINGERPRINT = "SHA256:zgxyUnvMDkX0Y7Qm4vJ1fXcN2mHqk8uLr5sT9bWd3eA"
MACHINES = [
    ["web-33", FINGERPRINT, "enabled", "21033", "3h ago", OPTIONS, "/etc/ferry/authorized_keys, line 33"],
    ["ann", FINGERPRINT, "disabled", "-", "never", "-", "/etc/ferry/authorized_keys, line 34"],
]


def words_of(line: str) -> list[str]:
    return line.split()


@pytest.mark.parametrize("width", [60, 80, 100, 120, 160, 200])
def test_host_port_and_state_are_whole_in_every_width(width: int) -> None:
    title, *rows = table(PORTS, FLEET, width)
    assert words_of(title)[:3] == ["HOST", "PORT", "LABEL"]
    assert "STATE" in words_of(title)
    assert [words_of(row)[:2] for row in rows] == [["web-1", "21001"], ["grafana.ops.example.com", "22080"]]
    assert "never seen" in rows[0]
    assert all(len(line) <= width for line in (title, *rows))


def test_a_wider_terminal_tells_no_less() -> None:
    titles = [set(words_of(next(table(PORTS, FLEET, width)))) for width in range(60, 260)]
    assert all(narrow <= wide for narrow, wide in pairwise(titles))
    assert titles[-1] == {"HOST", "PORT", "LABEL", "HOLDER", "STATE", "LISTENS", "ON", "SINCE", "KEPT", "KEY", "FILE"}


@pytest.mark.parametrize("width", [64, 80, 120, 160])
def test_the_names_of_keys_are_whole_and_their_options_stay_readable(width: int) -> None:
    title, *rows = table(KEYS, MACHINES, width)
    assert words_of(title)[:3] == ["NAME", "KEY", "STATE"]
    assert words_of(rows[0])[0] == "web-33"
    assert "enabled" in rows[0]
    assert len(rows) <= 2 + len(OPTIONS) // 20
    assert all(len(line) <= width for line in (title, *rows))
    shown = "".join(part for row in rows for part in words_of(row))
    assert 'permitlisten="localhost:21033",' in shown  # no option is broken if it has room


@pytest.mark.parametrize("width", [60, 80, 100, 120, 160, None])
def test_the_ca_of_a_certificate_is_never_cut(width: int | None) -> None:
    rows = [
        [f"port {port}", "tcp", f"{key_id} (CA {ca})", "2h ago", "yes", "asked for"]
        for port, key_id, ca in ((21000, "web-7", "zgxyUnvMD"), (21001, "a-machine-with-a-long-key-id", "qmvJ1fXcN"))
    ]
    _, *lines = table(NAMES, rows, width)
    assert "web-7 (CA zgxyUnvMD)" in lines[0]
    assert "(CA qmvJ1fXcN)" in lines[1]
    assert ("a-machine-with-a-long-key-id " in lines[1]) is (width is None)
    assert all(width is None or len(line) <= width for line in lines)


def test_options_stand_below_their_row_where_they_have_no_room_beside_it() -> None:
    title, first, below, *_ = table(KEYS, MACHINES, 80)
    assert "OPTIONS" not in title
    assert first.startswith("web-33  SHA256:")
    assert below == '    restrict,port-forwarding,permitlisten="localhost:21033",from="192.0.2.0/24,'


def test_of_a_file_and_a_line_the_line_stays() -> None:
    _, row, _ = table(PORTS, FLEET, 140)
    assert row.endswith("keys, line 35")


def test_names_are_not_broken_letter_by_letter() -> None:
    rows = [["gleaming-sleet.gw.example.localhost", "http", "SHA256:zgxyUnvMD..", "3h ago, unused", "yes", "by Ferry"]]
    title, *lines = table(NAMES, rows, 60)
    assert "NAME" in title
    assert len(lines) <= 2
    assert lines[0].startswith("gleaming-sleet.gw")


def test_in_a_pipe_each_row_is_one_line_with_all_its_values() -> None:
    title, *rows = table(KEYS, MACHINES, None)
    assert "KEY FILE" in title
    assert len(rows) == 2
    assert all(value in rows[0] for value in MACHINES[0])


def test_what_may_not_be_cut_goes_beyond_a_terminal_that_is_too_narrow() -> None:
    columns = (Column("NAME"), Column("MORE", optional=True), Column("STATE"))
    assert list(table(columns, [["a" * 30, "x", "enabled"]], 20)) == [f"{'NAME':30}  STATE", f"{'a' * 30}  enabled"]


def test_a_column_without_an_end_to_keep_is_cut_to_its_least() -> None:
    columns = (Column("NAME"), Column("A", least=3))
    assert list(table(columns, [["a" * 20, "abcdefgh"]], 25)) == [f"{'NAME':20}  A", f"{'a' * 20}  ab…"]
    assert list(table(columns, [["a" * 20, "abcdefgh"]], None))[1] == f"{'a' * 20}  abcdefgh"


LONG = "alpha beta gamma delta epsilon zeta eta theta iota kappa"
ONCE: dict[str, tuple[Column, str, int, list[str]]] = {
    "whole folds": (Column("B", whole=True), LONG, 40, ["alpha beta gamma delta epsilon zeta", "eta theta iota kappa"]),
    "a long title": (Column("B" * 30, whole=True), LONG, 30, ["alpha beta gamma delta", "epsilon zeta eta theta iota", "kappa"]),
    "below beside": (Column("B", below=True), LONG, 52, ["alpha beta gamma delta epsilon zeta eta theta", "iota kappa"]),
    "a mark is missed": (Column("B", least=8, keeps=" ("), LONG, 12, ["alpha b…"]),
    "a mark is there": (Column("B", least=8, keeps=" ("), f"{LONG} (x)", 14, ["alpha… (x)"]),
}  # fmt: skip


@pytest.mark.parametrize("name", ONCE)
def test_one_value_beside_a_short_one(name: str) -> None:
    column, value, width, shown = ONCE[name]
    _, *lines = table((Column("A"), column), [["ab", value]], width)
    assert [line[4:] for line in lines] == shown
    assert all(line[:4] == ("ab  " if i == 0 else "    ") for i, line in enumerate(lines))


def test_nothing_stands_below_a_row_that_has_no_options() -> None:
    assert [line for line in table(KEYS, MACHINES, 80) if line.strip() == "-"] == []


@given(st.text("ab ,/", max_size=60), st.integers(1, 30))
def test_folding_loses_nothing_but_blanks_at_breaks(text: str, width: int) -> None:
    lines = folded(text, width)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert all(len(line) <= width for line in lines)
