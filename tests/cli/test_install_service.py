from __future__ import annotations

from pathlib import Path

from ferry_command import ferry


def test_a_unit_is_shown_with_what_is_in_its_way(tmp_path: Path) -> None:
    file = tmp_path / "ferry.toml"
    file.write_text('state = "/root/data"\n')
    ran = ferry("install-service", "--print", "--config", file, cwd=tmp_path)
    assert ran.code == 1
    assert f"serve --config {file}" in ran.out
    assert "AmbientCapabilities=CAP_NET_BIND_SERVICE\n" in ran.out
    assert ran.err.startswith("ferry: the service could not run yet:\n")
    assert 'write state = "/var/lib/ferry" in' in ran.err


def test_obstacles_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    file = tmp_path / "ferry.toml"
    file.write_text('state = "/root/data"\n')
    ran = ferry("install-service", "--config", file, "--user", "no-such-user", cwd=tmp_path)
    assert (ran.code, ran.out) == (1, "")


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    ran = ferry("install-service", "--config", "none.toml", cwd=tmp_path)
    assert ran.code == 2
    assert ran.err == "ferry: none.toml does not exist: write it with `ferry init`, or name another with --config\n"


def test_this_shells_variables_do_not_reach_the_service(tmp_path: Path) -> None:
    file = tmp_path / "ferry.toml"
    file.write_text('drain = "1s"\n')
    env = {"PATH": "/usr/bin", "FERRY_DRAIN": "100s"}
    assert "TimeoutStopSec=16\n" in ferry("install-service", "--print", "--config", file, cwd=tmp_path, env=env).out
