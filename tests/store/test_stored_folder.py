"""A state folder that an earlier gateway wrote is opened with everything in it.

`folder-before-connections.zip` was written by the gateway of commit b40bdf7, which calls SSH connections sessions. Stock ssh
made its content. `ann`, with two keys, published a name, a derived name, a port and an alias, and had a visitor. Somebody
without a name in the key file published a derived name. On the same folder, a gateway for anyone then let a third
person earn a name, and was killed with two clients connected. `ann` in the archive is the first of her keys.

`folder-before-use.zip` is the same folder after the gateway of commit b23bd64, whose reservations do not say whether they
were used, had it: with her first key ann published `kept`, and that gateway was killed too.

`folder-before-ports.zip` was written by the gateway of commit 1a74fa9, which had no port table. `web-1`, whose key is in
the archive, had a port and a name there, and that gateway was killed with the connection.

`folder-before-audit.zip` was written by the gateway of commit 953bd76, which kept no audit log. `web-1`, whose key is in the
archive, had a name, an alias and a port there, and that gateway was killed.

`folder-before-thinning.zip` was written by the gateway of commit f21390b, which dropped records of the audit log from its
beginning alone. `web-1`, whose key is in the archive, had a name there, that gateway was killed, and the first four records
were pruned.
"""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import zipfile
from contextlib import closing
from pathlib import Path

import pytest

from ferry.clock import SystemClock
from ferry.gateway.kept import kept_in
from ferry.names import Fingerprint
from ferry.protocol.audit import Kind, Wanted
from ferry.report import no_report
from ferry.store.audit import AuditLog
from ferry.store.connections import STOPPED, ConnectionRows
from ferry.store.engine import Store
from ferry.store.migrate import HEAD
from ferry_command import ferry
from gateway_process import gateway_in
from small_disk import OnSmallDisk, fill, needs_a_disk

STORED = Path(__file__).with_name("folder-before-connections.zip")
BEFORE_USE = Path(__file__).with_name("folder-before-use.zip")
BEFORE_PORTS = Path(__file__).with_name("folder-before-ports.zip")
BEFORE_AUDIT = Path(__file__).with_name("folder-before-audit.zip")
BEFORE_THINNING = Path(__file__).with_name("folder-before-thinning.zip")
PORT = 9521
"""The port that `web-1` had."""
ANN = Fingerprint("SHA256:+0sfIswPTQpCF6B4BSD8Xdg68lVQ87bB8IVr7nxNe8Q")
ANNS_OTHER_KEY = Fingerprint("SHA256:GRlzt126pJATTnpLXTV7SEXGtGI3w10PoEDtcK1nubM")
BOB = Fingerprint("SHA256:0xJYMXnCU8huP+M5hz2+qpUmb9+P1FgUcLbXuUR7P3o")
CLEO = Fingerprint("SHA256:Fn59SY6JBqPqoSyiVXaAeznbgTcMfdPe1ULL1V0cPzs")
ANNS = {
    ("http:blog.localhost", False),
    ("http:candid-garden.localhost", True),
    ("tcp::20841", True),
    ("alias:laptop:22", False),
}


Rows = dict[str, set[tuple[object, ...]]]


def as_now(before: Rows, revision: str) -> Rows:
    """The rows of an earlier revision, as they are in the tables of today."""
    now = dict(before)
    if revision < "0002":
        now["connections"] = now.pop("sessions")
    if revision < "0003":
        now["reservations"] = {(*row, True) for row in now["reservations"]}  # they count as used
    if revision < "0004":  # no reservation is for good, and no machine has told how it is called
        now |= {name: {(*row, None) for row in now[name]} for name in ("reservations", "identities")}
    if revision < "0005":
        now["audit"] = set()
    if revision < "0007":  # the keys of names keep them
        named = {row[0] for row in now["identities"] if row[1] is not None}
        now["keys"] = {(*row, row[2] in named) for row in now["keys"]}
    return now


