"""Keys that are added while a policy file is in force: the command says which rules decide, and which are missing."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ferry_command import Ran, ferry
from gateway_process import Gateway
from line_service import LineService
from replaced_file import replace_policy
from ssh_command import StockSsh, fingerprint, make_key, run


class Ruled:
    """A gateway with a key file, a policy file and two purposes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file, self.policy = folder / "authorized_keys", folder / "policy.toml"
        self.file.write_text("# people\n")
        self.gateway = Gateway(folder, {"access": {"mode": "keys", "keys": [self.file], "policy": self.policy}})
        ports = self.gateway.ports.loopback
        self.ssh_ports, self.service_ports = ports[:20], ports[20:]
        self.gateway.settings["tcp"] = {
            "purposes": {
                name: f"{of[0]}-{of[-1]}" for name, of in (("ssh", self.ssh_ports), ("service", self.service_ports))
            }
        }
        self.policy.write_text(
            '[tags]\nfleet = ["db-*"]\n\n[[rule]]\nname = "fleet"\nwho = ["tag:fleet"]\npublish.ports = ["ssh"]\n'
            'from = ["127.0.0.0/8"]\n\n[[rule]]\nname = "staff"\nwho = ["ann"]\nreach.aliases = ["db-*:22"]\n'
        )
        self.keys: dict[str, Path] = {}

    def key(self, name: str) -> Path:
        self.keys[name] = make_key(self.folder / name)
        return self.keys[name].with_suffix(".pub")

    def run(self, command: str, *arguments: str | Path) -> Ran:
        return ferry(command, *arguments, "--config", self.folder / "ferry.toml", cwd=self.folder)

    def add(self, name: str, *arguments: str | Path) -> Any:
        """`ferry keys add`, with its answer. Returns once the gateway knows the key."""
        seen = self.gateway.log_lines
        ran = self.run("keys", "add", name, self.key(name), *arguments, "--json")
        assert ran.code == 0, ran.err
        self.gateway.event('"keys.loaded"', after=seen)
        return json.loads(ran.out)

    def ssh(self, name: str) -> StockSsh:
        return self.gateway.ssh(self.folder, self.keys[name])


@pytest.fixture(scope="module")
def ruled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ruled]:
    made = Ruled(tmp_path_factory.mktemp("ruled"))
    with made.gateway.serving():
        yield made


def test_a_port_that_no_rule_allows_works_once_the_told_rules_are_in_the_file(ruled: Ruled, lines: LineService) -> None:
    ruled.add("ann")
    added = ruled.add("web-1", "--listen", f"service={lines.port}")
    port, policy = added["ports"][0]["port"], added["policy"]
    assert (added["permits"], policy["file"], policy["rules"], policy["allowed"]) == ([], str(ruled.policy), [], [])
    publish, reach = policy["missing"]
    assert publish["why"] == f"no rule lets web-1 publish port {port}"
    assert reach["why"] == f"no rule lets anybody reach port {port}"
    forward = ("-N", "-v", "-R", f"localhost:{port}:localhost:{lines.port}")
    assert "the operator's policy does not let you publish" in ruled.ssh("web-1").run(*forward).err
    rules = f"{ruled.policy.read_text()}\n{publish['write']}\n{reach['write']}"
    assert replace_policy(ruled.gateway, ruled.policy, rules)["rules"] == 4
    assert ruled.run("policy", "check").out == f"{ruled.policy}: 4 rules, 1 tag, 0 tests passed\n"
    with ruled.ssh("web-1").start(*forward) as machine:
        machine.error_line("remote forward success")
        reached = ruled.ssh("ann").command("-W", f"localhost:{port}")
        assert run(reached, folder=ruled.folder, stdin=b"hello\n").out == "HELLO\nbye\n"


def test_the_rules_that_decide_on_a_port_are_named(ruled: Ruled) -> None:
    ran = ruled.run("keys", "add", "db-1", ruled.key("db-1"), "--listen", "ssh")
    said = " ".join(ran.out.split())
    port = re.findall(r"ssh: port (\d+), for good", said)[0]
    assert (
        f"policy: rule 'fleet' lets db-1 publish port {port} from 127.0.0.0/8 only ({ruled.policy}, line 4) "
        f"policy: rule 'staff' lets ann reach the alias db-1:22 ({ruled.policy}, line 10) "
        f'policy: those whose line has a permitopen= need permitopen="localhost:{port}" in it too'
    ) in said
    assert "each needs" not in said
    assert "[[rule]]" not in said


def test_a_key_that_is_let_in_by_its_fingerprint_is_compared_with_the_rules(ruled: Ruled) -> None:
    """With a name for which a rule is, with one for which none is, and without one."""
    said = {}
    for name in ("db-7", "bob", ""):
        ruled.key(name or "nameless")
        key = ruled.keys[name or "nameless"]
        assert ruled.ssh(name or "nameless").run(words="whoami").code == 255
        ran = ruled.run("allow", fingerprint(key), *([name] if name else []))
        assert ran.code == 0, ran.err
        said[name] = " ".join(ran.out.partition("\n")[2].split())
    assert said["db-7"] == f"policy: the rules for db-7 are 'fleet' (line 4) in {ruled.policy}"
    assert said["bob"].startswith(f"In {ruled.policy}, for no rule is for bob, so it may log in, and publish and reach")
    assert f'who = ["{fingerprint(key)}"]' in said[""]


def test_a_policy_that_is_not_in_force_is_told(ruled: Ruled) -> None:
    before = ruled.policy.read_text()
    try:
        replace_policy(ruled.gateway, ruled.policy, f"{before}[[rule]\n", "rejected")
        added = ruled.add("db-8", "--listen", "ssh")["policy"]
        assert "policy.toml, line" in added["error"]
        assert [rule["name"] for rule in added["rules"]] == ["fleet"]
    finally:
        replace_policy(ruled.gateway, ruled.policy, f"{before}\n")
