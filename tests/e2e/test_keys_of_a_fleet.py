"""Machines of a fleet with stock ssh: each has its port, before it first comes and for good."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from child_process import Child
from ferry_command import ferry
from gateway_process import Gateway
from line_service import LineService, ask
from replaced_file import replace_keys
from ssh_command import StockSsh, environment, fingerprint, make_key, public_key, run
from sshd_program import listening, own_user
from turns import until


class Fleet:
    """A gateway with a key file, and ranges for two purposes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "authorized_keys"
        self.gateway = Gateway(folder, {"access": {"mode": "keys", "keys": [self.file]}})
        ports = self.gateway.ports.loopback
        self.ssh_ports, self.service_ports = ports[:20], ports[20:]
        purposes = {
            name: f"{of[0]}-{of[-1]}" for name, of in (("ssh", self.ssh_ports), ("service", self.service_ports))
        }
        self.gateway.settings["tcp"] = {"purposes": purposes}
        self.keys: dict[str, Path] = {}
        self.seen = 0

    def line(self, name: str, options: str, comment: str = "") -> str:
        """A line for a new key."""
        self.keys[name] = make_key(self.folder / name)
        algorithm, encoded, *_ = self.keys[name].with_suffix(".pub").read_text().split()
        return f"{options} {algorithm} {encoded} {comment}".strip() + "\n"

    def ssh(self, name: str) -> StockSsh:
        return self.gateway.ssh(self.folder, self.keys[name])

    def table(self) -> dict[int, dict[str, Any]]:
        """`ferry ports`, by the port."""
        ran = ferry("ports", "--json", "--state", self.gateway.state, cwd=self.folder)
        assert ran.code == 0, ran.err
        return {row["port"]: row for row in json.loads(ran.out)}

    def run(self, *arguments: str | Path) -> Any:
        """`ferry keys`, with its answer."""
        self.seen = self.gateway.log_lines
        ran = ferry("keys", *arguments, "--json", "--config", self.folder / "ferry.toml", cwd=self.folder)
        assert ran.code == 0, ran.err
        return json.loads(ran.out)

    def loaded(self) -> None:
        """Wait until the gateway has read the key file after the last command, which has changed the number of keys."""
        keys = sum(not line.startswith("#") for line in self.file.read_text().splitlines())
        self.gateway.event(f'"keys.loaded".*"keys": {keys}[,}}]', after=self.seen)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    made = Fleet(tmp_path_factory.mktemp("fleet"))
    first, second, third, *_ = made.ssh_ports
    made.file.write_text(
        made.line("web-1", f'restrict,port-forwarding,permitlisten="{first}"', "root@web-1 name=web-1")
        + made.line("web-2", f'restrict,port-forwarding,permitlisten="localhost:{second}"', "root@web-2")
        + made.line("ann", "", "name=ann")
        + made.line("twin-1", f'restrict,port-forwarding,permitlisten="{made.ssh_ports[15]}"', "name=twin-1")
        + made.line("twin-2", f'restrict,port-forwarding,permitlisten="{made.ssh_ports[15]}"', "name=twin-2")
    )
    assert third
    with made.gateway.serving():
        yield made


def test_a_port_of_a_line_is_nobody_elses_before_its_key_has_come(fleet: Fleet, lines: LineService) -> None:
    second = fleet.ssh_ports[1]
    assert fleet.table()[second] | {"lines": []} == {
        "port": second, "label": "ssh", "host": None, "holder": fingerprint(fleet.keys["web-2"]), "state": "never seen",
        "since": None, "kept_until": None, "kept_for_good": True, "lines": [], "bound": [],
        "comment": "root@web-2",
    }  # fmt: skip
    ended = fleet.ssh("ann").run("-N", "-R", f"{second}:localhost:{lines.port}")
    assert (ended.code, f"Refused -R {second}: port {second} belongs to somebody else: ask for" in ended.err) == (
        255,
        True,
    )
    refused = fleet.gateway.event('"tunnel.refused".*port_kept')
    assert refused["rule"] == f"{fleet.file}, line 2: permitlisten"
    assert fingerprint(fleet.keys["web-2"]) in refused["detail"]


