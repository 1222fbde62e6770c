"""Options of keys in a key file, with stock ssh: what is allowed, and the texts that say why something is not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ferry_command import ferry
from gateway_process import Gateway
from line_service import LineService, ask
from ssh_command import Ended, StockSsh, make_key


class Bastion:
    """A gateway with one key for each line of its file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "authorized_keys"
        self.gateway = Gateway(
            folder, {"access": {"mode": "keys", "keys": [self.file]}, "session": {"request_log": False}}
        )
        port, other = self.gateway.ports.loopback[:2]
        self.port, self.other = port, other
        self.lines = {
            "closed": "restrict",
            "machine": f'restrict,port-forwarding,permitlisten="localhost:{port}"',
            "named": 'permitlisten="shop:80",permitopen="shop:22"',
            "silent": 'command="/bin/false"',
            "elsewhere": 'from="10.0.0.0/8,!127.0.0.1"',
            "here": 'from="127.0.0.0/8",no-pty,environment="A=b"',
            "expired": 'expiry-time="20200101Z"',
        }
        self.keys = {name: make_key(folder / name, comment=f"name={name}") for name in self.lines}
        self.file.write_text("".join(f"{options} {self.public(name)}" for name, options in self.lines.items()))

    def public(self, name: str) -> str:
        return self.keys[name].with_suffix(".pub").read_text()

    def ssh(self, name: str) -> StockSsh:
        return self.gateway.ssh(self.folder, self.keys[name])

    def run(self, name: str, *arguments: str, words: str = "") -> Ended:
        return self.ssh(name).run(*arguments, words=words)


@pytest.fixture(scope="module")
def bastion(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bastion]:
    made = Bastion(tmp_path_factory.mktemp("bastion"))
    with made.gateway.serving():
        yield made


def test_a_restricted_key_forwards_nothing_and_reads_why(bastion: Bastion) -> None:
    why = "your key may not forward anything (restrict): only the operator can add port-forwarding behind restrict in its line"
    ended = bastion.run("closed", "-N", "-R", f"{bastion.port}:localhost:9")
    assert (ended.code, f"Refused -R {bastion.port}: {why}" in ended.err) == (255, True), ended.err
    ended = bastion.run("closed", "-W", "laptop:22")
    assert f"administratively prohibited: {why}" in ended.err
    assert bastion.run("closed", words="whoami").out.startswith("closed with key ")
    refused = bastion.gateway.event('"tunnel.refused".*key_forwards')
    assert refused["rule"] == f"{bastion.file}, line 1: restrict"


def test_a_machine_gets_its_own_port_and_a_wrong_one_is_refused_with_both(bastion: Bastion, lines: LineService) -> None:
    target = f"localhost:{lines.port}"
    with bastion.ssh("machine").start("-N", "-v", "-R", f"localhost:{bastion.port}:{target}") as child:
        child.error_line("remote forward success")
        assert ask(bastion.port, b"hello\n") == b"HELLO\nbye\n"
        ended = bastion.run("machine", "-N", "-R", f"{bastion.other}:{target}")
        assert ended.code == 255
        assert (
            f"Refused -R {bastion.other}: your key may listen on localhost:{bastion.port} only (permitlisten=), not on "
            f"localhost:{bastion.other}: write -R {bastion.port}:..."
        ) in ended.err
        assert bastion.run("machine", "-N", "-R", f"*:{bastion.port}:{target}").code == 255
        assert child.running


def test_a_person_can_ask_what_a_key_may_do(bastion: Bastion) -> None:
    told = bastion.run("machine").out
    assert f"Your key may listen on localhost:{bastion.port} only (permitlisten=).\n" in told
    assert f"To forward: ssh -R {bastion.port}:localhost:3000 -p " in told
    told = bastion.run("closed").out
    assert "Your key may not forward anything (restrict).\n" in told
    assert "To forward" not in told
    assert bastion.run("closed", words="ls").out == "no tunnels of yours are up\n"


