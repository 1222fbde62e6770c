"""`ferry allow` where each login name has its file, and the files that it and `ferry keys` ask a gateway for."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

import pytest

from console_commands import run, running
from ferry.cli.allow import allow
from ferry.cli.keys_door import Door, find_door
from ferry.cli.keys_meant import still_in
from ferry.console.models import RefusedKeyInfo, RefusedKeyList
from ferry.errors import FerryError, InvalidInput
from small_gateway import STARTED, SmallGateway
from stopped_keys import fingerprint, public


@dataclass
class Refusing(SmallGateway):
    """It has refused a key of ann's."""

    folder: Path = Path("/keys")

    def refused_keys(self) -> RefusedKeyList:
        key = RefusedKeyInfo(
            fingerprint=fingerprint(1), line=public(1), host="192.0.2.7", user="ann", users=["ann"], at=STARTED
        )
        return RefusedKeyList(keys=[key], files=[str(self.folder / "%u")])


async def test_in_the_file_of_a_login_name_a_key_has_no_name(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    where = ("--state", str(tmp_path / "state"))
    async with running(tmp_path / "state", Refusing(folder=tmp_path / "keys")):
        named = await run(allow, fingerprint(1), "web-1", *where)
        assert isinstance(named.error, InvalidInput)
        assert "/keys/%u has a file for each login name, in which a key has no name: leave out web-1" in str(
            named.error
        )
        assert not (tmp_path / "keys" / "ann").exists()
        assert (await run(allow, fingerprint(1), *where)).error is None
    assert (tmp_path / "keys" / "ann").read_text() == f"{public(1)}\n"


async def test_a_word_that_is_no_fingerprint_is_a_wrong_argument(tmp_path: Path) -> None:
    ran = await run(allow, "web-1", "--state", str(tmp_path))
    assert isinstance(ran.error, InvalidInput)
    assert str(ran.error) == "'web-1' is no fingerprint: write it as the client shows it, SHA256:..."


async def test_a_command_that_only_reads_asks_for_no_files(tmp_path: Path) -> None:
    (tmp_path / "ferry.toml").write_text('[access]\nmode = "anyone"\n')
    async with running(tmp_path / "state", Refusing(folder=tmp_path)):
        with pytest.raises(FerryError, match="the gateway that runs lets in the keys in"):
            await find(tmp_path, reads=False)
        assert (await find(tmp_path, reads=True)).files == []


async def find(folder: Path, *, reads: bool) -> Door:
    return await asyncio.to_thread(find_door, folder / "state", folder / "ferry.toml", reads=reads)


def test_a_line_that_still_lets_a_key_in_is_named_without_a_configuration(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(f"{public(1)}\n")
    door = Door(tmp_path, [str(tmp_path / "keys")], None, None)
    still = still_in(door, [fingerprint(1)], "disable", as_json=False)
    assert str(still).startswith(f"still let in: {fingerprint(1)} by {tmp_path}/keys, line 1")
