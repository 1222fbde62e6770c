"""Private aliases: `-R laptop:22:...`, with `-J`, `-W` and `-L`. Only their own identity reaches them."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway_process import Gateway
from line_service import LineService, ask
from ssh_command import StockSsh, environment, make_key, run
from sshd_program import listening, own_user

OWN_ONLY = "through this gateway you can reach your own aliases and ports only: for others ask for permitopen= in the line of your key"


@dataclass(frozen=True, slots=True)
class Machine:
    """A real sshd behind NAT, which lets `key` in."""

    port: int
    known_host: str
    user: str


@pytest.fixture
def machine(tmp_path: Path, key: Path, free_port: int) -> Iterator[Machine]:
    host_key = make_key(tmp_path / "machine_host_key")
    with listening(tmp_path, free_port, HostKey=host_key, AuthorizedKeysFile=key.with_suffix(".pub")):
        yield Machine(free_port, host_key.with_suffix(".pub").read_text(), own_user())


def test_a_machine_is_reached_through_its_alias_with_j(ssh: StockSsh, machine: Machine, name: str) -> None:
    with ssh.start("-R", f"{name}:22:localhost:{machine.port}") as child:
        child.line(f"^Forwarding private alias {name}:22$")
        child.line(rf"ssh -J localhost:{ssh.port} you@{name}$")
        config = ssh.folder / "config"
        config.write_text(
            f"IdentityFile {ssh.key}\nIdentitiesOnly yes\nIdentityAgent none\nStrictHostKeyChecking accept-new\n"
            f"UserKnownHostsFile {ssh.folder}/known_hosts\nGlobalKnownHostsFile none\nHost gw\nHostName 127.0.0.1\nPort {ssh.port}\n"
        )
        ended = run(
            ["ssh", "-F", str(config), "-J", "gw", f"{machine.user}@{name}", "echo here is $((20+1))"],
            folder=ssh.folder,
        )
        assert (ended.code, ended.out) == (0, "here is 21\n"), ended.err
        child.line(f"{name}:22 ")


def test_w_and_l_reach_the_alias(ssh: StockSsh, lines: LineService, name: str, free_port: int) -> None:
    with ssh.start("-N", "-v", "-R", f"{name}:7:localhost:{lines.port}") as child:
        child.error_line("remote forward success")
        piped = run(ssh.command("-W", f"{name}:7"), folder=ssh.folder, stdin=b"hello\n")
        assert (piped.code, piped.out) == (0, "HELLO\nbye\n")
        with ssh.start("-N", "-v", "-L", f"127.0.0.1:{free_port}:{name}:7") as visitor:
            visitor.error_line("Local forwarding listening on 127")
            visitor.error_line("Entering interactive session|pledge")
            assert [ask(free_port, word) for word in (b"one\n", b"two\n")] == [b"ONE\nbye\n", b"TWO\nbye\n"]


def test_another_identity_cannot_reach_an_alias_or_see_that_it_exists(
    gateway: Gateway, ssh: StockSsh, new_key: Callable[[], Path], lines: LineService, name: str, tmp_path: Path
) -> None:
    with ssh.start("-R", f"{name}:7:localhost:{lines.port}") as child:
        child.line("Forwarding private alias")
        for other in (gateway.ssh(tmp_path, new_key()), gateway.ssh(tmp_path, None)):
            said = [other.run("-W", f"{alias}:7").err.replace(alias, "NAME") for alias in (name, name[:-1] + "-x")]
            assert "administratively prohibited: no alias NAME:7 here for you" in said[0]
            assert said[0].splitlines()[-2:] == said[1].splitlines()[-2:]


@pytest.mark.parametrize("target", ["127.0.0.1:{gateway}", "localhost:22", "example.com:80", "[::1]:{gateway}"])
def test_nothing_but_ones_own_is_reached_through_the_gateway(gateway: Gateway, ssh: StockSsh, target: str) -> None:
    ended = ssh.run("-W", target.format(gateway=gateway.ports.admin))
    assert ended.code != 0
    assert "administratively prohibited" in ended.err


def test_a_refused_connection_is_told_in_its_session_once_for_each_target(ssh: StockSsh, name: str) -> None:
    place = ssh.folder / "l"
    targets = {"one": "example.com:80", "two": f"{name}:22"}
    forwards = [word for end, target in targets.items() for word in ("-L", f"{place}-{end}:{target}")]
    with ssh.start("-R", f"{name}:22:localhost:1", *forwards) as child:
        child.line("Forwarding private alias")
        for end in ("one", "one", "two", "two"):
            with socket.socket(socket.AF_UNIX) as visitor:
                visitor.connect(f"{place}-{end}")
                assert visitor.recv(100) == b""
        child.error_line(f"Refused a connection to {name}:22: the alias's local service cannot be reached$")
        assert [line for line in child.err.lines if line.startswith("Refused")] == [
            f"Refused a connection to example.com:80: {OWN_ONLY}",
            f"Refused a connection to {name}:22: the alias's local service cannot be reached",
        ]


def test_an_alias_reports_an_unreachable_service(ssh: StockSsh, name: str) -> None:
    with ssh.start("-R", f"{name}:22:localhost:1") as child:
        child.line("Forwarding private alias")
        assert "the alias's local service cannot be reached" in ssh.run("-W", f"{name}:22").err
        child.line("your local service cannot be reached")


def test_a_keyless_client_has_no_alias(gateway: Gateway, tmp_path: Path, name: str) -> None:
    ended = gateway.ssh(tmp_path, None).run("-R", f"{name}:22:localhost:22")
    assert (ended.code, "a private alias needs a key" in ended.err) == (1, True)


def test_all_kinds_in_one_command_and_control_commands_leave_the_others(
    gateway: Gateway, ssh: StockSsh, lines: LineService, name: str, tmp_path: Path
) -> None:
    control = ("-S", str(tmp_path / "c"))
    port, local = next(gateway.public_ports), f"localhost:{lines.port}"
    with ssh.start(
        *(
            "-M",
            *control,
            "-R",
            f"{name}:80:{local}",
            "-R",
            f"{name}:7:{local}",
            "-R",
            f"0:{local}",
            "-R",
            f"80:{local}",
        )
    ) as child:
        child.line(f"http://{name}")
        child.line(f"alias {name}:7")
        allocated = int(child.line(r"TCP traffic from localhost:(\d+)")[1])
        child.line(r"http://[a-z]+-[a-z]+\.localhost")
        assert ssh.run(*control, "-O", "forward", "-R", f"{port}:{local}").code == 0
        child.line(f"TCP traffic from localhost:{port}")
        assert ask(port, b"hello\n") == b"HELLO\nbye\n"
        assert ssh.run(*control, "-O", "cancel", "-R", f"{port}:{local}").code == 0
        child.line(f"No longer forwarding port {port}")
        with pytest.raises(OSError, match="refused"):
            ask(port, b"hello\n")
        assert ask(allocated, b"hello\n") == b"HELLO\nbye\n"
        assert subprocess.run(
            ssh.command(*control, "-O", "cancel", "-R", f"{name}:80:{local}"), env=environment(tmp_path), check=False
        ).returncode == 0  # fmt: skip
        child.line(f"No longer forwarding {name}.localhost")
        assert {tunnel["address"] for tunnel in gateway.ask("tunnels")} >= {f"{name}:7", f"port {allocated}"}
