"""Log-ins that need several keys, tried with stock ssh against this machine's sshd and against Ferry, whose settings `ferry
import sshd_config` has written: both let the same ones in."""

from __future__ import annotations

from pathlib import Path

from certificates_made import certify
from logins_beside_sshd import Login, outcomes_alike
from ssh_command import make_key
from sshd_program import own_user

METHODS = {
    "127.0.0.1": "",
    "127.0.0.2": "publickey,publickey",
    "127.0.0.3": "publickey,publickey,publickey",
    "127.0.0.4": "publickey,publickey publickey",
    "127.0.0.5": "publickey,publickey publickey,publickey,publickey",
}
"""By the address from which a client comes."""
OFFERS = (
    "a", "a b", "b a", "a x", "x a", "x", "a b x", "x a b", "a b c", "a cert-b", "cert-a a", "cert-a b", "cert-a cert-b",
    "cert-a cert-again", "foreign-a a", "foreign-a b", "other-a b", "cert-a b c",
)  # fmt: skip
"""`x` is in no file, `foreign-` is of a CA that is in none, `other-` is for another login name, and `cert-again` is a
second certificate of `a`."""


def make_keys(folder: Path) -> tuple[Path, Path]:
    """All keys and certificates. Returns the file of keys and that of CAs."""
    folder.mkdir()
    ca, foreign = make_key(folder / "ca"), make_key(folder / "foreign-ca")
    for name in "abcx":
        make_key(folder / name)
    for name, of, by, principal in (
        ("cert-a", "a", ca, own_user()), ("cert-again", "a", ca, own_user()), ("cert-b", "b", ca, own_user()),
        ("foreign-a", "a", foreign, own_user()), ("other-a", "a", ca, "another"),
    ):  # fmt: skip
        for suffix in ("", ".pub"):
            (folder / f"{name}{suffix}").write_bytes((folder / f"{of}{suffix}").read_bytes())
        (folder / name).chmod(0o600)
        certify(by, folder / name, "-n", principal, key_id=name)
    file = folder / f"keys-{own_user()}"
    file.write_text("".join((folder / f"{name}.pub").read_text() for name in "abc"))
    return folder / "keys-%u", folder / "ca.pub"


def test_both_let_in_who_has_all_keys(tmp_path: Path, free_port: int) -> None:
    keys = tmp_path / "keys"
    files, cas = make_keys(keys)
    logins = {
        (where, offer): Login(where, tuple(keys / name for name in offer.split()))
        for where in METHODS
        for offer in OFFERS
    }
    let_in = outcomes_alike(
        logins,
        tmp_path,
        free_port,
        f"AuthorizedKeysFile {files}\nTrustedUserCAKeys {cas}\n"
        + "".join(f"Match Address {where}\nAuthenticationMethods {how}\n" for where, how in METHODS.items() if how),
    )
    assert not let_in["127.0.0.2", "cert-a a"]
    assert 40 < sum(let_in.values()) < len(logins) - 30