async def test_a_machine_has_its_port_and_a_wrong_one_is_refused_with_both_numbers(
    fleet: Fleet, lines: LineService
) -> None:
    first, second = fleet.ssh_ports[:2]
    target = f"localhost:{lines.port}"
    with fleet.ssh("web-1").start("-N", "-v", "-R", f"localhost:{first}:{target}") as child:
        child.error_line("remote forward success")
        assert ask(first, b"hello\n") == b"HELLO\nbye\n"
        row = fleet.table()[first]
        assert (row["state"], row["host"], row["label"], row["kept_for_good"]) == ("up", "web-1", "ssh", True)
        assert row["holder"] == f"web-1 ({fingerprint(fleet.keys['web-1'])})"
        ended = fleet.ssh("web-1").run("-N", "-R", f"{second}:{target}")
        assert (ended.code, f"on {first} only (permitlisten=), not on localhost:{second}" in ended.err) == (255, True)
        logged = fleet.gateway.event('"tunnel.refused".*key_listen')
        assert str(first) in logged["detail"]
        assert str(second) in logged["detail"]
    await until(lambda: fleet.table()[first]["state"] == "down", every=0.2)


def test_a_port_that_a_key_has_asked_for_is_its_own_for_good(fleet: Fleet, lines: LineService) -> None:
    third, taken = fleet.ssh_ports[2], fleet.ssh_ports[0]
    with fleet.ssh("ann").start("-N", "-v", "-R", f"{third}:localhost:{lines.port}") as child:
        child.error_line("remote forward success")
        row = fleet.table()[third]
        assert (row["state"], row["kept_for_good"], row["kept_until"], row["lines"]) == ("up", True, None, [])
    ended = fleet.ssh("ann").run("-N", "-R", f"{taken}:localhost:{lines.port}")
    assert ended.code == 255
    assert (
        f"Refused -R {taken}: port {taken} belongs to somebody else, and yours is {third}: write -R {third}:..."
        in ended.err
    )
    logged = fleet.gateway.event(f'"tunnel.refused".*its own: {third}')
    assert str(taken) in logged["detail"]
    assert f"port {third}" in fleet.ssh("ann").run(words="names").out
    assert "kept for good" in fleet.ssh("ann").run(words="names").out


def test_a_port_on_two_lines_is_refused_with_both(fleet: Fleet, lines: LineService) -> None:
    """The advice was to write what had been written."""
    port, target = fleet.ssh_ports[15], f"localhost:{lines.port}"
    with fleet.ssh("twin-1").start("-N", "-v", "-R", f"{port}:{target}") as child:
        child.error_line("remote forward success")
        ended = fleet.ssh("twin-2").run("-N", "-R", f"{port}:{target}")
    assert ended.code == 255
    why = f"port {port} is given to two keys, and the other one has it: only the operator can give you another"
    assert f"Refused -R {port}: {why}" in ended.err
    logged = fleet.gateway.event(f'"tunnel.refused".*"asked":\\s*"-R {port}"')
    assert "held by twin-1 (SHA256:" in str(logged["detail"])
    assert f"in several lines ({fleet.file}, line 4; {fleet.file}, line 5): change it in one" in str(logged["detail"])


def test_the_port_of_a_line_that_an_editor_gave_another_key_is_that_keys(fleet: Fleet, lines: LineService) -> None:
    """As it was once kept for good, nobody could have it: the old key by its line, the new one by the database."""
    port, written = fleet.ssh_ports[14], fleet.file.read_text()
    line = fleet.line("old", f'restrict,port-forwarding,permitlisten="{port}"', "root@web-5")
    old = (*line.split()[1:3],)
    replace_keys(fleet.gateway, fleet.file, written + line)
    with fleet.ssh("old").start("-N", "-v", "-R", f"{port}:localhost:{lines.port}") as child:
        child.error_line("remote forward success")
    new = fleet.line("new", "").split()
    replace_keys(fleet.gateway, fleet.file, written + f"#disabled {line}" + line.replace(" ".join(old), " ".join(new)))
    ended = fleet.ssh("new").run("-N", "-R", f"{port}:localhost:{lines.port}")
    assert f"Refused -R {port}: port {port} is given to you, and another key still has it: tell" in ended.err
    replace_keys(fleet.gateway, fleet.file, written + line.replace(" ".join(old), " ".join(new)))
    with fleet.ssh("new").start("-N", "-v", "-R", f"{port}:localhost:{lines.port}") as child:
        child.error_line("remote forward success")
        row = fleet.table()[port]
        assert (row["state"], row["holder"]) == ("up", fingerprint(fleet.keys["new"]))
    replace_keys(fleet.gateway, fleet.file, written)


