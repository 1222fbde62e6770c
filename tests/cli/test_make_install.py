"""`make install` below a folder of the test's, with a Python whose `venv` and `pip` need no network."""

from __future__ import annotations

import fcntl
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ferry_command import PROGRAM, Ran, clean_environment

CLONE = Path(__file__).resolve().parents[2]
PYTHON = """\
#!/bin/sh
# python3, but: a virtual environment is this program beside the ferry of the tests, and pip has nothing to do.
case "$1 $2" in
    "-m venv")
        for folder; do :; done
        mkdir -p "$folder/bin"
        cp "$0" "$folder/bin/python"
        ln -sf {ferry} "$folder/bin/ferry"
        ;;
    "-m pip") echo "$*" >>"{log}" ;;
    *) exec {python} "$@" ;;
esac
"""


def prefix_in(folder: Path) -> Path:
    """The folder that is installed to; the Python is beside it."""
    python = folder / "python"
    python.write_text(PYTHON.format(ferry=PROGRAM, python=sys.executable, log=folder / "pip.log"))
    python.chmod(0o755)
    return folder / "root"


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    """Nothing is installed there."""
    return prefix_in(tmp_path)


@pytest.fixture(scope="module")
def installed_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first time takes seconds, and leaves the same each time. Its files name the folder, so only that can have them."""
    prefix = prefix_in(tmp_path_factory.mktemp("installed"))
    assert install(prefix).code == 0
    shutil.copytree(prefix, prefix.with_name("as installed"), symlinks=True)
    return prefix


@pytest.fixture
def installed(installed_once: Path) -> Path:
    """What the first time has left."""
    shutil.rmtree(installed_once)
    return Path(shutil.copytree(installed_once.with_name("as installed"), installed_once, symlinks=True))


def install(prefix: Path, *, script: str = "install", **extra: str) -> Ran:
    env = clean_environment(PREFIX=str(prefix), PYTHON=str(prefix.parent / "python"), **extra)
    done = subprocess.run(
        [CLONE / "scripts" / script],
        cwd="/",
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def test_the_first_time_a_configuration_is_written(prefix: Path) -> None:
    ran = install(prefix)
    assert (ran.code, ran.err) == (0, "")
    config = prefix / "etc/ferry/ferry.toml"
    assert 'domain = "localhost"' in config.read_text()
    assert (prefix / "usr/local/bin/ferry").readlink() == prefix / "opt/ferry/venv/bin/ferry"
    assert f"ferry check-config --config {config}" in ran.out
    share = prefix / "usr/local/share"
    manual = (share / "man/man1/ferry.1").read_text()
    assert ".SH COMMANDS\n" in manual
    assert "\n.B \\-h, \\-\\-help\n" in manual
    assert "\\-\\-help, " not in manual
    assert ".SH [names]\n" in (share / "man/man5/ferry.toml.5").read_text()
    for name in (
        "bash-completion/completions/ferry",
        "zsh/site-functions/_ferry",
        "fish/vendor_completions.d/ferry.fish",
    ):
        assert "check-config" in (share / name).read_text()


def test_the_second_time_is_an_upgrade(installed: Path) -> None:
    """It said first that one should run `ferry init --force`, which loses the configuration."""
    config = installed / "etc/ferry/ferry.toml"
    mine = 'domain = "gw.example"  # mine\nstate = "/var/lib/ferry"\n'
    config.write_text(mine)
    kept = installed / "var/lib/ferry/ferry.db"
    kept.write_text("rows")
    for _ in range(2):
        ran = install(installed)
        assert (ran.code, ran.err) == (0, "")
        assert (config.read_text(), kept.read_text()) == (mine, "rows")
        assert "init" not in ran.out
        assert f", with the same files as before; {config} and {installed}/var/lib/ferry are as they were\n" in ran.out
        assert "  ferry install-service\n" in ran.out
    assert [path.name for path in config.parent.iterdir()] == ["ferry.toml"]


VERSION = r"ferry 0\.1\.0( \([0-9a-f]{8}( and changes)?\))?"


@pytest.mark.parametrize(
    ("commit", "files", "says"),
    [
        (None, None, f"ferry: {VERSION}, with the same files as before; "),
        (None, "0", f"ferry: {VERSION}, with other files than before; "),
        (" (01234567)", "0", rf"ferry: ferry 0\.1\.0 \(01234567\) before, {VERSION} now; "),
    ],
    ids=["the same", "other files", "another commit"],
)
def test_an_upgrade_names_what_was_there_before(
    installed: Path, commit: str | None, files: str | None, says: str
) -> None:
    """Of two commits with one version it said `0.1.0 before, 0.1.0 now`."""
    record = installed / "opt/ferry/venv/.ferry-source"
    known = record.read_text().splitlines()
    record.write_text(
        "".join(f"{old if new is None else new}\n" for old, new in zip(known, (commit, files), strict=True))
    )
    ran = install(installed)
    assert re.search(f"^{says}", ran.out, re.MULTILINE), ran.out


def test_an_upgrade_that_does_not_accept_the_configuration_says_so(installed: Path) -> None:
    (installed / "etc/ferry/ferry.toml").write_text("[limits]\nrequests_waiting = 5\n")
    ran = install(installed)
    assert ran.code == 0
    assert "limits.requests_waiting is not a setting any more: delete it" in ran.err
    assert "correct it before you restart the gateway" in ran.out


def test_an_upgrade_of_a_service_restarts_it_and_tells_of_a_new_unit(installed: Path) -> None:
    config = installed / "etc/ferry/ferry.toml"
    unit = installed / "etc/systemd/system/ferry.service"
    unit.parent.mkdir(parents=True)
    unit.write_text(f"[Service]\nExecStart=/opt/ferry/venv/bin/ferry serve --config {config}\nUser=root\n")
    ran = install(installed)
    assert "  systemctl restart ferry\n" in ran.out
    assert "ferry install-service --user root\n" in ran.out
    shown: list[str | Path] = [
        installed / "opt/ferry/venv/bin/ferry",
        "install-service",
        "--print",
        "--user",
        "root",
        "--config",
        config,
    ]
    unit.write_text(subprocess.run(shown, capture_output=True, text=True, check=False, cwd="/").stdout)
    ran = install(installed)
    assert "  systemctl restart ferry\n" in ran.out
    assert "install-service" not in ran.out


def files(prefix: Path) -> set[str]:
    return {str(path.relative_to(prefix)) for path in prefix.rglob("*") if not path.is_dir() or path.is_symlink()}


def test_uninstalling_leaves_the_configuration_and_the_state(installed: Path) -> None:
    (installed / "var/lib/ferry/ferry.db").write_text("rows")
    unit = installed / "etc/systemd/system/ferry.service"
    unit.parent.mkdir(parents=True)
    unit.write_text("[Service]\n")
    ran = install(installed, script="uninstall")
    assert (ran.code, ran.err) == (0, "")
    assert files(installed) == {"etc/ferry/ferry.toml", "var/lib/ferry/ferry.db"}
    assert "sudo make uninstall PURGE=yes" in ran.out
    ran = install(installed, script="uninstall", PURGE="yes")
    assert (ran.code, ran.err, files(installed)) == (0, "", set())
    assert "the host keys, the local CA and all names" in ran.out


def test_uninstalling_waits_for_the_end_of_the_gateway(prefix: Path) -> None:
    """It took the state folder away from under a gateway that no systemd had started."""
    state, units = prefix / "var/lib/ferry", prefix / "etc/systemd/system"
    state.mkdir(parents=True)
    (units / "multi-user.target.wants").mkdir(parents=True)
    (units / "multi-user.target.wants/ferry.service").symlink_to("/etc/systemd/system/ferry.service")
    (units / "ferry.service").write_text("[Service]\n")
    with (state / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        before = files(prefix)
        ran = install(prefix, script="uninstall", PURGE="yes")
        assert (ran.code, ran.out, files(prefix)) == (1, "", before)
        assert ran.err == f"ferry: a gateway runs with the state folder {state}: stop it, then try again\n"
    assert install(prefix, script="uninstall", PURGE="yes").code == 0
    assert files(prefix) == set()


def test_uninstalling_leaves_another_program_of_the_same_name(prefix: Path) -> None:
    (prefix / "usr/local/bin").mkdir(parents=True)
    (prefix / "usr/local/bin/ferry").write_text("mine")
    assert install(prefix, script="uninstall").code == 0
    assert files(prefix) == {"usr/local/bin/ferry"}
