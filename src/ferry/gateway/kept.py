"""Opens the state folder, whose data outlives the gateway: the database, the host keys, the lock on the folder."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from ferry.clock import Clock, random_token
from ferry.console.sockets import prepare_state_folder
from ferry.console.state import AuditReading
from ferry.errors import InvalidInput, Refusal, StartupError
from ferry.names import WorkerId
from ferry.protocol.audit import AuditRecord
from ferry.registry.contract import Registry, StoreUnavailable
from ferry.regular_files import NotAFile, open_regular
from ferry.report import Report
from ferry.ssh.host_keys import HostKey, load_host_keys, load_next_host_keys
from ferry.ssh.key_identities import Identities
from ferry.ssh.server import ConnectionLog
from ferry.store.audit import AuditLog
from ferry.store.connections import ConnectionRows
from ferry.store.engine import Store
from ferry.store.identities import IdentityStore
from ferry.store.machines import MachineStore
from ferry.store.registry import SqlRegistry
from ferry.store.secrets import SecretStore
from ferry.store.start import begin

from .fleet import FleetStore

DATABASE: Final = "ferry.db"


class StoreHealth(Protocol):
    """Whether the database can be used."""

    @property
    def healthy(self) -> bool:
        """Whether the last write succeeded."""
        ...


class KeptIdentities(Identities, Protocol):
    """The identities of keys, with their deletion."""

    async def prune(self, before: float, /) -> int:
        """Delete unnamed identities that were last seen before `before` and own nothing. Returns the number."""
        ...


class KeptConnections(ConnectionLog, Protocol):
    """The rows of SSH connections, with their deletion."""

    async def prune(self, before: float, /) -> int:
        """Delete rows of connections that ended before `before`. Returns the number."""
        ...


class KeptAudit(AuditReading, Protocol):
    """The audit log (`ferry.store.audit`)."""

    required: bool
    """Whether nobody may do anything new while records cannot be written."""

    def add(self, record: AuditRecord, /) -> None:
        """Add a record. It waits for nothing."""
        ...

    def refusal(self) -> Refusal | None:
        """The refusal of everything new, if records are required and cannot be written."""
        ...

    async def use_file(self, path: Path | None, /) -> None:
        """Write records to this file, too, opened anew. Raises StartupError."""
        ...

    async def write_late(self) -> None:
        """Try again what could not be written."""
        ...

    async def prune(self, *, keep_seconds: float, keep: int) -> int:
        """Drop records that are older, and those past the last `keep`. Returns the number."""
        ...


@dataclass(frozen=True, slots=True)
class Kept:
    """The persistent data of one worker. `kept_in` opens it from a state folder."""

    worker: WorkerId
    store: StoreHealth
    registry: Registry
    identities: KeptIdentities
    connections: KeptConnections
    machines: FleetStore
    audit: KeptAudit
    secret: bytes
    """The key from which the gateway derives names and ports."""
    host_keys: list[HostKey]
    next_host_keys: Sequence[HostKey] = ()
    """Those that will replace them: clients learn them already."""


@asynccontextmanager
async def kept_in(state: Path, *, clock: Clock, report: Report) -> AsyncIterator[Kept]:
    """Open the state folder while the context lasts. Raises StartupError."""
    prepare_state_folder(state)
    with locked(state):
        async with await Store.open(state / DATABASE, report=report) as store:
            secrets = SecretStore(store)
            secret = await secrets.secret("names")
            host_keys = await load_host_keys(state, secrets)
            next_keys = await load_next_host_keys(state, secrets)
            async with _connections(store, report) as connections, _audit(store, clock, report) as audit:
                worker = WorkerId(random_token())
                await begin(store, worker, now=clock.now())  # the only worker here: all leases are from earlier runs
                yield Kept(
                    worker,
                    store,
                    SqlRegistry(store),
                    IdentityStore(store),
                    connections,
                    MachineStore(store),
                    audit,
                    secret,
                    host_keys,
                    next_keys,
                )


def of_user() -> str:
    """Who runs this process, as records of the audit log have it."""
    return f"uid {os.getuid()}"


def database_in(state: Path) -> Path:
    """The database of a gateway that has run. Raises InvalidInput if there is none."""
    if not (path := state / DATABASE).exists():
        raise InvalidInput(
            f"{state} holds no gateway's state: name the right folder with --state, or start the gateway once"
        )
    return path


@asynccontextmanager
async def _connections(store: Store, report: Report) -> AsyncIterator[ConnectionRows]:
    """The rows of SSH connections. Waiting rows are written at the end."""
    connections = ConnectionRows(store, report)
    try:
        yield connections
    finally:
        with suppress(StoreUnavailable):  # the store has reported it
            await connections.flush()


@asynccontextmanager
async def _audit(store: Store, clock: Clock, report: Report) -> AsyncIterator[AuditLog]:
    """The audit log. Waiting records are written at the end."""
    audit = AuditLog(store, clock, report)
    try:
        yield audit
    finally:
        with suppress(StoreUnavailable):  # the store has reported it
            await audit.flush()
        audit.close()


def _opened(path: Path) -> int:
    """A descriptor of the file `path`, made if it is missing. A lock needs no writing, so that an existing file on a
    read-only disk is enough. Whoever runs this may be root in another user's folder, so a link is not followed."""
    try:
        return open_regular(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise StartupError(f"{path} is a symbolic link: delete it") from None
        if not isinstance(error, IsADirectoryError | NotAFile):
            with suppress(OSError):
                return open_regular(path, os.O_RDONLY | os.O_NOFOLLOW)
        fix = ": run this as the gateway's user, or name another folder" if isinstance(error, PermissionError) else ""
        raise StartupError(f"{path} cannot be made: {error.strerror}{fix}") from None


@contextmanager
def locked(state: Path) -> Iterator[None]:
    """Hold the state folder's lock. Raises StartupError if another gateway holds it or its file cannot be made."""
    file = _opened(state / "lock")
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StartupError(
                f"another gateway runs with the state folder {state}: stop it, or name another with --state"
            ) from None
        yield
    finally:
        os.close(file)
