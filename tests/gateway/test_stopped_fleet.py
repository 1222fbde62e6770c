"""What a gateway that does not run answers about its keys."""

from __future__ import annotations

from pathlib import Path

import pytest

from ferry.config.model import Config
from ferry.errors import InvalidInput
from ferry.gateway.audit_folder import stored_log
from ferry.gateway.kept import DATABASE
from ferry.gateway.stopped import answer
from ferry.store.writer import open_sqlite

KEY = "SHA256:n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg"
RULE = '[[rule]]\nwho = "web-1"\npublish.ports = "21000"\n'


def stopped(folder: Path, *, policy: Path | None = None) -> Config:
    state, keys = folder / "state", folder / "keys"
    open_sqlite(state / DATABASE, 0.1).close()
    keys.write_text("")
    access = {"mode": "keys", "keys": [keys], "policy": policy}
    return Config.model_validate({"state": state, "access": access, "tcp": {"purposes": {"ssh": "21000-21009"}}})


def acts(config: Config) -> list[str]:
    with stored_log(config.state) as log:
        return [entry.record.what for entry in log.entries() if entry.record.kind == "admin"]


async def test_what_changes_keys_has_a_record_and_what_reads_has_none(tmp_path: Path) -> None:
    config = stopped(tmp_path)
    for action, wanted in (("ports", None), ("keys", None), ("rules", {"key": KEY, "name": "web-1"})):
        await answer(config, action, wanted)
    assert acts(config) == []
    await answer(config, "enrol", {"name": "web-1", "fingerprint": KEY, "algorithm": "ssh-ed25519", "listen": ["ssh"]})
    (act,) = acts(config)
    assert act.startswith("keys enrol name=web-1 ")
    assert [row["port"] for row in await answer(config, "ports", None)] == [21000]


@pytest.mark.parametrize(("text", "in_force"), [(None, None), (RULE, True), ("[[rule]]\nwho = 5\n", False)])
async def test_the_rules_for_a_key_are_those_of_the_policy_file_if_there_is_one(
    tmp_path: Path, text: str | None, *, in_force: bool | None
) -> None:
    policy = None
    if text is not None:
        policy = tmp_path / "policy.toml"
        policy.write_text(text)
    rules = await answer(stopped(tmp_path, policy=policy), "rules", {"key": KEY, "name": "web-1", "ports": [21000]})
    assert (rules and rules["in_force"]) is in_force
    if rules:
        assert ("who: " in rules["error"], len(rules["rules"])) == ((False, 1) if in_force else (True, 0))


async def test_a_new_key_takes_the_place_of_an_old_one(tmp_path: Path) -> None:
    config = stopped(tmp_path)
    await answer(config, "enrol", {"name": "web-1", "fingerprint": KEY, "algorithm": "ssh-ed25519", "listen": ["ssh"]})
    wanted = {"old": KEY, "name": "web-1", "new": "SHA256:new", "algorithm": "ssh-ed25519"}
    done = await answer(config, "replace", wanted)
    assert (done["name"], [one["label"] for one in done["held"]], done["named_in"]) == ("web-1", ["ssh"], [])
    assert [key["fingerprint"] for key in await answer(config, "keys", None)] == ["SHA256:new"]


async def test_ports_of_a_purpose_that_is_none_are_refused(tmp_path: Path) -> None:
    wanted = {"name": "web-1", "fingerprint": KEY, "algorithm": "ssh-ed25519", "listen": ["web"]}
    with pytest.raises(InvalidInput, match="there are no ports for 'web': the purposes are ssh"):
        await answer(stopped(tmp_path), "enrol", wanted)
