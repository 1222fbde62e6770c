"""Access is what is in force when a key is judged: at the question, at the signature, and when the database has answered.

Stock ssh is asked for a passphrase after the gateway has said that a key would do; in that moment the access changes.
"""

from __future__ import annotations

import asyncio
import shutil
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import asyncssh
import pytest

from child_process import Child
from gateway_process import Gateway
from passphrase import PASSPHRASE, Asked
from raw_client import SECONDS, raw_client
from ssh_command import make_key


@pytest.fixture
def locked(tmp_path: Path) -> Path:
    """A key with a passphrase."""
    return make_key(tmp_path / "locked", passphrase=PASSPHRASE)


@pytest.fixture
def gateway_with(modules_gateway: Gateway) -> Callable[..., Gateway]:
    """A gateway with this table `access` in force: `gateway_with(mode="keys", keys=[...])`. Without it: as shipped."""

    def with_access(**access: object) -> Gateway:
        modules_gateway.settings = {"access": access} if access else {}
        reload(modules_gateway)
        return modules_gateway

    return with_access


@contextmanager
def asked_about(gateway: Gateway, folder: Path, key: Path, *options: str) -> Iterator[tuple[Asked, Child]]:
    """An ssh whose key would do, and who has not signed yet."""
    options = ("-o", "NumberOfPasswordPrompts=1", *options)
    with (
        Asked(folder) as person,
        gateway.ssh(folder, key).start(*options, words="whoami", env=person.environment) as ssh,
    ):
        person.wait()
        yield person, ssh


def told_so_far(gateway: Gateway) -> int:
    """Where the log goes on. It is written by a thread: what was told at the start has been read by then."""
    gateway.event('"gateway.started"')
    return gateway.log_lines


def reload(gateway: Gateway) -> None:
    seen = gateway.log_lines
    gateway.write_config()
    gateway.running.signal(signal.SIGHUP)
    gateway.event('"config.reloaded"', after=seen)


def only(gateway: Gateway, key: Path) -> None:
    """From now on `key` alone may log in."""
    gateway.settings["access"] = {"mode": "keys", "keys": [key.with_suffix(".pub")]}
    reload(gateway)


def is_let_in(ssh: Child) -> bool:
    return (ssh.exit_code(), "key SHA256" in ssh.out.text) == (0, True)


def is_refused(ssh: Child) -> bool:
    return ssh.exit_code() == 255 and "Permission denied" in ssh.err.text and not ssh.out.text


@pytest.mark.parametrize("access", [None, "keys"])
def test_a_key_removed_by_a_reload_does_not_log_in_by_a_signature(
    gateway_with: Callable[..., Gateway],
    new_key: Callable[[], Path],
    locked: Path,
    tmp_path: Path,
    access: str | None,
) -> None:
    """The connection is older than the reload."""
    gateway = gateway_with(**({"mode": access, "keys": [locked.with_suffix(".pub")]} if access else {}))
    with asked_about(gateway, tmp_path, locked) as (person, ssh):
        only(gateway, new_key())
        person.types(PASSPHRASE)
        assert is_refused(ssh)


def test_a_key_removed_by_a_reload_does_not_log_in_by_a_question(
    gateway_with: Callable[..., Gateway], new_key: Callable[[], Path], locked: Path, tmp_path: Path
) -> None:
    """The second key is asked about after the reload, on a connection that is older."""
    second = new_key()
    keys = [locked.with_suffix(".pub"), second.with_suffix(".pub")]
    gateway = gateway_with(mode="keys", keys=keys)
    with asked_about(gateway, tmp_path, locked, "-i", str(second)) as (person, ssh):
        only(gateway, locked)
        person.types("not it")
        assert is_refused(ssh)


def test_a_key_added_by_a_reload_logs_in_on_an_older_connection(
    gateway_with: Callable[..., Gateway], new_key: Callable[[], Path], locked: Path, tmp_path: Path
) -> None:
    second = new_key()
    gateway = gateway_with(mode="keys", keys=[locked.with_suffix(".pub")])
    with asked_about(gateway, tmp_path, locked, "-i", str(second)) as (person, ssh):
        only(gateway, second)
        person.types("not it")
        assert is_let_in(ssh)


def test_no_client_logs_in_keyless_after_a_reload_to_keys_mode(
    gateway_with: Callable[..., Gateway], new_key: Callable[[], Path], locked: Path, tmp_path: Path
) -> None:
    """Where anyone may log in, ssh tries keyboard-interactive when its keys have failed."""
    gateway = gateway_with()
    with asked_about(gateway, tmp_path, locked) as (person, ssh):
        only(gateway, new_key())
        person.types("not it")
        assert is_refused(ssh)


