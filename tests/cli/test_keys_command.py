"""`ferry keys` in the files of a gateway that has stopped, and what it refuses."""

from __future__ import annotations

import json
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ferry_command import PROGRAM, Ran, clean_environment, ferry, ferry_on_terminal
from ferry_here import ferry_here
from gateway_process import Gateway
from other_user import NOBODY, give_to_nobody, needs_root, passable_folder
from ssh_command import fingerprint, make_key, public_key


class Stopped:
    """A gateway that ran once, with a key file and two purposes."""

    def __init__(self, folder: Path, keys: str = "authorized_keys") -> None:
        self.folder = folder
        self.file = folder / "authorized_keys"
        self.file.write_text("# machines")  # without an end of the line
        self.gateway = Gateway(folder, {"access": {"mode": "keys", "keys": [folder / keys]}})
        ports = self.gateway.ports.loopback
        self.first = ports[0]
        self.gateway.settings["tcp"] = {
            "purposes": {"ssh": f"{ports[0]}-{ports[9]}", "service": f"{ports[10]}-{ports[19]}"}
        }
        self.gateway.start()
        self.gateway.stop()

    def keys(self, *arguments: str | Path) -> Ran:
        return ferry_here("keys", *arguments, "--config", self.folder / "ferry.toml", cwd=self.folder)

    def json(self, *arguments: str | Path) -> Any:
        ran = self.keys(*arguments, "--json")
        assert ran.code == 0, ran.err
        return json.loads(ran.out)


@pytest.fixture
def stopped(tmp_path: Path) -> Stopped:
    made = Stopped(tmp_path)
    made.gateway.close()
    return made


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Stopped:
    """One for commands that change nothing."""
    made = Stopped(tmp_path_factory.mktemp("untouched"))
    made.gateway.close()
    return made


def test_a_machine_is_added_listed_disabled_enabled_and_removed(stopped: Stopped, key: Path) -> None:
    ran = stopped.keys("add", "web-1", key.with_suffix(".pub"), "--listen", "ssh", "--from", "127.0.0.0/8")
    assert ran.code == 0, ran.err
    line = f'restrict,port-forwarding,permitlisten="localhost:{stopped.first}",from="127.0.0.0/8" {public_key(key)} name=web-1'
    assert stopped.file.read_text() == f"# machines\n{line}\n"
    for part in (
        f"added web-1 ({fingerprint(key)}) to {stopped.file}:\n{line}\n",
        f"ssh: port {stopped.first}, for good\n",
        f"ssh -N -R localhost:{stopped.first}:localhost:22 -p {stopped.gateway.ports.ssh} web-1@localhost\n",
        f"    RemoteForward localhost:{stopped.first} localhost:22\n",
        "[Service]\nExecStart=/usr/bin/ssh -N ",
        f"Host web-1\n    HostName localhost\n    Port {stopped.first}\n    ProxyJump gw\n    HostKeyAlias web-1\n",
        f'each needs permitopen="localhost:{stopped.first}" in the line of the key',
    ):
        assert part in ran.out
    (listed,) = stopped.json("list")
    assert (listed["name"], listed["fingerprint"], listed["ports"], listed["last_seen"], listed["disabled"]) == (
        "web-1", fingerprint(key), [stopped.first], None, False,
    )  # fmt: skip
    assert listed["options"].startswith("restrict,port-forwarding,permitlisten=")
    assert stopped.keys("disable", "web-1").out == f"disabled web-1 ({fingerprint(key)}) in {stopped.file}, line 2\n"
    assert stopped.file.read_text() == f"# machines\n#disabled {line}\n"
    assert stopped.keys("disable", "web-1").out == "web-1 is disabled already\n"
    assert "disabled" in stopped.keys().out
    assert stopped.keys("enable", fingerprint(key)).code == 0
    assert stopped.file.read_text() == f"# machines\n{line}\n"
    removed = stopped.keys("remove", "web-1")
    assert removed.out.splitlines() == [
        f"removed web-1 ({fingerprint(key)}) from {stopped.file}, line 2", f"gave back port {stopped.first}",
    ]  # fmt: skip
    assert stopped.file.read_text() == "# machines\n"
    assert stopped.keys("list").out == "the key files have no keys\n"


