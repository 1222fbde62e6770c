"""Which keys may log in together, and what their lines allow together."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ferry.errors import Refusal
from ferry.names import Fingerprint
from ferry.policy.keys import (
    Certified,
    KeyLine,
    command_refusal,
    forwards_refusal,
    limits_of,
    listen_refusal,
    names_open,
    open_refusal,
    socket_refusal,
)
from ferry.policy.several_keys import NEEDS_KEY, Proven, account_of, entry_refusal, refusal_beside, together
from ferry.policy.sshd import SshdOptions
from ferry.protocol.certificates import Certificate
from ferry.protocol.key_options import parse_options
from known_system import KNOWN
from made_certificate import made


def line(options: str = "", *, name: str | None = None, user: str | None = None) -> KeyLine:
    return KeyLine(name, parse_options(options, KNOWN), user, "/keys", 3)


def key(fingerprint: str, of: KeyLine) -> Proven:
    certificate = of.certified.certificate if of.certified is not None else None
    return Proven("dev", Fingerprint(fingerprint), certificate, of)


def certified(certificate: Certificate, of: KeyLine) -> KeyLine:
    return replace(of, certified=Certified(of, certificate))


ANN, BOB, FILE_OF_DEV, FOR_ALL = line(name="ann"), line(name="bob"), line(user="dev"), line()
CERTIFICATE = made(key_id="ann")
BY_LOGIN_NAME = certified(CERTIFICATE, line("cert-authority"))
BY_PRINCIPALS = certified(CERTIFICATE, line('cert-authority,principals="ops"'))
NAMELESS = certified(made(key_id=""), line('cert-authority,principals="ops"'))
OTHER_ID = certified(made(key_id="bob"), line('cert-authority,principals="ops"'))


@pytest.mark.parametrize(
    ("first", "second", "code"),
    [
        (ANN, ANN, None), (ANN, BOB, "key_beside"), (ANN, FOR_ALL, "key_beside"), (ANN, FILE_OF_DEV, "key_beside"),
        (FILE_OF_DEV, ANN, "key_beside"), (FILE_OF_DEV, FILE_OF_DEV, None), (FILE_OF_DEV, FOR_ALL, "key_beside"),
        (FILE_OF_DEV, BY_LOGIN_NAME, None), (BY_LOGIN_NAME, FILE_OF_DEV, None), (FILE_OF_DEV, BY_PRINCIPALS, "key_beside"),
        (ANN, BY_LOGIN_NAME, "key_beside"), (BY_PRINCIPALS, BY_PRINCIPALS, None), (BY_PRINCIPALS, BY_LOGIN_NAME, None),
        (BY_PRINCIPALS, OTHER_ID, "key_beside"), (BY_PRINCIPALS, NAMELESS, "key_beside"),
    ],
)  # fmt: skip
def test_keys_stand_beside_one_another_if_they_are_of_one_account(
    first: KeyLine, second: KeyLine, code: str | None
) -> None:
    one, other = key("SHA256:1", first), key("SHA256:2", second)
    assert refusal_beside([], one, 2) is None
    refusal = refusal_beside([one], other, 2)
    assert (None if refusal is None else refusal.code) == code


@pytest.mark.parametrize("of", [FOR_ALL, NAMELESS])
def test_a_key_of_no_account_is_none_of_several(of: KeyLine) -> None:
    refusal = refusal_beside([], key("SHA256:1", of), 2)
    assert isinstance(refusal, Refusal)
    assert refusal.code == "key_alone"
    assert "AuthenticationMethods publickey,publickey" in refusal.public
    assert "name=" in refusal.public
    assert refusal_beside([], key("SHA256:1", of), 1) is None


def test_a_key_counts_once() -> None:
    plain, in_certificate = key("SHA256:1", FILE_OF_DEV), key("SHA256:1", BY_LOGIN_NAME)
    for first, second in ((plain, plain), (plain, in_certificate), (in_certificate, plain)):
        refusal = refusal_beside([first], second, 2)
        assert refusal is not None
        assert refusal.code == "key_used"


def test_all_of_three_are_of_one_account() -> None:
    """The second is of the first's login name and of the third's key id, which are two accounts."""
    first, second, third = key("SHA256:1", FILE_OF_DEV), key("SHA256:2", BY_LOGIN_NAME), key("SHA256:3", BY_PRINCIPALS)
    assert refusal_beside([first], second, 3) is None
    assert refusal_beside([second], third, 3) is None
    refusal = refusal_beside([first, second], third, 3)
    assert refusal is not None
    assert refusal.code == "key_beside"


@pytest.mark.parametrize(
    ("needed", "keys", "algorithms", "says"),
    [
        (None, 0, (), None),
        (0, 0, (), None),
        (1, 0, (), NEEDS_KEY),
        (1, 1, ("ssh-ed25519",), None),
        (
            2,
            0,
            (),
            "you need 2 keys here now (AuthenticationMethods publickey,publickey): log in again with all of them",
        ),
        (2, 1, ("ssh-ed25519",), "you need 2 keys here now (AuthenticationMethods publickey,publickey): log in again"),
        (2, 2, ("ssh-ed25519",), None),
        (2, 3, ("ssh-ed25519",), None),
        (1, 1, ("rsa-sha2-512",), "your key signs with rsa-sha2-512, which the operator does not accept here"),
    ],
)
def test_who_is_here_and_would_not_get_in_now_reads_why(
    needed: int | None, keys: int, algorithms: tuple[str, ...], says: str | None
) -> None:
    options = SshdOptions(keys_needed=needed, pubkey_accepted_algorithms=frozenset({"ssh-ed25519"}))
    why = entry_refusal(options, keys, algorithms)
    assert (why is None) is (says is None)
    assert (why or "").startswith(says or "")


def test_the_name_of_a_line_says_of_whom_its_key_is_before_the_login_name_does() -> None:
    assert account_of(line(name="ann", user="dev")) == account_of(ANN) == ("name", "ann")
    assert account_of(FILE_OF_DEV) == ("user", "dev")
    assert account_of(FOR_ALL) is None


def both(*options: str) -> KeyLine:
    return together([key(f"SHA256:{number}", line(of, name="ann")) for number, of in enumerate(options)])


@pytest.mark.parametrize("options", [("", "restrict"), ("restrict", "")])
def test_each_line_has_to_allow(options: tuple[str, str]) -> None:
    line_of_both = both(*options)
    assert forwards_refusal(line_of_both) is not None
    assert listen_refusal(line_of_both, b"", 80) is not None
    assert open_refusal(line_of_both, b"a", 80) is not None
    assert socket_refusal(line_of_both, "/x", listens=True) is not None
    assert limits_of(line_of_both) == ["Your key may not forward anything (restrict)."]


def test_what_one_line_lists_bounds_the_other() -> None:
    listing = both('permitlisten="22001",permitlisten="22002"', 'permitlisten="22002",permitlisten="22003"')
    assert [port for port in range(22001, 22004) if listen_refusal(listing, b"localhost", port) is None] == [22002]
    opening = both("", 'permitopen="db:5432"')
    assert open_refusal(opening, b"db", 5432) is None
    assert open_refusal(opening, b"db", 22) is not None
    assert not names_open(opening, b"db", 5432)
    assert names_open(both('permitopen="db:5432"', 'permitopen="db:5432"'), b"db", 5432)
    socket = both('permitlisten="[/x]:*"', 'permitlisten="[/y]:*"')
    assert socket_refusal(socket, "/x", listens=True) is not None
    assert socket_refusal(socket, "/y", listens=True) is not None
    assert command_refusal(both("", 'command="/bin/false"')) is not None


def test_the_log_names_both_lines() -> None:
    assert both("", "").places == "/keys, line 3; /keys, line 3"
