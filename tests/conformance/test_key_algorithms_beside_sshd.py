"""`PubkeyAcceptedAlgorithms`, tried with stock ssh against this machine's sshd and against Ferry, whose settings `ferry
import sshd_config` has written: both take the same signatures."""

from __future__ import annotations

from pathlib import Path

from certificates_made import certify
from logins_beside_sshd import Login, outcomes_alike
from ssh_command import make_key
from sshd_program import own_user

LISTS = (
    "",
    "ssh-ed25519",
    "rsa-sha2-256",
    "rsa-sha2-512,ssh-rsa",
    "ecdsa-sha2-*",
    "*-cert-v01@openssh.com",
    "rsa-sha2-512-cert-v01@openssh.com",
    "-rsa-sha2-512",
    "-ssh-ed25519*,rsa-*",
    "-*",
    "+ssh-ed25519",
    "^rsa-sha2-256",
)
"""Each for the clients of one address, 127.0.0.1 and on; the last that is for all others is `ecdsa-*`."""
OFFERS = ("ed25519", "rsa", "ecdsa", "ed25519-cert", "rsa-cert")
SIGNED = {"rsa": ("rsa-sha2-256", "rsa-sha2-512"), "rsa-cert": ("rsa-sha2-256", "rsa-sha2-512")}
"""The signatures that a client is told to make, one after another; `""`: any."""


def make_keys(folder: Path) -> tuple[Path, Path]:
    """A key and a certificate of each kind. Returns the file of keys and that of CAs."""
    folder.mkdir()
    ca = make_key(folder / "ca")
    for kind in ("ed25519", "rsa", "ecdsa"):
        make_key(folder / kind, kind)
    for kind in ("ed25519", "rsa"):
        key = make_key(folder / f"{kind}-cert", kind)
        certify(ca, key, "-n", own_user())
    file = folder / f"keys-{own_user()}"
    file.write_text("".join((folder / f"{kind}.pub").read_text() for kind in ("ed25519", "rsa", "ecdsa")))
    return folder / "keys-%u", folder / "ca.pub"


def options_of(offer: str, signed: str) -> tuple[str, ...]:
    """Those with which ssh makes that signature alone."""
    suffix = "-cert-v01@openssh.com" if offer.endswith("-cert") else ""
    return (f"PubkeyAcceptedAlgorithms={signed}{suffix}",) if signed else ()


def test_both_take_the_same_signatures(tmp_path: Path, free_port: int) -> None:
    keys = tmp_path / "keys"
    files, cas = make_keys(keys)
    places = {f"127.0.0.{number}": text for number, text in enumerate(LISTS, 1)}
    logins = {
        (where, offer, signed): Login(where, (keys / offer,), options_of(offer, signed))
        for where in places
        for offer in OFFERS
        for signed in SIGNED.get(offer, ("",))
    }
    let_in = outcomes_alike(
        logins,
        tmp_path,
        free_port,
        f"AuthorizedKeysFile {files}\nTrustedUserCAKeys {cas}\nPubkeyAcceptedAlgorithms ecdsa-*\n"
        + "".join(
            f"Match Address {where}\nPubkeyAcceptedAlgorithms {text}\n" for where, text in places.items() if text
        ),
    )
    assert 20 < sum(let_in.values()) < len(logins) - 20