def test_ports_are_each_machines_own_and_those_of_lines_too(stopped: Stopped, new_key: Callable[[], Path]) -> None:
    one, two, other = new_key(), new_key(), new_key()
    stopped.file.write_text(f'permitlisten="{stopped.first}" {public_key(other)} by hand\n')
    ports = [
        stopped.json("add", name, public_key(key), "--listen", "ssh", "--listen", "service:grafana=3000")["ports"]
        for name, key in (("web-1", one), ("web-2", two))
    ]
    assert ports == [
        [{"label": "ssh", "port": stopped.first + n}, {"label": "service:grafana", "port": stopped.first + 9 + n}]
        for n in (1, 2)
    ]
    listed = stopped.json("list")
    assert [row["ports"] for row in listed] == [[stopped.first], *([row["port"] for row in of] for of in ports)]


def test_a_port_in_a_line_that_lets_nobody_in_is_not_given_away(
    stopped: Stopped, key: Path, new_key: Callable[[], Path]
) -> None:
    """Else two machines have it when the line is mended, enabled, or gets its port-forwarding."""
    others = [public_key(new_key()) for _ in range(4)]
    stopped.file.write_text(
        f'restrict,port-forwarding,permitlisten="localhost:{stopped.first}",permitopen="any:any" {others[0]} a\n'
        f'#disabled restrict,port-forwarding,permitlisten="{stopped.first + 1}" {others[1]} name=web-2\n'
        f'restrict,permitlisten="localhost:{stopped.first + 2}" {others[2]} c\n'
        f'restrict, port-forwarding,permit-listen="localhost:{stopped.first + 3}" {others[3]} d\n'
    )
    assert stopped.json("add", "web-1", public_key(key), "--listen", "ssh")["ports"] == [
        {"label": "ssh", "port": stopped.first + 4}
    ]


def test_the_list_has_refused_and_expired_lines_and_the_comments_of_keys_without_a_name(
    stopped: Stopped, new_key: Callable[[], Path]
) -> None:
    one, two, three, four = (public_key(new_key()) for _ in range(4))
    stopped.file.write_text(
        f'restrict,permitlisten="localhost:21003",permitopen="any:any" {one} root@web-3 name=web-3\n'
        f'expiry-time="20250101" {two} root@web-4\nnonsense\n{three} root@web-5 name=web-5\n'
        f'expiry-time="20250101" {four} {"x" * 100}\n'
    )
    rows = {row["line"]: row for row in stopped.json("list")}
    assert [(n, row["state"], row["name"], row["comment"]) for n, row in rows.items()] == [
        (1, "refused", "web-3", "root@web-3 name=web-3"), (2, "expired", None, "root@web-4"), (3, "refused", None, ""),
        (4, "enabled", "web-5", "root@web-5 name=web-5"),
        (5, "expired", None, "x" * 80),  # KEY_COMMENT_CHARS
    ]  # fmt: skip
    assert rows[1]["ports"] == [21003]
    assert 'permitopen="any:any"' in rows[1]["mistake"]
    shown = stopped.keys("list").out
    assert "(root@web-4)" in shown
    assert "'any' is no port" in shown
    assert [row["line"] for row in stopped.json("list", "web-3")] == [1]


