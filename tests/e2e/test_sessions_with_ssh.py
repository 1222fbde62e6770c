"""The session that holds forwards: how it begins, what it prints, and when it ends."""

from __future__ import annotations

import os
import pty
import socket
import subprocess
from pathlib import Path

import pytest

from child_process import Child
from gateway_process import Gateway
from origin_server import Origin
from ssh_command import StockSsh, environment
from web_client import visit


def test_end_of_file_on_stdin_does_not_end_it(gateway: Gateway, ssh: StockSsh, origin: Origin, name: str) -> None:
    with ssh.start("-R", f"{name}:80:localhost:{origin.port}", keyboard=True) as child:
        child.line("Forwarding HTTP")
        assert child.process.stdin is not None
        child.process.stdin.close()
        assert visit(gateway, name, "/after").status == 200
        child.line(r"^GET /after 200 \d+ms 127\.0\.0\.1$")
        assert child.running


@pytest.mark.parametrize("option", ["-T", "-t"])
def test_with_and_without_a_terminal(gateway: Gateway, ssh: StockSsh, origin: Origin, name: str, option: str) -> None:
    with ssh.start(option, "-R", f"{name}:80:localhost:{origin.port}") as child:
        child.line(f"^Forwarding HTTP traffic from http://{name}.localhost:{gateway.ports.http}$")
        child.line(f"^Forwarding HTTP traffic from https://{name}.localhost:{gateway.ports.https}$")
        assert "\x1b" not in child.out.text


def test_a_script_that_asks_for_a_terminal_gets_keys_and_no_escape_sequences(
    gateway: Gateway, ssh: StockSsh, origin: Origin, name: str
) -> None:
    with ssh.start("-tt", "-R", f"{name}:80:localhost:{origin.port}", keyboard=True) as child:
        child.line(f"^Forwarding HTTP traffic from http://{name}")
        child.typed("?")
        child.line("^q quit")
        assert visit(gateway, name, "/typed").status == 200
        child.line(r"^\d\d:\d\d:\d\dZ 200 +\d+ms GET  /typed +127\.0\.0\.1$")
        child.typed("q")
        assert child.exit_code() == 0
        assert "\x1b" not in child.out.text + child.err.text
    assert visit(gateway, name).status == 503


def test_ctrl_c_in_a_terminal_ends_it(ssh: StockSsh, origin: Origin, name: str, tmp_path: Path) -> None:
    leader, follower = pty.openpty()
    try:
        process = subprocess.Popen(
            ssh.command("-R", f"{name}:80:localhost:{origin.port}"),
            stdin=follower, stdout=follower, stderr=follower, env=environment(tmp_path), start_new_session=True,
        )  # fmt: skip
        seen = b""
        while b"q quit" not in seen:
            seen += os.read(leader, 4096)
        os.write(leader, b"\x03")
        assert process.wait(20) == 0
    finally:
        os.close(leader)
        os.close(follower)


def test_n_holds_a_tunnel_without_a_session(gateway: Gateway, ssh: StockSsh, origin: Origin, name: str) -> None:
    with ssh.start("-v", "-N", "-R", f"{name}:80:localhost:{origin.port}") as child:
        child.error_line("remote forward success")
        assert visit(gateway, name).text == "origin"
        assert child.running
        assert child.out.text == ""


def test_fn_goes_to_the_background_when_the_tunnel_is_up(
    gateway: Gateway, ssh: StockSsh, origin: Origin, name: str, tmp_path: Path
) -> None:
    control = tmp_path / "c"
    forward = f"{name}:80:localhost:{origin.port}"
    with Child(
        ssh.command("-M", "-S", str(control), "-o", "ExitOnForwardFailure=yes", "-fN", "-R", forward),
        env=environment(tmp_path), cwd=tmp_path,
    ) as child:  # fmt: skip
        assert child.process.wait(20) == 0
        assert visit(gateway, name).text == "origin"
        assert ssh.run("-S", str(control), "-O", "exit").code == 0
        child.out.finish()


def test_one_refused_of_two_stays_and_says_so(gateway: Gateway, ssh: StockSsh, origin: Origin, name: str) -> None:
    local = f"80:localhost:{origin.port}"
    with ssh.start("-R", f"admin:{local}", "-R", f"{name}:{local}") as child:
        child.error_line("Refused -R admin:80: the operator has reserved the name 'admin'")
        child.line(f"http://{name}")
        assert visit(gateway, name).status == 200


