"""The gateway makes host keys once, remembers them, and never replaces them without an error."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import stat
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import asyncssh
import pytest

from ferry.errors import StartupError
from ferry.names import Fingerprint
from ferry.ssh.host_keys import certificate_of, describe, load_host_keys, public_keys_in

ED25519, RSA = "ssh-ed25519", "ssh-rsa"
FILES = {ED25519: "ssh_host_ed25519_key", RSA: "ssh_host_rsa_key"}


class Memory:
    def __init__(self, known: Mapping[str, Fingerprint] = MappingProxyType({})) -> None:
        self.known = dict(known)

    async def host_key_fingerprint(self, algorithm: str) -> Fingerprint | None:
        return self.known.get(algorithm)

    async def remember_host_key(self, algorithm: str, fingerprint: Fingerprint) -> None:
        assert algorithm not in self.known
        self.known[algorithm] = fingerprint


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Memory]:
    """A folder in which they were made, which takes a while, and what is remembered of them."""
    folder, memory = tmp_path_factory.mktemp("first"), Memory()
    asyncio.run(load_host_keys(folder, memory))
    return folder, memory


@pytest.fixture
def folder(first: tuple[Path, Memory], tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(first[0], tmp_path / "state"))


@pytest.fixture
def memory(first: tuple[Path, Memory]) -> Memory:
    """A copy of what is remembered."""
    return Memory(first[1].known)


async def test_host_keys_are_made_for_their_owner_only_and_found_again(folder: Path, memory: Memory) -> None:
    told = [describe(key) for key in await load_host_keys(folder, memory)]
    assert told == [f"{kind} {known}" for kind, known in zip(("ED25519", "RSA"), memory.known.values(), strict=True)]
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir() if file.suffix != ".pub"}
    assert modes == dict.fromkeys(FILES.values(), 0o600)


async def test_existing_files_are_used_and_remembered(folder: Path, memory: Memory) -> None:
    new = Memory()
    await load_host_keys(folder, new)
    assert new.known == memory.known


@pytest.mark.parametrize("algorithm", [ED25519, RSA])
async def test_a_missing_file_is_not_replaced(folder: Path, memory: Memory, algorithm: str) -> None:
    (folder / FILES[algorithm]).unlink()
    with pytest.raises(
        StartupError, match=rf"is gone.*{re.escape(memory.known[algorithm])}(?s:.*)forget-host-key {algorithm}"
    ):
        await load_host_keys(folder, memory)
    assert not (folder / FILES[algorithm]).exists()


async def test_another_key_in_the_file_is_not_served(folder: Path, memory: Memory) -> None:
    asyncssh.generate_private_key(ED25519).write_private_key(str(folder / FILES[ED25519]))
    with pytest.raises(StartupError, match=r"Put the right file back(?s:.*)forget-host-key ssh-ed25519"):
        await load_host_keys(folder, memory)


async def test_a_file_that_is_no_key_stops_the_start_and_stays(folder: Path, memory: Memory) -> None:
    (folder / FILES[RSA]).write_text("no key")
    with pytest.raises(StartupError, match="put the file back from a backup"):
        await load_host_keys(folder, memory)
    assert (folder / FILES[RSA]).read_text() == "no key"


async def test_an_unwritable_folder_stops_the_start_and_nothing_is_remembered(
    folder: Path, memory: Memory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    new = Memory()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StartupError, match="No space left on device"):
            await load_host_keys(tmp_path, new)
    assert new.known == {}
    assert not (tmp_path / FILES[ED25519]).exists()
    (folder / FILES[ED25519]).unlink()
    (folder / f"{FILES[ED25519]}.new").write_text("half a key, as a power cut leaves it")
    del memory.known[ED25519]
    await load_host_keys(folder, memory)
    assert (folder / FILES[ED25519]).read_text().startswith("-----BEGIN")


CURVES = ("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521")


@pytest.mark.parametrize("curve", CURVES)
async def test_an_ecdsa_key_is_the_operators_to_give(folder: Path, memory: Memory, curve: str) -> None:
    file = folder / "ssh_host_ecdsa_key"
    given = asyncssh.generate_private_key(curve)
    given.write_private_key(str(file))
    loaded = (await load_host_keys(folder, memory))[-1]
    assert describe(loaded) == f"ECDSA {given.get_fingerprint()}"
    assert memory.known["ecdsa"] == given.get_fingerprint()
    assert public_keys_in(folder)[curve] == given.public_data  # for ssh-keygen -s, though its .pub was not given
    assert certificate_of(folder, curve) == folder / "ssh_host_ecdsa_key-cert.pub"
    file.unlink()
    with pytest.raises(StartupError, match=r"is gone(?s:.*)forget-host-key ecdsa"):
        await load_host_keys(folder, memory)
    del memory.known["ecdsa"]
    assert len(await load_host_keys(folder, memory)) == 2
    assert not file.exists()


@pytest.mark.parametrize(
    ("file", "kind", "wanted"), [("ecdsa", ED25519, " or ".join(CURVES)), ("ed25519", CURVES[0], ED25519)]
)
async def test_a_key_of_another_type_than_its_files_stops_the_start(
    folder: Path, memory: Memory, file: str, kind: str, wanted: str
) -> None:
    path = folder / f"ssh_host_{file}_key"
    path.unlink(missing_ok=True)
    asyncssh.generate_private_key(kind).write_private_key(str(path))
    with pytest.raises(StartupError, match=f"is of the type {kind}: make one of the type {wanted}"):
        await load_host_keys(folder, memory)
