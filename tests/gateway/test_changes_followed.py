"""What a running gateway does about key files and a policy that change, look by look."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncssh
import pytest

from ferry.config.model import Config
from ferry.errors import InvalidInput
from ferry.gateway.upkeep import Upkeep
from ferry.gateway.worker import Worker
from ferry.policy.rulebook import Rulebook
from ferry.ssh.access import KEYS_LOOKS_MORE, KeyAccess
from hand_clock import HandClock
from replaced_file import replace_file
from turns import until
from whole_gateway import config_of, whole_gateway

ALLOWED = '[[rule]]\nwho = "dev"\npublish.aliases = "laptop:22"\n'
NOTHING = '[[rule]]\nwho = "dev"\npublish.aliases = "desk:22"\n'


class Stage:
    """A gateway with one client, called dev, that publishes laptop:22."""

    def __init__(self, worker: Worker, clock: HandClock, folder: Path, client: asyncssh.SSHClientConnection) -> None:
        self.worker = worker
        self.clock = clock
        self.keys = folder / "keys"
        self.policy = folder / "policy.toml"
        self.client = client
        self.upkeep = Upkeep(worker)

    @property
    def tunnels(self) -> list[str]:
        return [tunnel.address for tunnel in self.worker.view.tunnels()]

    def said(self, event: str) -> int:
        return sum(each.name == event for each in self.worker.view.events.last())


@asynccontextmanager
async def stage(folder: Path, key: Path, policy: str | None = None) -> AsyncIterator[Stage]:
    access: dict[str, object] = {"mode": "keys", "keys": [folder / "keys"]}
    (folder / "keys").write_text(f"{key.with_suffix('.pub').read_text().strip()} name=dev\n")
    if policy is not None:
        (folder / "policy.toml").write_text(policy)
        access["policy"] = folder / "policy.toml"
    clock = HandClock()
    async with whole_gateway(config_of(folder, access=access), clock=clock) as worker:
        (ssh,) = worker.listening.bound()["ssh"]
        async with await asyncssh.connect(
            ssh.host, ssh.port, username="dev", client_keys=[str(key)], known_hosts=None, config=None, agent_path=None
        ) as client:
            await client.forward_remote_port("laptop", 22, "localhost", 9)
            yield Stage(worker, clock, folder, client)


async def test_a_key_that_is_missed_in_two_readings_is_out(tmp_path: Path, key: Path) -> None:
    async with stage(tmp_path, key) as on, asyncio.timeout(20):
        before = on.said("keys.loaded")
        replace_file(on.keys, "")
        while on.said("keys.loaded") == before:
            await on.upkeep.read_keys()
        for _ in range(KEYS_LOOKS_MORE + 1):  # the last one finds nothing new
            await on.upkeep.read_keys()
        assert not on.client.is_closed()
        on.clock.ahead += 1.0
        await on.upkeep.read_keys()
        await on.client.wait_closed()


async def test_a_policy_that_changes_is_followed_once_it_is_the_same_in_two_looks(tmp_path: Path, key: Path) -> None:
    async with stage(tmp_path, key, ALLOWED) as on:
        await on.upkeep.read_policy()
        before = on.said("policy.loaded")
        replace_file(on.policy, NOTHING)
        await on.upkeep.read_policy()
        assert (on.tunnels, on.said("policy.loaded")) == (["laptop:22"], before)
        await on.upkeep.read_policy()
        await until(lambda: on.tunnels == [])
        await on.upkeep.read_policy()
        assert on.said("policy.loaded") == before + 1


async def test_a_wrong_policy_is_told_once_and_changes_nothing(tmp_path: Path, key: Path) -> None:
    async with stage(tmp_path, key, ALLOWED) as on:
        replace_file(on.policy, "[[rule]]\nwho = 5\n")
        for _ in range(4):
            await on.upkeep.read_policy()
        assert (on.tunnels, on.said("policy.rejected")) == (["laptop:22"], 1)


async def test_a_rule_that_ends_is_followed_without_a_change(tmp_path: Path, key: Path) -> None:
    end = datetime.now(UTC) + timedelta(hours=1)
    async with stage(tmp_path, key, f"{ALLOWED}until = {end:%Y-%m-%dT%H:%M:%SZ}\n") as on:
        await on.upkeep.read_policy()
        assert on.tunnels == ["laptop:22"]
        on.clock.ahead += 3601.0
        await on.upkeep.read_policy()
        await until(lambda: on.tunnels == [])


@pytest.mark.parametrize("policy", [None, ALLOWED])
async def test_while_nothing_changes_no_client_is_looked_at(
    tmp_path: Path, key: Path, monkeypatch: pytest.MonkeyPatch, policy: str | None
) -> None:
    async with stage(tmp_path, key, policy) as on:
        looks: list[None] = []

        async def use_settings() -> None:
            looks.append(None)

        monkeypatch.setattr(on.worker.ssh, "use_settings", use_settings)
        for _ in range(3):
            await on.upkeep.read_policy()
        assert looks == []


async def test_a_policy_that_was_read_for_an_earlier_configuration_is_not_used(
    tmp_path: Path, key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reload has come in between."""
    async with stage(tmp_path, key, ALLOWED) as on:
        look = on.worker.policy.look

        def slow(config: Config, access: KeyAccess) -> Rulebook | InvalidInput | None:
            found = look(config, access)
            on.worker.in_force.use(config.model_copy())
            return found

        monkeypatch.setattr(on.worker.policy, "look", slow)
        replace_file(on.policy, NOTHING)
        for _ in range(3):
            await on.upkeep.read_policy()
        assert on.tunnels == ["laptop:22"]
