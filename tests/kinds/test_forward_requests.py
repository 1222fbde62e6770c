"""The grammar of `-R`: the meaning of each form, and a verdict for any bytes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ferry.errors import InvalidInput
from ferry.hostnames import Domain
from ferry.kinds import parse_forward
from ferry.kinds.base import ForwardRequest
from ferry.kinds.rules import Web
from ferry.names import Kind, parse_label
from granted import RULES as WITHOUT_PORTS

RULES = replace(WITHOUT_PORTS, allocate_from=WITHOUT_PORTS.ranges[0])
WEB = Web(Domain("gw.example.com"), frozenset({80, 8080}), frozenset({443, 8443}))
LABEL = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True).filter(
    lambda text: not text.startswith("xn--")
)
NAME = LABEL.filter(lambda text: text != "localhost" and not text.isdecimal())
PORT = st.integers(1, 65535)
WEB_PORT = st.sampled_from(sorted(WEB.http_ports | WEB.https_ports))
OTHER_PORT = PORT.filter(lambda port: port not in WEB.http_ports | WEB.https_ports)
LOCAL = [b"localhost", b"LOCALHOST", b"127.0.0.1", b"::1", b"[::1]", b"127.8.8.8"]
WIDE = [b"", b"*", b"0.0.0.0", b"::", b"[::]", b"192.0.2.7", b"2001:db8::1"]


@given(host=st.sampled_from(LOCAL + WIDE), port=WEB_PORT)
def test_a_bind_address_with_a_web_port_is_a_name_of_our_choice(host: bytes, port: int) -> None:
    assert parse_forward(host, port, WEB, RULES) == ForwardRequest(
        Kind.HTTP, None, 0, tls_upstream=port in WEB.https_ports
    )


@given(host=st.sampled_from(LOCAL + WIDE), port=OTHER_PORT | st.just(0))
def test_a_bind_address_with_another_port_is_that_port(host: bytes, port: int) -> None:
    assert parse_forward(host, port, WEB, RULES) == ForwardRequest(
        Kind.TCP, None, port, host=host.decode().lower().strip("[]")
    )


@pytest.mark.parametrize(
    ("host", "kept"),
    [
        ("FE80::1%eth0", "fe80::1%eth0"), ("[fe80::1%Eth0.7]", "fe80::1%Eth0.7"), ("fe80::1%2", "fe80::1%2"),
        ("fe80::1%", None), ("fe80::1%a b", None), ("fe80::1%\x1b[31m", None), ("fe80::1%a\0", None), ("fe80::1%" + 16 * "a", None),
    ],
)  # fmt: skip
def test_a_zone_is_the_name_of_an_interface(host: str, kept: str | None) -> None:
    """What it is goes to terminals."""
    if kept is not None:
        assert parse_forward(host.encode(), 22080, WEB, RULES) == ForwardRequest(Kind.TCP, None, 22080, host=kept)
        return
    with pytest.raises(InvalidInput) as refused:
        parse_forward(host.encode(), 22080, WEB, RULES)
    assert str(refused.value).isprintable()


@given(name=NAME, port=WEB_PORT, spelling=st.sampled_from(["{}", "{}.", "{}.gw.example.com", "{}.GW.example.com."]))
def test_a_name_with_a_web_port_in_each_spelling(name: str, port: int, spelling: str) -> None:
    for text in (spelling.format(name), spelling.format(name).upper()):
        assert parse_forward(text.encode(), port, WEB, RULES) == ForwardRequest(
            Kind.HTTP, name, 0, tls_upstream=port in WEB.https_ports
        )


@given(name=NAME.filter(lambda name: not name.isdigit()), port=OTHER_PORT)
def test_a_name_with_another_port_is_an_alias(name: str, port: int) -> None:
    assert parse_forward(name.encode(), port, WEB, RULES) == ForwardRequest(Kind.ALIAS, name, port)


@pytest.mark.parametrize(
    ("host", "port", "says"),
    [
        (
            "blog",
            0,
            "write -R blog:80:... for a web address, -R 0:... for a port, or -R blog:22:... for a private alias",
        ),
        ("me:pw@blog", 80, "write -R blog:80:..."),
        ("blog/a/b", 80, "write -R blog:80:..."),
        ("/", 80, "write -R NAME:80:..."),
        ("*.blog", 443, "write -R blog:443:..."),
        ("gw.example.com", 80, "gw.example.com is the gateway itself: write -R NAME:80:..."),
        ("gw.example.com", 22, "gw.example.com is the gateway itself: write -R NAME:22:..."),
        ("blog.example.org", 80, "write -R blog:80:... for blog.gw.example.com"),
        ("a.b.gw.example.com", 80, "write -R a:80:... for a.gw.example.com"),
        ("bücher", 80, "is not plain ASCII"),
        ("my_blog", 80, "'_' in it"),
        ("-blog", 80, "'-' at its start or end"),
        ("xn--bcher-kva", 80, "punycode"),
        ("localhost.gw.example.com", 80, "write -R NAME:80:... with another"),
        ("b" * 64, 80, "64 characters: 63 are allowed"),
        ("b" * 513, 80, "longer than 512 bytes"),  # HOST_BYTES
        ("blog", 65536, "port 65536 does not exist"),
        ("80", 3000, "this names no local service: write -R 80:localhost:3000"),
        ("5432", 3000, "write -R 5432:localhost:3000, or -R NAME:3000:localhost:3000 for an alias"),
        ("\x1b[2J", 80, "'\\x1b'"),
    ],
)
def test_an_invalid_request_is_refused_with_what_to_write(host: str, port: int, says: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_forward(host.encode(), port, WEB, RULES)
    assert says in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("host", ["gw.example.com", "blog.example.org"])
def test_an_alias_is_not_said_to_have_a_hostname(host: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_forward(host.encode(), 22, WEB, RULES)
    assert str(caught.value).endswith(":22:...")


@pytest.mark.parametrize(
    ("web", "ports", "forms"),
    [
        (True, False, "-R blog:80:... for a web address, or -R blog:22:... for a private alias"),
        (False, True, "-R 0:... for a port, or -R blog:22:... for a private alias"),
        (False, False, "-R blog:22:... for a private alias"),
    ],
)
def test_only_forms_that_the_gateway_serves_are_to_be_written(*, web: bool, ports: bool, forms: str) -> None:
    rules = replace(RULES if ports else WITHOUT_PORTS, serves_web=web)
    with pytest.raises(InvalidInput) as caught:
        parse_forward(b"blog", 0, WEB, rules)
    assert str(caught.value) == f"a name with port 0 means nothing: write {forms}"


def understood(host: bytes, port: int) -> ForwardRequest | str:
    try:
        return parse_forward(host, port, WEB, RULES)
    except InvalidInput as error:
        return str(error)


@given(host=st.binary(max_size=600) | st.text(max_size=80).map(str.encode), port=st.integers(0, 0xFFFFFFFF))
@example(b"[", 80)
@example(b"%", 22)
@example(b"fe80::1%eth0", 22)
@example(b"::ffff:127.0.0.1", 80)
@example(b".gw.example.com", 80)
@example(b"localhost.", 22)
@example(b"localhost.gw.example.com", 22)
def test_any_request_is_understood_or_refused_with_a_printable_reason(host: bytes, port: int) -> None:
    wanted = understood(host, port)
    if isinstance(wanted, str):
        assert wanted.replace("…", "").isascii()
        assert wanted.isprintable()
        return
    assert 0 <= wanted.port <= 65535
    if wanted.kind is Kind.TCP:
        assert wanted.name is None
    elif wanted.kind is Kind.ALIAS:
        assert wanted.name is not None
        assert wanted.port == port > 0
    else:
        assert wanted.kind is Kind.HTTP
        assert wanted.port == 0
        assert port in WEB.http_ports | WEB.https_ports
    if wanted.name is not None:
        assert parse_label(wanted.name) == wanted.name  # a DNS label, which is its own canonical form
        assert parse_forward(wanted.name.encode(), port, WEB, RULES) == wanted