def test_all_refused_ends_with_1(ssh: StockSsh, origin: Origin) -> None:
    local = f"80:localhost:{origin.port}"
    ended = ssh.run("-R", f"admin:{local}", "-R", f"www:{local}")
    assert ended.code == 1
    refused = [line.partition(":80:")[0] for line in ended.err.splitlines() if line.startswith("Refused")]
    assert refused == ["Refused -R admin", "Refused -R www"]


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ("my_blog:80", "'my_blog' has '_' in it: use letters, digits and hyphens"),
        ("-blog:80", "has '-' at its start or end"),
        ("xn--blg-bma:80", "is punycode"),
        ("a.b:80", "write -R a:80:... for a.localhost"),
        ("blog/path:80", "a name has no path: write -R blog:80:..."),
        ("*.blog:80", "wildcard names are not offered: write -R blog:80:..."),
        ("blog:0", "a name with port 0 means nothing: write -R blog:80:..."),
        ("x" * 64 + ":80", "has 64 characters: 63 are allowed"),
    ],
)
def test_a_form_that_means_nothing_is_refused_with_the_nearest(ssh: StockSsh, asked: str, says: str) -> None:
    ended = ssh.run("-R", f"{asked}:localhost:1")
    assert (ended.code, says in ended.err) == (1, True), ended.out


def test_a_refused_name_is_never_replaced_by_another(ssh: StockSsh, origin: Origin) -> None:
    ended = ssh.run("-R", f"admin:80:localhost:{origin.port}")
    assert "Forwarding" not in ended.out


def test_an_unreachable_service_gets_the_visitor_502_and_the_owner_a_note(
    gateway: Gateway, ssh: StockSsh, name: str
) -> None:
    with ssh.start("-R", f"{name}:80:localhost:1") as child:
        child.line("Forwarding HTTP")
        page = visit(gateway, name)
        assert page.status == 502
        child.line(f"{name}.localhost: your local service cannot be reached")


def test_text_from_visitors_is_escaped_before_a_terminal_shows_it(
    gateway: Gateway, ssh: StockSsh, origin: Origin, name: str
) -> None:
    with ssh.start("-R", f"{name}:80:localhost:{origin.port}") as child:
        child.line("Forwarding HTTP")
        with socket.create_connection(("127.0.0.1", gateway.ports.http), timeout=20) as visitor:
            visitor.sendall(
                b"GET /\x1b[2J\xc3\xa9?\x9b1m HTTP/1.1\r\nHost: " + f"{name}.localhost".encode() + b"\r\n\r\n"
            )
            visitor.recv(1000)
        visit(gateway, name, "/after")
        child.line("^GET /after")
        assert child.out.text.isascii()
        assert "\x1b" not in child.out.text


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("-tt", "-X"), "this gateway does not forward X11"),
        (("-w", "any"), "WireGuard is made for that"),
        (("-s",), "this gateway has no files"),
    ],
)
def test_features_that_ferry_lacks_are_refused_with_one_sentence(
    ssh: StockSsh, tmp_path: Path, arguments: tuple[str, ...], says: str
) -> None:
    command = ssh.command("-v", *arguments, words="sftp" if "-s" in arguments else "")
    with Child(command, env=environment(tmp_path) | {"DISPLAY": ":9"}, cwd=tmp_path) as child:
        child.exit_code()
        assert says in child.out.text + child.err.text


def test_an_agent_is_refused_with_one_sentence(ssh: StockSsh, tmp_path: Path) -> None:
    path = tmp_path / "agent"
    with Child(["ssh-agent", "-D", "-a", path], env=environment(tmp_path), cwd=tmp_path) as agent:
        agent.line(f"SSH_AUTH_SOCK={path}")
        command = [word.replace("IdentityAgent=none", f"IdentityAgent={path}") for word in ssh.command("-v", "-A")]
        with Child(command, env=environment(tmp_path) | {"SSH_AUTH_SOCK": str(path)}, cwd=tmp_path) as child:
            child.exit_code()
            assert "this gateway does not use your agent" in child.out.text + child.err.text
