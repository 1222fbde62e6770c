"""`PubkeyAcceptedAlgorithms`, tried with stock ssh against this machine's sshd and against Ferry, whose settings `ferry
import sshd_config` has written: both take the same signatures."""

from __future__ import annotations

import tomllib
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from certificates_made import certify
from ferry_command import ferry
from gateway_process import gateway_in
from ssh_command import make_key, run
from sshd_program import listening, own_user

AT_ONCE = 4
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


def logs_in(folder: Path, port: int, cell: tuple[str, str, str]) -> bool:
    """Whether stock ssh logs in from an address with a key, and that signature."""
    address, offer, signed = cell
    suffix = "-cert-v01@openssh.com" if offer.endswith("-cert") else ""
    forced = ["-o", f"PubkeyAcceptedAlgorithms={signed}{suffix}"] if signed else []
    command = [
        "ssh", "-F", "none", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=INFO",
        "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none", "-o", "BatchMode=yes", *forced, "-i", str(folder / offer),
        "-b", address, "-p", str(port), f"{own_user()}@127.0.0.1", "ls",
    ]  # fmt: skip
    ended = run(command, folder=folder)
    assert ended.code == 0 or "Permission denied" in ended.err, (cell, ended.err)
    return ended.code == 0


def test_both_take_the_same_signatures(tmp_path: Path, free_port: int) -> None:
    keys = tmp_path / "keys"
    files, cas = make_keys(keys)
    places = {f"127.0.0.{number}": text for number, text in enumerate(LISTS, 1)}
    config = tmp_path / "sshd_config"
    config.write_text(
        f"AuthorizedKeysFile {files}\nTrustedUserCAKeys {cas}\nMaxStartups 100\nPubkeyAcceptedAlgorithms ecdsa-*\n"
        + "".join(f"Match Address {where}\nPubkeyAcceptedAlgorithms {text}\n" for where, text in places.items() if text)
    )
    imported = ferry("import", "sshd_config", config, cwd=tmp_path)
    assert "PubkeyAcceptedAlgorithms" not in imported.err
    settings = tomllib.loads(imported.out)
    folder = tmp_path / "gateway"
    folder.mkdir()
    tables = {name: settings[name] for name in ("access", "sshd")} | {"ssh": {"penalties": False}}
    cells = [(where, offer, signed) for where in places for offer in OFFERS for signed in SIGNED.get(offer, ("",))]
    with (
        gateway_in(folder, **tables) as gateway,
        listening(tmp_path, free_port, config=config, HostKey=make_key(tmp_path / "host_key")),
        ThreadPoolExecutor(AT_ONCE) as pool,
    ):
        ours, real = (
            dict(zip(cells, pool.map(partial(logs_in, keys, port), cells), strict=True))
            for port in (gateway.ports.ssh, free_port)
        )
    differ = [cell for cell in cells if ours[cell] != real[cell]]
    assert {cell: ours[cell] for cell in differ} == {cell: real[cell] for cell in differ}
    assert 20 < sum(real.values()) < len(cells) - 20
