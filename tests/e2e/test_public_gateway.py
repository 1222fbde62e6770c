"""A gateway beyond loopback for anyone: clients earn names by use, and the operator must choose this explicitly."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ferry_command import clean_environment, ferry
from gateway_process import Gateway
from origin_server import Origin


def public(start_gateway: Callable[..., Gateway], names: dict[str, object]) -> Gateway:
    """A gateway for anyone on all addresses."""
    gateway = start_gateway()
    gateway.stop()
    gateway.settings |= {
        "ssh": {"listen": f"0.0.0.0:{gateway.ports.ssh}"},
        "access": {"mode": "anyone"},
        "names": names,
    }
    gateway.start()
    return gateway


def test_a_name_is_reserved_only_after_its_trial(
    start_gateway: Callable[..., Gateway], new_key: Callable[[], Path], origin: Origin, tmp_path: Path
) -> None:
    gateway = public(start_gateway, {"reserve_after": "1s"})
    early, late, other = (gateway.ssh(tmp_path, new_key()) for _ in range(3))
    forward = ("-R", f"earned:80:localhost:{origin.port}")
    with early.start(*forward) as child:
        child.line("http://earned.localhost")
    gateway.event('"tunnel.closed"')
    with late.start(*forward) as child:  # the first one had it too short a time to keep it
        child.line("http://earned.localhost")
        assert "belongs to somebody else" in other.run(*forward).err
        child.line("now reserved for you")
    assert "belongs to somebody else" in early.run(*forward).err


def test_a_network_reserves_only_so_many_names_a_day(
    start_gateway: Callable[..., Gateway], new_key: Callable[[], Path], origin: Origin, tmp_path: Path
) -> None:
    gateway = public(start_gateway, {"reserve_after": "1s", "per_network_per_day": 1})
    with gateway.ssh(tmp_path, new_key()).start("-R", f"first:80:localhost:{origin.port}") as child:
        child.line("now reserved for you")
    ssh = gateway.ssh(tmp_path, new_key())
    with ssh.start("-R", f"second:80:localhost:{origin.port}") as child:
        child.line("http://second.localhost")
        child.line("is not reserved for you")
    assert "second.localhost" not in ssh.run(words="names").out


def test_listening_beyond_loopback_for_anyone_must_be_configured_explicitly(tmp_path: Path) -> None:
    (tmp_path / "ferry.toml").write_text('domain = "gw.test"\n[ssh]\nlisten = "0.0.0.0:0"\n')
    ran = ferry("serve", "--config", tmp_path / "ferry.toml", cwd=tmp_path, env=clean_environment(HOME=str(tmp_path)))
    assert ran.code == 2
    assert 'mode = "keys"' in ran.err
    assert 'mode = "anyone"' in ran.err
