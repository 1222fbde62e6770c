"""Lines of key files that have a key and let nobody in."""

from __future__ import annotations

import pytest

from ferry.names import Fingerprint
from ferry.policy.keys import KeyLine
from ferry.policy.shut_lines import ShutLine, ports_in_vain, shut_line_for, unnamed_keys
from ferry.protocol.authorized_keys import AuthorizedKey, ShutKey
from ferry.protocol.key_options import NO_OPTIONS, parse_options
from known_system import KNOWN

ONE, OTHER = Fingerprint("SHA256:1"), Fingerprint("SHA256:2")
LISTENS = 'permitlisten="21001",permitlisten="21002"'


def shut(why: str = "", *, user: str | None = None, name: str | None = None, number: int = 3) -> ShutLine:
    key = ShutKey("ssh-ed25519", ONE, name, (21001, 21002))
    return ShutLine(key, KeyLine(name, NO_OPTIONS, user, "/keys", number), why, why and f"secret: {why}")


def line(options: str, *, user: str | None = None) -> KeyLine:
    return KeyLine(None, parse_options(options, KNOWN), user, "/keys", 7)


def authorized(key: Fingerprint, options: str = "", *, name: str | None = None) -> AuthorizedKey:
    return AuthorizedKey("ssh-ed25519", key, name, parse_options(options, KNOWN))


@pytest.mark.parametrize(
    ("why", "reason"),
    [("disabled", ""), ("refused", "a blank stands between options")],
)
def test_the_ports_of_a_shut_line_are_kept_by_nobody(why: str, reason: str) -> None:
    found = ports_in_vain([], {ONE: [shut(reason)]})
    assert {port: [(of.fingerprint, of.in_vain) for of in lines] for port, lines in found.items()} == {
        21001: [(ONE, why)], 21002: [(ONE, why)],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("options", "user", "ports"),
    [
        (f"restrict,{LISTENS}", None, [21001, 21002]),
        (f"no-port-forwarding,{LISTENS}", None, [21001, 21002]),
        (f"restrict,{LISTENS}", "dev", []),
        (f"restrict,port-forwarding,{LISTENS}", None, []),
        (LISTENS, None, []),
    ],
)
def test_a_line_that_turns_forwards_off_keeps_no_port(options: str, user: str | None, ports: list[int]) -> None:
    found = ports_in_vain([(ONE, [line(options, user=user)])], {})
    assert list(found) == ports
    assert {of.in_vain for lines in found.values() for of in lines} == ({"no forwards"} if ports else set())


def test_a_shut_line_for_one_login_name_names_no_port() -> None:
    """The account itself may write it, and would keep the ports from others."""
    assert ports_in_vain([], {ONE: [shut(user="dev"), shut("wrong", user="dev")]}) == {}


@pytest.mark.parametrize(
    ("users", "asked", "first"),
    [
        (("dev", None), "dev", 0), (("dev", None), "root", 1), (("dev",), "root", None), (("dev",), None, 0),
        ((None, "dev"), "dev", 0), ((), "dev", None), ((), None, None), (("dev", "root"), "root", 1),
    ],
)  # fmt: skip
def test_the_first_shut_line_that_counts_for_a_login_name_is_told(
    users: tuple[str | None, ...], asked: str | None, first: int | None
) -> None:
    found = shut_line_for([shut(user=user, number=number) for number, user in enumerate(users)], asked)
    assert (None if found is None else found.line.number) == first


def test_the_keys_of_a_file_without_a_name_are_counted_with_their_ports() -> None:
    keys = [
        authorized(ONE, 'permitlisten="21001"'), authorized(ONE, 'restrict,permitlisten="21002"'),
        authorized(OTHER, 'permitlisten="21003"', name="ann"), authorized(OTHER, "cert-authority"),
    ]  # fmt: skip
    assert unnamed_keys(keys, []) == {ONE: {21001, 21002}}
    assert unnamed_keys([], [ShutKey("ssh-ed25519", OTHER, None, (21004,))]) == {OTHER: {21004}}
    assert unnamed_keys([], [ShutKey("ssh-ed25519", OTHER, "ann", (21004,))]) == {}
    assert unnamed_keys(keys, [ShutKey("ssh-ed25519", ONE, None, (21004,))]) == {ONE: {21001, 21002, 21004}}


@pytest.mark.parametrize(("name", "typed"), [("web-1", "web-1"), (None, ONE)])
def test_who_asks_about_a_disabled_line_reads_how_to_enable_it(name: str | None, typed: str) -> None:
    one = shut(name=name)
    assert one.reason == f"/keys, line 3 has this key, and is disabled: `ferry keys enable {typed}` lets it in again"
    assert (one.refusal.code, one.refusal.rule) == ("key_disabled", "/keys, line 3")
    assert one.refusal.detail == f"its line is disabled: `ferry keys enable {typed}` lets it in again"
    assert typed not in one.refusal.public


def test_the_mistake_of_a_refused_line_is_for_the_operator_alone() -> None:
    one = shut("a blank")
    assert one.reason == "/keys, line 3 has this key, and is refused: a blank"
    assert (one.refusal.code, one.refusal.detail) == ("key_line", "its line is refused: secret: a blank")
    assert "a blank" not in one.refusal.public
