"""SIGHUP: a reload swaps in the new parts. With an error in the new configuration the old one stays in force."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from ferry.config.model import AT_START
from gateway_process import Gateway
from origin_server import Origin
from web_client import visit

TROUBLESHOOTING = Path(__file__).parents[2] / "docs/troubleshooting.md"


@pytest.fixture
def gateway(modules_gateway: Gateway) -> Gateway:
    """A gateway with the configuration that it started with."""
    modules_gateway.settings = {}
    assert modules_gateway.reload()["needs_restart"] == ""
    return modules_gateway


def test_a_listener_moves_and_tunnels_stay(
    gateway: Gateway, new_key: Callable[[], Path], origin: Origin, tmp_path: Path, name: str
) -> None:
    with gateway.ssh(tmp_path, new_key()).start("-R", f"{name}:80:localhost:{origin.port}") as child:
        child.line(f"http://{name}.localhost")
        old = gateway.ports.http
        gateway.settings["http"] = {"listen": f"127.0.0.1:{gateway.ports.outside}"}
        gateway.reload()
        with socket.socket() as sock:
            assert sock.connect_ex(("127.0.0.1", old)) != 0
        with socket.create_connection(("127.0.0.1", gateway.ports.outside), timeout=10) as visitor:
            visitor.sendall(f"GET / HTTP/1.0\r\nHost: {name}.localhost\r\n\r\n".encode())
            assert visitor.recv(100).startswith(b"HTTP/1.1 200")
        assert child.running


def test_new_limits_hold_for_new_connections(
    gateway: Gateway, new_key: Callable[[], Path], origin: Origin, tmp_path: Path
) -> None:
    gateway.settings["limits"] = {"forwards_per_connection": 1}
    gateway.reload()
    ssh = gateway.ssh(tmp_path, new_key())
    with ssh.start("-R", f"one:80:localhost:{origin.port}", "-R", f"two:80:localhost:{origin.port}") as child:
        child.error_line("which is the limit")


def test_keys_that_need_a_restart_are_named(gateway: Gateway) -> None:
    gateway.settings["limits"] = {"forwards_per_connection": 1}
    assert gateway.reload()["needs_restart"] == ""
    gateway.settings["limits"]["visitors_per_tunnel"] = 5
    gateway.settings["http"] = {"head_timeout": "3s"}
    assert gateway.reload()["needs_restart"] == "http.head_timeout limits.visitors_per_tunnel"
    assert gateway.reload()["needs_restart"] == "http.head_timeout limits.visitors_per_tunnel"  # it still does


def test_the_documentation_has_every_key_that_needs_a_restart() -> None:
    text = TROUBLESHOOTING.read_text()
    assert [key for key in AT_START if not key.startswith("http.") and f"`{key}`" not in text] == []


@pytest.mark.parametrize(
    ("table", "value", "why"),
    [
        ("http", {"lissten": "127.0.0.1:1"}, "did you mean http.listen"),
        ("access", {"mode": "keys", "keys": ["/nowhere/keys"]}, "/nowhere/keys does not exist"),
        ("https", {"certificates": "/nowhere"}, "/nowhere"),
    ],
)
def test_an_invalid_reload_leaves_the_old_configuration_running(
    gateway: Gateway,
    new_key: Callable[[], Path],
    origin: Origin,
    tmp_path: Path,
    name: str,
    table: str,
    value: dict[str, object],
    why: str,
) -> None:
    with gateway.ssh(tmp_path, new_key()).start("-R", f"{name}:80:localhost:{origin.port}") as child:
        child.line(f"http://{name}.localhost")
        gateway.settings[table] = gateway.settings.get(table, {}) | value
        assert why in str(gateway.reload("rejected")["error"])
        assert visit(gateway, name).status == 200
    assert (gateway.health()["status"], gateway.health()["config"]) == ("ok", "rejected")
    assert why in gateway.ask("status")["config"]["error"]
    gateway.settings = {}
    gateway.reload()
    assert (gateway.health()["config"], gateway.ask("status")["config"]["error"]) == ("ok", "")


def test_an_address_that_is_taken_leaves_all_listeners_as_they_were(
    gateway: Gateway, new_key: Callable[[], Path], origin: Origin, tmp_path: Path, name: str
) -> None:
    with (
        socket.create_server(("127.0.0.1", gateway.ports.outside)),
        gateway.ssh(tmp_path, new_key()).start("-R", f"{name}:80:localhost:{origin.port}") as child,
    ):
        child.line(f"http://{name}.localhost")
        gateway.settings["http"] = {"listen": f"127.0.0.1:{gateway.ports.outside}"}
        assert "is in use" in str(gateway.reload("rejected")["error"])
        assert visit(gateway, name).status == 200