def test_a_refused_reach_names_the_holder_and_the_option_that_is_missing(fleet: Fleet, lines: LineService) -> None:
    second = fleet.ssh_ports[1]
    with fleet.ssh("web-2").start("-N", "-v", "-R", f"localhost:{second}:localhost:{lines.port}") as child:
        child.error_line("remote forward success")
        ended = fleet.ssh("ann").run("-W", f"localhost:{second}")
    assert "administratively prohibited" in ended.err
    logged = fleet.gateway.event(f'"reach.refused".*{second}')
    assert str(logged["detail"]).endswith(
        f"asked for port {second}, which belongs to {fingerprint(fleet.keys['web-2'])}: its line has no "
        f'permitopen="localhost:{second}"'
    )


async def test_a_session_says_how_its_machine_is_called(fleet: Fleet, lines: LineService) -> None:
    port = fleet.service_ports[0]
    forward = ("-o", "SendEnv=SELF_REMOTE_HOST", "-R", f"{port}:localhost:{lines.port}")
    with fleet.ssh("ann").start(*forward, env={"SELF_REMOTE_HOST": "desk\x1b[2J" + "x" * 300}) as child:
        child.line("^Forwarding TCP")
        await until(lambda: fleet.table()[port]["host"] != "ann", every=0.2)
        row = fleet.table()[port]
        assert (row["host"][:11], len(row["host"]) <= 110, row["label"]) == ("desk\\x1b[2J", True, "service")
    assert fleet.table()[port]["holder"].startswith("ann (")


# --- ferry keys, beside a gateway that runs


@pytest.mark.parametrize("form", ["command", "machine_systemd_unit", "machine_ssh_config"])
def test_an_added_machine_connects_with_what_was_printed_for_it(fleet: Fleet, lines: LineService, form: str) -> None:
    name = form.replace("_", "-")
    key = fleet.keys[name] = make_key(fleet.folder / name)
    added = fleet.run("add", name, key.with_suffix(".pub"), "--listen", f"service={lines.port}")
    (given,) = added["ports"]
    port = given["port"]
    assert (given["label"], port in fleet.service_ports) == ("service", True)
    row = fleet.table()[port]
    assert (row["state"], row["host"], row["holder"]) == ("never seen", name, f"{name} ({fingerprint(key)})")
    fleet.loaded()
    text = added[form].replace("/etc/ssh/ssh_host_ed25519_key", str(key))
    config = fleet.folder / f"{name}.config"
    config.write_text(text if form == "machine_ssh_config" else "")
    match form:
        case "command":
            words = [*shlex.split(text), "-i", str(key)]
        case "machine_systemd_unit":
            words = shlex.split(re.findall("^ExecStart=(.*)$", text, re.MULTILINE)[0])
        case _:
            words = ["ssh", "-N", "ferry"]
    options = [word for word in fleet.ssh(name).options if word not in ("-F", "none")]
    with Child(
        [words[0], "-F", str(config), "-v", *options, *words[1:]], env=environment(fleet.folder), cwd=fleet.folder
    ) as child:
        child.error_line("remote forward success")
        assert ask(port, b"hello\n") == b"HELLO\nbye\n"
        assert fleet.table()[port]["state"] == "up"


def test_a_wrong_argument_that_the_gateway_finds_is_one_of_the_command_line(fleet: Fleet) -> None:
    key = make_key(fleet.folder / "never").with_suffix(".pub")
    for listen in ("nope", "service:a b"):
        words = ("keys", "add", "never", key, "--listen", listen, "--config", fleet.folder / "ferry.toml")
        assert ferry(*words, cwd=fleet.folder).code == 2
    assert "never" not in fleet.file.read_text()


