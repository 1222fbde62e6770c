"""User certificates, tried against this machine's sshd and against Ferry: both let the same ones in, to the same forwards.

Each row has a CA, a key and two ports of its own.
"""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from beside_sshd import Outcome, service, tried
from certificates_made import Shown, blob_in, certify
from gateway_process import Gateway, gateway_in
from ssh_command import make_key
from sshd_program import listening, own_user

SECONDS = 90
LINE = "cert-authority"
PRINCIPALS = """
# comment
{user}-not
ops  # on call
from="10.0.0.0/8" far
from="127.0.0.1",no-port-forwarding quiet
expiry-time="20200101" old
expiry-time="20991231" new
command="/bin/x" told
cert-authority bad-authority
principals="x" bad-principals
nonsense bad-option
permitlisten="localhost:1" lists
two words
	tab	tabbed
"""


@dataclass(frozen=True, slots=True)
class Row:
    """One certificate, and what the files say about it."""

    sign: str
    """Arguments of `ssh-keygen -s`. `{user}` is the login name."""
    line: str | None = None
    """The options before the CA's key in the file of keys; None: it is not there."""
    trusted: bool = False
    """Whether the CA is among the trusted ones."""
    key: str = "ed25519"
    ca: str = "ed25519"
    sign_as: str = ""
    """The algorithm of an RSA CA's signature."""
    revoked: str = ""
    """What of it is on the list: `key`, `ca` or `certificate`."""
    plain: str | None = None
    """The options of a line for the key itself, if there is one."""
    offer: str = "certificate"
    """What the client offers: `certificate`, the `key` alone, or the certificate with a byte changed: in its `signature`, or
    of its `principals`."""


def lines(*options: str, sign: str = "-n {user}") -> list[Row]:
    return [Row(sign, line) for line in options]


def signed(*arguments: str) -> list[Row]:
    return [Row(f"-n {{user}} {sign}", LINE) for sign in arguments]


