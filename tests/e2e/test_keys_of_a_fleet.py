"""Machines of a fleet with stock ssh: each has its port, before it first comes and for good."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from ferry_command import ferry
from gateway_process import Gateway
from line_service import LineService, ask
from ssh_command import StockSsh, fingerprint, make_key
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


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    made = Fleet(tmp_path_factory.mktemp("fleet"))
    first, second, third, *_ = made.ssh_ports
    made.file.write_text(
        made.line("web-1", f'restrict,port-forwarding,permitlisten="{first}"', "root@web-1 name=web-1")
        + made.line("web-2", f'restrict,port-forwarding,permitlisten="localhost:{second}"', "root@web-2")
        + made.line("ann", "", "name=ann")
    )
    assert third
    with ExitStack() as stack:
        stack.callback(made.gateway.close)
        made.gateway.start()
        yield made
        made.gateway.stop()


def test_a_port_of_a_line_is_nobody_elses_before_its_key_has_come(fleet: Fleet, lines: LineService) -> None:
    second = fleet.ssh_ports[1]
    assert fleet.table()[second] | {"lines": []} == {
        "port": second, "label": "ssh", "host": None, "holder": fingerprint(fleet.keys["web-2"]), "state": "never seen",
        "since": None, "kept_until": None, "kept_for_good": True, "lines": [],
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


async def test_a_session_says_how_its_machine_is_called(fleet: Fleet, lines: LineService) -> None:
    port = fleet.service_ports[0]
    forward = ("-o", "SendEnv=SELF_REMOTE_HOST", "-R", f"{port}:localhost:{lines.port}")
    with fleet.ssh("ann").start(*forward, env={"SELF_REMOTE_HOST": "desk\x1b[2J" + "x" * 300}) as child:
        child.line("^Forwarding TCP")
        await until(lambda: fleet.table()[port]["host"] != "ann", every=0.2)
        row = fleet.table()[port]
        assert (row["host"][:11], len(row["host"]) <= 110, row["label"]) == ("desk\\x1b[2J", True, "service")
    assert fleet.table()[port]["holder"].startswith("ann (")
