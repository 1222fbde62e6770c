"""A power cut in the middle of a write: whatever of the files has reached the disk, a transaction is there or it is not.

`synchronous = NORMAL` promises no more: the last commits may be lost, and nothing is ever half there. So the files of a
store that was writing are cut where a disk may cut them, and opened again.
"""

from __future__ import annotations

import random
import shutil
from dataclasses import dataclass
from pathlib import Path
from sqlite3 import Connection

import pytest

from durable_registry import DurableRegistry
from ferry.names import Address, Fingerprint, Identity, IdentityId, Kind, WorkerId
from ferry.registry.contract import Claimed, Terms
from ferry.report import no_report
from ferry.store.engine import Store

ANN = Identity(IdentityId("ann"), "ann", Fingerprint("SHA256:ann"))
TERMS = Terms(keep=100, rest=50, reserve=True, derived=False, max_reservations=999, network="192.0.2.0/24")
CLAIMS = 30
WAL_HEADER, FRAME = 32, 24 + 4096  # sqlite.org/fileformat2.html §4.1
CUTS = 40


@dataclass
class Files:
    """What is on the disk at one moment."""

    database: bytes
    log: bytes

    @classmethod
    def of(cls, folder: Path) -> Files:
        return cls((folder / "ferry.db").read_bytes(), (folder / "ferry.db-wal").read_bytes())

    def put(self, folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        (folder / "ferry.db").write_bytes(self.database)
        (folder / "ferry.db-wal").write_bytes(self.log)


def address(number: int) -> Address:
    return Address(Kind.HTTP, f"n{number}.example.com")


async def claims_found(folder: Path) -> int:
    """How many of the claims are there; AssertionError if one is half there, or a later one without those before it."""
    async with await Store.open(folder / "ferry.db", report=no_report) as store:
        registry = DurableRegistry(store)
        count = len(await registry.reservations(ANN.id))
        for number in range(CLAIMS):
            lease = await registry.lookup(address(number))
            assert (lease is not None) == (number < count)
        assert await registry.reservations_from_network("192.0.2.0/24", since=0) == count

        def check(connection: Connection) -> tuple[object, object]:
            [(value,)] = connection.execute("SELECT value FROM counters").fetchall()
            [(sound,)] = connection.execute("PRAGMA integrity_check").fetchall()
            return value, sound

        assert await store.run(check) == (count, "ok")
        after = await registry.claim(address(999), ANN, WorkerId("w"), now=20, terms=TERMS)
        assert isinstance(after, Claimed)
        assert after.lease.generation == count + 1
    return count


@pytest.fixture
async def written(tmp_path: Path) -> tuple[Files, Files]:
    """A store that has written many transactions: as it was with all of them in the log, and after the checkpoint that
    a clean end makes."""
    folder = tmp_path / "written"
    async with await Store.open(folder / "ferry.db", report=no_report) as store:
        registry = DurableRegistry(store)
        for number in range(CLAIMS):
            await registry.claim(address(number), ANN, WorkerId("w"), now=10, terms=TERMS)
        in_the_log = Files.of(folder)
    return in_the_log, Files((folder / "ferry.db").read_bytes(), b"")


async def test_a_log_that_was_cut_anywhere_holds_whole_transactions(
    tmp_path: Path, written: tuple[Files, Files]
) -> None:
    files, _ = written
    dice = random.Random(20261121)
    frames = (len(files.log) - WAL_HEADER) // FRAME
    edges = [WAL_HEADER + FRAME * dice.randrange(frames) + dice.choice((-1, 0, 1, 24)) for _ in range(CUTS // 2)]
    cuts = sorted([*edges, *(dice.randrange(len(files.log)) for _ in range(CUTS // 2)), len(files.log)])
    found = []
    for cut in cuts:
        # A file system may have made the file longer before what belongs there has reached the disk.
        tail = dice.choice((b"", bytes(len(files.log) - cut), dice.randbytes(min(5000, len(files.log) - cut))))
        Files(files.database, files.log[:cut] + tail).put(tmp_path / "cut")
        found.append(await claims_found(tmp_path / "cut"))
    assert found == sorted(found)
    assert found[-1] == CLAIMS
    assert len(set(found)) > CLAIMS / 3  # the cuts were where something happens


async def test_a_checkpoint_that_was_cut_loses_nothing(tmp_path: Path, written: tuple[Files, Files]) -> None:
    """The log is on the disk before its pages go into the main file, in whatever order these are written."""
    before, after = written
    dice = random.Random(20261121)
    for _ in range(10):
        pages = [
            dice.choice((before.database[at : at + 4096], after.database[at : at + 4096]))
            for at in range(0, len(after.database), 4096)
        ]
        torn = bytearray(b"".join(pages))
        at = dice.randrange(len(torn) // 4096) * 4096 + 2048  # and one of them is half written
        torn[at : at + 2048] = after.database[at : at + 2048]
        Files(bytes(torn), before.log).put(tmp_path / "cut")
        assert await claims_found(tmp_path / "cut") == CLAIMS
