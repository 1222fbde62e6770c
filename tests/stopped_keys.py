"""The state folder and the key file of a gateway that has stopped, for `ferry keys` in this process."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from asyncssh.packet import String

from console_commands import Result, run
from ferry.cli.keys import keys
from ferry.names import Address, Fingerprint, IdentityId
from ferry.report import no_report
from ferry.store.engine import Store
from ferry.store.identities import IdentityStore
from ferry.store.machines import MachineStore, NewKey, Wanted

FIRST = 21000
CONFIG = f"""\
state = "state"
[access]
mode = "keys"
keys = ["authorized_keys"]
[tcp]
purposes = {{ssh = "{FIRST}-{FIRST + 9}"}}
"""


_USED = """
    INSERT INTO reservations (address, owner, owner_name, derived, created, last_used, used)
    VALUES (:address, :owner, '', FALSE, 1, 2, TRUE)"""


def blob(number: int) -> bytes:
    return String(b"ssh-ed25519") + String(bytes([number]) * 32)


def public(number: int) -> str:
    return f"ssh-ed25519 {base64.b64encode(blob(number)).decode()}"


def fingerprint(number: int) -> Fingerprint:
    return Fingerprint("SHA256:" + base64.b64encode(hashlib.sha256(blob(number)).digest()).decode().rstrip("="))


class Stopped:
    """The folder of a gateway that has stopped."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "authorized_keys"
        self.config = folder / "ferry.toml"

    async def keys(self, *arguments: str) -> Result:
        return await run(keys, *arguments, "--config", str(self.config))

    async def names(self, *arguments: str) -> list[str | None]:
        """Those that are listed."""
        return [row["name"] for row in (await self.keys("list", *arguments, "--json")).json]

    async def refused(self, *arguments: str) -> str:
        before = self.file.read_bytes()
        ran = await self.keys(*arguments)
        assert self.file.read_bytes() == before
        assert ran.error is not None
        return str(ran.error)

    @asynccontextmanager
    async def store(self) -> AsyncIterator[Store]:
        async with await Store.open(self.folder / "state" / "ferry.db", report=no_report) as store:
            yield store

    async def enters(self, number: int, name: str, *labels: str) -> None:
        """The operator has entered a key, with ports."""
        wanted = [Wanted(label, FIRST, FIRST + 9, frozenset()) for label in labels]
        async with self.store() as store:
            await MachineStore(store).enrol(name, NewKey(fingerprint(number), "ssh-ed25519"), wanted, 1.0)

    async def comes(self, number: int, name: str | None = None) -> IdentityId:
        """A key has logged in."""
        async with self.store() as store:
            return (await IdentityStore(store).identity_for_key(fingerprint(number), "ssh-ed25519", name, now=2.0)).id

    async def uses(self, owner: IdentityId, *addresses: Address) -> None:
        """An identity has asked for addresses, which it keeps by use."""
        rows = [{"address": address.key, "owner": owner} for address in addresses]
        async with self.store() as store:
            await store.run(lambda connection: [connection.execute(_USED, row) for row in rows])


async def stopped_in(folder: Path) -> Stopped:
    """One with two machines."""
    made = Stopped(folder)
    (folder / "state").mkdir(mode=0o700)
    made.config.write_text(CONFIG)
    made.file.write_text(f"# machines\n\n{public(1)} name=web-1\n{public(2)} name=web-2\n")
    async with made.store():
        pass
    return made
