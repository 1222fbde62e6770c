"""Clients that come to the port of another protocol, with stock ssh, curl and OpenSSL."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from gateway_process import Gateway
from ssh_command import StockSsh, run


def test_ssh_on_the_http_port_prints_the_right_port(gateway: Gateway, ssh: StockSsh) -> None:
    tried = replace(ssh, port=gateway.ports.http).run("-N", "-R", "80:localhost:3000")
    assert tried.code == 255
    assert f"Port {gateway.ports.ssh} does: ssh -p {gateway.ports.ssh} localhost" in tried.err


def test_ssh_on_the_https_port_prints_the_right_port_where_it_is_off(
    start_gateway: Callable[..., Gateway], new_key: Callable[[], Path], tmp_path: Path
) -> None:
    gateway = start_gateway(https={"ssh": False})
    tried = replace(gateway.ssh(tmp_path, new_key()), port=gateway.ports.https).run(words="whoami")
    assert tried.code == 255
    assert f"Port {gateway.ports.ssh} does: ssh -p {gateway.ports.ssh} localhost" in tried.err


def test_http_on_the_ssh_port_reads_the_http_port(gateway: Gateway, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{gateway.ports.ssh}/"
    tried = run(["curl", "-q", "-sS", "--http0.9", "--max-time", "20", url], folder=tmp_path)
    version, line = tried.lines
    assert version.startswith("SSH-2.0-")
    assert f"HTTP is on port {gateway.ports.http}: http://localhost:{gateway.ports.http}" in line


@pytest.mark.parametrize("port", ["ssh", "http"])
def test_tls_on_a_port_without_it_ends_at_once(gateway: Gateway, tmp_path: Path, port: str) -> None:
    url = f"https://127.0.0.1:{getattr(gateway.ports, port)}/"
    tried = run(["curl", "-q", "-sSk", "--max-time", "8", url], folder=tmp_path)  # a head has ten seconds
    assert tried.code == 35  # CURLE_SSL_CONNECT_ERROR
