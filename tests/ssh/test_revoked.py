"""Whose key leaves the key files is sent away, not only kept from the next log-in."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from ferry.names import Fingerprint, Identity, IdentityId
from ferry.ssh.access import Anyone, Found
from ferry.ssh.revoked import Revoked
from gateway_process import Gateway

REVOKED_SECONDS = 2.0
LITTLE = 0.1


@dataclass(eq=False)
class Connection:
    identity: Identity


class Keys:
    """Access for some."""

    def __init__(self, *names: str, keyless: bool = False) -> None:
        self.names = set(names)
        self.keyless = keyless

    def key_name(self, fingerprint: Fingerprint) -> tuple[bool, str | None]:
        return fingerprint in self.names, None

    def read(self) -> Found | None:
        return None

    def use(self, found: Found | None) -> None:
        assert found is None


def connection(key: str | None) -> Connection:
    return Connection(Identity(IdentityId(f"of {key}"), None, Fingerprint(key) if key else None, anonymous=not key))


def test_a_key_has_to_be_missing_for_a_while() -> None:
    ann, ben, revoked = connection("ann"), connection("ben"), Revoked[Connection]()
    half, whole = Keys("ann"), Keys("ann", "ben")
    assert not revoked.look([ann, ben], half, 10)
    assert not revoked.look([ann, ben], half, 10 + REVOKED_SECONDS - LITTLE)
    assert not revoked.look([ann, ben], whole, 10 + REVOKED_SECONDS)
    assert not revoked.look([ann, ben], half, 20)
    assert revoked.look([ann, ben], half, 20 + REVOKED_SECONDS) == [ben]


@pytest.mark.parametrize(("access", "ended"), [(Keys(), True), (Keys(keyless=True), False), (Anyone(), False)])
def test_who_came_without_a_key_goes_when_only_keys_may_come(access: Keys | Anyone, ended: bool) -> None:
    nobody, revoked = connection(None), Revoked[Connection]()
    assert not revoked.look([nobody], access, 0)
    assert bool(revoked.look([nobody], access, REVOKED_SECONDS)) is ended


@pytest.mark.parametrize("way", ["its file is taken away", "a reload lets in others"])
def test_a_connection_whose_key_is_taken_away_ends_and_the_others_stay(
    start_gateway: Callable[..., Gateway], new_key: Callable[[], Path], tmp_path: Path, way: str
) -> None:
    goes, stays = new_key(), new_key()
    folder = tmp_path / "keys"
    folder.mkdir()
    for key in (goes, stays):
        (folder / key.with_suffix(".pub").name).write_bytes(key.with_suffix(".pub").read_bytes())
    gateway = start_gateway(access={"mode": "keys", "keys": [folder]})
    with (
        gateway.ssh(tmp_path, goes).start("-N", "-R", "goes:80:127.0.0.1:9") as revoked,
        gateway.ssh(tmp_path, stays).start("-R", "stays:80:127.0.0.1:9") as other,
    ):
        gateway.event('"tunnel.opened".*goes')
        other.line("^Forwarding HTTP")
        seen = gateway.log_lines
        if way == "its file is taken away":
            (folder / goes.with_suffix(".pub").name).unlink()
        else:
            gateway.settings["access"] = {"mode": "keys", "keys": [stays.with_suffix(".pub")]}
            gateway.write_config()
            gateway.running.signal(signal.SIGHUP)
        assert revoked.exit_code() == 255
        assert "your key may not log in here any more" in revoked.err.text
        assert gateway.event('"connection.closed"', after=seen)["reason"] == "your key may not log in here any more"
        assert gateway.ask("status")["counts"]["sessions"] == 1
        assert other.process.poll() is None