def test_who_has_a_refused_line_alone_is_told_so(stopped: Stopped, key: Path, new_key: Callable[[], Path]) -> None:
    lines = "".join(f"{public_key(new_key())} name=other-{n}\n" for n in range(7))
    stopped.file.write_text(f'{lines}permitopen="any:any" {public_key(key)} name=web-3\n')
    for action in ("disable", "remove"):
        ran = stopped.keys(action, "web-3")
        told = " ".join(ran.err.split())
        assert ran.code == 1
        assert f"{stopped.file}, line 8 has the key of web-3, and is refused, so it lets nobody in: permitopen=" in told
    unknown = " ".join(stopped.keys("disable", "nobody").err.split())
    assert "there are other-0, other-1, other-2, other-3, other-4 and 2 more (`ferry keys` lists them)" in unknown


def test_a_port_that_the_removed_line_alone_kept_is_named(stopped: Stopped, key: Path) -> None:
    stopped.file.write_text(f'permitlisten="21030" {public_key(key)} name=web-30\n')
    assert stopped.keys("remove", "web-30").out.endswith("port 21030: kept by its line alone, and free now\n")


def test_a_name_in_the_file_of_one_login_name_is_shown_as_refused(tmp_path: Path, key: Path) -> None:
    (tmp_path / "authorized_keys.d").mkdir()
    made = Stopped(tmp_path, "authorized_keys.d/%u")
    made.gateway.close()
    (tmp_path / "authorized_keys.d" / "evil").write_text(f"{public_key(key)} name=web-20\n")
    (row,) = made.json("list")
    assert (row["state"], row["name"], row["user"]) == ("refused", None, "evil")


def test_the_list_fits_a_terminal_and_names_are_whole(stopped: Stopped, key: Path) -> None:
    """Options stood there one character a line, and a machine was called `w…`."""
    options = 'restrict,port-forwarding,permitlisten="localhost:21033",from="192.0.2.0/24",expiry-time="20371231"'
    stopped.file.write_text(f"{options} {public_key(key)} name=machine-with-a-long-name\n")
    command = ("keys", "--config", str(stopped.folder / "ferry.toml"))
    for columns in (60, 80, 120):
        shown = ferry_on_terminal(*command, cwd=stopped.folder, columns=columns, extra={"NO_COLOR": "1"}).out
        lines = shown.splitlines()
        assert len(lines) <= 6, shown
        assert "machine-with-a-long-name  SHA256:" in shown
        assert 'permitlisten="localhost:21033",' in shown


def test_lines_with_mistakes_are_noted_beside_the_list(stopped: Stopped, key: Path) -> None:
    stopped.file.write_text(f"{public_key(key)} name=web-1\nnonsense\nrestrct {public_key(key)}\n")
    ran = stopped.keys()
    assert ("web-1" in ran.out, ran.code) == (True, 0)
    assert ran.err == (
        f"ferry: note: {stopped.file}, line 2 and 1 more: with a mistake, so it lets nobody in: `ferry check-config` says what "
        "to write\n"
    )