UNNAMED = Row("", LINE)
"""A certificate without principals. Up to 10.2 sshd lets it in with any login name; from 10.3 on, and here, it does not."""
ROWS = (
    # principals
    *(Row(sign, LINE) for sign in ("-n {user}", "-n other", "-n other,{user}", "-n {user}x", "-n '*'")),
    *(Row("-n ops", f'{LINE},principals="{names}"') for names in ("ops", "dev", "dev,ops", "ops,", "*", "o?s", "OPS", " ops")),
    Row("-n {user}", f'{LINE},principals="ops"'),
    Row("-n dev,ops", f'{LINE},principals="ops"'),
    Row("", f'{LINE},principals="ops"'),
    UNNAMED,
    # the line of the CA
    *lines("", "restrict", "no-cert-authority", "CERT-AUTHORITY", f"{LINE},restrict", f"{LINE},no-port-forwarding"),
    *lines(f"{LINE},restrict,port-forwarding", f'{LINE},from="127.0.0.1"', f'{LINE},from="10.0.0.0/8"'),
    *lines(f'{LINE},expiry-time="20200101"', f'{LINE},expiry-time="20991231"', f'{LINE},permitlisten="{{port}}"'),
    *lines(f'{LINE},permitlisten="1"', f'{LINE},permitopen="localhost:{{port}}"', f'{LINE},command="/bin/false"'),
    *lines(f'{LINE},principals="{{user}}",principals="{{user}}"', f"{LINE},no-touch-required,verify-required"),
    # times
    *signed("-V always:forever", "-V 20200101:20991231", "-V -2d:-1d", "-V +1d:+2d", "-V -1d:+1d", "-V 20991231:forever"),
    # critical options
    *signed(*(f"-O source-address={one}" for one in ("127.0.0.1", "127.0.0.0/8", "10.0.0.0/8", "10.1.0.0/16,127.0.0.1/32"))),
    *signed("-O source-address=::1/128", "-O critical:source-address=localhost", "-O critical:source-address=127.0.0.1/33"),
    *signed("-O critical:source-address=127.0.0.1/8", "-O critical:source-address=!10.0.0.0/8"),
    *signed("-O critical:source-address=127.0.0.1,", "-O critical:source-address=127.*"),
    *signed("-O force-command=/bin/true", "-O verify-required", "-O critical:unknown@example.com", "-O critical:x=1"),
    Row("-n {user} -O force-command=/bin/true", f'{LINE},command="/bin/true"'),
    Row("-n {user} -O force-command=/bin/true", f'{LINE},command="/bin/false"'),
    # extensions
    *signed("-O clear", "-O no-port-forwarding", "-O clear -O permit-pty", "-O clear -O permit-port-forwarding"),
    *signed("-O no-pty -O no-x11-forwarding", "-O extension:x@example.com", "-O extension:x=1", "-O no-touch-required"),
    *signed("-O clear -O extension:permit-port-forwarding=x", "-O no-user-rc -O extension:permit-user-rc=x"),
    # kinds, keys and signatures
    *signed("-h", "-z 18446744073709551615", "-I ''"),
    *(Row("-n {user}", LINE, key=kind) for kind in ("rsa", "ecdsa")),
    *(Row("-n {user}", LINE, ca="rsa", sign_as=name) for name in ("rsa-sha2-512", "rsa-sha2-256", "ssh-rsa")),
    Row("-n {user}", LINE, ca="ecdsa"),
    Row("-n {user}", LINE, offer="signature"),
    Row("-n {user}", LINE, offer="principals"),
    Row("-n {user}"),
    Row("-n {user}", plain=""),
    Row("-n {user}", plain="", offer="key"),
    Row("-n {user}", LINE, offer="key"),
    Row("-n {user}", f"{LINE},restrict", plain="", offer="key"),
    Row("-n {user}", f"{LINE},restrict", plain=""),
    # trusted CAs
    *(Row(sign, trusted=True) for sign in ("-n {user}", "-n other", "", "-n other,{user} -V -2d:-1d", "-n {user} -h")),
    *(Row(f"-n {{user}} {sign}", trusted=True) for sign in ("-O clear", "-O force-command=x", "-O source-address=10.0.0.0/8")),
    Row("-n {user} -O critical:x", trusted=True),
    *(Row("-n {user}", line, trusted=True) for line in (f"{LINE},restrict", f'{LINE},from="10.0.0.0/8"', "")),
    Row("-n other", f'{LINE},principals="other"', trusted=True),
    # revoked
    *(Row("-n {user}", LINE, revoked=what) for what in ("key", "ca", "certificate")),
    *(Row("-n {user}", trusted=True, revoked=what) for what in ("key", "ca", "certificate")),
    *(Row("-n {user}", plain="", offer="key", revoked=what) for what in ("key", "ca", "certificate")),
)  # fmt: skip
OF_PRINCIPALS = (
    *(
        Row(f"-n {names}", trusted=True)
        for names in (
            "ops", "{user}", "{user}-not", "far", "quiet", "old", "new", "told", "bad-authority", "bad-principals",
            "bad-option", "lists", "words", "tabbed", "nobody", "far,ops", "ops,far", "old,new", "'two words'", "OPS",
        )
    ),
    Row("", trusted=True),
    Row("-n ops -O clear", trusted=True),
    Row("-n told -O force-command=/bin/x", trusted=True),
    Row("-n told -O force-command=/bin/y", trusted=True),
    Row("-n ops -V -2d:-1d", trusted=True),
    Row("-n quiet", f'{LINE},principals="quiet"', trusted=True),
    Row("-n {user}", LINE, trusted=True),
    Row("-n ops", LINE, trusted=True),
)  # fmt: skip


