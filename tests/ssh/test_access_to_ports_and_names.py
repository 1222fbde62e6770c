"""What files of keys give to one identity and to nobody else: ports, and names."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from ferry.names import Identity, IdentityId
from ferry.protocol.authorized_keys import fingerprint_of
from ferry.protocol.key_paths import AccessPaths
from ferry.ssh.access import AuthorizedKeys, KeptNames
from made_certificate import text

KEY_FILE_BYTES = 4 * 1024 * 1024
ANN, BOB = (text("ssh-ed25519") + text(letter * 32) for letter in (b"a", b"b"))


def line(key: bytes, options: str, name: str) -> str:
    return f"{options} ssh-ed25519 {base64.b64encode(key).decode()} name={name}\n"


def who(key: bytes, name: str) -> Identity:
    return Identity(IdentityId(name), name, fingerprint_of(key))


ANNS, BOBS = line(ANN, 'permitlisten="21022"', "ann"), line(BOB, 'permitlisten="21022"', "bob")
IN_VAIN = line(ANN, 'restrict,permitlisten="21022"', "ann")


@pytest.mark.parametrize(
    ("lines", "port", "gives"),
    [
        (ANNS, 21022, True),
        (ANNS, 21023, False),
        (BOBS, 21022, False),
        (ANNS + BOBS, 21022, False),
        (f"{ANNS}#disabled {BOBS}", 21022, False),
        (IN_VAIN, 21022, False),
        ("", 21022, False),
    ],
)
def test_a_port_is_given_to_whom_alone_the_files_name_it_for(
    tmp_path: Path, lines: str, port: int, *, gives: bool
) -> None:
    (file := tmp_path / "fleet").write_text(lines)
    access = AuthorizedKeys(AccessPaths((file,)), lambda *_, **__: None)
    assert access.gives(port, who(ANN, "ann")) is gives


def test_no_port_is_given_while_a_file_cannot_be_read(tmp_path: Path) -> None:
    """It may name the port for somebody else."""
    (file := tmp_path / "fleet").write_text(ANNS)
    (other := tmp_path / "other").write_bytes(bytes(KEY_FILE_BYTES + 1))
    access = AuthorizedKeys(AccessPaths((file, other)), lambda *_, **__: None)
    assert not access.gives(21022, who(ANN, "ann"))
    other.write_text("")
    access.use(access.read())
    assert access.gives(21022, who(ANN, "ann"))


CARL = line(ANN, "", "x").replace(" name=x", "")


@pytest.mark.parametrize(
    ("lines", "name", "place"),
    [
        (CARL, "carl", "line 1"),
        (f"#disabled {CARL}", "carl", "line 1"),
        (f"\n{line(BOB, '', 'carl')}{CARL}", "carl", "line 2"),
        (line(ANN, "", "ann"), "carl", None),
        ("", "carl", None),
        (CARL, "dora", None),
    ],
)
def test_where_the_operator_has_given_a_name_to_a_key(tmp_path: Path, lines: str, name: str, place: str | None) -> None:
    """ANN's key is called Carl by the gateway: that counts while a line without a name has the key."""
    (file := tmp_path / "fleet").write_text(lines)
    access = AuthorizedKeys(AccessPaths((file,)), lambda *_, **__: None)
    names = KeptNames()
    names.use([(fingerprint_of(ANN), "Carl")])
    found = names.place_of(access, name)
    assert found == (place and f"{file}, {place}")