@pytest.mark.parametrize("as_text", [True, False])
def test_a_key_may_be_typed_or_come_from_standard_input_and_stands_in_one_line_only(
    stopped: Stopped, key: Path, as_text: bool
) -> None:
    given = key.with_suffix(".pub").read_text()
    added = subprocess.run(
        [PROGRAM, "keys", "add", "ann", given.strip() if as_text else "-", "--config", stopped.folder / "ferry.toml"],
        cwd=stopped.folder, env=clean_environment(), input=given, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert added.returncode == 0, added.stderr
    assert stopped.file.read_text() == f"# machines\n{public_key(key)} name=ann\n"
    again = stopped.keys("add", "bob", key.with_suffix(".pub"))
    assert (again.code, f"the key stands in {stopped.file}, line 2 already" in " ".join(again.err.split())) == (1, True)


def test_a_new_key_takes_over_and_the_old_line_is_gone(stopped: Stopped, new_key: Callable[[], Path]) -> None:
    old, new = new_key(), new_key()
    stopped.json("add", "web-1", old.with_suffix(".pub"), "--listen", "ssh")
    ran = stopped.keys("replace", "web-1", new.with_suffix(".pub"))
    assert ran.out.splitlines() == [
        f"web-1: {fingerprint(new)} in place of {fingerprint(old)}, which is let in no more",
        f"its own are port {stopped.first}",
    ]
    (row,) = stopped.json()
    assert (row["fingerprint"], row["ports"], row["name"]) == (fingerprint(new), [stopped.first], "web-1")
    assert public_key(old) not in stopped.file.read_text()
    assert stopped.keys("replace", "web-1", new.with_suffix(".pub")).code == 1


def test_a_replacement_that_could_not_write_the_file_is_ended_by_the_same_command(
    stopped: Stopped, new_key: Callable[[], Path]
) -> None:
    """So is one that was cut off between the database and the file. Until then the old key is let in."""
    old, new = new_key(), new_key()
    stopped.json("add", "web-1", old.with_suffix(".pub"), "--listen", "ssh")
    before = stopped.file.read_text()
    target = stopped.folder / "target"
    stopped.file.rename(target)
    stopped.file.symlink_to(target)
    ran = stopped.keys("replace", "web-1", new.with_suffix(".pub"))
    assert (ran.code, target.read_text()) == (1, before)
    assert ran.out == f"line 2: {before.splitlines()[1].replace(public_key(old), public_key(new))}\n"
    stopped.file.unlink()
    target.rename(stopped.file)
    assert stopped.keys("replace", "web-1", new.with_suffix(".pub")).code == 0
    (row,) = stopped.json()
    assert (row["fingerprint"], row["ports"]) == (fingerprint(new), [stopped.first])


def test_a_folder_of_keys_gets_a_file_for_them(tmp_path: Path, key: Path) -> None:
    (tmp_path / "keys.d").mkdir()
    made = Stopped(tmp_path, "keys.d")
    made.gateway.close()
    added = made.json("add", "web-1", key.with_suffix(".pub"), "--listen", "ssh")
    file = tmp_path / "keys.d" / "ferry_allow.keys"
    assert (added["file"], file.read_text()) == (str(file), added["line"] + "\n")
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    assert made.json()[0]["name"] == "web-1"


def test_a_line_or_a_file_that_would_be_too_large_is_not_written(stopped: Stopped, key: Path) -> None:
    origins = ",".join(f"192.0.2.{number}" for number in range(250)) + "," + "x" * 1000
    many = stopped.keys("add", "web-1", key.with_suffix(".pub"), "--from", ",".join([origins] * 6))
    assert many.code == 2
    stopped.file.write_text("# machines" + " " * (4 * 1024 * 1024 - 20))
    full = stopped.keys("add", "web-1", key.with_suffix(".pub"))
    assert (full.code, "would be larger than 4 MiB, so that none of its keys counts" in " ".join(full.err.split())) == (
        1,
        True,
    )
    assert stopped.file.stat().st_size == 4 * 1024 * 1024 - 10


def test_owner_and_mode_of_the_file_stay_and_nothing_is_left_beside_it(stopped: Stopped, key: Path) -> None:
    stopped.file.chmod(0o640)
    beside = set(stopped.folder.iterdir())
    stopped.json("add", "web-1", key.with_suffix(".pub"))
    stopped.json("disable", "web-1")
    assert stat.S_IMODE(stopped.file.stat().st_mode) == 0o640
    assert set(stopped.folder.iterdir()) == beside


def test_a_link_is_not_followed_and_the_line_is_printed(stopped: Stopped, key: Path) -> None:
    target = stopped.folder / "target"
    stopped.file.rename(target)
    stopped.file.symlink_to(target)
    ran = stopped.keys("add", "web-1", key.with_suffix(".pub"), "--listen", "ssh")
    assert (ran.code, target.read_text()) == (1, "# machines")
    assert f"{public_key(key)} name=web-1\n" in ran.out
    assert "is a symbolic link: write the file itself into access.keys: add the line above to it" in " ".join(
        ran.err.split()
    )


def test_a_key_whose_line_could_not_be_written_is_listed_and_may_be_removed(
    stopped: Stopped, new_key: Callable[[], Path]
) -> None:
    one, two = new_key(), new_key()
    target = stopped.folder / "target"
    stopped.file.rename(target)
    stopped.file.symlink_to(target)
    assert stopped.keys("add", "web-1", one.with_suffix(".pub"), "--listen", "ssh").code == 1
    stopped.file.unlink()
    target.rename(stopped.file)
    (row,) = stopped.json("list", "web-1")
    assert (row["file"], row["ports"], row["fingerprint"]) == (None, [stopped.first], fingerprint(one))
    assert "no line" in stopped.keys().out
    again = stopped.json("add", "web-2", two.with_suffix(".pub"), "--listen", "ssh")
    assert [given["port"] for given in again["ports"]] == [stopped.first + 1]
    refused = stopped.keys("replace", "web-2", one.with_suffix(".pub"))
    assert (refused.code, f"`ferry keys remove {fingerprint(one)}`" in " ".join(refused.err.split())) == (2, True)
    assert stopped.keys("remove", fingerprint(one)).out.splitlines() == [
        "forgot web-1, which had no line in the key files", f"gave back port {stopped.first}",
    ]  # fmt: skip
    assert stopped.keys("replace", "web-2", one.with_suffix(".pub")).code == 0


def test_a_second_key_of_a_name_shares_its_ports_and_the_operator_is_told(
    stopped: Stopped, new_key: Callable[[], Path]
) -> None:
    one, two = new_key(), new_key()
    first = stopped.json("add", "web-1", one.with_suffix(".pub"), "--listen", "ssh")
    ran = stopped.keys("add", "web-1", two.with_suffix(".pub"), "--listen", "ssh")
    assert f"ssh: port {first['ports'][0]['port']}, for good" in ran.out
    assert "note: web-1 has 1 more key: they are one identity" in ran.err
    unclear = stopped.keys("replace", "web-1", make_key(stopped.folder / "third").with_suffix(".pub"))
    assert (unclear.code, "web-1 has 2 keys: write which in place of the name" in " ".join(unclear.err.split())) == (
        1,
        True,
    )
    assert stopped.keys("remove", fingerprint(one)).out.endswith("its names and ports stay: it has other keys\n")
    assert stopped.keys("remove", "web-1").out.endswith(f"gave back port {stopped.first}\n")


def test_the_port_table_of_a_stopped_gateway_is_read_from_its_state_folder(stopped: Stopped, key: Path) -> None:
    stopped.json("add", "web-1", key.with_suffix(".pub"), "--listen", "ssh")
    ran = ferry("ports", "--json", "--config", stopped.folder / "ferry.toml", cwd=stopped.folder)
    (row,) = json.loads(ran.out)
    assert (row["port"], row["state"], row["lines"]) == (stopped.first, "never seen", [f"{stopped.file}, line 2"])
    unnamed = ferry("ports", "--state", stopped.gateway.state, cwd=stopped.folder)
    assert (unnamed.code, "name its configuration with --config FILE" in " ".join(unnamed.err.split())) == (2, True)


@needs_root
def test_root_changes_no_file_behind_a_link_of_another_user(key: Path) -> None:
    with passable_folder() as folder:
        roots = folder / "roots"
        roots.write_text(f"{public_key(key)} name=web-1\n")
        keys = folder / "keys.d"
        keys.mkdir()
        (keys / "link.pub").symlink_to(roots)
        give_to_nobody(keys)
        made = Stopped(folder, "keys.d")
        made.gateway.close()
        ran = made.keys("disable", "web-1")
        assert (ran.code, roots.read_text()) == (1, f"{public_key(key)} name=web-1\n")
        (keys / "link.pub").unlink()
        (keys / "own.pub").write_text(f"{public_key(key)} name=web-1\n")
        give_to_nobody(keys)
        assert made.keys("disable", "web-1").code == 0
        assert (keys / "own.pub").read_text().startswith("#disabled ssh-ed25519 ")
        assert (keys / "own.pub").stat().st_uid == NOBODY


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("add",), 2, "`ferry keys add` needs a NAME: `ferry keys` lists them"),
        (("add", "web-1"), 2, "needs a KEY: a .pub file, - for standard input, or the key itself"),
        (("add", "web_1", "KEY"), 2, "name 'web_1' has '_' in it"),
        (("add", "web-1", "none.pub"), 2, "none.pub cannot be read (No such file or directory): name a .pub file"),
        (("add", "web-1", "PRIVATE"), 2, "is a private key: name the .pub file beside it"),
        (("add", "web-1", "ssh-rsa x"), 2, "the key, line 1: the key is"),
        (("add", "web-1", "KEY", "--listen", "web"), 2, "there are no ports for 'web': the purposes are ssh, service"),
        (("add", "web-1", "KEY", "--listen", "ssh=no"), 2, "'no' is no port: write ssh=3000"),
        (("add", "web-1", "KEY", "--listen", "ssh", "--listen", "ssh"), 2, "stands twice: write ssh:NAME for a second"),
        (("add", "web-1", "KEY", "--from", "10.0.0.1/8"), 2, "from="),
        (("add", "web-1", "KEY", "--expires", "soon"), 2, "write it as YYYYMMDD"),
        (("add", "web-1", "KEY", "--user", "ann"), 2, "is for every login name (no %u): leave out --user"),
        (("disable", "nobody"), 1, "no line of the key files has a key of nobody"),
        (("list", "nobody"), 1, "no line of the key files has a key of nobody"),
        (("disable", "web-1", "KEY"), 2, "`ferry keys disable` takes no KEY"),
        (("list", "--keep"), 2, "--keep is for `ferry keys remove`: leave it out"),
        (("remove", "web-1", "--listen", "ssh"), 2, "--listen is for `ferry keys add`: leave it out"),
    ],
)
def test_mistakes_say_what_to_write_and_change_nothing(
    untouched: Stopped, key: Path, arguments: tuple[str, ...], code: int, says: str
) -> None:
    names = {"KEY": str(key.with_suffix(".pub")), "PRIVATE": str(key)}
    ran = untouched.keys(*(names.get(word, word) for word in arguments))
    assert (ran.code, says in " ".join(ran.err.split())) == (code, True), ran.err
    assert untouched.file.read_text() == "# machines"


