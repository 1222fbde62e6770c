"""The gateway's host keys with stock ssh: certificates of them, and new ones that clients learn before they are used."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from child_process import Child
from ferry_command import ferry
from gateway_process import Gateway
from looks import until
from ssh_command import Ended, StockSsh, environment, fingerprint, make_key, public_key, run


def host_key(gateway: Gateway, kind: str = "ed25519") -> Path:
    return gateway.state / f"ssh_host_{kind}_key"


def sign(ca: Path, key: Path, *arguments: str) -> Path:
    """A certificate of a host key, beside it."""
    command = ["ssh-keygen", "-q", "-s", str(ca), "-I", "gateway", *arguments, f"{key}.pub"]
    subprocess.run(command, check=True, timeout=30, capture_output=True)
    return key.parent / f"{key.name}-cert.pub"


def strict(ssh: StockSsh, *arguments: str) -> Ended:
    """Log in without asking: the host has to be known."""
    command = ssh.command("-v", *arguments, words="whoami")
    return run([word.replace("=accept-new", "=yes") for word in command], folder=ssh.folder)


@pytest.mark.parametrize("kind", ["ed25519", "rsa"])
def test_a_client_that_trusts_the_ca_needs_no_fingerprint(
    start_gateway: Callable[..., Gateway], key: Path, tmp_path: Path, kind: str
) -> None:
    gateway = start_gateway()
    ca, ssh = make_key(tmp_path / "ca"), gateway.ssh(tmp_path, key)
    (tmp_path / "known_hosts").write_text(f"@cert-authority [127.0.0.1]:* {public_key(ca)}\n")
    algorithm = "ssh-ed25519" if kind == "ed25519" else "rsa-sha2-512"
    only = f"-oHostKeyAlgorithms={algorithm}-cert-v01@openssh.com"
    assert strict(ssh, only).code == 255
    seen = gateway.log_lines
    sign(ca, host_key(gateway, kind), "-h", "-n", "127.0.0.1,localhost")
    gateway.event('"certificate.loaded"', after=seen)
    ended = strict(ssh, only)
    assert (ended.code, ended.out) == (0, f"key {fingerprint(key)}\n"), ended.err
    assert f"Server host certificate: {algorithm.partition('-sha2')[0].replace('rsa', 'ssh-rsa')}" in ended.err
    (tmp_path / "known_hosts").unlink()  # another client has the key of before
    assert ssh.run(words="whoami").code == 0


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("-n", "127.0.0.1"), "it is a user's certificate: sign the host key with ssh-keygen -s CA -h"),
        (("-h", "-V", "-2d:-1d"), "it has run out: sign the host key again (ssh-keygen -s CA -h -V +52w)"),
        (("-h", "-V", "+1d:+2d"), "it is not valid yet: sign the host key again, or look at this host's clock"),
        (("-h", "-O", "force-command=x"), "it has critical options, which no client takes from a host"),
        (("-h", "of another key"), "it is for another key: sign the .pub file of this gateway's host key"),
        (("-h", "damaged"), "the signature of its CA is wrong"),
    ],
)
def test_a_wrong_certificate_is_an_error_of_check_config_and_the_key_goes_without_it(
    start_gateway: Callable[..., Gateway], key: Path, tmp_path: Path, arguments: tuple[str, ...], why: str
) -> None:
    gateway = start_gateway()
    ca, path = make_key(tmp_path / "ca"), gateway.state / "ssh_host_ed25519_key-cert.pub"
    seen = gateway.log_lines
    if arguments[-1] == "of another key":
        shutil.copy(sign(ca, make_key(tmp_path / "other"), "-h"), path)
    elif arguments[-1] == "damaged":
        kind, encoded, *_ = sign(ca, make_key(tmp_path / "other"), "-h").read_text().split()
        made = sign(ca, host_key(gateway), "-h").read_text().split()[1]
        path.write_text(f"{kind} {made[:-8]}{'AAAA' if made[-8:-4] != 'AAAA' else 'BBBB'}{made[-4:]}\n")
        assert encoded
    else:
        sign(ca, host_key(gateway), *arguments)
    assert why in gateway.event('"certificate.rejected"', after=seen)["error"]
    ran = ferry("check-config", "--no-dns", "--config", gateway.write_config(), cwd=tmp_path)
    assert (ran.code, f"{path}: {why}" in ran.out) == (1, True), ran.out
    assert gateway.ssh(tmp_path, key).run(words="whoami").code == 0
    path.unlink()


def known(ssh: StockSsh) -> set[str]:
    """The keys in known_hosts."""
    return {" ".join(line.split()[1:3]) for line in (ssh.folder / "known_hosts").read_text().splitlines()}


def learns(ssh: StockSsh, *keys: Path, algorithms: str = "ssh-ed25519,rsa-sha2-512,rsa-sha2-256") -> bool:
    """Whether a client has these keys alone in its known_hosts, after a connection to a host that it knows."""
    wanted = {public_key(key) for key in keys}
    command = ssh.command("-N", "-o", "UpdateHostKeys=yes", "-o", f"HostKeyAlgorithms={algorithms}")
    with Child([word.replace("=accept-new", "=yes") for word in command], env=environment(ssh.folder), cwd=ssh.folder):
        until(lambda: known(ssh) == wanted)
    return True


def test_a_client_learns_all_host_keys_and_the_next_one_before_it_is_used(
    start_gateway: Callable[..., Gateway], key: Path, tmp_path: Path
) -> None:
    gateway = start_gateway()
    ssh = gateway.ssh(tmp_path, key)
    old, rsa = host_key(gateway), host_key(gateway, "rsa")
    knows(ssh, old)
    assert learns(ssh, old, rsa)

    new = make_key(gateway.state / "ssh_host_ed25519_key.next")
    new_rsa = make_key(gateway.state / "ssh_host_rsa_key.next", "rsa")
    gateway.stop()
    gateway.start()
    assert learns(ssh, old, rsa, new, new_rsa)

    gateway.stop()
    new.rename(old)
    new_rsa.rename(rsa)
    gateway.start()
    assert learns(ssh, new, new_rsa)
    assert public_key(old) == public_key(new)  # its .pub file is the new one's


@pytest.mark.parametrize("bits", [256, 521])
def test_an_ecdsa_key_that_the_operator_gives_is_used_certified_and_learned(
    start_gateway: Callable[..., Gateway], key: Path, tmp_path: Path, bits: int
) -> None:
    gateway = start_gateway()
    ssh, ecdsa, algorithm = gateway.ssh(tmp_path, key), host_key(gateway, "ecdsa"), f"ecdsa-sha2-nistp{bits}"
    gateway.stop()
    make_key(ecdsa, algorithm)
    gateway.start()
    knows(ssh, ecdsa)
    assert strict(ssh, "-oUpdateHostKeys=no", f"-oHostKeyAlgorithms={algorithm}").code == 0
    every = f"{algorithm},ssh-ed25519,rsa-sha2-512,rsa-sha2-256"  # ssh learns keys of these types alone
    assert learns(ssh, host_key(gateway), host_key(gateway, "rsa"), ecdsa, algorithms=every)
    assert f"ECDSA {fingerprint(ecdsa)}" in gateway.ask("status")["host_keys"]

    ca, seen = make_key(tmp_path / "ca"), gateway.log_lines
    (tmp_path / "known_hosts").write_text(f"@cert-authority [127.0.0.1]:* {public_key(ca)}\n")
    sign(ca, ecdsa, "-h", "-n", "127.0.0.1,localhost")
    gateway.event('"certificate.loaded"', after=seen)
    ended = strict(ssh, f"-oHostKeyAlgorithms={algorithm}-cert-v01@openssh.com")
    assert ended.code == 0, ended.err
    assert f"Server host certificate: {algorithm}" in ended.err


def knows(ssh: StockSsh, key: Path) -> None:
    """Let a client know one host key."""
    (ssh.folder / "known_hosts").write_text(f"[{ssh.host}]:{ssh.port} {public_key(key)}\n")


@pytest.mark.parametrize(
    ("kind", "algorithms"),
    [
        ("ed25519", "ssh-ed25519,rsa-sha2-512,rsa-sha2-256"),
        ("rsa", "rsa-sha2-256,ssh-ed25519"),
        ("rsa", "rsa-sha2-512,ssh-ed25519"),
    ],
)
def test_the_keys_are_proved_whatever_the_key_exchange_has_used(
    gateway: Gateway, key: Path, tmp_path: Path, kind: str, algorithms: str
) -> None:
    """OpenSSH wants to see an RSA key proved by the signature of the key exchange, or else by SHA-512 or SHA-256."""
    ssh = gateway.ssh(tmp_path, key)
    knows(ssh, host_key(gateway, kind))
    assert learns(ssh, host_key(gateway), host_key(gateway, "rsa"), algorithms=algorithms)


def test_a_key_of_the_wrong_type_or_another_one_does_not_start(
    start_gateway: Callable[..., Gateway], tmp_path: Path
) -> None:
    gateway = start_gateway()
    gateway.stop()
    wrong = make_key(gateway.state / "ssh_host_rsa_key.next")
    assert "make one of the type ssh-rsa" in ended_start(gateway)
    wrong.unlink()
    kept = host_key(gateway).read_bytes()
    shutil.copy(make_key(tmp_path / "another"), host_key(gateway))
    assert "but clients know this gateway by" in ended_start(gateway)
    host_key(gateway).write_bytes(kept)
    gateway.start()
    gateway.running.signal(signal.SIGTERM)
    assert gateway.running.exit_code() == 0


def ended_start(gateway: Gateway) -> str:
    """What a start says that fails."""
    with gateway.launch() as child:
        assert child.exit_code() == 3
        text: str = child.err.text
    gateway.child = None
    return text
