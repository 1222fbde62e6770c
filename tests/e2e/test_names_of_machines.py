"""The name of a key leads to its holder alone, with stock ssh: while a machine is away nobody takes its place."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ferry_command import ferry
from gateway_process import Gateway
from line_service import LineService
from replaced_file import replace_keys
from ssh_command import StockSsh, make_key, run

OTHERS = "is the name of another machine: choose another alias"


class Fleet:
    """A gateway with a machine, people, and a file for each login name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "authorized_keys"
        (folder / "of").mkdir()
        self.gateway = Gateway(folder, {"access": {"mode": "keys", "keys": [folder / "of" / "%u", self.file]}})
        self.ports = self.gateway.ports.loopback
        self.keys: dict[str, Path] = {}

    def line(self, key: str, options: str = "", comment: str = "") -> str:
        """A line for a key, which is made if it is new."""
        if key not in self.keys:
            self.keys[key] = make_key(self.folder / key)
        algorithm, encoded, *_ = self.keys[key].with_suffix(".pub").read_text().split()
        return f"{options} {algorithm} {encoded} {comment}".strip() + "\n"

    def ssh(self, key: str) -> StockSsh:
        return self.gateway.ssh(self.folder, self.keys[key])

    def answer(self, host: str, port: int = 22) -> tuple[str, str]:
        """What carl reads through `ssh -W` after a line, and what ssh says."""
        ended = run(self.ssh("carl").command("-W", f"{host}:{port}"), folder=self.folder, stdin=b"hello\n")
        return ended.out, ended.err

    def policy(self, *words: str | Path) -> tuple[int, str]:
        """`ferry policy`: the exit code, and the text on one line."""
        ran = ferry("policy", *words, "--config", self.folder / "ferry.toml", cwd=self.folder)
        return ran.code, " ".join((ran.out + ran.err).split())


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    made = Fleet(tmp_path_factory.mktemp("names"))
    made.file.write_text(
        made.line("web-2", f'restrict,port-forwarding,permitlisten="localhost:{made.ports[0]}"', "name=web-2")
        + made.line("ann", "", "name=ann")
        + made.line("carl", 'permitopen="web-2:22",permitopen="web-9:22"', "name=carl")
        + made.line("dora", 'permitopen="web-2:5432"', "name=dora")
        + f"#disabled {made.line('web-3', '', 'name=web-3')}"
        + made.line("web-4", "no-such-option", "name=web-4")
    )
    with made.gateway.serving():
        yield made


@pytest.mark.parametrize("name", ["web-2", "WEB-2", "web-3", "web-4"])
def test_an_alias_with_the_name_of_another_key_is_refused(fleet: Fleet, lines: LineService, name: str) -> None:
    """Also if the line of that key lets nobody in."""
    ended = fleet.ssh("ann").run("-N", "-R", f"{name}:22:localhost:{lines.port}")
    assert (ended.code, f"Refused -R {name}:22: {name.lower()} {OTHERS}" in ended.err) == (255, True), ended.err


def test_what_is_asked_in_advance_has_the_same_answer(fleet: Fleet) -> None:
    explained = fleet.ssh("ann").run(words="explain -R web-3:22:localhost:9").out
    assert f"web-3 {OTHERS}" in " ".join(explained.split())
    code, text = fleet.policy("explain", "--who", "ann", "--publish", "web-3:22")
    assert (code, text.startswith("no: ")) == (1, True)
    assert f"web-3 is the name of another key, and nobody else has an alias of that name ({fleet.file}, line 5)" in text
    assert fleet.policy("explain", "--who", "ann", "--publish", "ann:22")[0] == 0
    assert fleet.policy("explain", "--who", "ann", "--publish", "laptop:22")[0] == 0
    assert fleet.policy("who-can", "--publish", "web-3:22") == (1, "nobody may publish the alias web-3:22")
    code, text = fleet.policy("who-can", "--publish", "ann:22")
    assert (code, "ann SHA256:" in text, "carl" in text) == (0, True, False)


def test_a_test_of_the_policy_file_has_the_same_answer(fleet: Fleet) -> None:
    policy = fleet.folder / "policy.toml"
    rule = '[[rule]]\nname = "all"\nwho = ["*"]\npublish.aliases = ["*:22"]\nreach.hosts = ["web-*:22", "*.localhost:22"]\n[[test]]\nwho = "ann"\n'
    policy.write_text(
        f'{rule}accept = ["publish ann:22", "reach web-8:22"]\ndeny = ["publish web-3:22", "reach web-3:22", "reach web-3.localhost:22"]\n'
    )
    code, text = fleet.policy("check", policy)
    assert (code, "1 rule, 0 tags, 5 tests passed" in text) == (0, True), text
    asked = ("explain", policy, "--who", "ann", "--reach")
    assert [fleet.policy(*asked, f"{name}:22")[0] for name in ("web-8", "web-3", "web-3.localhost")] == [0, 1, 1]
    policy.write_text(f'{rule}accept = ["publish web-3:22"]\n')
    code, text = fleet.policy("check", policy)
    assert code == 1
    assert (
        "accepts 'publish web-3:22', and web-3 is the name of another key, and nobody else has an alias of that name "
        f"({fleet.file}, line 5): move the example to deny" in text
    )