def test_each_login_name_has_its_file_where_the_path_has_one(tmp_path: Path, key: Path) -> None:
    (tmp_path / "keys.d").mkdir()
    made = Stopped(tmp_path, "keys.d/%u")
    made.gateway.close()
    unclear = made.keys("add", "web-1", key.with_suffix(".pub"))
    assert (unclear.code, "has a file for each login name: name the right one with --user" in " ".join(unclear.err.split())) == (
        1, True,
    )  # fmt: skip
    done = made.json("add", "web-1", key.with_suffix(".pub"), "--user", "backup", "--listen", "ssh")
    assert (tmp_path / "keys.d" / "backup").read_text().split()[-2:] == public_key(key).split()
    assert "backup@localhost" in done["command"]
    (row,) = made.json()
    assert (row["name"], row["user"], row["ports"]) == ("web-1", "backup", [made.first])


def test_a_gateway_for_every_key_gives_ports_and_prints_the_line(tmp_path: Path, key: Path) -> None:
    made = Stopped(tmp_path)
    made.gateway.settings["access"] = {"mode": "anyone"}
    made.gateway.write_config()
    made.gateway.close()
    ran = made.keys("add", "web-1", key.with_suffix(".pub"), "--listen", "ssh")
    assert (ran.code, ran.out.startswith(f"the line for web-1 ({fingerprint(key)}):\nrestrict,")) == (0, True)
    assert made.keys("disable", "web-1").code == 1
