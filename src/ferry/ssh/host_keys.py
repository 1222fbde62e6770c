"""The gateway's host keys. The first start makes them, the store remembers their fingerprints, and none is replaced
silently.

An ECDSA key is there if the operator puts one into the folder: one that clients know from an sshd, say.

A client that knows the old key refuses a new one with a frightening message; on an unattended machine no person answers it.
So a missing or different key file is an error that only the operator can resolve.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple, Protocol, TypeAlias

import asyncssh

from ferry.errors import StartupError
from ferry.names import Fingerprint

HostKey: TypeAlias = asyncssh.SSHKey


class _Kind(NamedTuple):
    """A kind of host keys: a gateway has one key of each."""

    name: str
    """By which the store remembers it."""
    file: str
    """Its name in the state folder, as sshd's is called."""
    types: tuple[str, ...]
    """The types of keys that the file may have."""
    make: Mapping[str, int] | None
    """How the first start makes one; None: only the operator gives one."""


_ECDSA: Final = tuple(f"ecdsa-sha2-nistp{bits}" for bits in (256, 384, 521))
_KINDS: Final = (
    _Kind("ssh-ed25519", "ssh_host_ed25519_key", ("ssh-ed25519",), MappingProxyType({})),
    _Kind("ssh-rsa", "ssh_host_rsa_key", ("ssh-rsa",), MappingProxyType({"key_size": 3072})),
    _Kind("ecdsa", "ssh_host_ecdsa_key", _ECDSA, None),
)
KINDS_SHOWN: Final = "ssh-ed25519, ssh-rsa or ecdsa"


class HostKeyMemory(Protocol):
    """The store's memory of this gateway's host keys."""

    async def host_key_fingerprint(self, algorithm: str) -> Fingerprint | None: ...
    async def remember_host_key(self, algorithm: str, fingerprint: Fingerprint) -> None: ...


async def load_host_keys(folder: Path, memory: HostKeyMemory) -> list[HostKey]:
    """Load the host keys in `folder`; make them if this gateway never had any. Raises StartupError (see above)."""
    keys = []
    for kind in _KINDS:
        path = folder / kind.file
        remembered = await memory.host_key_fingerprint(kind.name)
        if path.exists():
            key = _read(path, kind)
        elif remembered:
            raise StartupError(
                f"the host key {path} is gone, but clients know this gateway by {remembered}. Put the file back from a "
                f"backup. If it is lost, run\n  ferry forget-host-key {kind.name} --state {folder}\nand tell everybody that the key changes"
            )
        elif kind.make is None:
            continue
        else:
            key = asyncssh.generate_private_key(kind.types[0], comment="ferry", **kind.make)
            try:
                _write(path, key)
            except OSError as error:
                raise StartupError(
                    f"cannot make the host key {path} ({error.strerror}): free disk space, or make its folder writable"
                ) from error
        fingerprint = Fingerprint(key.get_fingerprint())
        if remembered is None:
            await memory.remember_host_key(kind.name, fingerprint)
            _write_public(path, key)
        elif remembered != fingerprint and fingerprint == await memory.host_key_fingerprint(_next(kind)):
            await memory.remember_host_key(kind.name, fingerprint)  # clients have learned it
            _write_public(path, key)
        elif remembered != fingerprint:
            raise StartupError(
                f"the host key {path} is {fingerprint}, but clients know this gateway by {remembered}. Put the right file "
                f"back. If you want to change the key, run\n  ferry forget-host-key {kind.name} --state {folder}\nand tell everybody"
            )
        keys.append(key)
    return keys


async def load_next_host_keys(folder: Path, memory: HostKeyMemory) -> list[HostKey]:
    """Load the host keys that will replace others: `ssh_host_ed25519_key.next` beside `ssh_host_ed25519_key`. Clients learn
    them after each log-in (`wire.host_key_proofs`). Once such a file has replaced the other one, the gateway starts with it.
    Raises StartupError."""
    keys = []
    for kind in _KINDS:
        path = folder / f"{kind.file}.next"
        if not path.exists():
            continue
        key = _read(path, kind)
        fingerprint = Fingerprint(key.get_fingerprint())
        if await memory.host_key_fingerprint(_next(kind)) != fingerprint:
            await memory.remember_host_key(_next(kind), fingerprint)
        keys.append(key)
    return keys


def _next(kind: _Kind) -> str:
    """The name under which the next key of a kind is remembered."""
    return f"{kind.name} next"


def certificate_of(folder: Path, algorithm: str) -> Path:
    """Where the certificate of a host key of a type may stand."""
    file = next(kind.file for kind in _KINDS if algorithm in kind.types)
    return folder / f"{file}-cert.pub"


def public_keys_in(folder: Path) -> dict[str, bytes]:
    """The public host keys of a gateway, by their type, in wire form. Those that cannot be read are left out. Blocks."""
    found: dict[str, bytes] = {}
    for kind in _KINDS:
        with contextlib.suppress(OSError, asyncssh.KeyImportError):
            key = asyncssh.read_public_key(folder / f"{kind.file}.pub")
            if (algorithm := key.algorithm.decode()) in kind.types:
                found[algorithm] = key.public_data
    return found


def describe(key: asyncssh.SSHKey) -> str:
    """A host key for people: `ED25519 SHA256:...`, as ssh prints it when it asks whether to trust it."""
    return f"{key.algorithm.decode().removeprefix('ssh-').partition('-')[0].upper()} {key.get_fingerprint()}"


def _read(path: Path, kind: _Kind) -> asyncssh.SSHKey:
    try:
        key = asyncssh.read_private_key(path)
    except (OSError, asyncssh.KeyImportError) as error:
        raise StartupError(f"the host key {path} cannot be read ({error}): put the file back from a backup") from error
    if (found := key.algorithm.decode()) not in kind.types:
        raise StartupError(
            f"the host key {path} is of the type {found}: make one of the type {' or '.join(kind.types)}"
        )
    return key


def _write_public(path: Path, key: asyncssh.SSHKey) -> None:
    """Write the public half of a key that the operator may have put there alone: certificates are made of it."""
    path.with_suffix(".pub").write_bytes(key.export_public_key())


def _write(path: Path, key: asyncssh.SSHKey) -> None:
    """Write the whole key or nothing, even if the machine stops meanwhile: half a key would make all later starts
    fail."""
    partial = path.with_suffix(".new")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(key.export_private_key())
        file.flush()
        os.fsync(file.fileno())
    _write_public(path, key)
    partial.rename(path)
