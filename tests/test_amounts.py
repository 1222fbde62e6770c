"""Bytes, times and counts as people read them."""

from __future__ import annotations

import pytest

from ferry.amounts import number, size, span, took


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1_000, "1.0 kB"),
        (4_200_000, "4.2 MB"),
        (999_600, "1.0 MB"),
        (150_400_000, "150 MB"),
        (1_000_000_000, "1.0 GB"),
        (3_400_000_000_000, "3.4 TB"),
        (3_000_000_000_000_000, "3000.0 TB"),
    ],
)
def test_bytes_for_people(count: int, text: str) -> None:
    assert size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0ms"), (0.0004, "0ms"), (0.9994, "999ms"), (0.9996, "1.0s"), (9.94, "9.9s"), (9.96, "10s"), (99.4, "99s"),
        (99.6, "2m"), (5969, "99m"), (5971, "2h"), (358_000, "99h"), (359_000, "4d"), (86_400_000, "1000d"),
    ],
)  # fmt: skip
def test_durations_take_five_columns(seconds: float, text: str) -> None:
    assert took(seconds) == text
    assert len(text) <= 5


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"), (59.9, "59s"), (60, "1m"), (311, "5m 11s"), (3600, "1h"), (3661, "1h 1m"), (86_400, "1d"),
        (86_405, "1d"), (90_000, "1d 1h"), (93_784, "1d 2h"),
    ],
)  # fmt: skip
def test_a_time_in_its_two_largest_units(seconds: float, text: str) -> None:
    assert span(seconds) == text


@pytest.mark.parametrize(("count", "text"), [(0, "0 visits"), (1, "1 visit"), (2, "2 visits"), (1234, "1,234 visits")])
def test_counts_agree_with_their_noun(count: int, text: str) -> None:
    assert number(count, "visit") == text
