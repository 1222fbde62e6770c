"""Public key files, with keys that ssh-keygen made."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferry.errors import InvalidInput
from ferry.protocol.authorized_keys import (
    ALGORITHMS,
    fingerprint_of,
    is_canonical,
    parse_ca_file,
    parse_file,
    parse_key,
    parse_line,
    rsa_bits,
    shut_key,
)
from ferry.protocol.key_options import NO_OPTIONS
from known_system import KNOWN
from ssh_command import fingerprint, make_key

BLOB = len("ssh-ed25519").to_bytes(4, "big") + b"ssh-ed25519" + (32).to_bytes(4, "big") + bytes(32)
ENCODED = base64.b64encode(BLOB).decode()
OF_ANOTHER_CURVE = base64.b64encode(
    b"".join(len(part).to_bytes(4, "big") + part for part in (b"ecdsa-sha2-nistp384", b"nistp384", bytes(97)))
).decode()
KEY_LINE_BYTES = 16 * 1024
KEY_LINES = 64
KEY = f"ssh-ed25519 {ENCODED}"
RSA_BLOB = b"".join(len(part).to_bytes(4, "big") + part for part in (b"ssh-rsa", b"\1\0\1", b"\0" + b"\xff" * 256))
RSA = f"ssh-rsa {base64.b64encode(RSA_BLOB).decode()}"


@pytest.mark.parametrize("kind", ["ed25519", "rsa", "ecdsa"])
def test_a_key_has_the_fingerprint_that_ssh_keygen_prints(tmp_path: Path, kind: str) -> None:
    path = make_key(tmp_path / "key", kind, comment="me@laptop name=laptop")
    ((number, key),), bad = parse_file(path.with_suffix(".pub").read_text(), KNOWN)
    assert (number, key.fingerprint, key.name, bad) == (1, fingerprint(path), "laptop", [])


def test_comments_empty_lines_and_line_numbers() -> None:
    text = f"# mine\n\n  {KEY} name=one\r\n{KEY} two\nrubbish\n\t\nssh-ed25519 !!!\n"
    keys, bad = parse_file(text, KNOWN)
    assert [(number, key.name) for number, key in keys] == [(3, "one"), (4, None)]
    assert [line.number for line in bad] == [5, 7]


def test_a_long_comment_is_cut_at_eighty_characters() -> None:
    """KEY_COMMENT_CHARS."""
    keys, _ = parse_file(f"{KEY} {'x' * 81}", KNOWN)
    assert [key.comment for _, key in keys] == ["x" * 80]


def test_a_line_above_its_bound_is_refused_and_says_so() -> None:
    """Each log-in with the key reads all of it on the event loop, without a proof."""
    keys, bad = parse_file(f'command="{"x" * KEY_LINE_BYTES}" {KEY}\n{KEY} me', KNOWN)
    assert [number for number, _ in keys] == [2]
    assert "and 16 KiB are allowed: write shorter options" in bad[0].why


def test_a_key_has_a_bounded_number_of_lines_in_one_file_and_other_keys_have_theirs() -> None:
    keys, bad = parse_file(f"{KEY}\n" * (KEY_LINES + 2) + RSA, KNOWN)
    assert [number for number, _ in keys] == [*range(1, KEY_LINES + 1), KEY_LINES + 3]
    assert [line.number for line in bad] == [KEY_LINES + 1, KEY_LINES + 2]
    assert "the key has 64 lines above, the most in one file" in bad[0].why


def test_the_lines_of_one_key_have_a_bounded_size_together() -> None:
    """KEY_LINES_BYTES."""
    long = f'command="{"x" * (KEY_LINE_BYTES - 200)}" {KEY}'
    keys, bad = parse_file(f"{long}\n" * 3, KNOWN)
    assert (len(keys), [line.number for line in bad]) == (2, [3])
    assert "have more than 32 KiB together with this one" in bad[0].why


@pytest.mark.parametrize("blank", ["\u00a0", "\u2003", "\x0b", "\x0c", "\x1c"])
def test_a_blank_that_is_none_for_sshd_is_a_part_of_the_line(blank: str) -> None:
    keys, bad = parse_file(f"{blank}{KEY}", KNOWN)
    assert (keys, len(bad)) == ([], 1)


@pytest.mark.parametrize(
    ("line", "name"),
    [
        (f"restrict {KEY} me name=ann", "ann"), (f"\trestrict\t{KEY}", None), (f"restrict,  {KEY} name=ann", "ann"),
        (f'command="a b ssh-ed25519 c" {KEY} me', None), (f'cert-authority,principals="ann" {KEY} me', None), (f'environment="A=b" {KEY}\tname=tab', "tab"),
    ],
)  # fmt: skip
def test_options_stand_before_the_key_and_its_name_behind_it(line: str, name: str | None) -> None:
    key = parse_line(line.strip(), KNOWN)
    assert (key.name, key.fingerprint) == (name, fingerprint_of(BLOB))
    assert key.options != NO_OPTIONS
    with pytest.raises(InvalidInput, match="is not a key type"):
        parse_key(line.strip())


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("ssh-dss AAAA me", "is not a key type"),
        ("hello", "is not a key type"),
        (f"ssh-ed25519-cert-v01@openssh.com {ENCODED}", "is a certificate, and its key alone belongs here"),
        ("ssh-ed25519", "cut short"),
        (f"ssh-ed25519 {ENCODED[:-3]}", "not base64"),
        (f"ssh-ed25519 {ENCODED[:-4]}", "cut short"),
        (f"ssh-ed25519 {ENCODED[:20]}", "cut short"),
        (f"ssh-ed25519 {base64.b64encode(BLOB + bytes(4)).decode()}", "is not an ssh-ed25519 key"),
        (f"ssh-rsa {ENCODED}", "is not an ssh-rsa key"),
        (f"ecdsa-sha2-nistp256 {OF_ANOTHER_CURVE}", "is not an ecdsa-sha2-nistp256 key"),
        (f"{KEY} name=a name=b", "two name="),
        (f"{KEY} name=", "identity name is empty"),
        (f"{KEY} name=My_Laptop", "'_' in it"),
        ("\x1b[2J", "(4 characters) is not a key type"),
        ("b3BlbnNzaC1rZXktdjEAAAAABG5vbmU", "(31 characters) is not a key type"),
        ("restrict", "no key follows the options"),
        (f"restrict, no-pty {KEY}", "a blank stands between options, behind 'restrict,'"),
        (f'command = "x" {KEY}', "a blank stands between options, behind 'command'"),
        (f'command="x {KEY}', "a value has no end"),
        (f"restricted {KEY}", "restricted is no option of authorized_keys: did you mean restrict?"),
        (f'principals="ann" {KEY}', "principals= is for lines with cert-authority"),
        (f"cert-authority {KEY} name=ann", "name= would give all certificates of this CA one identity"),
    ],
)
def test_a_line_that_cannot_be_used_says_why(line: str, says: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_line(line, KNOWN)
    assert says in str(caught.value)


@pytest.mark.parametrize(("bits", "says"), [(2047, "2047 bits may not log in"), (8193, "use one of 2048 to 8192 bits")])
def test_an_rsa_key_of_a_size_that_may_not_log_in_is_refused_in_its_file(bits: int, says: str) -> None:
    blob = rsa_blob(bits)
    assert rsa_bits(blob) == bits
    with pytest.raises(InvalidInput, match=says):
        parse_key(f"ssh-rsa {base64.b64encode(blob).decode()}")


@pytest.mark.parametrize(
    ("fields", "canonical"),
    [
        ((b"ssh-rsa", b"\1\0\1", b"\0\xff\1"), True), ((b"ssh-rsa", b"\1\0\1", b"\x7f\1"), True),
        ((b"ssh-rsa", b"\1\0\1", b"\0\0\xff\1"), False), ((b"ssh-rsa", b"\1\0\1", b"\0\x7f\1"), False),
        ((b"ssh-rsa", b"\0\1\0\1", b"\0\xff\1"), False), ((b"ssh-rsa", b"\1\0\1", b"\xff\1"), False),
        ((b"ssh-rsa", b"\1\0\1", b""), False), ((b"ssh-rsa", b"\1\0\1", b"\0"), False),
        ((b"ecdsa-sha2-nistp256", b"nistp256", b"\4" + bytes(64)), True),
        ((b"ecdsa-sha2-nistp256", b"nistp256", b"\2" + bytes(32)), False),
        ((b"sk-ecdsa-sha2-nistp256@openssh.com", b"nistp256", b"\3" + bytes(32), b"ssh:"), False),
        ((b"sk-ecdsa-sha2-nistp256@openssh.com", b"nistp256", b"\4" + bytes(64), b"ssh:"), True),
        ((b"ssh-ed25519", bytes(32)), True), ((b"sk-ssh-ed25519@openssh.com", bytes(32), b"ssh:"), True), ((), True),
    ],
)  # fmt: skip
def test_a_key_has_one_form(fields: tuple[bytes, ...], *, canonical: bool) -> None:
    blob = b"".join(len(each).to_bytes(4, "big") + each for each in fields)
    assert is_canonical(blob) is canonical


def test_an_rsa_key_of_any_size_that_may_log_in_is_taken() -> None:
    for bits in (2048, 8192):
        assert parse_key(f"ssh-rsa {base64.b64encode(rsa_blob(bits)).decode()}").algorithm == "ssh-rsa"
    assert [rsa_bits(blob) for blob in (BLOB, base64.b64decode(OF_ANOTHER_CURVE))] == [None, None]
    assert [rsa_bits(blob) for blob in (RSA_BLOB, RSA_BLOB[:18], RSA_BLOB + bytes(4))] == [2048, None, None]
    assert rsa_bits(b"\0\0\0\7ssh-rsa" + bytes(200_000)) is None  # fields without end


def rsa_blob(bits: int) -> bytes:
    """A public key of that size in its wire form."""
    modulus = (1 << (bits - 1)) + 1
    parts = (b"ssh-rsa", b"\1\0\1", modulus.to_bytes(bits // 8 + 1, "big"))
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def test_a_trusted_ca_has_neither_options_nor_a_name() -> None:
    keys, bad = parse_ca_file(f"# CAs\n{KEY} ca@example\ncert-authority {KEY}\n{KEY} name=ann\n")
    assert [(number, key.fingerprint) for number, key in keys] == [(2, fingerprint_of(BLOB))]
    assert [(line.number, line.why.partition(":")[0]) for line in bad] == [
        (3, "a trusted CA has no options"),
        (4, "name= would give all certificates of this CA one identity, so none lets anybody in"),
    ]


def test_no_other_character_ends_a_line() -> None:
    """Else a key behind one of them in a comment would log in."""
    for separator in "\x0b\x0c\x1c\x85\u2028":
        assert parse_file(f"# gone since May{separator}{KEY}", KNOWN) == ([], [])


def test_a_tab_separates_as_a_space_does() -> None:
    assert parse_line(f"ssh-ed25519\t{ENCODED}\tme name=tab", KNOWN).name == "tab"


@given(
    st.text(max_size=300)
    | st.builds(
        " ".join, st.lists(st.sampled_from([*ALGORITHMS, ENCODED, "name=a", "restrict", "no-pty,", 'from="a"']))
    )
)
def test_any_file_gives_keys_or_reasons(text: str) -> None:
    keys, bad = parse_file(text, KNOWN)
    stripped = [line.strip(" \t\r") for line in text.split("\n")]
    lines = [line for line in stripped if line and not line.startswith("#")]
    assert len(keys) + len(bad) == len(lines)
    assert all(key.fingerprint.startswith("SHA256:") and key.algorithm in ALGORITHMS for _, key in keys)
    assert all(line.why.replace("…", "").isascii() and line.why.isprintable() for line in bad)


@given(st.binary(max_size=100), st.binary(max_size=100))
def test_fingerprints_tell_keys_apart(one: bytes, other: bytes) -> None:
    assert (fingerprint_of(one) == fingerprint_of(other)) == (one == other)


@pytest.mark.parametrize(
    ("before", "name", "ports"),
    [
        ('restrict,permitlisten="localhost:21003",permitopen="any:any" ', "web-3", (21003,)),
        ('restrict, port-forwarding,permitlisten="[::1]:21009" , permitlisten=21010 ', "web-3", (21009, 21010)),
        ('restrict,permit-listen="localhost:21017" ', "web-3", (21017,)),
        ('command="echo ssh-ed25519 AAAA",permitlisten="localhost:0",permitlisten="99999" ', "web-3", ()),
        ('permitlisten="blog:*",from="10.0.0.1/8" ', "web-3", ()),
        ("", "web 3 name=two", ()),
    ],
)
def test_the_key_of_a_line_that_lets_nobody_in_is_read(before: str, name: str, ports: tuple[int, ...]) -> None:
    line = f"{before}{KEY} root@web-3 name={name}"
    key = shut_key(line)
    assert key is not None
    assert (key.fingerprint, key.name, key.ports) == (
        fingerprint_of(BLOB), name if " " not in name else None, ports,
    )  # fmt: skip
    assert [bad.key for bad in parse_file(line, KNOWN)[1]] == [key]


@pytest.mark.parametrize(
    "line",
    [
        "", "rubbish", "ssh-ed25519", "ssh-ed25519 !!!", f"ssh-rsa {ENCODED}", f"x{KEY}", f"ecdsa-sha2-nistp256 {OF_ANOTHER_CURVE}",
        f"ssh-ed25519 {base64.b64encode(BLOB + bytes(4)).decode()}",
    ],
)  # fmt: skip
def test_a_line_without_a_key_has_none(line: str) -> None:
    assert shut_key(line) is None


def test_a_huge_line_of_permits_is_read_in_a_moment() -> None:
    assert shut_key("permitlisten=:" * 250_000 + f" {KEY}") is not None


def test_what_only_ends_like_a_certificate_is_not_repeated() -> None:
    """It may be anything, and errors go to terminals."""
    with pytest.raises(InvalidInput) as refused:
        parse_line("\x1b[2Jsecret-cert-v01@openssh.com AAAA", KNOWN)
    assert "is not a key type" in str(refused.value)
    assert "\x1b" not in str(refused.value)
