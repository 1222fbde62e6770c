"""What the options of a key's line allow, and the texts of refusals."""

from __future__ import annotations

import pytest

from ferry.errors import Refusal
from ferry.policy.allowance import Allowance
from ferry.policy.keys import (
    ANY_KEY,
    Caller,
    KeyLine,
    command_refusal,
    forwards_refusal,
    limits_of,
    listen_refusal,
    log_in,
    needs_name,
    open_refusal,
    signature_refusal,
)
from ferry.policy.sshd import UNSET
from ferry.protocol.key_options import parse_options
from known_system import KNOWN

NOW = 1_900_000_000.0  # 2030-03-17 17:46:40 UTC
CALLER = Caller("dev", "192.0.2.7", "192.0.2.7", NOW)


def line(options: str = "", number: int = 3, *, name: str | None = None, user: str | None = None) -> KeyLine:
    return KeyLine(name, parse_options(options, KNOWN), user, "/etc/ferry/keys", number)


def refused(decision: KeyLine | Refusal | None) -> Refusal:
    assert isinstance(decision, Refusal)
    return decision


@pytest.mark.parametrize(("until", "let_in"), [("20300317174640Z", True), ("20300317174639Z", False)])
def test_a_key_may_log_in_up_to_its_last_second(until: str, *, let_in: bool) -> None:
    key = line(f'expiry-time="{until}"')
    assert (log_in([key], CALLER) is key) is let_in
    assert (log_in([key], CALLER._replace(now=NOW + 0.9)) is key) is let_in


def test_an_expired_key_is_told_so_and_the_log_since_when() -> None:
    """Whoever knows the public key can ask, without a proof, so the date is for the operator alone."""
    refusal = refused(log_in([line('expiry-time="20300101Z"')], CALLER))
    assert refusal.public == "your key has expired (expiry-time=): ask the operator for a later time"
    assert refusal.detail == "the key has expired, on 2030-01-01 00:00:00 UTC (expiry-time=)"
    assert (refusal.code, refusal.rule) == ("key_expired", "/etc/ferry/keys, line 3: expiry-time")


def test_a_key_that_may_not_come_from_there_is_told_its_address() -> None:
    refusal = refused(log_in([line('from="10.0.0.0/8"')], CALLER))
    assert refusal.public == "your key may not log in from 192.0.2.7 (from=)"
    assert (refusal.code, refusal.rule) == ("key_from", "/etc/ferry/keys, line 3: from")


def test_the_first_line_that_admits_the_key_decides() -> None:
    far, expired = line('from="10.0.0.0/8"', 1), line('expiry-time="20300101Z"', 2)
    here, later = line('from="192.0.2.0/24",restrict', 3), line("", 4)
    assert log_in([far, expired, here, later], CALLER) is here
    assert refused(log_in([far, expired], CALLER)).code == "key_from"
    assert refused(log_in([expired, far], CALLER)).code == "key_expired"
    assert log_in([], CALLER) is None


def test_a_name_is_looked_up_only_for_a_line_that_could_decide() -> None:
    named, here = line('from="*.example.com"'), line('from="192.0.2.0/24"')
    late = line('from="*.example.com",expiry-time="20300101Z"')
    other, own = (KeyLine(options=named.options, user=user) for user in ("backup", "dev"))
    for lines, whether in (
        ([named], True), ([here, named], False), ([named, here], True), ([late], False), ([other], False), ([own], True),
        ([], False),
    ):  # fmt: skip
        assert needs_name(lines, CALLER) is whether


def test_a_line_in_the_file_of_another_login_name_does_not_count() -> None:
    other, own = line(user="backup"), line(user="dev")
    assert log_in([other], CALLER) is None
    assert log_in([other, own], CALLER) is own


@pytest.mark.parametrize(
    ("options", "flags", "code"),
    [
        ("", None, None), ("verify-required", None, None), ("", 0, "key_touch"), ("", 1, None), ("", 4, "key_touch"),
        ("no-touch-required", 0, None), ("verify-required", 1, "key_verify"), ("verify-required", 5, None),
        ("no-touch-required,verify-required", 0, "key_verify"), ("no-touch-required,verify-required", 4, None),
    ],
)  # fmt: skip
def test_a_security_key_has_to_be_touched_and_where_its_line_says_so_verified(
    options: str, flags: int | None, code: str | None
) -> None:
    refusal = signature_refusal(line(options), flags)
    assert (refusal.code if refusal else None) == code