def test_people_reach_a_machine_with_the_ssh_config_that_was_printed(fleet: Fleet) -> None:
    """A real sshd stands behind the port."""
    key, carl = (make_key(fleet.folder / name) for name in ("db-9", "carl"))
    fleet.keys |= {"db-9": key, "carl": carl}
    sshd = fleet.gateway.ports.outside
    fleet.run("add", "carl", carl.with_suffix(".pub"))
    added = fleet.run("add", "db-9", key.with_suffix(".pub"), "--listen", f"ssh={sshd}")
    (port,) = (one["port"] for one in added["ports"])
    assert added["permits"] == [f'permitopen="localhost:{port}"']
    public = public_key(carl)
    fleet.loaded()
    replace_keys(fleet.gateway, fleet.file, fleet.file.read_text().replace(public, f"{added['permits'][0]} {public}"))
    config = fleet.folder / "people.config"
    config.write_text(
        f"IdentityFile {carl}\nIdentitiesOnly yes\nIdentityAgent none\nStrictHostKeyChecking accept-new\n"
        f"UserKnownHostsFile {fleet.folder}/known_hosts\nGlobalKnownHostsFile none\n{added['operator_ssh_config']}"
    )
    host_key = make_key(fleet.folder / "db-9-host-key")
    with (
        listening(fleet.folder, sshd, HostKey=host_key, AuthorizedKeysFile=carl.with_suffix(".pub")),
        fleet.ssh("db-9").start("-N", "-v", *shlex.split(added["command"])[2:4]) as machine,
    ):
        machine.error_line("remote forward success")
        command = ["ssh", "-F", str(config), f"{own_user()}@db-9", "echo here is $((20+1))"]
        ended = run(command, folder=fleet.folder)
    assert (ended.code, ended.out) == (0, "here is 21\n"), ended.err


async def test_a_disabled_machine_is_cut_off_and_may_come_back(fleet: Fleet) -> None:
    key = fleet.keys["db-2"] = make_key(fleet.folder / "db-2")
    port = fleet.run("add", "db-2", key.with_suffix(".pub"), "--listen", "ssh")["ports"][0]["port"]
    fleet.loaded()
    forward = ("-N", "-v", "-R", f"{port}:localhost:9")
    with fleet.ssh("db-2").start(*forward) as child:
        child.error_line("remote forward success")
        fleet.run("disable", "db-2")
        assert child.exit_code() == 255
        assert "your key may not log in here any more" in child.err.text
    assert fleet.ssh("db-2").run(*forward).code == 255
    fleet.run("enable", "db-2")
    fleet.loaded()
    with fleet.ssh("db-2").start(*forward) as child:
        child.error_line("remote forward success")


async def test_a_rekeyed_machine_has_its_port_and_the_old_key_is_cut_off(fleet: Fleet) -> None:
    old, new = (make_key(fleet.folder / name) for name in ("db-3-old", "db-3-new"))
    fleet.keys |= {"old": old, "new": new}
    port = fleet.run("add", "db-3", old.with_suffix(".pub"), "--listen", "ssh")["ports"][0]["port"]
    fleet.loaded()
    forward = ("-N", "-v", "-R", f"{port}:localhost:9")
    with fleet.ssh("old").start(*forward) as child:
        child.error_line("remote forward success")
        replaced = fleet.run("replace", "db-3", new.with_suffix(".pub"))
        assert [one["port"] for one in replaced["held"]] == [port]
        assert child.exit_code() == 255
    with fleet.ssh("new").start(*forward) as child:
        child.error_line("remote forward success")
        row = fleet.table()[port]
        assert (row["holder"], row["state"]) == (f"db-3 ({fingerprint(new)})", "up")
    assert fleet.ssh("old").run(*forward).code == 255
    told = fleet.gateway.event('"keys.replaced"')
    assert (told["identity"], told["old"], told["key"]) == ("db-3", fingerprint(old), fingerprint(new))
    gone = fleet.run("remove", "db-3")
    assert fleet.gateway.event('"keys.forgotten"')["freed"] == f"tcp::{port}"
    assert ([one["port"] for one in gone["held"]], gone["freed"]) == ([port], True)
    await until(lambda: port not in fleet.table(), every=0.2)


