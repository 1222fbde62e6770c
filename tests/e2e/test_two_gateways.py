"""A machine keeps tunnels up to two gateways: when one dies, people reach it through the other."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from child_process import Child
from ferry_command import ferry
from gateway_process import Gateway
from ssh_command import Ended, environment, make_key, run
from sshd_program import listening, own_user
from turns import until

MACHINE = "web-1"


class Site:
    """One of the gateways, with the machine's port on it, and the tunnel that the machine keeps up."""

    def __init__(self, folder: Path, machine: Path, person: Path, sshd_port: int) -> None:
        folder.mkdir()
        self.folder, self.machine, self.person = folder, machine, person
        self.gateway = Gateway(folder, {"access": {"mode": "keys", "keys": [folder / "keys"]}})
        ports = self.gateway.ports.loopback
        self.gateway.settings["tcp"] = {"purposes": {"ssh": f"{ports[0]}-{ports[-1]}"}}
        public = person.with_suffix(".pub").read_text().strip()
        (folder / "keys").write_text(f'restrict,port-forwarding,permitopen="{MACHINE}:22" {public} name=ann\n')
        self.gateway.start()
        told = ferry("keys", "add", MACHINE, machine.with_suffix(".pub"), "--listen", f"ssh={sshd_port}", "--json",
                     "--config", folder / "ferry.toml", cwd=folder)  # fmt: skip
        assert told.code == 0, told.err
        self.forward = shlex.split(json.loads(told.out)["command"])[3]
        self.gateway.event('"keys.loaded".*"keys": 2')

    def tunnel(self) -> Child:
        """As systemd does with `Restart=always`."""
        ssh = shlex.join(self.gateway.ssh(self.folder, self.machine).command("-N", "-R", self.forward))
        return Child(["sh", "-c", f"while :; do {ssh}; sleep 0.1; done"], env=environment(self.folder), cwd=self.folder)

    def reach(self) -> Ended:
        """A person runs a command on the machine, by its name."""
        jump = shlex.join(self.gateway.ssh(self.folder, self.person).command("-W", "%h:%p", user="ann"))
        options = [
            *self.gateway.ssh(self.folder, self.person).options,
            *("-o", f"ProxyCommand={jump}", "-o", f"HostKeyAlias={MACHINE}"),
        ]
        return run(["ssh", *options, f"{own_user()}@{MACHINE}", "echo here is $((20+1))"], folder=self.folder)

    async def is_up(self) -> None:
        """Wait until the tunnel is."""
        await until(lambda: self._state() == "up", every=0.2)

    def _state(self) -> str:
        """That of the machine's port."""
        ran = ferry("ports", "--json", "--state", self.gateway.state, cwd=self.folder)
        assert ran.code == 0, ran.err
        (row,) = json.loads(ran.out)
        return str(row["state"])


@pytest.fixture
def sites(tmp_path: Path, free_port: int) -> Iterator[list[Site]]:
    machine, person, host_key = (make_key(tmp_path / name) for name in ("machine", "person", "host_key"))
    with ExitStack() as stack:
        stack.enter_context(
            listening(tmp_path, free_port, HostKey=host_key, AuthorizedKeysFile=person.with_suffix(".pub"))
        )
        made = []
        for name in ("first", "second"):
            made.append(site := Site(tmp_path / name, machine, person, free_port))
            stack.callback(site.gateway.close)
        for site in made:
            stack.enter_context(site.tunnel())
        yield made


async def test_a_machine_is_reached_through_the_gateway_that_is_left(sites: list[Site]) -> None:
    first, second = sites
    for site in sites:
        await site.is_up()
        ended = site.reach()
        assert (ended.code, ended.out) == (0, "here is 21\n"), ended.err
    first.gateway.kill()
    assert first.reach().code == 255
    ended = second.reach()
    assert (ended.code, ended.out) == (0, "here is 21\n"), ended.err
    first.gateway.start()
    await first.is_up()
    ended = first.reach()
    assert (ended.code, ended.out) == (0, "here is 21\n"), ended.err
