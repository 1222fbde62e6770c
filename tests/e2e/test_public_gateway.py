"""A gateway beyond loopback for anyone: clients earn names by use, and the operator must choose this explicitly."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ferry_command import clean_environment, ferry
from gateway_process import Gateway
from origin_server import Origin


@contextmanager
def public(folder: Path, names: dict[str, object]) -> Iterator[Gateway]:
    """A gateway for anyone on all addresses."""
    gateway = Gateway(folder, {"access": {"mode": "anyone"}, "names": names})
    gateway.settings["ssh"] = {"listen": f"0.0.0.0:{gateway.ports.ssh}"}
    with gateway.serving():
        yield gateway


def test_a_name_is_reserved_only_after_its_trial(new_key: Callable[[], Path], origin: Origin, tmp_path: Path) -> None:
    with public(tmp_path, {"reserve_after": "1s"}) as gateway:
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
    new_key: Callable[[], Path], origin: Origin, tmp_path: Path
) -> None:
    with public(tmp_path, {"reserve_after": "1s", "per_network_per_day": 1}) as gateway:
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
