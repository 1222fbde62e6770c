"""What `-L`, `-W` and `-D` reach, tried against this machine's sshd and against Ferry with the same key lines.

Ferry asks for one thing more: the operator has to name what is no tunnel of the client's own (`named`). Where that is given,
both decide alike, fail alike, and carry the same bytes.
"""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from asyncssh.constants import OPEN_ADMINISTRATIVELY_PROHIBITED

from gateway_process import Gateway, PortBlock
from origin_server import Origin
from ssh_command import StockSsh, environment, make_key
from sshd_program import listening, own_user

SECONDS = 60
OPTIONS = (
    "",
    "restrict",
    "no-port-forwarding",
    "restrict,port-forwarding",
    'permitopen="*:*"',
    'permitopen="*:{port}"',
    'permitopen="localhost:*"',
    'permitopen="localhost:{port}"',
    'permitopen="LOCALHOST:{port}"',
    'permitopen="l*:{port}"',
    'permitopen="127.0.0.1:{port}"',
    'permitopen="[127.0.0.1]:{port}"',
    'permitopen="127.0.0.1/{port}"',
    'permitopen="[::1]:{port}"',
    'permitopen="127.0.0.2:{port}"',
    'permitopen="127.0.0.?:{port}"',
    'permitopen="localhost:{closed}",permitopen="127.0.0.1:{closed}"',
    'permitopen="localhost:{closed}",permitopen="localhost:{port}"',
    'permitopen="*:*",permitopen="localhost:{port}"',
    'restrict,permitopen="localhost:{port}"',
    'restrict,port-forwarding,permitopen="localhost:{port}"',
    'permitopen="nowhere.invalid:{port}"',
    'permitopen="localhost:{port}",command="/bin/false"',
)
HOSTS = ("localhost", "LOCALHOST", "127.0.0.1", "127.0.0.2", "::1", "nowhere.invalid")
Outcome = tuple[str, bytes]
"""`allowed` with what came, `prohibited`, or `failed` (RFC 4254 §5.1)."""


def named(options: str, host: str, port: str) -> bool:
    """Whether a line has the target without a `*`."""
    return any(f'permitopen="{form}{sign}{port}"' in options for form in (host, f"[{host}]") for sign in ":/")


async def opened(connection: Any, host: str, port: int) -> Outcome:
    try:
        reader, writer = await connection.open_connection(host, port, encoding=None)
    except asyncssh.ChannelOpenError as refused:
        return ("prohibited" if refused.code == OPEN_ADMINISTRATIVELY_PROHIBITED else "failed"), b""
    writer.write_eof()
    heard = await reader.read()
    writer.close()
    return "allowed", heard


class Table:
    """One key for each line of options, in a file that both read."""

    def __init__(self, folder: Path, port: int, closed: int) -> None:
        self.port, self.closed = port, closed
        self.keys = {options: asyncssh.generate_private_key("ssh-ed25519") for options in OPTIONS}
        self.file = folder / "authorized_keys"
        self.file.write_text(
            "".join(
                f"{options.format(port=port, closed=closed)} {key.export_public_key().decode().strip()}\n".lstrip()
                for options, key in self.keys.items()
            )
        )

    async def outcomes(self, server: int) -> dict[tuple[str, str, str], Outcome]:
        """What each key reaches at the server on that port: by options, host, and which port."""
        found: dict[tuple[str, str, str], Outcome] = {}

        async def tried(options: str, key: asyncssh.SSHKey) -> None:
            async with asyncssh.connect(
                "127.0.0.1", server, username=own_user(), client_keys=[key], known_hosts=None, config=None, agent_path=None,
            ) as connection:  # fmt: skip
                for host in HOSTS:
                    for which, port in (("{port}", self.port), ("{closed}", self.closed)):
                        found[options, host, which] = await opened(connection, host, port)

        await asyncio.gather(*(tried(options, key) for options, key in self.keys.items()))
        return found


@asynccontextmanager
async def service() -> AsyncIterator[int]:
    """It says hello on 127.0.0.1 and 127.0.0.2, and ends with the visitor."""

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        await reader.read()
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as first:
        port = first.sockets[0].getsockname()[1]
        async with await asyncio.start_server(greet, "127.0.0.2", port):
            yield port