@pytest.mark.parametrize("option", ["restrict", "no-port-forwarding"])
def test_a_key_without_forwards_reads_which_option_forbids_them(option: str) -> None:
    key = line(option)
    for refusal in (forwards_refusal(key), listen_refusal(key, b"", 0), open_refusal(key, b"a", 1)):
        assert refusal is not None
        assert refusal.public.startswith(f"your key may not forward anything ({option}): only the operator can ")
        assert (refusal.code, refusal.rule) == ("key_forwards", f"/etc/ferry/keys, line 3: {option}")
    assert forwards_refusal(line(f"{option},port-forwarding")) is None


@pytest.mark.parametrize(
    ("permits", "host", "port", "whether"),
    [
        ('permitlisten="80"', b"localhost", 80, True), ('permitlisten="80"', b"", 80, True), ('permitlisten="80"', b"::", 80, True),
        ('permitlisten="80"', b"localhost", 81, False), ('permitlisten="80"', b"localhost", 0, False),
        ('permitlisten="*"', b"localhost", 0, True), ('permitlisten="localhost:*"', b"localhost", 0, True),
        ('permitlisten="localhost:80"', b"localhost", 80, True), ('permitlisten="localhost:80"', b"LOCALHOST", 80, True),
        ('permitlisten="localhost:80"', b"127.0.0.1", 80, False), ('permitlisten="localhost:80"', b"", 80, False),
        ('permitlisten="LOCALHOST:80"', b"localhost", 80, False), ('permitlisten="0.0.0.0:80"', b"", 80, False),
        ('permitlisten=":80"', b"", 80, True), ('permitlisten="[::1]:80"', b"::1", 80, True),
        ('permitlisten="1",permitlisten="80"', b"localhost", 80, True), ('permitopen="a:1"', b"localhost", 80, True),
        ("", b"localhost", 80, True), ('permitlisten="80"', "b\u00fc".encode(), 80, True),
    ],
)  # fmt: skip
def test_a_forward_listens_where_a_permit_says(permits: str, host: bytes, port: int, *, whether: bool) -> None:
    assert (listen_refusal(line(permits), host, port) is None) is whether


@pytest.mark.parametrize(
    ("permits", "host", "whether"),
    [
        ("blog:80", b"blog", True), ("blog:80", b"Blog.GW.example.com", True), ("blog.gw.example.com:80", b"blog", True),
        ("*:80", b"blog", True), ("b*:80", b"blog", True), ("80", b"blog", False), ("*", b"blog", False), ("shop:80", b"blog", False),
        ("blog:443", b"blog", False), ("localhost:80", b"blog", False), ("blog:*", b"blog", True),
    ],
)  # fmt: skip
def test_a_name_needs_a_permit_with_a_host(permits: str, host: bytes, *, whether: bool) -> None:
    """A bare port means bind addresses alone: sshd has no names."""
    names = ("blog", "blog.gw.example.com")
    assert (listen_refusal(line(f'permitlisten="{permits}"'), host, 80, names) is None) is whether


MANY = ",".join(f'permitlisten="{each}"' for each in ("21022", "localhost:21023", "127.0.0.*:22", "web-?:22", "1"))


@pytest.mark.parametrize(
    ("permits", "host", "names", "says"),
    [
        ('permitlisten="21022"', b"localhost", (), "listen on 21022 only (permitlisten=), not on localhost:22: write -R 21022:..."),
        ('permitlisten="localhost:21022"', b"", (), "on localhost:21022 only (permitlisten=), not on *:22: write -R 21022:..."),
        ('permitlisten="blog:80"', b"shop", ("shop",), "on blog:80 only (permitlisten=), not on shop:22: write -R blog:80:..."),
        ('permitlisten="[::1]:*"', b"::", (), "on [::1]:* only (permitlisten=), not on [::]:22: write -R [::1]:PORT:..."),
        ('permitlisten="[/Run/x.sock]:*"', b"localhost", (), "on [/Run/x.sock]:* only (permitlisten=), not on localhost:22: only"),
        ('permitlisten="LOCALHOST:22"', b"localhost", (), "only the operator can write LOCALHOST in lower case, without which"),
        ('permitlisten="!localhost:22"', b"localhost", (), "not on localhost:22: only the operator can allow more"),
        (MANY, b"localhost", (), "on 127.0.0.*:22, web-?:22, 21022 and 2 more only (permitlisten=), not on localhost:22: write -R 127.0.0.1:22:..."),
        ('permitlisten="1",permitlisten="web-?:22"', b"web-12", ("web-12",), "write -R NAME:22:... with a name that web-? stands for"),
        ('permitlisten="1",permitlisten="localhost:22"', b"", (), "on localhost:22, 1 only (permitlisten=), not on *:22: write -R 22:..."),
        ('permitlisten="UP:1",permitlisten="a:2"', b"", (), "write -R a:2:..."),
        (",".join(f'permitlisten="{port}"' for port in range(1, 6)), b"localhost", (), "on 1, 2, 3 and 2 more only"),
    ],
)  # fmt: skip
def test_a_refused_listener_names_both(permits: str, host: bytes, names: tuple[str, ...], says: str) -> None:
    refusal = listen_refusal(line(permits), host, 22, names)
    assert refusal is not None
    assert says in refusal.public
    assert (refusal.code, refusal.rule) == ("key_listen", "/etc/ferry/keys, line 3: permitlisten")


