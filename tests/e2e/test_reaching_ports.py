"""`ssh -J gw -p 21022 root@localhost`: a machine behind NAT, its port of the gateway, and an operator with another key."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from ferry_command import ferry
from gateway_process import Gateway
from origin_server import Origin
from ssh_command import Ended, StockSsh, environment, make_key, run
from sshd_program import listening, own_user

MEBIBYTES = 24


@dataclass
class Fleet:
    """A gateway with keys, and a machine: a real sshd whose stock ssh holds a port."""

    folder: Path
    gateway: Gateway
    keys: dict[str, Path]
    port: int
    """That the machine holds."""
    config: Path
    """The operator's ssh_config, in which `gw` is the gateway."""

    def ssh(self, name: str) -> StockSsh:
        return self.gateway.ssh(self.folder, self.keys[name])

    def operator(self, *arguments: str, stdin: bytes = b"") -> Ended:
        """The operator's command."""
        return run(["ssh", "-F", str(self.config), *arguments], folder=self.folder, stdin=stdin)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("fleet")
    file = folder / "authorized_keys"
    gateway = Gateway(folder, {"access": {"mode": "keys", "keys": [file]}, "session": {"request_log": False}})
    port = next(gateway.loopback_ports)
    lines = {
        "machine": f'restrict,port-forwarding,permitlisten="localhost:{port}"',
        "operator": f'permitopen="localhost:{port}",permitopen="machine:22",permitopen="*:*"',
        "person": 'permitopen="*:*"',
    }
    keys = {name: make_key(folder / name, comment=f"name={name}") for name in lines}
    file.write_text("".join(f"{lines[name]} {key.with_suffix('.pub').read_text()}" for name, key in keys.items()))
    config = folder / "config"
    config.write_text(
        f"IdentityFile {keys['operator']}\nIdentitiesOnly yes\nIdentityAgent none\nStrictHostKeyChecking accept-new\n"
        f"UserKnownHostsFile {folder}/known_hosts\nGlobalKnownHostsFile none\nHost gw\nHostName 127.0.0.1\n"
        f"Port {gateway.ports.ssh}\n"
    )
    with ExitStack() as stack:
        stack.enter_context(gateway.serving())
        host_key = make_key(folder / "machine_host_key")
        sshd = gateway.ports.outside
        authorized = keys["operator"].with_suffix(".pub")
        stack.enter_context(listening(folder, sshd, HostKey=host_key, AuthorizedKeysFile=authorized))
        made = Fleet(folder, gateway, keys, port, config)
        machine = stack.enter_context(made.ssh("machine").start("-N", "-v", "-R", f"localhost:{port}:localhost:{sshd}"))
        machine.error_line("remote forward success")
        yield made


def test_a_machine_is_reached_by_the_port_that_it_holds(fleet: Fleet) -> None:
    ended = fleet.operator("-J", "gw", "-p", str(fleet.port), f"{own_user()}@localhost", "echo here is $((20+1))")
    assert (ended.code, ended.out) == (0, "here is 21\n"), ended.err


def test_on_the_gateways_own_machine_the_port_is_the_machine(fleet: Fleet) -> None:
    ended = fleet.operator("-p", str(fleet.port), f"{own_user()}@localhost", "echo here is $((20+1))")
    assert (ended.code, ended.out) == (0, "here is 21\n"), ended.err


@pytest.mark.parametrize("direction", ["up", "down"])
def test_bulk_through_it_arrives_whole(fleet: Fleet, direction: str) -> None:
    """Back-pressure, a half-close (`cat` ends at our end-of-file), and the last bytes."""
    target = f"{own_user()}@localhost"
    sent = os.urandom(2**20) * MEBIBYTES
    if direction == "up":
        ended = fleet.operator("-J", "gw", "-p", str(fleet.port), target, "sha256sum", stdin=sent)
        assert ended.out.split()[0] == hashlib.sha256(sent).hexdigest()
        return
    (fleet.folder / "bulk").write_bytes(sent)
    command = ["ssh", "-F", str(fleet.config), "-J", "gw", "-p", str(fleet.port), target, f"cat {fleet.folder}/bulk"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment(fleet.folder)) as reader:
        assert reader.stdout is not None
        found = hashlib.sha256()
        while data := reader.stdout.read(2**16):
            found.update(data)
    assert found.hexdigest() == hashlib.sha256(sent).hexdigest()


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]"])
def test_each_form_of_loopback_means_the_tunnel(fleet: Fleet, host: str) -> None:
    ended = fleet.ssh("machine").run("-W", f"{host}:{fleet.port}")
    assert ended.out.startswith("SSH-2.0-OpenSSH"), ended.err


def test_a_machine_is_reached_by_the_name_of_its_key(fleet: Fleet) -> None:
    ended = fleet.operator("-J", "gw", f"{own_user()}@Machine", "echo here is $((20+1))")
    assert (ended.code, ended.out) == (0, "here is 21\n"), ended.err
    for port in (22, fleet.port):
        assert fleet.ssh("machine").run("-W", f"machine.localhost:{port}").out.startswith("SSH-2.0-OpenSSH")
    for port in (22, fleet.port, 80):
        ended = fleet.ssh("person").run("-W", f"machine:{port}")
        assert f"administratively prohibited: no alias machine:{port} here for you" in ended.err
    squatter = fleet.ssh("person").run("-N", "-R", "machine:22:localhost:1")
    assert "Refused -R machine:22: machine is the name of another machine: choose another alias" in squatter.err
    ended = fleet.operator("-J", "gw", f"{own_user()}@machine", "echo still here")
    assert (ended.code, ended.out) == (0, "still here\n"), ended.err


