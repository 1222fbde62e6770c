"""The types of names."""

from __future__ import annotations

import ipaddress
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferry.errors import InvalidInput
from ferry.names import (
    HOSTNAME_MAX,
    Address,
    CertificateName,
    Endpoint,
    Fingerprint,
    Identity,
    IdentityId,
    Kind,
    given_name,
    network_of,
    parse_domain,
    parse_hostname,
    parse_label,
    printable,
    typed_name,
)

KEY = Fingerprint("SHA256:zgxyUnvMDkX0Y7Qm4vJ1fXcN2mHqk8uLr5sT9bWd3eA")
LABEL = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?", fullmatch=True)


@given(st.text(max_size=80))
def test_a_label_is_a_dns_label_or_a_reason(text: str) -> None:
    reason = ""
    try:
        label = parse_label(text)
    except InvalidInput as error:
        reason = str(error)
    if reason:
        assert reason.isprintable()
        assert reason.replace("…", "").isascii()
    else:
        assert re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", label)
        assert label == text.lower()
        assert text.isascii()
        assert not label.startswith("xn--")


@given(st.lists(LABEL, min_size=1, max_size=12))
def test_a_hostname_is_labels_with_dots(labels: list[str]) -> None:
    text = ".".join(labels)
    if len(text) > HOSTNAME_MAX or any(label.startswith("xn--") for label in labels):
        with pytest.raises(InvalidInput):
            parse_hostname(text)
    else:
        assert parse_hostname(text.upper() + ".") == text


@pytest.mark.parametrize("text", ["", ".", "a..b", ".a", "a b", "a_b", "-a", "a-", "ä.de", "\u212a.de", "a/b"])
def test_an_invalid_hostname(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse_hostname(text)


def test_a_hostname_is_as_long_as_dns_allows_and_no_longer() -> None:
    longest = ".".join(["a" * 63, "b" * 63, "c" * 63, "d" * 61])
    assert parse_hostname(longest + ".") == longest
    with pytest.raises(InvalidInput, match="254 characters: 253 are allowed"):
        parse_hostname(longest + "d")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a-b_c", "'_' in it"),
        ("b\u00fccher", "'\\\\xfc' in it"),
        ("-a", "'-' at its start or end"),
        ("a b", "' ' in it"),
        ("", "the name is empty"),
        ("a" * 64, "the name has 64 characters: 63 are allowed"),
        ("XN--bcher-kva", "name 'XN--bcher-kva' is punycode, which can imitate another name"),
    ],
)
def test_what_is_wrong_is_named(text: str, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        parse_label(text)


@pytest.mark.parametrize(
    "text", ["https://GW.example/", "*.gw.example", "gw.example:2222", "user@gw.example", " gw.example"]
)
def test_a_domain_with_more_around_it_is_found(text: str) -> None:
    with pytest.raises(InvalidInput, match=r" is more than a domain: write gw\.example$"):
        parse_domain(text)


def test_a_domain_is_a_hostname() -> None:
    assert parse_domain("GW.example") == "gw.example"
    with pytest.raises(InvalidInput, match="'https:///' has ':' in it"):
        parse_domain("https:///")


@given(
    st.builds(Address, st.sampled_from([Kind.HTTP, Kind.TLS]), LABEL)
    | st.builds(Address, st.just(Kind.TCP), st.just(""), st.integers(1, 65535))
    | st.builds(Address, st.just(Kind.ALIAS), LABEL, st.integers(1, 65535))
)
def test_an_address_comes_back_from_its_key(address: Address) -> None:
    assert Address.from_key(address.key) == address


def test_addresses_endpoints_and_identities_as_people_write_them() -> None:
    assert [str(Address(Kind.HTTP, "b.example.com")), str(Address(Kind.TCP, "", 30042)), str(Address(Kind.ALIAS, "l", 22))] == [
        "b.example.com", "port 30042", "l:22",
    ]  # fmt: skip
    assert [str(Endpoint("127.0.0.1", 80)), str(Endpoint("::1", 80))] == ["127.0.0.1:80", "[::1]:80"]
    key = Fingerprint("SHA256:x")
    who = [
        Identity(IdentityId("1"), "web-1", key, certificate=CertificateName(key, "ann", 7)),
        Identity(IdentityId("1"), "web-1", key),
        Identity(IdentityId("1"), None, key),
        Identity(IdentityId("1"), None, None, True),
    ]
    assert [str(one) for one in who] == [
        "ann (certificate, serial 7, CA SHA256:x)", "web-1 (SHA256:x)", "SHA256:x", "anonymous",
    ]  # fmt: skip


@given(st.text(max_size=400), st.integers(1, 300))
def test_printable_text_moves_no_cursor_and_is_bounded(text: str, limit: int) -> None:
    shown = printable(text, limit)
    assert shown.replace("…", "").isascii()
    assert shown.isprintable()
    assert len(shown) <= limit * 10  # `\\U0010ffff` is the longest escape
    if text.isascii() and text.isprintable() and len(text) <= limit:
        assert shown == text


@pytest.mark.parametrize(
    ("text", "limit", "shown"),
    [
        ("x" * 11, 10, "x" * 9 + "…"),
        ("\u00e9" * 11, 3, "\\xe9\\xe9…"),
        ("C:\\caf\u00e9", 10, "C:\\caf\\xe9"),
        ("C:\\cafe", 10, "C:\\cafe"),
    ],
)
def test_printable_text_is_cut_and_readable_text_stays_as_it_is(text: str, limit: int, shown: str) -> None:
    assert printable(text, limit) == shown


@pytest.mark.parametrize(
    ("typed", "logged"),
    [
        ("whoam", "whoam"),
        ("--output", "--output"),
        ("auth=ann:Sesame17", "auth=…"),
        ("Sesame17", "(8 characters)"),
        ("Sesame17=x", "(10 characters)"),
        ("", "(0 characters)"),
    ],
)
def test_the_log_has_no_secret_of_an_unknown_word(typed: str, logged: str) -> None:
    assert typed_name(typed) == logged


@given(st.ip_addresses())
def test_a_network_holds_its_address(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    network = ipaddress.ip_network(network_of(str(address)))
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        assert address.ipv4_mapped in network
    else:
        assert address in network
    assert network.prefixlen == (24 if network.version == 4 else 64)


@pytest.mark.parametrize(("host", "network"), [("::ffff:203.0.113.7", "203.0.113.0/24"), ("fe80::1%eth0", "fe80::/64"),
                                               ("", ""), ("example.com", ""), ("@", "")])  # fmt: skip
def test_networks_of_odd_hosts(host: str, network: str) -> None:
    assert network_of(host) == network


@pytest.mark.parametrize(
    ("identity", "name"),
    [
        (Identity(IdentityId("1"), "web-1", KEY), "web-1"),
        (Identity(IdentityId("1"), None, KEY), None),
        (Identity(IdentityId("1"), None, None, anonymous=True), None),
        (Identity(IdentityId("1"), None, KEY, certificate=CertificateName(KEY, "web-1", 7)), None),
        (Identity(IdentityId("1"), None, KEY, certificate=CertificateName(KEY, "web-1 (SHA256:x)", 7)), None),
    ],
)
def test_a_key_id_is_no_name_that_the_operator_gave(identity: Identity, name: str | None) -> None:
    assert given_name(str(identity)) == name