def unpacked(stored: Path, tmp_path: Path) -> Path:
    """What the archive holds, with the permissions that such files have."""
    with zipfile.ZipFile(stored) as archive:
        archive.extractall(tmp_path / "stored")
    for path in (tmp_path / "stored").rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)
    return tmp_path / "stored"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return unpacked(STORED, tmp_path)


def rows(state: Path) -> Rows:
    """Every row of every table. Reads a copy, because SQLite empties the write-ahead log of a file that it closes."""
    copy = shutil.copytree(state, state.with_name("copy"), dirs_exist_ok=True)
    with closing(sqlite3.connect(copy / "ferry.db")) as database:
        tables = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        return {name: set(database.execute(f"SELECT * FROM {name}")) for (name,) in tables}


@pytest.mark.parametrize(
    ("stored", "revision"),
    [(STORED, "0001"), (BEFORE_USE, "0002"), (BEFORE_PORTS, "0003"), (BEFORE_AUDIT, "0004"), (BEFORE_THINNING, "0005")],
)
async def test_every_row_is_still_there(tmp_path: Path, stored: Path, revision: str) -> None:
    state = unpacked(stored, tmp_path) / "state"
    before = rows(state)
    assert all(before.values())
    async with await Store.open(state / "ferry.db", report=no_report):
        pass
    after = rows(state)
    assert (before.pop("alembic_version"), after.pop("alembic_version")) == ({(revision,)}, {(HEAD,)})
    assert after == as_now(before, revision)


async def test_an_audit_log_from_before_it_could_be_thinned_goes_on_and_is_thinned(tmp_path: Path) -> None:
    state = unpacked(BEFORE_THINNING, tmp_path) / "state"
    async with await Store.open(state / "ferry.db", report=no_report) as store:
        log = AuditLog(store, SystemClock(), no_report)
        (last,) = await log.last(Wanted(), 1)
        for _ in range(40):
            log.add(last.record._replace(kind=Kind.LOGIN, identity="web-1", rule="/k, line 1", events=None, upto=None))
        await log.flush()
        assert await log.prune(keep_seconds=1e9, keep=30) > 0
        kinds = [entry.record.kind for entry in await log.last(Wanted(), 100)]
    assert (kinds.count(Kind.PRUNE), kinds.count(Kind.THIN), kinds.count(Kind.NAME)) == (1, 1, 1)
    proved = ferry("audit", "verify", "--state", state, cwd=tmp_path)
    assert (proved.code, proved.out.startswith("30 records, 5 to 54 without 20 that")) == (0, True)


def test_a_gateway_goes_on_from_before_the_audit_log_and_begins_one(tmp_path: Path) -> None:
    folder = unpacked(BEFORE_AUDIT, tmp_path)
    keys = folder / "keys"
    shutil.copy(folder / "web-1.pub", keys)
    with gateway_in(folder, access={"mode": "keys", "keys": [keys]}) as gateway:
        names = gateway.ssh(tmp_path, folder / "web-1").run(words="names").out
        assert "blog.localhost" in names
        assert "laptop:22" in names
        shown = ferry("audit", "--state", gateway.state, "--json", cwd=tmp_path).out.splitlines()
        assert [json.loads(line)["kind"] for line in shown[:3]] == ["began", "keys", "gateway"]
        assert ferry("audit", "verify", "--state", gateway.state, cwd=tmp_path).code == 0


def test_a_port_from_before_the_port_table_is_its_owners_and_stays_so_for_good(tmp_path: Path) -> None:
    folder = unpacked(BEFORE_PORTS, tmp_path)
    keys = folder / "keys"
    keys.write_text(f"{(folder / 'web-1.pub').read_text().strip()} name=web-1\n")
    settings = {"ranges": [{"first": PORT, "last": PORT, "listen": "loopback"}], "purposes": {"ssh": str(PORT)}}
    with gateway_in(folder, access={"mode": "keys", "keys": [keys]}, tcp=settings | {"allocate_from": 0}) as gateway:
        (row,) = (row for row in gateway.ask("ports") if row["port"] == PORT)
        assert (row["holder"].split()[0], row["state"], row["kept_for_good"]) == ("web-1", "down", False)
        with gateway.ssh(tmp_path, folder / "web-1").start("-N", "-v", "-R", f"{PORT}:localhost:9") as child:
            child.error_line("remote forward success|port_in_use|in use by another program")
        (row,) = (row for row in gateway.ask("ports") if row["port"] == PORT)
        assert row["kept_for_good"]