class Table:
    """The rows, each with its keys and two ports. Rows of one batch have ports of their own."""

    def __init__(self, folder: Path, rows: tuple[Row, ...], gateway: Gateway) -> None:
        self.folder, self.rows = folder, rows
        ports = gateway.ports.loopback
        self.batch = len(ports) // 2
        self.port = {row: ports[2 * (number % self.batch)] for number, row in enumerate(rows)}
        self.made = {row: self._make(folder / str(number), row) for number, row in enumerate(rows)}

    def _make(self, folder: Path, row: Row) -> tuple[Path, Path, Path]:
        """A CA, a key and its certificate."""
        folder.mkdir(parents=True)
        ca, key = make_key(folder / "ca", row.ca), make_key(folder / "key", row.key)
        arguments = shlex.split(row.sign.format(user=own_user()))
        as_told = ("-t", row.sign_as) if row.sign_as else ()
        return ca, key, certify(ca, key, *as_told, *arguments)

    def text(self, line_of: Callable[[Row, Path, Path, Path], str | None]) -> str:
        """A file with what `line_of` says of each row, its CA, its key and its certificate."""
        found = (line_of(row, *paths) for row, paths in self.made.items())
        return "".join(f"{line}\n" for line in found if line is not None)

    def keys(self) -> str:
        """The file of keys. For Ferry all plain ones are one identity, to which the ports belong."""

        def of(row: Row, ca: Path, key: Path, _certificate: Path) -> str | None:
            found = [] if row.line is None else [f"{row.line} {public(ca)}".lstrip()]
            found += [] if row.plain is None else [f"{row.plain} {public(key)}".lstrip()]
            return "\n".join(found).format(port=self.port[row], user=own_user()) if found else None

        return self.text(of)

    def cas(self) -> str:
        return self.text(lambda row, ca, _key, _certificate: public(ca) if row.trusted else None)

    def revoked(self) -> str:
        def of(row: Row, ca: Path, key: Path, certificate: Path) -> str | None:
            return {"key": public(key), "ca": public(ca), "certificate": certificate.read_text().strip()}.get(
                row.revoked
            )

        return self.text(of)

    async def outcomes(self, server: int, target: int) -> dict[Row, Outcome]:
        """What each row may do at the server on that port."""
        found: dict[Row, Outcome] = {}
        for first in range(0, len(self.rows), self.batch):
            rows = self.rows[first : first + self.batch]
            asked = (
                tried(server, self.offered(row), self.port[row], target, everywhere="permitlisten" in (row.line or ""))
                for row in rows
            )
            found.update(zip(rows, await asyncio.gather(*asked), strict=True))
        return found

    def offered(self, row: Row) -> Any:
        _, key, certificate = self.made[row]
        private = asyncssh.read_private_key(key)
        if row.offer == "key":
            return private
        blob = blob_in(certificate)
        if row.offer == "signature":
            blob = blob[:-1] + bytes([blob[-1] ^ 1])
        if row.offer == "principals":
            blob = blob.replace(own_user().encode(), own_user().encode()[::-1], 1)
        return Shown(private, blob)


def public(key: Path) -> str:
    return key.with_suffix(".pub").read_text().strip()


@pytest.mark.parametrize(("rows", "principals"), [(ROWS, False), (OF_PRINCIPALS, True)], ids=["keys", "principals"])
async def test_both_let_the_same_certificates_in_to_the_same_forwards(
    tmp_path: Path, free_port: int, rows: tuple[Row, ...], principals: bool
) -> None:
    folder = tmp_path / "gateway"
    folder.mkdir()
    keys, cas, revoked, names = (folder / name for name in ("authorized_keys", "cas", "revoked", "principals"))
    for file in (keys, cas, revoked):
        file.write_text("")
    names.write_text(PRINCIPALS.format(user=own_user()))
    access: dict[str, object] = {"mode": "keys", "keys": [keys], "trusted_ca_keys": [cas], "revoked_keys": revoked}
    sshd: dict[str, object] = {"AuthorizedKeysFile": keys, "TrustedUserCAKeys": cas, "RevokedKeys": revoked}
    if principals:
        access["authorized_principals"] = names
        sshd["AuthorizedPrincipalsFile"] = names
    async with asyncio.timeout(SECONDS), service() as target:
        # each CA makes another identity, and the next batch has the same ports
        with gateway_in(folder, access=access, names={"keep": 0, "rest": 0}) as gateway:
            table = await asyncio.to_thread(Table, tmp_path / "made", rows, gateway)
            revoked.write_text(table.revoked())
            cas.write_text(table.cas())
            keys.write_text(table.keys() + public(make_key(tmp_path / "last")) + "\n")
            await asyncio.to_thread(gateway.event, '"keys.loaded".*"keys": [1-9]')
            with listening(tmp_path, free_port, HostKey=make_key(tmp_path / "host_key"), MaxStartups="100", **sshd):
                real = await table.outcomes(free_port, target)
            ours = await table.outcomes(gateway.ports.ssh, target)
    differ = [row for row in rows if ours[row] != real[row] and row != UNNAMED]
    assert {row: ours[row] for row in differ} == {row: real[row] for row in differ}
    assert ours.get(UNNAMED) is None
    let_in = sum(outcome is not None for outcome in real.values())
    assert len(rows) // 4 < let_in < len(rows) * 3 // 4
