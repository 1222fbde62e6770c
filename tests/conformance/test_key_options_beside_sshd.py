"""Options of keys, tried against this machine's sshd and against Ferry: both let the same keys in, to the same forwards.

Each row is a line's options. `{port}` is a port of the row's own.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncssh

from beside_sshd import Outcome, service, tried
from gateway_process import Gateway, gateway_in
from ssh_command import make_key
from sshd_program import listening, own_user

SECONDS = 60

ROWS = (
    "",
    "restrict",
    "RESTRICT,port-forwarding",
    "port-forwarding,restrict",
    "no-port-forwarding",
    "No-Port-Forwarding,port-forwarding",
    "restrict,pty,no-user-rc,X11-forwarding,no-agent-forwarding",
    ",,no-pty,",
    "restricted",
    "no-restrict",
    "no-cert-authority",
    "restrict=yes",
    'restrict="yes"',
    "cert-authority",
    'cert-authority,principals="{user}"',
    'principals="{user}"',
    'command="/bin/false"',
    'command="a \\" b",restrict,port-forwarding',
    'command="a",command="a"',
    "command=/bin/false",
    'command="unfinished',
    'environment="A=b",environment="A=c"',
    'environment="A"',
    'environment="A-B=c"',
    'tunnel="0"',
    'tunnel="any"',
    'tunnel="x"',
    'from="127.0.0.1"',
    'from="127.0.0.0/8,!127.0.0.2"',
    'from="!127.0.0.0/8,*"',
    'from="*,!127.0.0.?"',
    'from="127.*"',
    'from="10.0.0.0/8"',
    'from="localhost"',
    'from="LOCAL*"',
    'from="!localhost,*"',
    'from="*.example.com"',
    'from="127.1"',
    'from="127.0.0.1/8"',
    'from="127.0.0.1,"',
    'from="!10.0.0.0/8"',
    'from="127.0.0.1/33"',
    'from="127.0.0.1",from="127.0.0.1"',
    'expiry-time="20200101"',
    'expiry-time="20991231"',
    'expiry-time="209912312359Z"',
    'expiry-time="20991231235959Z"',
    'expiry-time="20991231Z",expiry-time="20200101Z"',
    'expiry-time="20990231"',
    'expiry-time="20991301"',
    'expiry-time="2099-12-31"',
    'permitlisten="{port}"',
    'permitlisten="localhost:{port}"',
    'permitlisten="LOCALHOST:{port}"',
    'permitlisten="*:{port}"',
    'permitlisten="127.0.0.1:{port}"',
    'permitlisten="[::1]:{port}"',
    'permitlisten=":{port}"',
    'permitlisten="l*t:*"',
    'permitlisten="*"',
    'permitlisten="1",permitlisten="{port}"',
    'permitlisten="localhost"',
    'permitlisten="localhost:0"',
    'permitlisten="localhost:65536"',
    'permitlisten="[::1]x:80"',
    'permitlisten="+{port}"',
    'permitlisten=" {port}"',
    'permitlisten="localhost:\t +00{port}"',
    'permitlisten="++{port}"',
    'permitlisten="+ {port}"',
    'permitlisten="-{port}"',
    'permitlisten="{port} "',
    'permitlisten="+0"',
    'restrict,permitlisten="{port}"',
    'restrict,port-forwarding,permitlisten="{port}"',
    'permitopen="localhost:{port}"',
    'permitopen="127.0.0.1:{port}"',
    'permitopen="LOCALHOST:{port}"',
    'permitopen="*:{port}"',
    'permitopen="localhost: +{port}"',
    'permitopen="localhost:+{port}+"',
    'permitopen="l*:{port}"',
    'permitopen="localhost:*"',
    'permitopen="*:*"',
    'permitopen="[127.0.0.1]:{port}"',
    'permitopen="localhost/{port}"',
    'permitopen="any:any"',
    'permitopen="{port}"',
    'permitopen="::1:{port}"',
    'permitopen="a:ssh"',
    "verify-required,no-touch-required",
    "no-verify-required,touch-required",
    "permit-open",
)


class Table:
    """The rows, each with a key and two ports. Rows of one batch have ports of their own."""

    def __init__(self, gateway: Gateway) -> None:
        ports = gateway.ports.loopback
        self.batch = len(ports) // 2
        self.port = {row: ports[2 * (number % self.batch)] for number, row in enumerate(ROWS)}
        self.key = {row: asyncssh.generate_private_key("ssh-ed25519") for row in ROWS}

    def write(self, file: Path) -> None:
        """Write the file of keys. For Ferry all are one identity, to which the ports belong."""
        lines = []
        for row, key in self.key.items():
            options = row.format(port=self.port[row], user=own_user())
            lines.append(f"{options} {key.export_public_key().decode().strip()} name=table\n".lstrip())
        file.write_text("".join(lines))

    async def outcomes(self, server: int, target: int) -> dict[str, Outcome]:
        """What each row may do at the server on that port."""
        found: dict[str, Outcome] = {}
        for first in range(0, len(ROWS), self.batch):
            rows = ROWS[first : first + self.batch]
            asked = (
                tried(server, self.key[row], self.port[row], target, everywhere="permitlisten" in row) for row in rows
            )
            found.update(zip(rows, await asyncio.gather(*asked), strict=True))
        return found


async def test_both_let_the_same_keys_in_to_the_same_forwards(tmp_path: Path, free_port: int) -> None:
    folder = tmp_path / "gateway"
    folder.mkdir()
    file = folder / "authorized_keys"
    file.write_text("")
    settings: dict[str, dict[str, object]] = {"access": {"mode": "keys", "keys": [file], "use_dns": True}}
    async with asyncio.timeout(SECONDS), service() as target:
        with gateway_in(folder, **settings) as gateway:
            table = Table(gateway)
            table.write(file)
            await asyncio.to_thread(gateway.event, '"keys.loaded".*"keys": [1-9]')
            sshd = {"HostKey": make_key(tmp_path / "host_key"), "AuthorizedKeysFile": file, "UseDNS": "yes"}
            with listening(tmp_path, free_port, **sshd, MaxStartups="100"):
                real = await table.outcomes(free_port, target)
            ours = await table.outcomes(gateway.ports.ssh, target)
    differ = [row for row in ROWS if ours[row] != real[row]]
    assert {row: ours[row] for row in differ} == {row: real[row] for row in differ}
    let_in = sum(outcome is not None for outcome in real.values())
    assert 30 < let_in < len(ROWS) - 20