async def test_both_open_the_same_targets_where_the_operator_names_them(tmp_path: Path, free_port: int) -> None:
    folder = tmp_path / "gateway"
    folder.mkdir()
    async with asyncio.timeout(SECONDS), service() as target:
        gateway = Gateway(folder)
        with ExitStack() as stack:
            stack.callback(gateway.close)
            table = Table(tmp_path, target, gateway.ports.outside)
            gateway.settings["access"] = {"mode": "keys", "keys": [table.file]}
            await asyncio.to_thread(gateway.start)
            sshd = {"HostKey": make_key(tmp_path / "host_key"), "AuthorizedKeysFile": table.file, "MaxStartups": "100"}
            stack.enter_context(listening(tmp_path, free_port, **sshd))
            real = await table.outcomes(free_port)
            ours = await table.outcomes(gateway.ports.ssh)
            await asyncio.to_thread(gateway.stop)
    expected = {
        cell: outcome if outcome[0] == "prohibited" or named(*cell) else ("prohibited", b"")
        for cell, outcome in real.items()
    }
    assert {cell: found for cell, found in ours.items() if found != expected[cell]} == {}
    outcomes = [outcome for outcome, _ in ours.values()]
    assert min(outcomes.count(outcome) for outcome in ("allowed", "prohibited", "failed")) >= 5
    assert ("allowed", b"hello") in ours.values()


# --- the same with stock ssh


class Both:
    """An sshd and a gateway, which let one key in."""

    def __init__(self, folder: Path, sshd_port: int, stack: ExitStack) -> None:
        self.gateway = Gateway(folder)
        self.origin = stack.enter_context(Origin())
        self.closed = self.gateway.ports.outside
        key, file = make_key(folder / "key"), folder / "authorized_keys"
        permits = ",".join(
            f'permitopen="{target}"'
            for target in (f"localhost:{self.origin.port}", f"127.0.0.1:{self.origin.port}", f"localhost:{self.closed}")
        )
        file.write_text(f"{permits} {key.with_suffix('.pub').read_text()}")
        self.gateway.settings["access"] = {"mode": "keys", "keys": [file]}
        stack.enter_context(self.gateway.serving())
        stack.enter_context(
            listening(folder, sshd_port, HostKey=make_key(folder / "host_key"), AuthorizedKeysFile=file)
        )
        self.servers = [StockSsh(folder, "127.0.0.1", port, key) for port in (sshd_port, self.gateway.ports.ssh)]

    def both(self, *arguments: str, stdin: bytes = b"") -> list[tuple[int, bytes, str]]:
        """For each server the exit code, the end of the output, and the name of the failure."""
        found = []
        for ssh in self.servers:
            command = ssh.command(*arguments, user=own_user())
            done = subprocess.run(
                command,
                cwd=ssh.folder,
                env=environment(ssh.folder),
                input=stdin,
                capture_output=True,
                timeout=30,
                check=False,
            )
            failure = [line.split(": ")[2] for line in done.stderr.decode().splitlines() if "open failed: " in line]
            found.append((done.returncode, done.stdout[-6:], " ".join(failure)))
        return found


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    block = PortBlock.take()
    with ExitStack() as stack:
        stack.callback(block.release)
        yield Both(tmp_path_factory.mktemp("both"), block.ssh, stack)


@pytest.mark.parametrize(
    ("target", "failure"),
    [
        ("localhost:{port}", ""),
        ("127.0.0.1:{port}", ""),
        ("localhost:{closed}", "connect failed"),
        ("127.0.0.1:{closed}", "administratively prohibited"),
        ("[::1]:{port}", "administratively prohibited"),
        ("example.invalid:{port}", "administratively prohibited"),
    ],
)
def test_w_ends_alike(both: Both, target: str, failure: str) -> None:
    request = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    real, ours = both.both("-W", target.format(port=both.origin.port, closed=both.closed), stdin=request)
    assert ours == real
    assert ours == ((0, b"origin", "") if not failure else (255, b"", failure))


@pytest.mark.parametrize("way", ["-L", "socks5", "socks5h", "socks4", "socks4a"])
def test_l_and_d_carry_the_same(both: Both, way: str) -> None:
    found = []
    for ssh in both.servers:
        local = next(both.gateway.public_ports)
        forward = (
            ["-L", f"127.0.0.1:{local}:localhost:{both.origin.port}"] if way == "-L" else ["-D", f"127.0.0.1:{local}"]
        )
        with ssh.start("-N", "-v", *forward, user=own_user()) as child:
            child.error_line("Local forwarding listening on 127|Local connections to 127")
            child.error_line("Entering interactive session|pledge")
            to = ("127.0.0.1", local) if way == "-L" else ("localhost", both.origin.port)
            proxy = [] if way == "-L" else ["--proxy", f"{way}://127.0.0.1:{local}", "-4"]
            command = ["curl", "-q", "-sS", "--noproxy", "", "--max-time", "20", *proxy, f"http://{to[0]}:{to[1]}/"]
            done = subprocess.run(command, env=environment(ssh.folder), capture_output=True, timeout=30, check=False)
            found.append((done.returncode, done.stdout))
    assert found == [(0, b"origin"), (0, b"origin")]
