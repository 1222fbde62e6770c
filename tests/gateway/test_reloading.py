"""What SIGHUP does to a gateway that serves."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from ferry import tasks
from ferry.config.model import Config
from ferry.edge.server import LoopServer
from ferry.gateway.reloading import Reloader
from ferry.gateway.worker import Worker
from ferry.observe.events import Event
from ferry.observe.observer import Observation
from ferry.observe.texts import shown_fields
from turns import turns, until
from whole_gateway import config_of, observed, whole_gateway


async def reloaded(worker: Worker, config: Config, observation: Observation) -> Event:
    """What the gateway says of it."""
    again = asyncio.Event()
    again.set()
    with observation.events.subscribe() as events:
        task = tasks.spawn("reload", Reloader(lambda: config, worker, observation).at_each(again))
        async with asyncio.timeout(20):
            said = await anext(event async for event in events if event.name.startswith("config."))
        task.cancel()
        await asyncio.wait([task])
    return said


@pytest.mark.parametrize("field", ["domain", "state"])
async def test_the_domain_and_the_state_cannot_change(tmp_path: Path, field: str) -> None:
    """Names are below the domain, and the state folder is open."""
    config = config_of(tmp_path)
    with observed() as observation:
        async with whole_gateway(config, observation) as worker:
            other = Config.model_validate(dict(config) | {field: "other"})
            said = await reloaded(worker, other, observation)
            assert shown_fields(said.fields)["error"] == f"{field} cannot change while the gateway runs: restart it"
            assert worker.in_force.config is config


async def test_systemctl_status_says_why_a_reload_was_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text('[[rule]]\nwho = "a b"\npublish.ports = "*"\n')
    wrong = config_of(tmp_path, access={"mode": "anyone", "policy": policy})
    with observed() as observation, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        async with whole_gateway(config_of(tmp_path), observation) as worker:
            systemd.bind(str(tmp_path / "notify"))
            monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
            for config, status in ((wrong, f"{policy}, line 2: who: 'a b' is nobody"), (config_of(tmp_path), "")):
                await reloaded(worker, config, observation)
                assert systemd.recv(500) == b"RELOADING=1"
                ready, _, said = systemd.recv(500).decode().partition("\n")
                assert ready == "READY=1"
                assert said.startswith(
                    f"STATUS=The last reload was refused, and changed nothing: {status}" if status else "STATUS="
                )
                assert bool(said.removeprefix("STATUS=")) is bool(status)


async def test_all_other_settings_change_on_reload(tmp_path: Path) -> None:
    changed = config_of(tmp_path, names={"reserved": ["mine"]}, log={"level": "error"}).model_copy(
        update={"abuse_contact": "a@example.com"}
    )
    with observed() as observation:
        async with whole_gateway(config_of(tmp_path), observation) as worker:
            said = await reloaded(worker, changed, observation)
            assert (said.name, worker.settings.forwards.rules.reserved_names) == (
                "config.reloaded",
                frozenset({"mine"}),
            )
            assert worker.http.shared.own_page().abuse_contact == "a@example.com"


class LateServer(LoopServer):
    """Others have their turn while it starts."""

    async def start(self) -> None:
        await turns()
        await super().start()


async def test_everything_comes_into_force_in_one_turn(
    tmp_path: Path, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So nobody is served by two configurations, also while new listeners open."""
    monkeypatch.setattr("ferry.gateway.listening.server_on", LateServer)
    before = config_of(tmp_path)
    after = config_of(
        tmp_path,
        names={"reserved": ["mine"]},
        audit={"required": True},
        http={"listen": [f"127.0.0.1:{free_port}"]},
        ssh={"listen": [f"127.0.0.2:{free_port}"]},
    )
    with observed() as observation:
        async with whole_gateway(before, observation) as worker:
            visits = worker.visits.policy
            seen: list[set[bool]] = []

            async def look() -> None:
                seen.append(
                    {
                        worker.in_force.config is after,
                        worker.settings.forwards.rules.reserved_names == frozenset({"mine"}),
                        worker.kept.audit.required,
                        worker.visits.policy is not visits,
                    }
                )

            looking = tasks.spawn("look", tasks.repeat("look", 0, look))
            await Reloader(lambda: after, worker, observation).reload()
            await until(lambda: seen[-1] == {True})
            looking.cancel()
            await asyncio.wait([looking])
            assert seen[0] == {False}
            assert {False, True} not in seen
            assert [str(endpoint) for endpoint in worker.listening.bound()["http"]] == [f"127.0.0.1:{free_port}"]
