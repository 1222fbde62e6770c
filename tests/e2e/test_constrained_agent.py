"""Log-ins that name the gateway's host key: an agent that holds a key for some hosts alone (`ssh-add -h`) signs nothing else
for somebody who reaches the gateway from another host with `ssh -A`. With an sshd in the gateway's place the same commands
have the same results."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from asyncssh.packet import String

from child_process import Child
from gateway_process import Gateway
from ssh_command import Ended, StockSsh, environment
from sshd_program import listening, own_user

USER = own_user()


def public(key: Path) -> str:
    """As in KEY.pub, with the end of the line."""
    return key.with_suffix(".pub").read_text()


def scanned(gateway: Gateway) -> list[str]:
    """The gateway's host keys."""
    command = ["ssh-keyscan", "-p", str(gateway.ports.ssh), "127.0.0.1"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    return [line.partition(" ")[2] for line in done.stdout.splitlines() if not line.startswith("#")]


@contextmanager
def agent(folder: Path, key: Path, known: Path, *steps: str) -> Iterator[Path]:
    """An agent that holds the key for these steps alone, of hosts in `known`."""
    path = folder / f"agent-{len(steps)}"
    with Child(["ssh-agent", "-D", "-a", path], env=environment(folder), cwd=folder) as running:
        running.line(f"SSH_AUTH_SOCK={path}")
        options = [word for step in steps for word in ("-h", step)]
        env = environment(folder) | {"SSH_AUTH_SOCK": str(path)}
        subprocess.run(["ssh-add", "-q", "-H", known, *options, key], env=env, check=True, timeout=30)
        yield path


def test_a_key_held_for_the_way_to_the_gateway_alone_opens_it_from_another_host(
    start_gateway: Callable[..., Gateway], new_key: Callable[[], Path], free_port: int, tmp_path: Path
) -> None:
    key, inner_key, known, allowed = new_key(), new_key(), tmp_path / "known", tmp_path / "allowed"
    allowed.write_text(public(key))
    gateway = start_gateway(access={"mode": "keys", "keys": [allowed]})
    known.write_text("".join(f"gate {one}\n" for one in scanned(gateway)) + f"inner {public(inner_key)}")
    files = f"-o UserKnownHostsFile={known} -o GlobalKnownHostsFile=none"

    def from_inner(agent_socket: Path, user: str = USER) -> Ended:
        behind = (
            f"ssh -F none {files} -o BatchMode=yes -o HostKeyAlias=gate -p {gateway.ports.ssh} {user}@127.0.0.1 whoami"
        )
        inner = StockSsh(tmp_path, "127.0.0.1", free_port, key.with_suffix(".pub"), agent_socket)
        options = [*files.split(), "-o", f"ForwardAgent={agent_socket}", "-o", "HostKeyAlias=inner"]
        return inner.run(*options, user=USER, words=behind)

    with listening(tmp_path, free_port, HostKey=inner_key, AuthorizedKeysFile=allowed):
        with agent(tmp_path, key, known, f"{USER}@inner", f"inner>{USER}@gate") as held:
            let_in = from_inner(held)
            assert (let_in.code, "key SHA256:" in let_in.out) == (0, True), let_in
            assert from_inner(held, "somebody").code == 255
        with agent(tmp_path, key, known, f"{USER}@inner") as held:
            assert from_inner(held).code == 255


@pytest.mark.parametrize("named", ["ours", "another"])
async def test_a_log_in_that_names_another_host_key_is_refused(
    start_gateway: Callable[..., Gateway], new_key: Callable[[], Path], named: str
) -> None:
    """It was signed for a host between the two, which passes it on."""
    gateway, key = start_gateway(), new_key()
    [ours] = [line for line in scanned(gateway) if line.startswith("ssh-ed25519")]
    host_key = asyncssh.import_public_key(ours if named == "ours" else public(new_key())).public_data

    class Client(asyncssh.SSHClient):
        def connection_made(self, conn: Any) -> None:
            send = conn.send_userauth_request

            async def send_bound(method: bytes, *fields: bytes, **options: Any) -> None:
                if method == b"publickey":
                    method, fields = b"publickey-hostbound-v00@openssh.com", (*fields, String(host_key))
                await send(method, *fields, **options)

            conn.send_userauth_request = send_bound

    connecting = asyncssh.connect(
        "127.0.0.1", gateway.ports.ssh, username="dev", client_factory=Client, client_keys=[str(key)], known_hosts=None,
        config=None, agent_path=None, server_host_key_algs=["ssh-ed25519"], kbdint_auth=False,
    )  # fmt: skip
    if named == "ours":
        async with connecting as connection:
            connection.abort()
    else:
        with pytest.raises(asyncssh.PermissionDenied):
            await connecting
