"""Log-ins that need several keys, tried with stock ssh against this machine's sshd and against Ferry, whose settings `ferry
import sshd_config` has written: both let the same ones in."""

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


def logs_in(folder: Path, port: int, address: str, offer: str) -> bool:
    """Whether stock ssh logs in from an address with these keys, in their order."""
    keys = [word for name in offer.split() for word in ("-i", str(folder / name))]
    command = [
        "ssh", "-F", "none", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=INFO",
        "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none", "-o", "BatchMode=yes", *keys, "-b", address,
        "-p", str(port), f"{own_user()}@127.0.0.1", "ls",
    ]  # fmt: skip
    ended = run(command, folder=folder)
    assert ended.code == 0 or "Permission denied" in ended.err, (offer, ended.err)
    return ended.code == 0


def of_cell(folder: Path, port: int, cell: tuple[str, str]) -> bool:
    return logs_in(folder, port, *cell)


def test_both_let_in_who_has_all_keys(tmp_path: Path, free_port: int) -> None:
    keys = tmp_path / "keys"
    files, cas = make_keys(keys)
    config = tmp_path / "sshd_config"
    config.write_text(
        f"AuthorizedKeysFile {files}\nTrustedUserCAKeys {cas}\nMaxStartups 100\n"
        + "".join(f"Match Address {where}\nAuthenticationMethods {how}\n" for where, how in METHODS.items() if how)
    )
    imported = ferry("import", "sshd_config", config, cwd=tmp_path)
    settings = tomllib.loads(imported.out)
    folder = tmp_path / "gateway"
    folder.mkdir()
    tables = {name: settings[name] for name in ("access", "sshd")} | {"ssh": {"penalties": False}}
    cells = [(where, offer) for where in METHODS for offer in OFFERS]
    with (
        gateway_in(folder, **tables) as gateway,
        listening(tmp_path, free_port, config=config, HostKey=make_key(tmp_path / "host_key")),
        ThreadPoolExecutor(AT_ONCE) as pool,
    ):
        ours, real = (
            dict(zip(cells, pool.map(partial(of_cell, keys, port), cells), strict=True))
            for port in (gateway.ports.ssh, free_port)
        )
    differ = [cell for cell in cells if ours[cell] != real[cell]]
    assert {cell: ours[cell] for cell in differ} == {cell: real[cell] for cell in differ}
    assert not real["127.0.0.2", "cert-a a"]
    assert 40 < sum(real.values()) < len(cells) - 30