@pytest.mark.parametrize(
    ("permits", "host", "port", "whether"),
    [
        ("laptop:22", b"laptop", 22, True), ("laptop:22", b"laptop", 23, False), ("laptop:22", b"Laptop", 22, False),
        ("laptop:*", b"laptop", 23, True), ("*:22", b"desk", 22, True), ("*:22", b"desk", 23, False), ("l*:22", b"laptop", 22, False),
        ("*:*", b"\xff", 1, True), ("[::1]:22", b"::1", 22, True), ("localhost:22", b"127.0.0.1", 22, False),
    ],
)  # fmt: skip
def test_a_connection_leads_where_a_permit_says_which_is_no_pattern(
    permits: str, host: bytes, port: int, *, whether: bool
) -> None:
    assert (open_refusal(line(f'permitopen="{permits}"'), host, port) is None) is whether


def test_a_refused_connection_names_both_and_the_log_gets_no_typed_text() -> None:
    refusal = open_refusal(line('permitopen="laptop:22"'), b"me:Sesame17@desk", 22)
    assert refusal is not None
    assert refusal.public == "your key may reach laptop:22 only (permitopen=), not [me:Sesame17@desk]:22"
    assert (refusal.code, refusal.rule) == ("key_open", "/etc/ferry/keys, line 3: permitopen")
    assert "Sesame17" not in refusal.detail + refusal.kept


def test_command_means_that_no_command_runs() -> None:
    refusal = command_refusal(line('command=""'))
    assert refusal is not None
    assert refusal.public == "your key runs no commands here (command=). Its forwards work: ssh -N -R ..."
    assert (refusal.code, refusal.rule) == ("key_command", "/etc/ferry/keys, line 3: command")
    assert command_refusal(line("restrict,no-pty")) is None


@pytest.mark.parametrize(
    ("options", "limits", "example"),
    [
        ("", [], "80:localhost:3000"), ("no-pty,command=\"x\"", [], "80:localhost:3000"),
        ('restrict,permitlisten="1"', ["Your key may not forward anything (restrict)."], None),
        ('permitlisten="21022"', ["Your key may listen on 21022 only (permitlisten=)."], "21022:localhost:3000"),
        (
            'permitlisten="shop:80",permitopen="laptop:22",expiry-time="20301231Z"',
            [
                "Your key may listen on shop:80 only (permitlisten=).", "Your key may reach laptop:22 only (permitopen=).",
                "Your key may log in until 2030-12-31 00:00:00 UTC (expiry-time=).",
            ],
            "shop:80:localhost:3000",
        ),
    ],
)  # fmt: skip
def test_the_limits_of_a_key_are_told_with_a_forward_that_it_may_have(
    options: str, limits: list[str], example: str | None
) -> None:
    key = line(options)
    assert limits_of(key) == limits
    assert Allowance(key, UNSET).example("80:localhost:3000") == example


def test_a_key_of_no_file_may_do_all() -> None:
    assert log_in([ANY_KEY], CALLER) is ANY_KEY
    assert (listen_refusal(ANY_KEY, b"", 0), open_refusal(ANY_KEY, b"a", 1), command_refusal(ANY_KEY)) == (None,) * 3
    assert ANY_KEY.rule("restrict") == "restrict"


def test_a_line_that_has_moved_is_the_same() -> None:
    assert line("restrict", 3) == line("restrict", 4)
    assert line("restrict") != line("no-pty")
    assert line(name="ann") != line(name="bob")
