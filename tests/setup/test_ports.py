from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import asyncssh
import pytest

from ferry.names import Endpoint
from ferry.setup import ports
from ferry.setup.ports import blocked, holder, listeners, ssh_banner, sshd_on


@pytest.fixture
def taken() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


def test_a_free_port_and_a_taken_one(taken: socket.socket) -> None:
    port = taken.getsockname()[1]
    with taken:
        busy = blocked(Endpoint("127.0.0.1", port))
        assert busy is not None
        assert busy.in_use
        assert f"127.0.0.1:{port} is held by " in busy.reason
        assert f"(pid {os.getpid()})" in busy.reason
        everywhere = blocked(Endpoint("::", port))
        assert everywhere is not None, "an IPv4 listener is in the way of *:port too"
        assert everywhere.in_use
    assert blocked(Endpoint("127.0.0.1", port)) is None
    assert blocked(Endpoint("::", port)) is None


def test_a_port_of_another_address_is_not_in_the_way(free_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.2", free_port)):
        for ipv6 in (True, False):
            monkeypatch.setattr(ports, "has_ipv6", lambda ipv6=ipv6: ipv6)
            assert blocked(Endpoint("127.0.0.1", free_port)) is None
            assert blocked(Endpoint("::", free_port)) is not None


def test_an_ipv6_listener_is_in_the_way_of_all_addresses() -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as six:
        assert blocked(Endpoint("::", six.getsockname()[1])) is not None


def test_an_address_that_is_not_ours() -> None:
    busy = blocked(Endpoint("192.0.2.1", 0))
    assert busy is not None
    assert (busy.reason, busy.in_use, busy.absent) == ("192.0.2.1 is not an address of this host", False, True)


def test_listeners_are_read_as_the_kernel_writes_them() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as four,
        socket.create_server(("::1", 0), family=socket.AF_INET6) as six,
    ):
        found = {listener.endpoint for listener in listeners()}
        assert Endpoint("127.0.0.1", four.getsockname()[1]) in found
        assert Endpoint("::1", six.getsockname()[1]) in found


def test_the_holder_of_a_port_without_a_visible_process_is_a_command_to_run() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound, not listening: no process listens there
        port = unused.getsockname()[1]
        assert f"'sport = :{port}'" in holder(port)


@pytest.mark.parametrize("gone", [False, True])
def test_a_holder_that_ends_during_the_look_up_is_another_program(tmp_path: Path, *, gone: bool) -> None:
    """As /proc shows it (proc(5)): the sockets of the table, and each process with its descriptors and its name."""
    (tmp_path / "net").mkdir()
    (tmp_path / "net/tcp").write_text("head\n 0: 0100007F:1F90 00000000:0000 0A 0:0 00:0 0 0 0 4242 1\n")
    (tmp_path / "812/fd").mkdir(parents=True)
    (tmp_path / "812/fd/3").symlink_to("socket:[4242]")
    if not gone:
        (tmp_path / "812/comm").write_text("nginx\n")
    assert holder(8080, tmp_path).startswith("another user's process" if gone else "nginx (pid 812)")


async def test_a_real_ssh_server_is_seen_by_its_banner() -> None:
    key = asyncssh.generate_private_key("ssh-ed25519")
    async with asyncssh.listen("127.0.0.1", 0, server_host_keys=[key], server_version="Test_1") as server:
        banner = await asyncio.to_thread(sshd_on, server.get_port())
    assert banner == "SSH-2.0-Test_1"


def test_a_server_that_is_no_ssh_server_has_no_banner() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        endpoint = Endpoint("127.0.0.1", listener.getsockname()[1])
        assert ssh_banner(endpoint) is None  # accepts, says nothing
    assert ssh_banner(endpoint) is None  # nobody there
    assert sshd_on(endpoint.port) is None
