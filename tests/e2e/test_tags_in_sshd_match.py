"""`[[sshd.match]]` by tag: the tags of the policy file decide which settings count, and so does a change of that file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ferry_command import ferry
from gateway_process import Gateway
from line_service import LineService, ask
from replaced_file import replace_policy
from ssh_command import StockSsh, make_key

RULE = '\n[[rule]]\nwho = "*"\npublish.ports = "*"\n'
TAGS = '[tags]\nlocked = ["web-9"]\nstaff = ["ann"]\n'


class Tagged:
    """A gateway with a policy file, whose tag `locked` opens nothing with -R."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.policy = folder, folder / "policy.toml"
        keys = folder / "authorized_keys"
        access = {"mode": "keys", "keys": [keys], "policy": self.policy}
        match = [{"tag": ["locked"], "allow_tcp_forwarding": "local"}]
        self.gateway = Gateway(folder, {"access": access, "sshd": {"match": match}})
        self.keys = {name: make_key(folder / name, comment=f"name={name}") for name in ("web-1", "web-2")}
        keys.write_text("".join(key.with_suffix(".pub").read_text() for key in self.keys.values()))
        self.policy.write_text(TAGS + RULE)

    def change(self, tags: str, outcome: str = "loaded") -> dict[str, object]:
        """Write other tags, and what the gateway says of the file."""
        return replace_policy(self.gateway, self.policy, tags + RULE, outcome)

    def ssh(self, name: str) -> StockSsh:
        return self.gateway.ssh(self.folder, self.keys[name])


@pytest.fixture(scope="module")
def modules_tagged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tagged]:
    made = Tagged(tmp_path_factory.mktemp("tagged"))
    with made.gateway.serving():
        yield made


@pytest.fixture
def tagged(modules_tagged: Tagged) -> Iterator[Tagged]:
    yield modules_tagged
    if modules_tagged.policy.read_text() != TAGS + RULE:
        modules_tagged.change(TAGS)


def test_a_change_of_a_tag_closes_what_its_settings_forbid_and_nothing_else(tagged: Tagged, lines: LineService) -> None:
    goes, stays = (next(tagged.gateway.public_ports) for _ in range(2))
    target = f"localhost:{lines.port}"
    with (
        tagged.ssh("web-1").start("-R", f"{goes}:{target}") as locked,
        tagged.ssh("web-2").start("-R", f"{stays}:{target}") as free,
    ):
        for child in (locked, free):
            child.line("^Forwarding TCP")
        tagged.change(TAGS.replace('"web-9"', '"web-9", "web-1"'))
        locked.line(f"port {goes} was closed: the operator does not let you open anything with -R")
        assert ask(stays, b"hello\n") == b"HELLO\nbye\n"
        refused = tagged.ssh("web-1").run("-N", "-R", f"{goes}:{target}")
        assert "the operator does not let you open anything with -R (AllowTcpForwarding)" in refused.err
    told = tagged.gateway.event(rf'"tunnel\.refused".*"-R {goes}"')
    rule = str(told["rule"])
    assert rule.startswith(f"{tagged.folder}/ferry.toml, line ")
    assert rule.endswith(": sshd.match 1: allow_tcp_forwarding")
    words = ("policy", "explain", "--who", "web-1", "--publish", str(goes), "--config", "ferry.toml")
    ran = ferry(*words, cwd=tagged.folder)
    assert (ran.code, ": sshd.match 1: allow_tcp_forwarding)" in " ".join(ran.out.split())) == (1, True)


def test_a_policy_file_without_the_tag_changes_nothing(tagged: Tagged) -> None:
    why = "[tags] has no locked, and sshd.match 1 is for it: did you mean locke?"
    assert why in str(tagged.change('[tags]\nlocke = ["web-1"]\n', "rejected")["error"])
    ran = ferry("policy", "check", tagged.policy, "--config", "ferry.toml", cwd=tagged.folder)
    assert (ran.code, why in " ".join(ran.err.split())) == (2, True)


def test_a_reload_with_a_tag_that_nobody_has_named_is_refused(tagged: Tagged) -> None:
    before = dict(tagged.gateway.settings)
    try:
        tagged.gateway.settings = {**before, "sshd": {"match": [{"tag": ["!staf"], "max_sessions": 0}]}}
        rejected = tagged.gateway.reload("rejected")
        assert "[tags] has no staf, and sshd.match 1 is for it: did you mean staff?" in str(rejected["error"])
    finally:
        tagged.gateway.settings = before
        tagged.gateway.write_config()
