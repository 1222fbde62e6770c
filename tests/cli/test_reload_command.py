"""`ferry reload`, as an operator runs it beside a gateway."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter

from console_commands import run, running
from ferry.cli.reload import reload as reload_command
from ferry.errors import InvalidInput
from ferry_command import Ran, ferry
from gateway_process import Gateway
from ssh_command import make_key

RULES = '[[rule]]\nname = "all"\nwho = "*"\npublish.names = "*"\n'


class Reloaded:
    """A gateway with a file of keys and a policy file."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.keys, self.policy = folder, folder / "keys", folder / "policy.toml"
        self.keys.write_text(make_key(folder / "ann").with_suffix(".pub").read_text())
        self.policy.write_text(RULES)
        self.access = {"mode": "keys", "keys": [self.keys], "policy": self.policy}
        self.gateway = Gateway(folder, {"access": self.access})

    def __call__(self, *words: str, **sections: dict[str, Any]) -> Ran:
        self.gateway.settings = {"access": self.access, **sections}
        self.gateway.write_config()
        return ferry("reload", "--state", self.gateway.state, *words, cwd=self.folder)


@pytest.fixture(scope="module")
def modules_reload(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reloaded]:
    made = Reloaded(tmp_path_factory.mktemp("reloaded"))
    with made.gateway.serving():
        yield made


@pytest.fixture
def reload(modules_reload: Reloaded) -> Reloaded:
    """One with the configuration that it started with."""
    modules_reload.policy.write_text(RULES)
    assert modules_reload().code == 0
    return modules_reload


def said(ran: Ran) -> str:
    return " ".join((ran.out + ran.err).split())


def test_what_has_changed_is_told_and_is_in_force(reload: Reloaded) -> None:
    ran = reload(limits={"forwards_per_connection": 1, "visitors_per_tunnel": 5})
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines() == [
        "reloaded: changed: limits.forwards_per_connection, limits.visitors_per_tunnel",
        "from the next start on: limits.visitors_per_tunnel",
        f"policy: {reload.policy}, 1 rule",
    ]
    ssh = reload.gateway.ssh(reload.folder, reload.folder / "ann")
    with ssh.start("-R", "one:80:localhost:1", "-R", "two:80:localhost:1") as child:
        child.error_line("which is the limit")
    answer = json.loads(reload("--json").out)
    assert answer["changed"] == ["limits.forwards_per_connection", "limits.visitors_per_tunnel"]
    assert (answer["needs_restart"], answer["policy"]["rules"]) == ([], 1)
    assert said(reload()).startswith("reloaded: no value of the configuration has changed")
    acts = ferry("audit", "--json", "--state", reload.gateway.state, cwd=reload.folder).out
    assert '"what": "reload"' in acts


def test_a_mistake_is_told_with_its_line_and_changes_nothing(reload: Reloaded) -> None:
    ran = reload(limits={"forwards_per_connection": 0}, http={"head_timout": "3s"})
    assert (ran.code, ran.out) == (2, "")
    lines = (reload.folder / "ferry.toml").read_text().splitlines()
    number = next(number for number, line in enumerate(lines, 1) if "forwards_per_connection" in line)
    assert f"ferry.toml, line {number}: " in ran.err
    assert "did you mean http.head_timeout?" in said(ran) or "did you mean head_timeout?" in said(ran)
    assert said(ran).endswith("nothing has changed, and the configuration before stays in force")
    status = ferry("status", "--json", "--state", reload.gateway.state, cwd=reload.folder)
    assert not json.loads(status.out)["config"]["ok"]
    assert (
        "forwards_per_connection"
        in json.loads(reload("-o", "json", limits={"forwards_per_connection": 0}).err)["error"]
    )
    assert reload.gateway.ssh(reload.folder, reload.folder / "ann").run(words="whoami").code == 0


def test_a_policy_whose_test_fails_and_a_fixed_key_are_refused(reload: Reloaded) -> None:
    reload.policy.write_text(f'{RULES}[[test]]\nwho = "ann"\ndeny = "publish blog"\n')
    ran = reload()
    assert ran.code == 2
    assert f"{reload.policy}, line 7: the test of ann denies 'publish blog', and the rule 'all' (line 1)" in said(ran)
    reload.policy.write_text(RULES)
    file = reload.gateway.write_config()
    file.write_text(re.sub("^domain = .*", 'domain = "other.example"', file.read_text()))
    ran = ferry("reload", "--config", file, cwd=reload.folder)
    assert (ran.code, "domain cannot change while the gateway runs: restart it" in said(ran)) == (2, True)


def test_lines_of_keys_that_are_refused_do_not_stop_it_and_are_told(reload: Reloaded) -> None:
    whole = reload.keys.read_text()
    try:
        reload.keys.write_text(f"{whole}frobnicate ssh-ed25519 AAAA\n")
        ran = reload()
        assert (ran.code, f"refused: {reload.keys}, line 2: " in said(ran)) == (0, True)
        reload.keys.write_text(whole + "frobnicate ssh-ed25519 AAAA\n" * 25)  # RELOAD_MISTAKES and five more
        ran = reload()
        assert (ran.out + ran.err).count(f"refused: {reload.keys}, line ") == 20
        assert "refused: 5 more, which `ferry check-config` shows" in said(ran)
    finally:
        reload.keys.write_text(whole)


def test_without_a_gateway_it_says_where_it_looked(tmp_path: Path) -> None:
    ran = ferry("reload", "--state", tmp_path, cwd=tmp_path)
    assert (ran.code, "no running gateway found. Looked in" in ran.err) == (1, True)


async def test_all_that_a_gateway_says_is_printed(tmp_path: Path) -> None:
    where = ("--state", str(tmp_path))
    async with running(tmp_path) as gateway:
        assert (await run(reload_command, *where)).lines == [
            "reloaded: changed: drain",
            "from the next start on: log.format",
            "refused: /k/ann, line 2: no",
            "refused: 7 more, which `ferry check-config` shows",
            "note: a note",
        ]
        assert gateway.acts == [{"act": "reload", "by": gateway.acts[0]["by"], "done": True}]
        assert (await run(reload_command, *where, "--json")).json["notes"] == ["a note"]
        gateway.config_error = "ferry.toml, line 3: one\nferry.toml, line 4: two\x1b"
        refused = await run(reload_command, *where)
        assert isinstance(refused.error, InvalidInput)  # exit code 2
        assert str(refused.error).split("\n") == [
            "ferry.toml, line 3: one",
            "ferry.toml, line 4: two\\x1b",
            "nothing has changed, and the configuration before stays in force",
        ]


async def test_a_gateway_of_an_earlier_version_is_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ferry.console.app._reloading", lambda _state: APIRouter())
    async with running(tmp_path):
        answer = await run(reload_command, "--state", str(tmp_path))
        assert "is of an earlier version, which reads its configuration again at a signal alone" in str(answer.error)
