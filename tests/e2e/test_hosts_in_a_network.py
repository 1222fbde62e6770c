"""`-W` to hosts by their names, in a network: one of ordinary addresses, the gateway's own, and one that does not answer."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from child_process import Child
from ferry_command import PROGRAM, clean_environment
from gateway_process import Gateway
from small_network import FAR, FAR6, GATEWAY, NOBODY, Network, needs_networks, small_network
from ssh_command import Ended, StockSsh, make_key, run

pytestmark = needs_networks
PORT = 8080
NAMES = {
    "db.example": [FAR],
    "six.example": [FAR6],
    "both.example": [FAR6, FAR],
    "half.example": [NOBODY, FAR],
    "own.example": [GATEWAY],
    "mixed.example": ["127.0.0.1", FAR],
    "meta.example": ["169.254.169.254"],
}
CONNECT_FAILED, PROHIBITED = "connect failed", "administratively prohibited"


class Rig:
    """The gateway in its network, and a client beside it."""

    def __init__(self, network: Network, gateway: Gateway, ssh: StockSsh) -> None:
        self.network, self.gateway, self.ssh = network, gateway, ssh

    def fetch(self, host: str, port: int = PORT) -> Ended:
        """What a web server there answers."""
        command = [*self.network.there(), *self.ssh.command("-W", f"{host}:{port}")]
        return run(command, folder=self.ssh.folder, stdin=b"GET /hello HTTP/1.0\r\n\r\n")


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    folder = tmp_path_factory.mktemp("network")
    (folder / "hello").write_text("hello")
    key = make_key(folder / "key")
    targets = [*NAMES, GATEWAY, f"[{FAR6}]", NOBODY]
    permits = ",".join(f'permitopen="{target}:{port}"' for target in targets for port in (PORT, 9))
    (folder / "keys").write_text(f"{permits} {key.with_suffix('.pub').read_text()}")
    with ExitStack() as stack:
        network = stack.enter_context(small_network(folder, NAMES))
        for far in (False, True):
            server = [*network.there(far=far), sys.executable, "-m", "http.server", str(PORT), "--bind", "::"]
            web = stack.enter_context(
                Child([*server, "-d", folder], env=clean_environment(PYTHONUNBUFFERED="1"), cwd=folder)
            )
            web.line("^Serving HTTP")
        program: list[str | Path] = [*network.there(), PROGRAM]
        gateway = Gateway(folder, {"access": {"mode": "keys", "keys": [folder / "keys"]}}, program=program)
        stack.enter_context(gateway.serving())
        yield Rig(network, gateway, gateway.ssh(folder, key))


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("db.example", FAR),
        ("six.example", f"[{FAR6}]"),
        (f"[{FAR6}]", f"[{FAR6}]"),
        ("mixed.example", FAR),  # loopback is left out
        (GATEWAY, GATEWAY),  # by its number
    ],
)
def test_a_host_is_reached_at_the_address_that_was_decided_on(rig: Rig, host: str, address: str) -> None:
    ended = rig.fetch(host)
    assert (ended.code, ended.out.endswith("hello")) == (0, True), ended.err
    assert rig.gateway.event(f'"host.opened".*"asked": "{re.escape(host)}:{PORT}"')["address"] == f"{address}:{PORT}"


@pytest.mark.parametrize(("host", "kind"), [("own.example", "this host"), ("meta.example", "link-local")])
def test_a_name_does_not_lead_to_the_gateways_own_host_or_to_metadata(rig: Rig, host: str, kind: str) -> None:
    """What serves there listens on all addresses, and the network may reach it; its name does not lead there from here."""
    ended = rig.fetch(host)
    assert ended.code == 255
    assert f"open failed: {PROHIBITED}: the gateway does not connect there by this name" in ended.err
    assert GATEWAY not in ended.err
    assert kind in rig.gateway.event(f'"target_address".*{host} leads to')["detail"]


def test_a_name_with_both_families_is_reached_by_the_one_that_answers_first(rig: Rig) -> None:
    ended = rig.fetch("both.example")
    assert (ended.code, ended.out.endswith("hello")) == (0, True), ended.err
    opened = rig.gateway.event(f'"host.opened".*"both.example:{PORT}"')
    assert opened["address"] in (f"{FAR}:{PORT}", f"[{FAR6}]:{PORT}")


def test_an_address_that_does_not_answer_costs_a_quarter_of_a_second(rig: Rig) -> None:
    began = time.monotonic()
    ended = rig.fetch("half.example")
    assert (ended.code, ended.out.endswith("hello")) == (0, True), ended.err
    assert time.monotonic() - began < 3


def test_a_port_that_is_closed_and_a_host_that_is_not_there(rig: Rig) -> None:
    for host, port in (("db.example", 9), (NOBODY, PORT)):
        ended = rig.fetch(host, port)
        assert ended.code == 255
        assert f"open failed: {CONNECT_FAILED}: the host" in ended.err
