"""Every way to write an address: one of each passes, and leads where it says."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferry.errors import InvalidInput
from ferry.protocol.targets import parse_target_host


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "0.0.0.0", "169.254.169.254", "::1", "::", "::ffff:127.0.0.1", "::FFFF:7f00:1", "64:ff9b::7f00:1",
     "2002:7f00:1::", "fe80::1", "2001:db8::7", "0:0:0:0:0:0:0:1", "255.255.255.255"],
)  # fmt: skip
def test_an_address_is_that_address(host: str) -> None:
    assert parse_target_host(host.encode()) == ip_address(host)


@pytest.mark.parametrize(
    "host",
    [
        "2130706433", "0x7f000001", "0X7F000001", "017700000001", "0x7f.1", "0177.0.0.1", "0177.0.0.01", "127.1", "127.0.1",
        "0", "0x0", "0x", "00.0.0.0", "127.000.000.001", "127.0.0.1.", "2130706433.", "1.2.3.4.5", "256.1.1.1", "1.2.3",
        "127.0.0.0x1", "example.0x7f", "example.1", "127.0.0.1%lo", "4294967297", "-1",
        "[::1]", "[127.0.0.1]", "[::1", "::1]", "fe80::1%eth0", "fe80::1%2", "::1%", "::ffff:0x7f.1", "::ffff:2130706433",
        "::1.", "1:2:3:4:5:6:7:8:9", "0:0:0:0:0:0:0:00001", ":::", ":", "12345::",
        "", ".", "..", "a..b", ".a", "-a", "a-", "a b", "a/b", "a@b", "user:pass@host", "a\tb", "a\r\nb",
        "host:80", "http://host", "127.0.0.1:80", "127.0.0.1 ", " 127.0.0.1", "127.0.0.1#", "127.0.0.1/8", "%31.1.1.1",
        "a" * 64, ".".join(["abcdefghi"] * 26), "*",
    ],
)  # fmt: skip
def test_other_forms_are_refused(host: str) -> None:
    with pytest.raises(InvalidInput):
        parse_target_host(host.encode())


@pytest.mark.parametrize(
    "host",
    [
        "１２７.0.0.1".encode(),  # full-width digits, which IDNA maps to ASCII
        "①②⑦.0.0.1".encode(),
        "127。0。0。1".encode(),  # ideographic full stops
        "lоcalhost".encode(),  # a Cyrillic o
        "bücher.example".encode(),
        b"\xff\xfe",
        b"127.0.0.1\x00.example.com",
        b"localhost\x00",
        "ⓛocalhost".encode(),
    ],
)
def test_letters_outside_ascii_and_nul_are_refused(host: bytes) -> None:
    with pytest.raises(InvalidInput):
        parse_target_host(host)


@pytest.mark.parametrize(
    ("host", "name"),
    [("localhost", "localhost"), ("LocalHost", "localhost"), ("db.internal", "db.internal"), ("db.internal.", "db.internal."),
     ("my_db", "my_db"), ("_srv.example", "_srv.example"), ("xn--bcher-kva.example", "xn--bcher-kva.example"),
     ("1password.com", "1password.com"), ("3com", "3com"), ("0x7g", "0x7g"), ("a" * 63, "a" * 63), ("a.1b", "a.1b")],
)  # fmt: skip
def test_a_name_is_a_name(host: str, name: str) -> None:
    assert parse_target_host(host.encode()) == name


@given(st.integers(0, 2**32 - 1) | st.integers(2**32, 2**128 - 1))
def test_the_usual_form_of_each_address_passes(number: int) -> None:
    address = ip_address(number)
    assert parse_target_host(str(address).encode()) == address


@given(st.binary(max_size=80))
def test_anything_else_is_a_name_an_address_or_refused(host: bytes) -> None:
    try:
        found = parse_target_host(host)
    except InvalidInput:
        return
    if isinstance(found, str):
        assert found.encode() == host.lower()
        assert not found.removesuffix(".").rpartition(".")[2].isdigit()
    else:
        assert ip_address(host.decode()) == found