def test_names_from_before_reservations_knew_their_use_count_as_used(tmp_path: Path) -> None:
    folder = unpacked(BEFORE_USE, tmp_path)
    with gateway_in(folder) as gateway:
        names = gateway.ssh(tmp_path, folder / "ann").run(words="names").lines
        assert sorted(line.split("  ")[0] for line in names) == [
            "blog.localhost",
            "candid-garden.localhost",
            "kept.localhost",
            "laptop:22",
            "port 20841",
        ]
        assert not any("unused" in line for line in names)
        assert {one["address"]: one["used"] for one in gateway.ask("names")}["kept.localhost"]


async def test_identities_names_host_keys_and_connections_are_found(folder: Path) -> None:
    state, now = folder / "state", SystemClock().now()
    public = {path.read_text().split()[1] for path in state.glob("ssh_host_*_key.pub")}
    async with kept_in(state, clock=SystemClock(), report=no_report) as kept:
        assert {key.export_public_key().decode().split()[1] for key in kept.host_keys} == public
        owners = [
            await kept.identities.identity_for_key(key, "", None, now=now) for key in (ANN, ANNS_OTHER_KEY, BOB, CLEO)
        ]
        assert [owner.name for owner in owners] == ["ann", "ann", None, None]
        ann, other, bob, cleo = (owner.id for owner in owners)
        assert ann == other
        found = {
            owner: {(one.address.key, one.derived) for one in await kept.registry.reservations(owner)}
            for owner in (ann, bob, cleo)
        }
        assert found == {
            ann: ANNS,
            bob: {("http:hazel-dove.localhost", True)},
            cleo: {("http:earned.localhost", False)},
        }
        assert isinstance(kept.connections, ConnectionRows)
        connections = sorted(await kept.connections.recent(9), key=lambda row: row.started)
    assert [(row.identity, row.reason, row.up) for row in connections] == [
        (ann, "Connection lost", 1000),
        (bob, "Connection lost", 0),
        (ann, "the client disconnected", 0),
        (ann, STOPPED, 0),
        (cleo, STOPPED, 0),
    ]
    assert all(row.peer.startswith("127.0.0.1:") and row.client_version.startswith("OpenSSH") for row in connections)


def test_an_owner_gets_back_her_names_from_a_stored_folder(folder: Path, tmp_path: Path) -> None:
    with gateway_in(folder) as gateway:
        ssh = gateway.ssh(tmp_path, folder / "ann")
        names = ssh.run(words="names").out
        assert [
            name for name in ("blog", "candid-garden", "20841", "laptop", "hazel-dove", "earned") if name in names
        ] == [
            "blog",
            "candid-garden",
            "20841",
            "laptop",
        ]
        with ssh.start("-R", "80:localhost:9", "-R", "blog:80:localhost:9") as child:
            child.line("http://candid-garden.localhost")
            child.line("http://blog.localhost")
        assert len(gateway.ask("names")) == 6


@needs_a_disk
@pytest.mark.parametrize("how", ["full", "read-only"])
def test_where_nothing_can_be_written_the_operator_is_told_what_to_do(folder: Path, tmp_path: Path, how: str) -> None:
    gateway = OnSmallDisk(tmp_path)
    with closing(gateway):
        rows(folder / "state")
        shutil.copytree(folder / "copy", gateway.disk, dirs_exist_ok=True)  # its write-ahead log is in the file by now
        filler = fill(gateway.disk) if how == "full" else None
        gateway.remount("rw" if filler else "ro")
        child = gateway.launch()
        assert child.exit_code() == 3
        child.close()
        assert re.search(r"disk is full: make room, and start|make its disk writable.*and start again", child.err.text)
        gateway.remount("rw")
        if filler:
            filler.unlink()
        gateway.start()
        gateway.stop()
