"""What people type behind -R before the port, with stock ssh against this machine's sshd and against Ferry: both listen on the
same addresses. `-R PORT` alone makes ssh a SOCKS proxy, which curl uses through both."""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from curl_command import curl
from gateway_process import Gateway, gateway_in
from kernel_sockets import listening_on
from origin_server import Origin
from ssh_command import StockSsh, make_key
from sshd_program import listening, own_user

SETTINGS = {"no": "127.0.1.1", "yes": "127.0.1.2", "clientspecified": "127.0.1.3"}
"""GatewayPorts, and the address from which a client comes that it counts for."""
FORMS = ("", "localhost:", "127.0.0.1:", "[::1]:", "*:", ":", "0.0.0.0:", "[::]:", "127.0.0.9:")
SOCKS = {"--socks4": "127.0.0.1", "--socks4a": "localhost", "--socks5": "127.0.0.1", "--socks5-hostname": "localhost"}


def own_addresses() -> list[str]:
    """An address of this host that is no loopback one, if it has one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect(("192.0.2.1", 9))  # it sends nothing
        except OSError:
            return []
        host = str(sock.getsockname()[0])
    return [] if ipaddress.ip_address(host).is_loopback else [f"{host}:"]


@pytest.fixture(scope="module")
def ferry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("bind-forms")
    key = make_key(folder / "key")
    (folder / "keys").write_text(f"{key.with_suffix('.pub').read_text().strip()} name=binder\n")
    match = [{"address": [address], "gateway_ports": word} for word, address in SETTINGS.items()]
    settings: dict[str, dict[str, object]] = {
        "access": {"mode": "keys", "keys": [folder / "keys"]},
        "sshd": {"match": match},
        "tcp": {
            "ranges": [{"first": 10000, "last": 29999, "listen": "public"}],
            "allocate_from": 0,
            "public_addresses": ["0.0.0.0", "::"],
        },
    }
    with gateway_in(folder, **settings) as running:
        yield running


@pytest.fixture(scope="module")
def servers(ferry: Gateway, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, StockSsh]]:
    """Ways to Ferry and to sshd, as the same user with the same key."""
    folder = tmp_path_factory.mktemp("sshd")
    file = folder / "sshd_config"
    file.write_text(
        "".join(f"Match Address {address}\n    GatewayPorts {word}\n" for word, address in SETTINGS.items())
    )
    port = ferry.ports.outside
    settings = {"HostKey": make_key(folder / "host_key"), "AuthorizedKeysFile": ferry.folder / "keys"}
    with listening(folder, port, config=file, **settings):
        yield {
            "Ferry": ferry.ssh(ferry.folder, ferry.folder / "key"),
            "sshd": StockSsh(folder, "127.0.0.1", port, ferry.folder / "key"),
        }


@contextmanager
def master(ssh: StockSsh, folder: Path, address: str) -> Iterator[list[str]]:
    """The options for commands that share a connection from `address`."""
    share = ["-S", str(folder / "mux")]
    with ssh.start("-N", "-v", "-M", *share, "-b", address, user=own_user()) as child:
        child.error_line("Entering interactive session")
        yield share


def bound(ssh: StockSsh, folder: Path, address: str, port: int) -> dict[str, object]:
    """Of each form where the port listens, and whether ssh says that it does."""
    found: dict[str, object] = {}
    with master(ssh, folder, address) as share:
        for form in (*FORMS, *own_addresses()):
            asked = ("-R", f"{form}{port}:localhost:1")
            code = ssh.run(*share, "-O", "forward", *asked, user=own_user()).code
            found[form] = (code, sorted(listening_on(port)))
            ssh.run(*share, "-O", "cancel", *asked, user=own_user())
    return found


@pytest.mark.parametrize("word", SETTINGS)
def test_both_listen_on_the_same_addresses(
    servers: dict[str, StockSsh], ferry: Gateway, tmp_path: Path, word: str
) -> None:
    port = next(ferry.loopback_ports)
    found = {}
    for name, ssh in servers.items():
        (folder := tmp_path / name).mkdir()
        found[name] = bound(ssh, folder, SETTINGS[word], port)
    assert found["Ferry"] == found["sshd"]
    assert [outcome for outcome in found["sshd"].values() if outcome == (0, [])] == []


@pytest.mark.parametrize("option", SOCKS)
@pytest.mark.parametrize("name", ["Ferry", "sshd"])
def test_a_reverse_proxy_of_ssh_takes_each_version_of_socks(
    servers: dict[str, StockSsh], ferry: Gateway, origin: Origin, name: str, option: str
) -> None:
    port, ssh = next(ferry.loopback_ports), servers[name]
    with ssh.start("-N", "-v", "-b", SETTINGS["no"], "-R", str(port), user=own_user()) as child:
        child.error_line(re.escape(f"remote forward success for: listen {port}"))
        url = f"http://{SOCKS[option]}:{origin.port}/"
        assert asyncio.run(curl(option, f"localhost:{port}", url)) == "origin"
