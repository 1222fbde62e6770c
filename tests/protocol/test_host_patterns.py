"""Lists of patterns for hosts and addresses, as OpenSSH matches them (match.c, addrmatch.c)."""

from __future__ import annotations

import fnmatch
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferry.errors import InvalidInput
from ferry.protocol.host_patterns import is_in, matches, parse_host_list, parse_networks

KEY_FROM_ENTRIES = 256


@pytest.mark.parametrize(
    ("pattern", "text", "whether"),
    [
        ("", "", True), ("", "a", False), ("*", "", True), ("**", "", True), ("?", "", False), ("?", "a", True), ("a", "A", False),
        ("web-*", "web-1", True), ("web-*", "web-", True), ("web-*", "web", False), ("*.example.com", "a.b.example.com", True),
        ("*.example.com", "example.com", False), ("10.0.?.*", "10.0.3.77", True), ("*a*b*c", "xaxxbxxc", True), ("a*a", "a", False),
        ("*a", "aab", False), ("*?", "a", True), ("[a]", "a", False),
    ],
)  # fmt: skip
def test_a_star_stands_for_any_characters_and_a_question_mark_for_one(pattern: str, text: str, whether: bool) -> None:
    assert matches(pattern, text) is whether


@given(st.text("ab*?", max_size=8), st.text("ab*?", max_size=8))
def test_it_agrees_with_another_implementation(pattern: str, text: str) -> None:
    """That of Python, which has `[]` besides."""
    assert matches(pattern, text) == bool(re.fullmatch(fnmatch.translate(pattern), text))


def test_no_pattern_takes_long() -> None:
    """With backtracking for each star this would not end."""
    assert not matches("*a" * 500 + "b", "a" * 1000)


@pytest.mark.parametrize(
    ("listed", "whether"),
    [
        ("*.example.com", True), ("192.0.2.7,*.example.com", False), ("10.0.0.0/8,web", True), ("192.0.2.*", False), ("*", False),
        ("10.*", False), ("10.0.0.0/8", False), ("*,!*.example.com", True), ("*,!*-*", True), ("!192.0.2.7,*.example.com", False),
        ("web,!*.example.com", True), ("10.0.0.0/8,!*.example.com", False), ("192.0.2.0/24,*.example.com", False),
        ("192.0.2.*,*.example.com", False), ("*,!192.0.2.7,!*.example.com", False),
    ],
)  # fmt: skip
def test_a_name_is_needed_only_where_the_address_does_not_decide(listed: str, *, whether: bool) -> None:
    assert parse_host_list(listed).needs_name("192.0.2.7") is whether


def test_the_case_of_a_pattern_for_addresses_does_not_count() -> None:
    for listed in ("2001:DB8:*,*.example.com", "2001:db8:*,*.example.com"):
        assert not parse_host_list(listed).needs_name("2001:db8::1")


def test_the_entries_that_are_for_names_alone() -> None:
    listed = "web-1,*.example.com,192.0.2.7,192.0.2.*,10.0.0.0/8,2001:db8::1,2001:db8:*,*"
    assert parse_host_list(listed).names == ["web-1", "*.example.com"]


def test_a_list_has_a_bounded_number_of_entries() -> None:
    assert parse_host_list(",".join(["a"] * KEY_FROM_ENTRIES)).names
    with pytest.raises(InvalidInput, match="it has 257 entries: 256 are allowed: write networks"):
        parse_host_list(",".join(["a"] * (KEY_FROM_ENTRIES + 1)))


def test_an_entry_has_a_bounded_length_as_in_sshd() -> None:
    """HOST_PATTERN_CHARS."""
    assert parse_host_list("a" * 1022).names
    with pytest.raises(InvalidInput, match="an entry has 1023 characters: 1022 are allowed"):
        parse_host_list("a" * 1023)


def test_an_exclusion_counts_wherever_it_stands_in_a_long_list() -> None:
    many = ",".join(f"{'?' * 300}*{number}" for number in range(KEY_FROM_ENTRIES - 2))
    for listed in (f"*,{many},!192.0.2.7", f"!192.0.2.7,{many},*"):
        assert not parse_host_list(listed).admits("192.0.2.7", "web.example.com")
        assert parse_host_list(listed).admits("192.0.2.8", "web.example.com")


@pytest.mark.parametrize(
    ("listed", "address", "whether"),
    [
        ("192.0.2.7", "192.0.2.7", True), ("192.0.2.7", "192.0.2.70", False), ("192.0.2.0/24", "192.0.2.255", True),
        ("192.0.2.0/24", "192.0.3.0", False), ("0.0.0.0/0", "198.51.100.1", True), ("0.0.0.0/0", "2001:db8::1", False),
        ("2001:db8::/32", "2001:db8:1::1", True), ("2001:DB8::0:1", "2001:db8::1", True), ("*", "2001:db8::1", True),
        ("192.0.2.*", "192.0.2.7", True), ("192.0.2.?", "192.0.2.70", False), ("10.0.0.0/8,192.0.2.7", "192.0.2.7", True),
        ("192.0.2.0/24,!192.0.2.7", "192.0.2.7", False), ("!192.0.2.7,192.0.2.0/24", "192.0.2.7", False),
        ("!192.0.2.7,192.0.2.0/24", "192.0.2.8", True), ("*,!192.0.2.*", "192.0.2.7", False), ("a.example.com", "192.0.2.7", False),
        ("10.1", "10.0.0.1", True), ("0x7f.1", "127.0.0.1", True), ("010.0.0.1", "8.0.0.1", True), ("2130706433", "127.0.0.1", True),
        ("1.2.3.4.0", "1.2.3.4", False), ("1.2.3.256", "1.2.4.0", False), ("256.0.0.1", "0.0.0.1", False), ("10.0.0.0/a", "10.0.0.1", False),
        ("192.0.2.0/24 ", "192.0.2.7", False), ("fe80::1", "fe80::1%eth0", True), ("fe80::*%eth0", "fe80::1%eth1", False), ("fe80::/10", "fe80::1%eth0", True),
        ("192.0.2.7", "", False), ("*", "", True), ("!!192.0.2.7,*", "192.0.2.7", True),
    ],
)  # fmt: skip
def test_a_list_admits_addresses(listed: str, address: str, whether: bool) -> None:
    assert parse_host_list(listed).admits(address, address) is whether


def test_what_is_no_address_is_in_no_network() -> None:
    networks = parse_networks("192.0.2.0/24,::/0")
    found = [is_in(address, networks) for address in ("192.0.2.7", "2001:db8::1", "198.51.100.1", "", "UNKNOWN")]
    assert found == [True, True, False, False, False]


@pytest.mark.parametrize(
    ("listed", "host", "whether"),
    [
        ("*.example.com", "web.example.com", True), ("*.EXAMPLE.com", "Web.example.COM", True), ("example.com", "web.example.com", False),
        ("*.example.com,!web.example.com", "web.example.com", False), ("192.0.2.7,!web.example.com", "web.example.com", False),
        ("*,!192.0.2.7", "web.example.com", False), ("192.0.2.7", "web.example.com", True),
    ],
)  # fmt: skip
def test_a_list_admits_names_too(listed: str, host: str, whether: bool) -> None:
    """The host has the address 192.0.2.7."""
    assert parse_host_list(listed).admits("192.0.2.7", host) is whether
