from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from ferry.config.model import Access, Config, Https
from ferry.setup.paths import Account, account
from ferry.setup.unit import Service, obstacles, unit_text

ROOT = Account("root", 0, frozenset({0}))


def service(config: Config, *, config_file: Path = Path("/etc/hostname"), who: Account = ROOT) -> Service:
    return Service(Path("/bin/sh"), config_file, config, who)


def lines(config: Config) -> list[str]:
    return unit_text(service(config)).splitlines()


def test_systemd_scores_it_at_two_and_a_half_or_better(tmp_path: Path) -> None:
    unit = tmp_path / "ferry.service"
    unit.write_text(unit_text(service(Config(state=Path("/var/lib/ferry")), who=account("root"))))
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=25", "--no-pager", str(unit)]
    scored = subprocess.run(command, capture_output=True, text=True, check=False)
    assert scored.returncode == 0, scored.stdout + scored.stderr
    unit.write_text(
        unit.read_text().replace("ProtectSystem=strict\n", "").replace("SystemCallFilter", "#").replace("Protect", "#")
    )
    assert subprocess.run(command, capture_output=True, check=False).returncode != 0, "the threshold is in force"


def test_systemd_understands_every_line(tmp_path: Path) -> None:
    unit = tmp_path / "ferry.service"
    sockets = {"streamlocal_folder": "/run/ferry/sockets"}
    config = Config.model_validate({"state": tmp_path / "a b%c", "sshd": sockets})
    unit.write_text(unit_text(service(config, config_file=tmp_path / 'q"$x.toml')))
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False)
    about_us = [line for line in done.stderr.splitlines() if "ferry.service" in line]
    assert not about_us


def test_the_state_folder_is_all_that_can_be_written() -> None:
    found = lines(Config(state=Path("/var/lib/ferry")))
    assert "StateDirectory=ferry" in found
    assert "StateDirectoryMode=0700" in found
    assert "ReadWritePaths=/srv/ferry" in lines(Config(state=Path("/srv/ferry")))


def test_the_folder_of_the_audit_file_can_be_written_too() -> None:
    def with_file(file: str) -> list[str]:
        return lines(Config.model_validate({"state": "/var/lib/ferry", "audit": {"file": file}}))

    assert "LogsDirectory=ferry" in with_file("/var/log/ferry/audit.jsonl")
    assert "ReadWritePaths=/srv/audit" in with_file("/srv/audit/ferry.jsonl")
    inside = with_file("/var/lib/ferry/audit.jsonl")
    assert not any(line.startswith(("LogsDirectory", "ReadWritePaths")) for line in inside)
    seen = Config.model_validate({"state": "/var/lib/ferry", "audit": {"file": "/var/log/ferry/audit.jsonl"}})
    assert obstacles(service(seen)) == []
    hidden = Config.model_validate({"audit": {"file": "/home/ann/audit.jsonl"}})
    assert any("audit.file: /home/ann/audit.jsonl" in each for each in obstacles(service(hidden)))


def test_sockets_can_be_made_where_the_configuration_says(tmp_path: Path) -> None:
    def with_folder(folder: Path) -> Config:
        return Config.model_validate({"state": "/var/lib/ferry", "sshd": {"streamlocal_folder": folder}})

    found = lines(with_folder(Path("/run/ferry/sockets")))
    assert {"RuntimeDirectory=ferry/sockets", "RuntimeDirectoryMode=0700"} <= set(found)
    assert obstacles(service(with_folder(Path("/run/ferry/sockets")))) == []
    assert "ReadWritePaths=/srv/sockets" in lines(with_folder(Path("/srv/sockets")))
    (missing,) = obstacles(service(with_folder(Path("/srv/no-such-folder"))))
    assert missing == "sshd.streamlocal_folder: /srv/no-such-folder is no folder: make it, and give it to root"
    (hidden,) = obstacles(service(with_folder(tmp_path)))
    assert "the service cannot see /tmp (PrivateTmp): write streamlocal_folder" in hidden


def test_a_mistake_that_only_a_person_can_mend_is_no_reason_to_start_again() -> None:
    assert lines(Config())[lines(Config()).index("Restart=on-failure") :].count("RestartPreventExitStatus=2 3") == 1


def test_stopping_waits_longer_than_the_drain() -> None:
    assert "TimeoutStopSec=45" in lines(Config(drain=30))
    assert "TimeoutStopSec=136" in lines(Config(drain=120.5))


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("/a b", '"/a b"'),
        ("/50%", "/50%%"),
        ("/a$b", "/a$$b"),
        ('/q"', '"/q\\""'),
        ("/back\\slash", '"/back\\\\slash"'),
    ],
)
def test_odd_paths_are_quoted_as_systemd_reads_them(text: str, word: str) -> None:
    unit = unit_text(service(Config(), config_file=Path(text)))
    assert f"ExecStart=/bin/sh serve --config {word}\n" in unit


def test_nothing_in_the_way() -> None:
    assert obstacles(service(Config(state=Path("/var/lib/ferry")))) == []


@pytest.mark.parametrize(
    ("path", "setting"),
    [("/root/ferry.toml", "ProtectHome"), ("/home/me/f.toml", "ProtectHome"), ("/tmp/f", "PrivateTmp")],
)
def test_folders_that_the_unit_closes_are_refused(path: str, setting: str) -> None:
    (found,) = obstacles(service(Config(state=Path("/var/lib/ferry")), config_file=Path(path)))
    assert found.startswith(f"configuration: {path}: the service cannot see /")
    assert f"({setting}): put it in /etc/ferry" in found


def test_every_obstacle_says_what_to_do() -> None:
    config = Config(
        state=Path("/home/me/ferry-data"),
        access=Access(mode="keys", keys=[Path("/root/.ssh/authorized_keys"), Path("/nowhere/keys")]),
        https=Https(certificates=Path("/etc/no-such-certificates")),
    )
    found = obstacles(service(config))
    assert [line.partition(":")[0] for line in found] == ["keys", "keys", "certificates", "state"]
    assert "put them in /etc/ferry/keys, mode 0644" in found[0]
    assert "/nowhere/keys does not exist" in found[1]
    assert "copy them to /etc/ferry/certificates" in found[2]
    assert 'write state = "/var/lib/ferry"' in found[3]


def test_a_program_in_a_home_folder_is_refused() -> None:
    there = Service(Path("/root/x/.venv/bin/ferry"), Path("/etc/hostname"), Config(state=Path("/var/lib/ferry")), ROOT)
    (found,) = obstacles(there)
    assert "install Ferry with `make install`, which uses /opt/ferry" in found
