"""Stock ssh prints why a forward is refused, however it was started."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from ferry import limits
from gateway_process import Gateway
from inside_gateway import Inside
from origin_server import Origin
from ssh_command import StockSsh
from turns import SECONDS, until
from web_client import visit

RESERVED = "the operator has reserved the name 'admin': ask for another"
BAD = ("-R", "admin:80:127.0.0.1:9")
EXIT = ("-o", "ExitOnForwardFailure=yes")


@pytest.mark.parametrize(
    "options", [(), EXIT, ("-o", "RemoteForward=admin:80 127.0.0.1:9")], ids=["-N", "exit", "file"]
)
def test_without_a_session_ssh_ends_with_the_reason(ssh: StockSsh, options: tuple[str, ...]) -> None:
    bad = () if any("RemoteForward" in word for word in options) else BAD
    ended = ssh.run("-N", *options, *bad)
    assert ended.code == 255
    assert f"Refused -R admin:80: {RESERVED}" in ended.err


def test_all_reasons_stand_in_one_line(ssh: StockSsh) -> None:
    ended = ssh.run("-N", *BAD, "-R", "www:80:127.0.0.1:9")
    (line,) = [line for line in ended.err.splitlines() if "disconnect from" in line]
    assert "Refused -R admin:80: " in line
    assert "; Refused -R www:80: " in line


def test_a_forward_of_a_socket_has_its_reason_too(ssh: StockSsh) -> None:
    ended = ssh.run("-N", "-R", "/tmp/ferry.sock:127.0.0.1:9")
    assert ended.code == 255
    assert "this gateway forwards no Unix sockets" in ended.err


@pytest.mark.parametrize("terminal", [(), ("-tt",)], ids=["pipe", "terminal"])
def test_a_session_prints_the_reason_before_ssh_exits(
    ssh: StockSsh, origin: Origin, name: str, terminal: tuple[str, ...]
) -> None:
    ended = ssh.run(*terminal, *EXIT, *BAD, "-R", f"{name}:80:localhost:{origin.port}")
    assert ended.code == 255
    reason, failed = ended.err.find(f"Refused -R admin:80: {RESERVED}"), ended.err.find("remote port forwarding failed")
    assert 0 <= reason < failed


def test_a_session_without_a_forward_ends_with_the_reason(ssh: StockSsh) -> None:
    ended = ssh.run(*BAD)
    assert (ended.code, ended.out) == (1, "")
    assert f"Refused -R admin:80: {RESERVED}" in ended.err


def test_a_command_prints_the_reason_too_and_its_own_answer(ssh: StockSsh) -> None:
    ended = ssh.run(*BAD, words="whoami")
    assert ended.code == 0
    assert f"Refused -R admin:80: {RESERVED}" in ended.err
    assert "Refused" not in ended.out
    assert "key SHA256:" in ended.out


def test_ssh_that_is_to_exit_at_a_refused_forward_does_so_beside_a_quick_command(ssh: StockSsh) -> None:
    ended = ssh.run(*EXIT, *BAD, words="whoami")
    assert (ended.code, ended.out.startswith("key SHA256:")) == (255, True)
    assert f"Refused -R admin:80: {RESERVED}" in ended.err


def test_a_connection_with_a_forward_goes_on(gateway: Gateway, ssh: StockSsh, origin: Origin, name: str) -> None:
    good = ("-R", f"{name}:80:localhost:{origin.port}")
    with ssh.start("-N", "-v", *BAD, *good) as child:
        child.error_line(f"refused -R admin:80: {RESERVED}")
        child.error_line("remote port forwarding failed")
        child.error_line("remote forward success")
        assert visit(gateway, name).text == "origin"
        assert child.running


def test_a_shared_connection_goes_on_and_its_session_shows_the_reason(
    gateway: Gateway, ssh: StockSsh, origin: Origin, name: str
) -> None:
    shared = ("-S", str(ssh.folder / "shared"))
    with ssh.start("-M", *shared, "-R", f"{name}:80:localhost:{origin.port}") as master:
        master.line("Forwarding HTTP")
        asked = ssh.run(*shared, "-O", "forward", *BAD)
        assert asked.code == 255
        master.error_line(f"Refused -R admin:80: {RESERVED}")
        assert visit(gateway, name).text == "origin"


async def test_all_of_sixteen_refused_forwards_have_their_reasons(
    inside: Inside, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, key: Path
) -> None:
    """All stand in the session before the first answer, at which ssh exits. That waits for them here, not for a time."""
    for name in ("REASON_SECONDS", "READ_SECONDS"):
        monkeypatch.setattr(limits, name, 2 * SECONDS)
    bad = [word for number in range(16) for word in ("-R", f"-bad-{number}:80:127.0.0.1:9")]
    good = ("-R", "good:80:127.0.0.1:9")  # without a forward the session ends by itself
    with StockSsh(tmp_path, "127.0.0.1", inside.ssh_port, key).start(*EXIT, *bad, *good) as child:
        await until(lambda: child.err.text.count("Refused -R -bad-") == 16, every=0.01)
        [client] = inside.clients
        assert client.requests.answers_held
        client.connection.release_answers()
        assert await asyncio.to_thread(child.exit_code) == 255
