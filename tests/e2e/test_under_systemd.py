"""The unit that `ferry install-service` writes, under a real systemd: what it starts again, and what only a person mends."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from systemd_host import SystemdHost, systemd_host

FERRY = "/opt/ferry/venv/bin/ferry"
CONFIG = "/etc/ferry/ferry.toml"
DROP_INS = "/etc/systemd/system/ferry.service.d"
RUNNING = ("active", "running")
FAILED = ("failed", "failed")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SystemdHost]:
    """A host of its own with Ferry, on the ports of the domain `gw.example`, as an operator sets it up."""
    with systemd_host(tmp_path_factory.mktemp("host")) as host:
        host.install_ferry()
        for command in (
            (
                "init",
                "--yes",
                "--domain",
                "gw.example",
                "--access",
                "anyone",
                "--ssh",
                "22",
                "--state",
                "/var/lib/ferry",
            ),
            ("install-service",),
        ):
            done = host.run(FERRY, *command)
            assert done.code == 0, done.err
        host.write(f"{DROP_INS}/quick.conf", "[Service]\nRestartSec=100ms\n")
        host.systemctl("daemon-reload")
        yield host


@pytest.fixture
def host(installed: SystemdHost) -> Iterator[SystemdHost]:
    """The same, with the service started."""
    before = installed.read(CONFIG)
    done = installed.systemctl("start", "ferry")
    assert done.code == 0, done.err
    yield installed
    installed.write(CONFIG, before)
    installed.systemctl("stop", "ferry")
    installed.systemctl("reset-failed", "ferry")


def test_it_starts_as_its_own_user_on_low_ports_and_says_that_it_is_ready(host: SystemdHost) -> None:
    assert host.shown("ferry", "ActiveState", "SubState", "Result", "User") == [*RUNNING, "success", "ferry"]
    asked = host.run(FERRY, "status", "--json")
    assert asked.code == 0, asked.err
    [pid] = host.shown("ferry", "MainPID")
    assert f'"pid": {pid},' in asked.out
    user = host.run("stat", "-c", "%U", f"/proc/{pid}")
    assert user.out == "ferry\n"


def test_a_reload_and_a_stop_are_what_systemd_takes_them_for(host: SystemdHost) -> None:
    [pid] = host.shown("ferry", "MainPID")
    assert host.systemctl("reload", "ferry").code == 0
    assert host.shown("ferry", "MainPID", "SubState") == [pid, "running"]
    assert host.systemctl("stop", "ferry").code == 0
    assert host.shown("ferry", "ActiveState", "Result", "ExecMainStatus") == ["inactive", "success", "0"]


def test_a_reload_with_a_mistake_fails_and_changes_nothing(host: SystemdHost) -> None:
    [pid] = host.shown("ferry", "MainPID")
    host.write(CONFIG, 'state = "/var/lib/ferry"\ndrain = "soon"\n')
    assert host.systemctl("reload", "ferry").code == 1
    assert host.shown("ferry", "MainPID", "ActiveState", "SubState") == [pid, *RUNNING]
    asked = host.run(FERRY, "status")
    assert "the last reload was refused: /etc/ferry/ferry.toml, line 2: drain:" in asked.out, asked.out


def test_one_that_was_killed_is_started_again(host: SystemdHost) -> None:
    [pid] = host.shown("ferry", "MainPID")
    assert host.run("kill", "-KILL", pid).code == 0
    host.until("ferry", ActiveState="active", NRestarts="1")
    assert host.shown("ferry", "MainPID") != [pid]


def test_one_that_does_nothing_more_is_ended_by_the_watchdog_and_started_again(host: SystemdHost) -> None:
    host.write(f"{DROP_INS}/watchdog.conf", "[Service]\nWatchdogSec=2\n")
    host.systemctl("daemon-reload")
    assert host.systemctl("restart", "ferry").code == 0
    pid, begun = host.shown("ferry", "MainPID", "WatchdogTimestampMonotonic")
    host.until("ferry", MainPID=pid, WatchdogTimestampMonotonic=lambda now: now != begun)  # it says that it goes on
    assert host.run("kill", "-STOP", pid).code == 0
    host.until("ferry", ActiveState="active", NRestarts="1", MainPID=lambda now: now != pid)
    host.run("rm", f"{DROP_INS}/watchdog.conf")
    host.systemctl("daemon-reload")


@pytest.mark.parametrize(
    ("line", "code"),
    [("drain = soon", "2"), ('[access]\nmode = "keys"\nkeys = ["/etc/ferry/nowhere"]', "3")],
    ids=["the configuration is wrong", "it cannot start here"],
)
def test_a_mistake_is_left_to_a_person(host: SystemdHost, line: str, code: str) -> None:
    host.write(CONFIG, f'state = "/var/lib/ferry"\n{line}\n')
    assert host.systemctl("restart", "ferry").code == 1
    assert host.shown("ferry", "ActiveState", "SubState", "ExecMainStatus", "NRestarts") == [*FAILED, code, "0"]
