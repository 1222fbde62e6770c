"""A machine whose tunnel moves from a real sshd to Ferry and back, as docs/from-sshd.md says: one port, one host key, one
command, and the sshd's own key file with names in its comments."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import tomllib
from pathlib import Path

from child_process import Child
from ferry_command import PROGRAM
from gateway_process import Gateway
from line_service import LineService, ask
from rsa_host_key import put_rsa_key
from ssh_command import StockSsh, make_key
from ssh_command import run as run_program
from sshd_program import listening, own_user

PAGE = Path(__file__).parents[2] / "docs" / "from-sshd.md"


def tunnel(ssh: StockSsh, port: int, target: int) -> Child:
    forward = f"localhost:{port}:127.0.0.1:{target}"
    child = ssh.start("-v", "-N", "-o", "ExitOnForwardFailure=yes", "-R", forward, user=own_user())
    child.error_line("remote forward success")
    return child


def names_written(keys: Path) -> str:
    """The key file after the page's own command, in which the words are those of a shell within a shell."""
    found = re.search(r'sed -E "(.+)" /etc/ssh/tunnel_keys', PAGE.read_text("utf-8"))
    assert found
    command = ["sh", "-c", f'sed -E "{found[1]}" "$0"', str(keys)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout


def test_a_tunnel_moves_to_a_gateway_and_back(tmp_path: Path) -> None:
    gateway, service = Gateway(tmp_path), LineService()
    key, host_key = make_key(tmp_path / "id", comment="root@web-1"), make_key(tmp_path / "host_key")
    port = next(gateway.loopback_ports)
    keys = tmp_path / "tunnel_keys"
    options = f'restrict,port-forwarding,permitlisten="localhost:{port}"'
    keys.write_text(f"{options} {key.with_suffix('.pub').read_text()}")
    ssh = gateway.ssh(tmp_path, key)
    settings = {"HostKey": host_key, "AuthorizedKeysFile": keys}
    try:
        with listening(tmp_path, gateway.ports.ssh, **settings), tunnel(ssh, port, service.port):
            assert ask(port, b"sshd\n") == b"SSHD\nbye\n"
        known = (tmp_path / "known_hosts").read_text()

        (tmp_path / "fleet").write_text(names_written(keys))
        gateway.settings = {"access": {"mode": "keys", "keys": [str(tmp_path / "fleet")]}}
        put_rsa_key(gateway.state)
        shutil.copy(host_key, gateway.state / "ssh_host_ed25519_key")
        gateway.start()
        with tunnel(ssh, port, service.port):
            assert ask(port, b"ferry\n") == b"FERRY\nbye\n"
            assert gateway.event('"connection.opened"')["identity"].startswith("web-1 (SHA256:")
        gateway.stop()
        assert known.split()[1:3] == host_key.with_suffix(".pub").read_text().split()[:2]
        assert known in (tmp_path / "known_hosts").read_text()

        keys.write_text((tmp_path / "fleet").read_text())  # sshd reads the file with names just the same
        with listening(tmp_path, gateway.ports.ssh, **settings), tunnel(ssh, port, service.port):
            assert ask(port, b"back\n") == b"BACK\nbye\n"
    finally:
        gateway.close()
        service.close()


def test_a_port_that_sshd_has_is_told_and_what_a_forward_would_get_may_be_asked(tmp_path: Path) -> None:
    """The trial of the page, beside a running sshd."""
    gateway = Gateway(tmp_path)
    key = make_key(tmp_path / "id", comment="root@web-1 name=web-1")
    (tmp_path / "fleet").write_text(key.with_suffix(".pub").read_text())
    gateway.settings = {"access": {"mode": "keys", "keys": [str(tmp_path / "fleet")]}}
    port, free = next(gateway.loopback_ports), next(gateway.loopback_ports)
    ssh = gateway.ssh(tmp_path, key)
    with gateway.serving():
        with socket.create_server(("127.0.0.1", port)):
            ran = ssh.run("-N", "-R", f"localhost:{port}:localhost:22")
            assert ran.code == 255
            assert f"port {port} is in use by another program on this host" in ran.err
        asked = ssh.run(words=f"explain -R {free}:localhost:22")
        assert (asked.code, asked.out.startswith(f"yes: -R {free}:localhost:22 would open port {free}")) == (0, True)


def test_the_settings_of_the_page_are_a_configuration(tmp_path: Path) -> None:
    (block,) = re.findall(r"```toml\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert tomllib.loads(block)["tcp"]["allocate_from"] == 0
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "fleet").write_bytes(make_key(tmp_path / "id").with_suffix(".pub").read_bytes())
    here = block.replace("/etc/ferry/keys", str(tmp_path / "keys")).replace("/var/lib/ferry", str(tmp_path / "state"))
    (tmp_path / "ferry.toml").write_text(here)
    ran = run_program([str(PROGRAM), "check-config", "--config", "ferry.toml"], folder=tmp_path)
    assert "people type ssh -p 2222 bastion.example.com" in ran.out
    assert f"ok keys {tmp_path / 'keys'}: 1 key" in " ".join(ran.out.split())
