"""Forwards as people type them: `ssh gw explain` reads them, and refusals name them."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferry.errors import InvalidInput
from ferry.protocol.socket_path import SOCKET_PORT
from ferry.protocol.typed_forward import (
    EXAMPLE,
    TypedForward,
    kept_request,
    kept_target,
    parse_typed,
    shown_request,
    shown_target,
)


@pytest.mark.parametrize(
    ("typed", "listens", "host", "port"),
    [
        ("-R 22080:localhost:3000", True, b"localhost", 22080),
        ("-R22080:localhost:3000", True, b"localhost", 22080),
        ("-R blog:80:localhost:3000", True, b"blog", 80),
        ("-R *:80:localhost:3000", True, b"", 80),
        ("-R :80:localhost:3000", True, b"", 80),
        ("-R [::1]:22080:localhost:3000", True, b"::1", 22080),
        ("-R 0:localhost:22", True, b"localhost", 0),
        ("-R 22081", True, b"localhost", 22081),
        ("-R web-1:22081", True, b"web-1", 22081),
        ("-L 8022:web-1:22", False, b"web-1", 22),
        ("-L localhost:8022:web-1:22", False, b"web-1", 22),
        ("-L 8022:[2001:db8::7]:22", False, b"2001:db8::7", 22),
        ("-W web-1:22", False, b"web-1", 22),
        ("-J web-1", False, b"web-1", 22),
        ("-J root@web-1:2022", False, b"web-1", 2022),
        ("-R /x.sock:localhost:3000", True, b"/x.sock", SOCKET_PORT),
        ("-R /x.sock:/run/app.sock", True, b"/x.sock", SOCKET_PORT),
        ("-R ./x.sock", True, b"./x.sock", SOCKET_PORT),
        ("-R [/x:y.sock]:localhost:3000", True, b"/x:y.sock", SOCKET_PORT),
        ("-R 22080:/run/app.sock", True, b"localhost", 22080),
        ("-R blog:80:/run/app.sock", True, b"blog", 80),
        ("-R blog/api:80:localhost:3000", True, b"blog/api", 80),
        ("-L 5432:/db.sock", False, b"/db.sock", SOCKET_PORT),
        ("-L localhost:5432:/db.sock", False, b"/db.sock", SOCKET_PORT),
        ("-L /run/local.sock:/db.sock", False, b"/db.sock", SOCKET_PORT),
        ("-L /run/local.sock:web-1:22", False, b"web-1", 22),
        ("-W /db.sock", False, b"/db.sock", SOCKET_PORT),
        ("-W a/b:22", False, b"a/b", 22),
        ("-N -R 22080:localhost:3000", True, b"localhost", 22080),
        ("-fNT -v -L 8022:web-1:22", False, b"web-1", 22),
        ("-W web-1:22 -N", False, b"web-1", 22),
    ],
)
def test_what_stock_ssh_asks_for(typed: str, listens: bool, host: bytes, port: int) -> None:
    found = parse_typed(typed.split())
    assert found[:3] == (listens, host, port)
    asked = " ".join(word for word in typed.split() if word not in ("-N", "-fNT", "-v"))
    assert str(found) == (asked if " " in asked else "-R 22080:localhost:3000")


@pytest.mark.parametrize(
    ("typed", "why"),
    [
        ("", "explain takes one forward"),
        ("22080:localhost:3000", "explain takes one forward"),
        ("-R", "explain takes one forward"),
        ("-D 1080", "-D itself names no target: ask about one that it is to lead to, as in explain -W web-1:22; "),
        ("-N", "explain takes one forward"),
        ("-R 22080:localhost:3000 -R 1:a:2", "explain takes one forward"),
        ("-R a:b:c", "'a' in 'a:b:c' is no port"),
        ("-R 99999", "'99999' in '99999' is no port"),
        ("-R a:1:b:2:c", "'-R a:1:b:2:c' is no forward of ssh"),
        ("-L web-1:22", "'-L web-1:22' is no forward of ssh"),
        ("-L /db.sock", "'-L /db.sock' is no forward of ssh"),
        ("-W 1:/db.sock", "'/db.sock' in '1:/db.sock' is no port"),
        ("-W web-1", "'-W web-1' is no forward of ssh"),
        ("-W web-1:0", "'0' in 'web-1:0' is no port"),
    ],
)
def test_what_is_no_forward_is_told_what_to_write(typed: str, why: str) -> None:
    with pytest.raises(InvalidInput) as error:
        parse_typed(typed.split())
    assert str(error.value).startswith(why)
    assert str(error.value).endswith(EXAMPLE)


@given(st.lists(st.text(max_size=30), max_size=3))
def test_any_words_are_a_forward_or_a_mistake(words: list[str]) -> None:
    with suppress(InvalidInput):
        assert isinstance(parse_typed(words), TypedForward)


@pytest.mark.parametrize(
    ("host", "port", "shown", "kept", "target"),
    [
        (b"", 80, "-R 80", "-R 80", ":80"),
        (b"localhost", 80, "-R 80", "-R 80", "localhost:80"),
        (b"web-1", 22, "-R web-1:22", "-R web-1:22", "web-1:22"),
        (b"::1", 22, "-R [::1]:22", "-R [::1]:22", "[::1]:22"),
        (b"[::1]", 22, "-R [::1]:22", "-R [::1]:22", "[::1]:22"),
        (b"ann:secret@x", 22, "-R ann:secret@x:22", "-R (12 bytes):22", "(12 bytes):22"),
        (b"\xff\x1b", 22, "-R \\xff\\x1b:22", "-R (2 bytes):22", "(2 bytes):22"),
        (b"/tmp/x", SOCKET_PORT, "-R /tmp/x", "-R PATH", "PATH"),
    ],
)
def test_what_is_shown_and_what_is_kept(host: bytes, port: int, shown: str, kept: str, target: str) -> None:
    assert (shown_request(host, port), kept_request(host, port), kept_target(host, port)) == (shown, kept, target)


@pytest.mark.parametrize(
    ("host", "port", "shown"),
    [
        (b"web-1", 22, "web-1:22"),
        (b"::1", 22, "[::1]:22"),
        (b"[::1]", 22, "[::1]:22"),
        (b"a\x1b:b", 22, "[a\\x1b:b]:22"),
        (b"/x.sock", SOCKET_PORT, "/x.sock"),
    ],
)
def test_a_target_is_shown_as_it_is_typed(host: bytes, port: int, shown: str) -> None:
    assert shown_target(host, port) == shown


def test_what_is_kept_is_bounded() -> None:
    assert len(kept_target(b"x" * 5000, 22)) < 100
