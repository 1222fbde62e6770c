"""`-R '[fe80::…%eth0]:PORT:…'` under GatewayPorts clientspecified: link-local addresses, in a network of their own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack

import pytest

from child_process import Child
from ferry_command import PROGRAM, clean_environment
from gateway_process import Gateway
from small_network import Network, needs_networks, small_network
from ssh_command import make_key

pytestmark = needs_networks
LINK, FAR_LINK, SERVICE = "fe80::99", "fe80::98", 8080
REACH = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=20) as visitor:
    visitor.sendall(b"GET /hello HTTP/1.0\\r\\n\\r\\n")
    while data := visitor.recv(65536):
        sys.stdout.buffer.write(data)
"""
Asks = Callable[[str], AbstractContextManager[Child]]


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Network, Gateway, Asks]]:
    """The network, a gateway in it whose clients choose addresses, and what starts a client there."""
    folder = tmp_path_factory.mktemp("interfaces")
    (folder / "hello").write_text("hello")
    key = make_key(folder / "key")
    with ExitStack() as stack:
        network = stack.enter_context(small_network(folder, {}))
        for far, address, interface in ((False, LINK, "near"), (True, FAR_LINK, "far")):
            add = ["ip", "address", "add", f"{address}/64", "dev", interface, "nodad"]
            subprocess.run([*network.there(far=far), *add], check=True, timeout=20)
        server = [*network.there(), sys.executable, "-m", "http.server", str(SERVICE), "--bind", "127.0.0.1"]
        web = Child([*server, "-d", folder], env=clean_environment(PYTHONUNBUFFERED="1"), cwd=folder)
        stack.enter_context(web).line("^Serving HTTP")
        settings: dict[str, dict[str, object]] = {
            "tcp": {"public_addresses": ["0.0.0.0", "::"]},
            "sshd": {"gateway_ports": "clientspecified"},
        }
        gateway = stack.enter_context(Gateway(folder, settings, program=[*network.there(), PROGRAM]).serving())
        ssh = gateway.ssh(folder, key)

        def asks(forward: str) -> AbstractContextManager[Child]:
            command = ssh.command("-v", "-R", f"{forward}:localhost:{SERVICE}")
            return Child([*network.there(), *command], env=clean_environment(), cwd=folder)

        yield network, gateway, asks


def test_a_link_local_address_is_opened_on_its_interface(rig: tuple[Network, Gateway, Asks]) -> None:
    network, gateway, asks = rig
    port = next(gateway.public_ports)
    with asks(f"[{LINK}%near]:{port}") as child:
        child.line(f"^Forwarding TCP traffic from .*:{port}$")
        reached = subprocess.run(
            [*network.there(far=True), sys.executable, "-c", REACH, f"{LINK}%far", str(port)],
            capture_output=True,
            check=True,
            timeout=30,
        )
        assert reached.stdout.endswith(b"hello")
        (tunnel,) = gateway.ask("tunnels")
        assert tunnel["bound"] == [f"[{LINK}]:{port}"]


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("fe80::99", "leave it out, or write [fe80::99%eth0] with the name of its interface"),
        ("fe80::99%nothere", "fe80::99%nothere is no address of the gateway: leave it out"),
        ("fe80::98%near", "fe80::98%near is no address of the gateway: leave it out"),
        ("::ffff:127.0.0.1", "is no address of the gateway: leave it out"),
    ],
)
def test_what_is_no_address_here_is_refused_with_the_reason(
    rig: tuple[Network, Gateway, Asks], address: str, why: str
) -> None:
    _, gateway, asks = rig
    with asks(f"[{address}]:{next(gateway.public_ports)}") as child:
        said = child.error_line("Refused -R ").string
        assert why in said
