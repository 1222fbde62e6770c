"""The gateway's host keys. The first start makes them, the store remembers their fingerprints, and none is replaced
silently.

A client that knows the old key refuses a new one with a frightening message; on an unattended machine no person answers it.
So a missing or different key file is an error that only the operator can resolve.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final, Protocol, TypeAlias

import asyncssh

from ferry.errors import StartupError
from ferry.names import Fingerprint

HostKey: TypeAlias = asyncssh.SSHKey

_KINDS: Final[Mapping[str, Mapping[str, int]]] = MappingProxyType({"ssh-ed25519": {}, "ssh-rsa": {"key_size": 3072}})
_FILES: Final[Mapping[str, str]] = MappingProxyType(
    {"ssh-ed25519": "ssh_host_ed25519_key", "ssh-rsa": "ssh_host_rsa_key"}
)


class HostKeyMemory(Protocol):
    """The store's memory of this gateway's host keys."""

    async def host_key_fingerprint(self, algorithm: str) -> Fingerprint | None: ...
    async def remember_host_key(self, algorithm: str, fingerprint: Fingerprint) -> None: ...


async def load_host_keys(folder: Path, memory: HostKeyMemory) -> list[HostKey]:
    """Load the host keys in `folder`; make them if this gateway never had any. Raises StartupError (see above)."""
    keys = []
    for algorithm, options in _KINDS.items():
        path = folder / _FILES[algorithm]
        remembered = await memory.host_key_fingerprint(algorithm)
        if path.exists():
            key = _read(path)
        elif remembered:
            raise StartupError(
                f"the host key {path} is gone, but clients know this gateway by {remembered}. Put the file back from a "
                f"backup. If it is lost, run\n  ferry forget-host-key {algorithm} --state {folder}\nand tell everybody that the key changes"
            )
        else:
            key = asyncssh.generate_private_key(algorithm, comment="ferry", **options)
            try:
                _write(path, key)
            except OSError as error:
                raise StartupError(
                    f"cannot make the host key {path} ({error.strerror}): free disk space, or make its folder writable"
                ) from error
        fingerprint = Fingerprint(key.get_fingerprint())
        if remembered is None:
            await memory.remember_host_key(algorithm, fingerprint)
        elif remembered != fingerprint and fingerprint == await memory.host_key_fingerprint(_next(algorithm)):
            await memory.remember_host_key(algorithm, fingerprint)  # clients have learned it
            path.with_suffix(".pub").write_bytes(key.export_public_key())
        elif remembered != fingerprint:
            raise StartupError(
                f"the host key {path} is {fingerprint}, but clients know this gateway by {remembered}. Put the right file "
                f"back. If you want to change the key, run\n  ferry forget-host-key {algorithm} --state {folder}\nand tell everybody"
            )
        keys.append(key)
    return keys


async def load_next_host_keys(folder: Path, memory: HostKeyMemory) -> list[HostKey]:
    """Load the host keys that will replace others: `ssh_host_ed25519_key.next` beside `ssh_host_ed25519_key`. Clients learn
    them after each log-in (`wire.host_key_proofs`). Once such a file has replaced the other one, the gateway starts with it.
    Raises StartupError."""
    keys = []
    for algorithm, name in _FILES.items():
        path = folder / f"{name}.next"
        if not path.exists():
            continue
        key = _read(path)
        if key.algorithm.decode() != algorithm:
            raise StartupError(
                f"the host key {path} is of the type {key.algorithm.decode()}: make one of the type {algorithm}"
            )
        fingerprint = Fingerprint(key.get_fingerprint())
        if await memory.host_key_fingerprint(_next(algorithm)) != fingerprint:
            await memory.remember_host_key(_next(algorithm), fingerprint)
        keys.append(key)
    return keys


def _next(algorithm: str) -> str:
    """The name under which the next key of a type is remembered."""
    return f"{algorithm} next"


def certificate_of(folder: Path, algorithm: str) -> Path:
    """Where the certificate of a host key may stand."""
    return folder / f"{_FILES[algorithm]}-cert.pub"


def public_keys_in(folder: Path) -> dict[str, bytes]:
    """The public host keys of a gateway, by their algorithm, in wire form. Those that cannot be read are left out. Blocks."""
    found: dict[str, bytes] = {}
    for algorithm, name in _FILES.items():
        with contextlib.suppress(OSError, asyncssh.KeyImportError):
            found[algorithm] = asyncssh.read_public_key(folder / f"{name}.pub").public_data
    return found


def describe(key: asyncssh.SSHKey) -> str:
    """A host key for people: `ED25519 SHA256:...`, as ssh prints it when it asks whether to trust it."""
    return f"{key.algorithm.decode().removeprefix('ssh-').upper()} {key.get_fingerprint()}"


def _read(path: Path) -> asyncssh.SSHKey:
    try:
        return asyncssh.read_private_key(path)
    except (OSError, asyncssh.KeyImportError) as error:
        raise StartupError(f"the host key {path} cannot be read ({error}): put the file back from a backup") from error


def _write(path: Path, key: asyncssh.SSHKey) -> None:
    """Write the whole key or nothing, even if the machine stops meanwhile: half a key would make all later starts
    fail."""
    partial = path.with_suffix(".new")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(key.export_private_key())
        file.flush()
        os.fsync(file.fileno())
    path.with_suffix(".pub").write_bytes(key.export_public_key())
    partial.rename(path)