def test_a_key_with_another_line_logs_in_until_the_line_that_is_named_goes_too(fleet: Fleet) -> None:
    stolen = fleet.keys["db-4"] = make_key(fleet.folder / "db-4")
    fleet.run("add", "db-4", stolen.with_suffix(".pub"))
    fleet.loaded()
    replace_keys(fleet.gateway, fleet.file, f"{fleet.file.read_text()}{public_key(stolen)} name=ann-too\n")
    number, seen = len(fleet.file.read_text().splitlines()), fleet.gateway.log_lines
    ran = ferry("keys", "disable", "db-4", "--config", fleet.folder / "ferry.toml", cwd=fleet.folder)
    fleet.gateway.event('"keys.loaded"', after=seen)
    said = f"still let in: {fingerprint(stolen)} by {fleet.file}, line {number} as ann-too"
    assert (ran.code, said in ran.err) == (1, True), ran.err
    assert fleet.ssh("db-4").run(words="whoami").code == 0
    fix = re.search(r"type `ferry (.+)`", ran.err)
    assert fix is not None
    seen = fleet.gateway.log_lines
    fleet.run(*fix[1].split()[1:])
    fleet.gateway.event('"keys.loaded"', after=seen)
    assert fleet.ssh("db-4").run(words="whoami").code == 255


async def test_a_machine_in_the_file_of_a_login_name_is_disabled_rekeyed_and_removed_by_its_name(
    tmp_path: Path,
) -> None:
    made = Fleet(tmp_path)
    (tmp_path / "keys.d").mkdir()
    made.gateway.settings["access"] = {"mode": "keys", "keys": [tmp_path / "keys.d" / "%u"]}
    made.keys = {name: make_key(tmp_path / name) for name in ("old", "new")}

    def is_in(name: str) -> bool:
        return "mach-9" in made.ssh(name).run(user="joe", words="whoami").out

    with made.gateway.serving():
        made.run("add", "mach-9", made.keys["old"].with_suffix(".pub"), "--listen", "ssh", "--user", "joe")
        await until(lambda: is_in("old"), every=0.2)
        made.run("disable", "mach-9")
        await until(lambda: not is_in("old"), every=0.2)
        made.run("enable", "mach-9")
        await until(lambda: is_in("old"), every=0.2)
        made.run("replace", "mach-9", made.keys["new"].with_suffix(".pub"))
        await until(lambda: is_in("new"), every=0.2)
        assert not is_in("old")
        gone = made.run("remove", "mach-9")
        assert [one["fingerprint"] for one in gone["removed"]] == [fingerprint(made.keys["new"])]
        await until(lambda: not is_in("new"), every=0.2)


async def test_a_key_that_sed_takes_out_of_a_folder_is_out_though_its_copy_is_there(tmp_path: Path) -> None:
    """Beside a folder in that folder, which `ferry keys` passes over."""
    made = Fleet(tmp_path)
    folder = tmp_path / "keys.d"
    (folder / "old").mkdir(parents=True)
    made.gateway.settings["access"] = {"mode": "keys", "keys": [folder]}
    file = folder / "fleet.keys"
    file.write_text(
        made.line("ann", "", "name=ann") + made.line("ben", "", "name=ben") + made.line("eve", "", "name=eve")
    )
    with made.gateway.serving():
        with made.ssh("ben").start("-N", "-v", "-R", f"{made.ssh_ports[0]}:localhost:9") as child:
            child.error_line("remote forward success")
            assert run(["sed", "-i.bak", "/name=ben/d", str(file)], folder=tmp_path).code == 0
            assert child.exit_code() == 255
        assert "name=ben" in (folder / "fleet.keys.bak").read_text()
        assert made.ssh("ben").run(words="whoami").code == 255
        assert made.gateway.event('"keys.unclear"')["path"] == f"{folder}/fleet.keys.bak"
        made.run("disable", "eve")
        await until(lambda: made.ssh("eve").run(words="whoami").code == 255, every=0.2)
        assert "ann" in made.ssh("ann").run(words="whoami").out
