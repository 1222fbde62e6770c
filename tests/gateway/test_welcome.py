"""The first lines of `ferry serve`: commands to type, and obstacles."""

from __future__ import annotations

from pathlib import Path

import pytest

from ferry.config.model import Config
from ferry.gateway.welcome import welcome_lines

OURS = ["ED25519 SHA256:ours", "RSA SHA256:also-ours"]


def lines(**tables: object) -> list[str]:
    config = Config.model_validate({"ssh": {"listen": "127.0.0.1:2222"}, **tables})
    return welcome_lines(config, OURS, state=Path("/var/lib/ferry"), trusted=lambda _host: False)


@pytest.fixture
def known_hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What `ssh-keygen -l -F` prints: it takes the user's own file, whatever HOME says."""
    said = tmp_path / "said"
    program = tmp_path / "ssh-keygen"
    program.write_text(f'#!/bin/sh\n[ "$*" = "-l -F [localhost]:2222" ] && cat {said}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return said


@pytest.mark.parametrize(
    ("known", "warned"),
    [
        ("", False),
        ("# Host [localhost]:2222 found: line 3\n[localhost]:2222 ED25519 SHA256:ours \n", False),
        ("# Host [localhost]:2222 found: line 3\n[localhost]:2222 ED25519 SHA256:another \n", True),
        ("[localhost]:2222 RSA SHA256:also-ours\n[localhost]:2222 ED25519 SHA256:another\n", True),
    ],
)
def test_an_older_key_that_ssh_would_refuse_is_told_with_the_line_that_forgets_it(
    known_hosts: Path, known: str, *, warned: bool
) -> None:
    known_hosts.write_text(known)
    assert ("  ssh-keygen -R '[localhost]:2222'" in lines()) is warned


def test_the_lines_to_type_are_those_of_this_configuration(known_hosts: Path) -> None:
    known_hosts.write_text("")
    shown = lines(tcp={"ranges": [{"first": 5, "last": 7, "listen": "loopback"}]})
    assert "  ssh -R 80:localhost:3000 -p 2222 localhost" in shown
    assert "      gives localhost:PORT, PORT from 5 to 7" in shown
    assert not any("PORT from" in line for line in lines(tcp={"ranges": []}))


@pytest.mark.parametrize("scheme", ["http", "https", None])
def test_web_addresses_are_promised_by_a_gateway_that_serves_them(known_hosts: Path, scheme: str | None) -> None:
    known_hosts.write_text("")
    ports = {"http": 8080, "https": 8443}
    tables = {name: {"listen": [f"127.0.0.1:{port}"] if name == scheme else []} for name, port in ports.items()}
    shown = lines(domain="gw.example", **tables)
    addresses = [line for line in shown if "blog" in line or "TWO-WORDS" in line]
    if scheme is None:
        assert not addresses
    else:
        url = f"{scheme}://blog.gw.example:{ports[scheme]}"
        assert f"      gives {url}" in shown
        assert f"  curl --resolve blog.gw.example:{ports[scheme]}:127.0.0.1 {url}/" in shown
    assert "  ssh -R laptop:22:localhost:22 -p 2222 gw.example" in shown
