"""Lists of signature algorithms, as sshd reads them."""

from __future__ import annotations

import re

import pytest

from ferry.errors import InvalidInput
from ferry.protocol.key_algorithms import ALL, SIGNATURES, of_certificate, parse_algorithms
from ssh_command import make_key
from sshd_program import starts

RSA = {"rsa-sha2-256", "rsa-sha2-512"}
CERTIFICATES = {of_certificate(name) for name in SIGNATURES}


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("ssh-ed25519", {"ssh-ed25519"}), ("rsa-*", RSA | {of_certificate(name) for name in RSA}),
        ("-*", set()), ("ssh-rsa", set()), ("ssh-rsa,ssh-ed25519", {"ssh-ed25519"}), ("*-cert-v01@openssh.com", CERTIFICATES),
        ("*", set(ALL)), ("+ssh-ed25519", set(ALL)), ("^rsa-sha2-512", set(ALL)), ("+ssh-rsa,ssh-dss", set(ALL)),
        ("-*-cert-v01@openssh.com", set(SIGNATURES)), ("-rsa-*,ssh-*,ecdsa-*", {name for name in ALL if name.startswith("sk-")}),
    ],
)  # fmt: skip
def test_what_a_list_leaves(text: str, left: set[str]) -> None:
    assert parse_algorithms(text.split(",")) == left


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("rsa", "'rsa' is no algorithm of sshd"), ("!ssh-rsa", 'sshd takes no ! here: write "-ssh-rsa" to leave it out'),
        ("ssh-ed25519,!rsa-*", 'sshd takes no ! here: write "-rsa-*"'), ("", "'' is no algorithm of sshd"),
        ("ssh-ed25519,+ssh-rsa", "+ stands before the first word alone, for all of them"),
    ],
)  # fmt: skip
def test_what_sshd_refuses_is_refused(text: str, says: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("list")
    file = folder / "sshd_config"
    file.write_text(f'PubkeyAcceptedAlgorithms "{text}"\n')
    assert not starts(file, make_key(folder / "key"))
    with pytest.raises(InvalidInput, match=re.escape(says)):
        parse_algorithms(text.split(","))
