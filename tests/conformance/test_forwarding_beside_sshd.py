"""AllowTcpForwarding × GatewayPorts × PermitListen and PermitOpen × bind addresses × -R and -W, against this machine's sshd
and against Ferry: both open the same ports on the same addresses.

One sshd and one gateway serve all rows: a row is a `Match Address` block, and its client comes from that address. What
Ferry reads is what `ferry import sshd_config` makes of sshd's own file.
"""

from __future__ import annotations

import asyncio
import itertools
import tomllib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import asyncssh
import typer
from asyncssh.constants import OPEN_ADMINISTRATIVELY_PROHIBITED
from typer.testing import CliRunner

from ferry.cli.import_settings import import_settings
from gateway_process import gateway_in
from kernel_sockets import listening_on
from raw_client import RawClient
from raw_session import open_session
from ssh_command import make_key
from sshd_program import listening, own_user

SECONDS: Final = 90
TOGETHER: Final = 10
BIND: Final = (b"localhost", b"127.0.0.1", b"::1", b"", b"*", b"0.0.0.0", b"::", b"127.0.0.9", b"192.0.2.77")
DIALLED: Final = ("localhost", "127.0.0.1", "::1", "LOCALHOST")
PERMITS: Final = (
    (),
    ("PermitListen any", "PermitOpen any"),
    ("PermitListen none", "PermitOpen none"),
    ("PermitListen {port}", "PermitOpen localhost:{port}"),
    ("PermitListen localhost:{port}", "PermitOpen 127.0.0.1:*"),
    ("PermitListen *:*", "PermitOpen *:{port}"),
    ("PermitListen 127.0.0.1:{port} [::1]:{port}", "PermitOpen [::1]:{port} 127.0.0.1:{port}"),
    ("PermitListen 0.0.0.0:{port} localhost:1", "PermitOpen localhost:1"),
)
MORE: Final = (
    ("DisableForwarding yes",),
    ("DisableForwarding no", "AllowTcpForwarding no"),
    ("DisableForwarding yes", "AllowTcpForwarding yes"),
    ("AllowTcpForwarding no", "AllowTcpForwarding yes"),
    ("GatewayPorts yes", "GatewayPorts no"),
    *((f"MaxSessions {count}",) for count in (0, 1, 2)),
)


@dataclass(frozen=True)
class Row:
    """The keywords of one block, and the address and the port of its client."""

    keywords: tuple[str, ...]
    number: int

    @property
    def address(self) -> str:
        return f"127.0.{1 + self.number // 200}.{1 + self.number % 200}"

    def lines(self, port: int) -> str:
        below = "".join(f"    {keyword.format(port=port)}\n" for keyword in self.keywords)
        return f"Match Address {self.address}\n{below}"


UNBOUND: Final = Row((), 2000)
"""A client for which no block is."""


def rows() -> list[Row]:
    allow = [f"AllowTcpForwarding {word}" for word in ("yes", "all", "no", "local", "remote")]
    gateway = [f"GatewayPorts {word}" for word in ("no", "yes", "clientspecified")]
    table = [(one, two, *permits) for one, two, permits in itertools.product(allow, gateway, PERMITS)]
    return [Row(keywords, number) for number, keywords in enumerate([*table, *MORE])]


@asynccontextmanager
async def connected(server: int, row: Row, key: asyncssh.SSHKey) -> AsyncIterator[RawClient]:
    connection: Any = await asyncssh.connect(
        "127.0.0.1", server, username=own_user(), client_keys=[key], known_hosts=None, config=None, agent_path=None,
        kbdint_auth=False, password_auth=False, local_addr=(row.address, 0),
    )  # fmt: skip
    try:
        yield RawClient(connection, [])
    finally:
        connection.abort()
        await connection.wait_closed()