def test_the_keys_at_the_start_are_reported_before_any_client_is_served(
    start_gateway: Callable[..., Gateway], key: Path
) -> None:
    """It was told at the first look after it: who had changed the file by then took it for the news of that change."""
    gateway = start_gateway(access={"mode": "keys", "keys": [key.with_suffix(".pub")]})
    told = [one["event"] for one in gateway.events() if one["event"] in ("keys.loaded", "gateway.started")]
    assert told == ["keys.loaded", "gateway.started"]


@pytest.mark.parametrize("taken_away", [False, True])
async def test_a_keyless_log_in_in_progress_is_checked_at_its_answer(
    gateway_with: Callable[..., Gateway], key: Path, *, taken_away: bool
) -> None:
    """Keyboard-interactive has two steps (RFC 4256 §3): a reload may come between the question and the answer."""
    gateway = gateway_with()
    asked, go = asyncio.Event(), asyncio.Event()

    class Slow(asyncssh.SSHClient):
        def kbdint_auth_requested(self) -> str:
            return ""

        async def kbdint_challenge_received(self, *_: object) -> list[str]:
            asked.set()
            await go.wait()
            return []

    async def log_in() -> bool:
        try:
            connection = await asyncssh.connect(
                "127.0.0.1", gateway.ports.ssh, username="dev", client_factory=Slow, client_keys=None,
                known_hosts=None, config=None, agent_path=None,
            )  # fmt: skip
        except asyncssh.PermissionDenied:
            return False
        connection.abort()
        return True

    async with asyncio.timeout(SECONDS), asyncio.TaskGroup() as tasks:
        came_in = tasks.create_task(log_in())
        await asked.wait()
        if taken_away:
            await asyncio.to_thread(only, gateway, key)
        go.set()
    assert came_in.result() is not taken_away


@pytest.mark.parametrize("replaced", ["in place", "at once"])
def test_a_key_that_leaves_the_file_between_question_and_signature_does_not_log_in(
    gateway_with: Callable[..., Gateway], new_key: Callable[[], Path], locked: Path, tmp_path: Path, replaced: str
) -> None:
    other = new_key().with_suffix(".pub")
    known = tmp_path / "known"
    shutil.copy(locked.with_suffix(".pub"), known)
    gateway = gateway_with(mode="keys", keys=[known])
    with asked_about(gateway, tmp_path, locked) as (person, ssh):
        seen = told_so_far(gateway)
        if replaced == "in place":
            known.write_bytes(other.read_bytes())
        else:
            other.rename(known)
        gateway.event('"keys.loaded"', after=seen)
        person.types(PASSPHRASE)
        assert is_refused(ssh)


def test_a_key_that_stays_in_the_file_logs_in_after_the_passphrase(
    gateway_with: Callable[..., Gateway], locked: Path, tmp_path: Path
) -> None:
    gateway = gateway_with(mode="keys", keys=[locked.with_suffix(".pub")])
    with asked_about(gateway, tmp_path, locked) as (person, ssh):
        person.types(PASSPHRASE)
        assert is_let_in(ssh)


def test_a_key_that_leaves_the_file_while_the_database_is_busy_does_not_log_in(
    gateway_with: Callable[..., Gateway], new_key: Callable[[], Path], tmp_path: Path
) -> None:
    """The signature was good; who has the key is asked of a database that somebody else is writing to (a backup)."""
    key, known = new_key(), tmp_path / "known"
    shutil.copy(key.with_suffix(".pub"), known)
    gateway = gateway_with(mode="keys", keys=[known])
    with closing(sqlite3.connect(gateway.state / "ferry.db", isolation_level=None)) as backup:
        backup.execute("BEGIN IMMEDIATE")
        with gateway.ssh(tmp_path, key).start("-v", words="whoami") as ssh:
            ssh.error_line("Server accepts key")
            seen = told_so_far(gateway)
            known.write_bytes(new_key().with_suffix(".pub").read_bytes())
            gateway.event('"keys.loaded"', after=seen)
            backup.execute("ROLLBACK")
            assert is_refused(ssh)


async def test_a_forward_is_decided_by_the_configuration_in_force_at_its_request(
    gateway_with: Callable[..., Gateway], key: Path
) -> None:
    gateway = gateway_with()
    async with raw_client(gateway, key) as client:
        assert await client.forward(b"before", 80)
        gateway.settings["limits"] = {"forwards_per_connection": 1}
        await asyncio.to_thread(reload, gateway)
        assert not await client.forward(b"after", 80)
        assert await client.lives()
        assert await client.cancel(b"before", 80)
        assert await client.forward(b"after", 80)