def test_a_name_needs_a_permit_of_its_own(bastion: Bastion) -> None:
    with bastion.ssh("named").start("-R", "shop:80:localhost:9") as child:
        child.line("^Forwarding HTTP")
    for asked in ("blog:80", "80", "shop:22"):
        ended = bastion.run("named", "-R", f"{asked}:localhost:9")
        assert ended.code == 1
        assert "your key may listen on shop:80 only (permitlisten=), not on" in ended.err
    ended = bastion.run("named", "-W", "laptop:22")
    assert "your key may reach shop:22 only (permitopen=), not laptop:22" in ended.err


def test_command_runs_nothing_and_leaves_forwards_alone(bastion: Bastion, lines: LineService) -> None:
    why = "your key runs no commands here (command=). Its forwards work: ssh -N -R ...\n"
    for words in ("", "ls", "whoami"):
        ended = bastion.run("silent", words=words)
        assert (ended.code, ended.out) == (1, "")
        assert ended.err.endswith(why)
    forward = ("-R", f"{bastion.other}:localhost:{lines.port}")
    for arguments in (("-N", "-v", *forward), ("-v", *forward)):
        with bastion.ssh("silent").start(*arguments) as child:
            child.error_line("remote forward success")
            assert ask(bastion.other, b"hello\n") == b"HELLO\nbye\n"


@pytest.mark.parametrize(
    ("name", "why", "number"),
    [
        ("elsewhere", "your key may not log in from 127.0.0.1 (from=)", 5),
        ("expired", "your key has expired (expiry-time=): ask the operator for a later time", 7),
    ],
)
def test_a_key_that_may_not_log_in_now_reads_why_with_batch_mode_too(
    bastion: Bastion, name: str, why: str, number: int
) -> None:
    seen = bastion.gateway.log_lines
    ended = bastion.run(name, "-o", "BatchMode=yes", "-N")
    read = [text for text in ended.err.splitlines() if text.startswith("ferry: ")]  # a first log-in notes the host key
    assert (ended.code, read[0]) == (255, f"ferry: {why}")
    denied = bastion.gateway.event('"keys.denied"', after=seen)
    assert str(denied["rule"]).startswith(f"{bastion.file}, line {number}: ")
    ended = bastion.run(name, words="whoami")
    assert ended.err.count(why) == 1
    assert "does not know your key" not in ended.err
    assert not ferry("allow", "--state", bastion.gateway.state, cwd=bastion.folder).out.count("ssh-ed25519")


def test_a_key_from_an_allowed_address_with_options_of_a_shell_is_as_any_other(bastion: Bastion) -> None:
    with bastion.ssh("here").start("-tt", "-R", "here:80:localhost:9") as child:
        child.line("Forwarding HTTP")


def test_one_file_for_each_login_name(
    start_gateway: Callable[..., Gateway], new_key: Callable[[], Path], tmp_path: Path
) -> None:
    own, new = new_key(), new_key()
    folder = tmp_path / "keys"
    folder.mkdir()
    (folder / "backup").write_text(own.with_suffix(".pub").read_text())
    gateway = start_gateway(access={"mode": "keys", "keys": [folder / "%u"]})
    ssh = gateway.ssh(tmp_path, own)
    assert ssh.run(user="backup", words="whoami").code == 0
    ended = ssh.run(user="root", words="whoami")
    assert (ended.code, "this gateway does not know your key" in ended.err) == (255, True)
    other = gateway.ssh(tmp_path, new)
    assert other.run(user="web", words="whoami").code == 255
    listed = ferry("allow", "--state", gateway.state, cwd=tmp_path).out.splitlines()
    fingerprint = next(line.split()[0] for line in listed if " web@" in line)
    assert ferry("allow", fingerprint, "--state", gateway.state, cwd=tmp_path).code == 0
    assert (folder / "web").read_text().startswith("ssh-ed25519 ")
    gateway.event(r'"keys.loaded".*"keys": 2')
    assert other.run(user="web", words="whoami").code == 0
    assert other.run(user="backup", words="whoami").code == 255
