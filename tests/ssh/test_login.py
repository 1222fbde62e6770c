"""A log-in, step by step: its time limits, its messages, and the offence of a failed one."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from gateway_process import Gateway
from origin_server import Origin
from passphrase import PASSPHRASE, Asked
from raw_client import raw_client
from ssh_command import make_key


def keys_only(start_gateway: Callable[..., Gateway], known: Path, **ssh: object) -> Gateway:
    return start_gateway(access={"mode": "keys", "keys": [known.with_suffix(".pub")]}, ssh=ssh, limits={"exempt": []})


def test_a_client_with_an_acceptable_key_has_the_whole_grace_to_sign(
    start_gateway: Callable[..., Gateway], tmp_path: Path
) -> None:
    """A passphrase takes longer to type than a key to show."""
    locked = make_key(tmp_path / "locked", passphrase=PASSPHRASE)
    gateway = keys_only(start_gateway, locked, key_grace="500ms")
    with Asked(tmp_path) as person:
        ssh = gateway.ssh(tmp_path, locked).start(words="whoami", env=person.environment)
        with ssh, closing(socket.create_connection(("127.0.0.1", gateway.ports.ssh), 20)) as silent:
            person.wait()
            while silent.recv(4096):  # until the time to show a key is over, for whoever came later
                pass
            person.types(PASSPHRASE)
            assert ssh.exit_code() == 0, ssh.err.text


def test_a_logged_in_client_stays_after_the_time_for_log_ins(
    start_gateway: Callable[..., Gateway], new_key: Callable[[], Path], tmp_path: Path, origin: Origin
) -> None:
    """With and without a key."""
    gateway = start_gateway(ssh={"key_grace": "500ms", "login_grace": "1s"})
    forward = ("-R", f"0:localhost:{origin.port}")
    with (
        gateway.ssh(tmp_path, new_key()).start(*forward) as owner,
        gateway.ssh(tmp_path, None).start(*forward, user="nokey") as keyless,
        closing(socket.create_connection(("127.0.0.1", gateway.ports.ssh), 20)) as silent,
    ):
        for one in (owner, keyless):
            one.line("^Forwarding TCP")
        while silent.recv(4096):
            pass
        assert (owner.running, keyless.running) == (True, True)
        assert len(gateway.ask("connections")) == 2


def test_an_unknown_key_is_refused_at_its_offer(
    start_gateway: Callable[..., Gateway], new_key: Callable[[], Path], tmp_path: Path
) -> None:
    """Before a signature: else its connection keeps a place for two minutes, and showing keys counts as no try."""
    known, unknown = new_key(), new_key()
    gateway = keys_only(start_gateway, known)
    for key, code, accepted in ((unknown, 255, False), (known, 0, True)):
        ended = gateway.ssh(tmp_path, key).run("-v", "-v", words="whoami")
        assert "Offering public key" in ended.err
        assert (ended.code, "Server accepts key" in ended.err) == (code, accepted), ended.err


def blamed(gateway: Gateway) -> int:
    return len(gateway.ask("blocked"))


def test_a_silent_connection_gets_the_penalty_for_its_time(start_gateway: Callable[..., Gateway], key: Path) -> None:
    """Two that let the time run out are enough; of those that leave at once it takes fifteen."""
    gateway = keys_only(start_gateway, key, key_grace="100ms")
    for _ in range(2):
        with closing(socket.create_connection(("127.0.0.1", gateway.ports.ssh), 20)) as silent:
            while silent.recv(4096):
                pass
    blocked = gateway.event('"address.blocked"')
    assert blocked["why"] == "took too long to log in"


def test_too_many_connections_bring_no_penalty(
    start_gateway: Callable[..., Gateway], key: Path, tmp_path: Path
) -> None:
    gateway = start_gateway(limits={"exempt": [], "connections_per_identity": 1})
    ssh = gateway.ssh(tmp_path, key)
    forward = ("-R", "0:localhost:1")
    with ssh.start(*forward) as first:
        first.line("^Forwarding TCP")
        for _ in range(5):
            ended = ssh.run(*forward)
            assert (ended.code, ended.out) == (255, "")
            assert "you have 1 connection open, which is the limit" in ended.err
        assert blamed(gateway) == 0
        assert len(gateway.ask("connections")) == 1
    assert gateway.running.err.text.count('"connection.opened"') == 1  # the others never were clients


async def test_a_clients_version_is_escaped_and_cut(gateway: Gateway, key: Path) -> None:
    seen = gateway.log_lines
    async with raw_client(gateway, key, client_version="x" * 200):
        opened = await asyncio.to_thread(gateway.event, '"connection.opened".*xxx', after=seen)
    assert len(opened["client_version"]) == 100


@pytest.mark.parametrize(("bits", "let_in"), [(8192, True), (8208, False)])
async def test_a_key_that_costs_seconds_to_check_is_refused(
    gateway: Gateway, tmp_path: Path, *, bits: int, let_in: bool
) -> None:
    """CVE-2026-39829. That it is not only the algorithm's name that decides is what 8192 is for."""
    public = tmp_path / "rsa.pub"
    blob = _rsa_public(bits)
    public.write_bytes(b"ssh-rsa " + blob + b"\n")
    ended = await asyncio.to_thread(gateway.ssh(tmp_path, public).run, "-v", "-o", "KbdInteractiveAuthentication=no")
    assert ended.code == 255
    assert ("Server accepts key" in ended.err) is let_in
    assert (f"ferry: an RSA key of {bits} bits may not log in" in ended.err) is not let_in


def _rsa_public(bits: int) -> bytes:
    """A public key of that size, without a private key."""
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    numbers = RSAPublicNumbers(65537, (1 << bits) - 159)
    return numbers.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).split()[1]


def test_a_new_key_gets_no_banner(gateway: Gateway, new_key: Callable[[], Path], tmp_path: Path, name: str) -> None:
    """It was told its first web address, under `-W`, `sftp` and commands too."""
    for arguments, words in ((("-W", f"{name}:22"), ""), (("-s",), "sftp"), ((), "git-upload-pack"), ((), "whoami")):
        assert "ferry:" not in gateway.ssh(tmp_path, new_key()).run(*arguments, words=words).err


def test_the_banner_can_be_turned_off(
    start_gateway: Callable[..., Gateway], key: Path, tmp_path: Path, origin: Origin, name: str
) -> None:
    ssh = start_gateway(ssh={"banner": False}).ssh(tmp_path, key)
    good, bad = ("-R", f"{name}:80:localhost:{origin.port}"), ("-R", "admin:80:localhost:1")
    with ssh.start("-N", "-v", *good, *bad) as child:
        child.error_line("refused -R admin:80")
    ended = ssh.run(words="whoami")
    assert (ended.code, "ferry:" in ended.err) == (0, False)


def test_a_refusal_that_nobody_saw_is_in_the_next_banner_alone(
    gateway: Gateway, new_key: Callable[[], Path], tmp_path: Path, origin: Origin, name: str
) -> None:
    ssh = gateway.ssh(tmp_path, new_key())
    good, bad = ("-R", f"{name}:80:localhost:{origin.port}"), ("-R", "admin:80:localhost:1")
    with ssh.start("-N", "-v", *good, *bad) as child:
        child.error_line("refused -R admin:80")
    assert "ferry: refused before: -R admin:80: the operator has reserved" in ssh.run(words="whoami").err
    assert "ferry:" not in ssh.run(words="whoami").err
    for seen in (bad, ("-N", *bad)):  # in a session, and in the message that ends the connection
        assert "Refused -R admin:80" in ssh.run(*seen).err
        assert "ferry:" not in ssh.run(words="whoami").err