def test_while_a_machine_is_away_its_name_leads_nowhere(fleet: Fleet, lines: LineService) -> None:
    """Neither to an alias of somebody else, nor to a host of the network that has this name."""
    port = fleet.ports[0]
    with fleet.ssh("web-2").start("-N", "-v", "-R", f"localhost:{port}:localhost:{lines.port}") as child:
        child.error_line("remote forward success")
        assert fleet.answer("web-2")[0] == "HELLO\nbye\n"
        ended = fleet.ssh("ann").run("-N", "-R", f"web-2:22:localhost:{lines.port}")
        assert f"web-2 {OTHERS}" in ended.err
        said = fleet.ssh("dora").run("-W", "web-2:5432").err
        assert "the machine web-2 does not serve port 5432 here now" in said
    fleet.gateway.event(f'"tunnel.closed".*"port {port}"')
    out, said = fleet.answer("web-2")
    assert (out, "the machine web-2 does not serve port 22 here now" in said) == ("", True), said
    explained = " ".join(fleet.ssh("carl").run(words="explain -W web-2:22").out.split())
    assert explained.startswith("no: -W web-2:22: the machine web-2 does not serve port 22 here now"), explained


def test_who_is_not_named_learns_of_no_name(fleet: Fleet) -> None:
    said = [fleet.ssh("ann").run("-W", f"{name}:22").err.replace(name, "NAME") for name in ("web-3", "nobody")]
    assert said[0] == said[1]


def test_an_alias_gives_way_to_the_machine_that_the_operator_gives_its_name(fleet: Fleet, lines: LineService) -> None:
    written = fleet.file.read_text()
    with fleet.ssh("ann").start(
        "-R", f"web-9:22:localhost:{lines.port}", "-R", f"annex:22:localhost:{lines.port}"
    ) as child:
        child.line("Forwarding private alias annex:22")
        assert fleet.answer("web-9")[0] == "HELLO\nbye\n"
        replace_keys(fleet.gateway, fleet.file, written + fleet.line("web-9", "", "name=web-9"))
        child.line(f"web-9:22 was closed: web-9 {OTHERS}")
        out, said = fleet.answer("web-9")
        assert (out, "the machine web-9 does not serve" in said) == ("", True)
        assert fleet.ssh("ann").run("-W", "annex:22").code == 0  # the other tunnel of the connection goes on
        with fleet.ssh("web-9").start("-N", "-v", "-R", f"web-9:22:localhost:{lines.port}") as machine:
            machine.error_line("remote forward success")
            assert fleet.answer("web-9")[0] == "HELLO\nbye\n"
    replace_keys(fleet.gateway, fleet.file, written)


def test_a_name_that_the_gateway_keeps_for_a_key_is_its_keys(fleet: Fleet, lines: LineService) -> None:
    """`ferry keys add --user`: the line in the file of a login name has no name."""
    fleet.line("web-7")
    with fleet.ssh("ann").start("-R", f"web-7:22:localhost:{lines.port}") as child:
        child.line("Forwarding private alias web-7:22")
        seen = fleet.gateway.log_lines
        public = fleet.keys["web-7"].with_suffix(".pub")
        added = ferry(
            "keys", "add", "web-7", public, "--user", "root", "--config", fleet.folder / "ferry.toml", cwd=fleet.folder
        )
        assert added.code == 0, added.err
        fleet.gateway.event('"keys.loaded"', after=seen)
        child.line(f"web-7:22 was closed: web-7 {OTHERS}")
    ended = fleet.ssh("ann").run("-N", "-R", f"web-7:22:localhost:{lines.port}")
    assert f"Refused -R web-7:22: web-7 {OTHERS}" in ended.err
    with fleet.ssh("web-7").start("-N", "-v", "-R", f"web-7:22:localhost:{lines.port}", user="root") as child:
        child.error_line("remote forward success")
    fleet.gateway.stop()
    fleet.gateway.start()
    ended = fleet.ssh("ann").run("-N", "-R", f"web-7:22:localhost:{lines.port}")
    assert f"Refused -R web-7:22: web-7 {OTHERS}" in ended.err