def test_who_is_not_named_learns_nothing_of_a_port(fleet: Fleet) -> None:
    free = next(fleet.gateway.loopback_ports)
    said = []
    for port in (fleet.port, free):
        ended = fleet.ssh("person").run("-W", f"localhost:{port}")
        assert ended.code == 255
        said.append(ended.err.replace(str(port), "N").splitlines()[-2:])
    assert said[0] == said[1]
    assert "administratively prohibited: no port N here for you: `ssh -p" in said[0][0]
    refused = fleet.gateway.event(f'"reach.refused".*no_such_port.*port {fleet.port}, which belongs')
    assert refused["asked"] == f"localhost:{fleet.port}"


def test_everything_in_one_command(fleet: Fleet, origin: Origin, free_port: int) -> None:
    """`-R`, `-L`, `-D` and `-W` together, with curl through both kinds of SOCKS that leave names to the gateway."""
    socks, own = next(fleet.gateway.public_ports), next(fleet.gateway.loopback_ports)
    forwards = (
        *("-R", f"{own}:localhost:{origin.port}", "-L", f"127.0.0.1:{free_port}:localhost:{own}"),
        *("-D", f"127.0.0.1:{socks}", "-W", f"localhost:{fleet.port}", "-o", "ClearAllForwardings=no"),
    )
    with fleet.ssh("operator").start("-v", *forwards, keyboard=True) as child:
        child.error_line("remote forward success")
        child.line("^SSH-2.0-OpenSSH")
        ways = ("--socks5-hostname", f"127.0.0.1:{socks}"), ("--proxy", f"socks4a://127.0.0.1:{socks}")
        for way in ways:
            assert curl(fleet, *way, f"http://localhost:{own}/hello") == "origin", child.err.text
        assert curl(fleet, f"http://127.0.0.1:{free_port}/hello") == "origin"
        assert curl(fleet, *ways[0], "http://elsewhere.example/") == ""
        child.error_line("open failed: administratively prohibited: through this gateway you can reach your own")


def test_the_blocks_of_ferry_ssh_config_lead_to_the_machine(fleet: Fleet) -> None:
    """The operator's laptop has nothing but what the command prints, and its own keys."""
    told = ferry("ssh-config", "--state", fleet.gateway.state, cwd=fleet.folder)
    assert told.code == 0, told.err
    assert told.out.splitlines()[:3] == ["Host gw", "    HostName localhost", f"    Port {fleet.gateway.ports.ssh}"]
    block = told.out.partition("Host machine\n")[2]
    assert block.splitlines()[:4] == [
        "    HostName localhost", f"    Port {fleet.port}", "    ProxyJump gw", "    HostKeyAlias machine",
    ]  # fmt: skip
    usual = fleet.config.read_text().partition("Host gw")[0]
    config = fleet.folder / "written"
    config.write_text(f"{usual}\n{told.out}")
    ended = run(["ssh", "-F", str(config), f"{own_user()}@machine", "echo $((6*7))"], folder=fleet.folder)
    assert (ended.code, ended.out) == (0, "42\n"), ended.err
    kept = [line.split()[0] for line in (fleet.folder / "known_hosts").read_text().splitlines()]
    assert "machine" in kept
    listed = json.loads(ferry("ssh-config", "--json", "--state", fleet.gateway.state, cwd=fleet.folder).out)
    assert listed["gateway"] == {"hostname": "localhost", "port": fleet.gateway.ports.ssh}
    (machine,) = [one for one in listed["machines"] if one["host"] == "machine"]
    assert machine == {
        "host": "machine", "hostname": "localhost", "port": fleet.port, "key": f"tcp::{fleet.port}", "up": True,
    }  # fmt: skip


def test_a_client_gets_the_blocks_of_its_own_machines(fleet: Fleet) -> None:
    ended = fleet.ssh("machine").run(words="ssh-config")
    jump = f"localhost:{fleet.gateway.ports.ssh}"
    assert ended.lines == [
        "", "Host machine", "    HostName localhost", f"    Port {fleet.port}", f"    ProxyJump {jump}",
        "    HostKeyAlias machine",
    ]  # fmt: skip
    told = json.loads(fleet.ssh("machine").run(words="ssh-config output=json").out)
    assert told == {"event": "machine", "host": "machine", "hostname": "localhost", "port": fleet.port, "up": True}
    staff = fleet.ssh("operator").run(words="ssh-config")
    assert staff.out.count("Host machine\n") == 1, staff.err  # its permitopen= names the port, and the machine
    assert "\n".join(ended.lines) in staff.out
    listed = [json.loads(line) for line in fleet.ssh("operator").run(words="ssh-config output=json").lines]
    (machine,) = [one for one in listed if one["host"] == "machine"]
    assert machine == {"event": "machine", "host": "machine", "hostname": "localhost", "port": fleet.port, "up": None}
    none = fleet.ssh("person").run(words="ssh-config")
    assert (none.code, none.out) == (0, "")
    assert "no machine of yours is here: on one of them write ssh -R laptop:22:localhost:22" in none.err


def curl(fleet: Fleet, *arguments: str) -> str:
    """The body of an answer."""
    return run(["curl", "-q", "-sS", "--noproxy", "", "--max-time", "20", *arguments], folder=fleet.folder).out
