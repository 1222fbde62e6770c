"""Public key files, with keys that ssh-keygen made."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferry.errors import InvalidInput
from ferry.protocol.authorized_keys import ALGORITHMS, fingerprint_of, parse_file, parse_line
from ssh_command import fingerprint, make_key

BLOB = len("ssh-ed25519").to_bytes(4, "big") + b"ssh-ed25519" + (32).to_bytes(4, "big") + bytes(32)
ENCODED = base64.b64encode(BLOB).decode()
OF_ANOTHER_CURVE = base64.b64encode(
    b"".join(len(part).to_bytes(4, "big") + part for part in (b"ecdsa-sha2-nistp384", b"nistp384", bytes(97)))
).decode()
KEY = f"ssh-ed25519 {ENCODED}"


@pytest.mark.parametrize("kind", ["ed25519", "rsa", "ecdsa"])
def test_a_key_has_the_fingerprint_that_ssh_keygen_prints(tmp_path: Path, kind: str) -> None:
    path = make_key(tmp_path / "key", kind, comment="me@laptop name=laptop")
    (key,), bad = parse_file(path.with_suffix(".pub").read_text())
    assert (key.fingerprint, key.name, bad) == (fingerprint(path), "laptop", [])


def test_comments_empty_lines_and_line_numbers() -> None:
    keys, bad = parse_file(f"# mine\n\n  {KEY} name=one\r\n{KEY} two\nrubbish\n\t\nssh-ed25519 !!!\n")
    assert [key.name for key in keys] == ["one", None]
    assert [line.number for line in bad] == [5, 7]


@pytest.mark.parametrize(
    "options", ['command="/bin/true"', "restrict", "no-pty,no-agent-forwarding", 'permitlisten="8080"', "cert-authority",
                'from="10.0.0.0/8",environment="A=ssh-ed25519 b"'],
)  # fmt: skip
def test_a_line_with_options_is_refused_because_none_is_enforced(options: str) -> None:
    with pytest.raises(InvalidInput, match=r"begins with options .* remove them, or the key"):
        parse_line(f"{options} {KEY} me")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("ssh-dss AAAA me", "is not a key type"),
        ("hello", "is not a key type"),
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
    ],
)
def test_a_line_that_cannot_be_used_says_why(line: str, says: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_line(line)
    assert says in str(caught.value)


def test_no_other_character_ends_a_line() -> None:
    """Else a key behind one of them in a comment would log in."""
    for separator in "\x0b\x0c\x1c\x85\u2028":
        assert parse_file(f"# gone since May{separator}{KEY}") == ([], [])


def test_a_tab_separates_as_a_space_does() -> None:
    assert parse_line(f"ssh-ed25519\t{ENCODED}\tme name=tab").name == "tab"


@given(
    st.text(max_size=300) | st.builds(" ".join, st.lists(st.sampled_from([*ALGORITHMS, ENCODED, "name=a", "restrict"])))
)
def test_any_file_gives_keys_or_reasons(text: str) -> None:
    keys, bad = parse_file(text)
    lines = [line for line in text.split("\n") if line.strip() and not line.strip().startswith("#")]
    assert len(keys) + len(bad) == len(lines)
    assert all(key.fingerprint.startswith("SHA256:") and key.algorithm in ALGORITHMS for key in keys)
    assert all(line.why.replace("…", "").isascii() and line.why.isprintable() for line in bad)


@given(st.binary(max_size=100), st.binary(max_size=100))
def test_fingerprints_tell_keys_apart(one: bytes, other: bytes) -> None:
    assert (fingerprint_of(one) == fingerprint_of(other)) == (one == other)