async def tried(server: int, row: Row, key: asyncssh.SSHKey, port: int) -> dict[str, object]:
    """What the client of a row gets: of each bind address where its port listens, of each dialled one whether it may."""
    found: dict[str, object] = {}
    async with connected(server, row, key) as client:
        for host in BIND:
            granted = await client.forward(host, port)
            found[f"-R {host.decode()}:{port}"] = sorted(listening_on(port)) if granted else None
            if granted:
                assert await client.cancel(host, port)
        async with connected(server, UNBOUND, key) as another:  # where the row itself may not listen
            assert await client.forward(b"localhost", port) or await another.forward(b"localhost", port)
            for name in DIALLED:
                found[f"-W {name}:{port}"] = await opens(client.connection, name, port)
        if any(keyword.startswith("MaxSessions") for keyword in row.keywords):
            found["sessions"] = [await open_session(client, 5000 + number) is not None for number in range(4)]
    return found


async def opens(connection: Any, host: str, port: int) -> bool:
    """Whether the server lets a channel there. What answers behind it does not matter."""
    try:
        _, writer = await connection.open_connection(host, port)
    except asyncssh.ChannelOpenError as refused:
        return refused.code != OPEN_ADMINISTRATIVELY_PROHIBITED
    writer.close()
    return True


async def outcomes(server: int, key: asyncssh.SSHKey, ports: range) -> dict[Row, dict[str, object]]:
    """What each row gets at the server on that port. Rows of one batch have ports of their own."""
    table, found = rows(), dict[Row, dict[str, object]]()
    for first in range(0, len(table), TOGETHER):
        batch = table[first : first + TOGETHER]
        asked = (tried(server, row, key, _port(row, ports)) for row in batch)
        found.update(zip(batch, await asyncio.gather(*asked), strict=True))
    return found


def _port(row: Row, ports: range) -> int:
    return ports[row.number % TOGETHER]


def imported(file: Path) -> dict[str, Any]:
    app = typer.Typer()
    app.command()(import_settings)
    result = CliRunner().invoke(app, ["sshd_config", str(file)])
    assert result.exit_code == 0, result.output
    return tomllib.loads(result.stdout)


async def test_both_open_the_same_ports(tmp_path: Path, free_port: int) -> None:
    key = asyncssh.generate_private_key("ssh-ed25519")
    keys, folder = tmp_path / "authorized_keys", tmp_path / "gateway"
    keys.write_text(f"{key.export_public_key().decode().strip()} name=table\n")
    folder.mkdir()
    everything: dict[str, dict[str, object]] = {
        "access": {"mode": "keys", "keys": [keys]},
        "http": {"listen": []},
        "https": {"listen": []},
        "limits": {"connections_per_identity": 10 * TOGETHER, "global_requests_per_second": 1000},
    }
    file = tmp_path / "sshd_config"
    with gateway_in(folder, **everything) as gateway:
        ports = gateway.ports.loopback
        file.write_text("GatewayPorts no\n" + "".join(row.lines(_port(row, ports)) for row in rows()))
        read = imported(file)
        assert len(read["sshd"]["match"]) == len(rows())
        one_range = [{"first": ports[0], "last": ports[-1], "listen": "public"}]
        tcp = {"ranges": one_range, "allocate_from": 0, "public_addresses": read["tcp"]["public_addresses"]}
        gateway.settings |= {"tcp": tcp, "sshd": read["sshd"]}
        await asyncio.to_thread(gateway.reload)
        async with asyncio.timeout(SECONDS):
            ours = await outcomes(gateway.ports.ssh, key, ports)
            settings = {"HostKey": make_key(tmp_path / "host_key"), "AuthorizedKeysFile": keys, "MaxStartups": "100"}
            with listening(tmp_path, free_port, config=file, **settings):
                real = await outcomes(free_port, key, ports)
    differ = [
        (row.keywords, name, ours[row].get(name), here)
        for row in real
        for name, here in real[row].items()
        if ours[row].get(name) != here
    ]
    assert differ == []
    assert ours == real
    cells = [here for found in real.values() for here in found.values()]
    assert len(cells) > 1000
    assert 300 < sum(cell not in (None, False) for cell in cells) < len(cells) - 300
