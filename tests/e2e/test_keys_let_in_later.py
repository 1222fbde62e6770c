"""A person whose key is not let in reads its fingerprint, and the operator lets it in by that."""

from __future__ import annotations

import errno
import json
import os
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncssh
import pytest

from ferry_command import Ran, ferry
from gateway_process import Gateway, gateway_in
from other_user import NOBODY, give_to_nobody, needs_root, passable_folder
from ssh_command import fingerprint, make_key, public_key


def file_of_keys(folder: Path) -> Path:
    """A file with the key `known`, without an end of its last line."""
    path = folder / "allowed"
    path.write_text(make_key(folder / "known").with_suffix(".pub").read_text().rstrip("\n"))
    return path


@pytest.fixture(scope="module")
def allowed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The keys that are let in by `closed`."""
    return file_of_keys(tmp_path_factory.mktemp("allowed"))


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory, allowed: Path) -> Iterator[Gateway]:
    """A gateway for the tests after which its keys are what they were."""
    with gateway_in(tmp_path_factory.mktemp("closed"), access={"mode": "keys", "keys": [allowed]}) as running:
        yield running


@pytest.fixture
def refused(start_gateway: Callable[..., Gateway], key: Path, tmp_path: Path) -> tuple[Gateway, Path]:
    """A gateway of the test's own that has refused `key`, and its file of keys."""
    allowed = file_of_keys(tmp_path)
    closed = start_gateway(access={"mode": "keys", "keys": [allowed]})
    assert closed.ssh(tmp_path, key).run(words="whoami").code == 255
    return closed, allowed


def refusal_of(key: Path) -> str:
    """What the log says of it."""
    return f'"keys.refused".*{re.escape(fingerprint(key))}'


def allow(gateway: Gateway, *arguments: str) -> Ran:
    return ferry("allow", *arguments, "--state", gateway.state, cwd=gateway.state)


def test_a_refused_key_is_named_before_permission_denied(closed: Gateway, key: Path, tmp_path: Path) -> None:
    ended = closed.ssh(tmp_path, key).run(words="whoami")
    assert (ended.code, ended.out) == (255, "")
    told, denied, *_ = ended.err.partition("dev@127.0.0.1: Permission denied (publickey)")
    assert denied
    assert "this gateway does not know your key" in told
    assert f"ferry allow {fingerprint(key)}" in told
    assert f"send that to the operator of localhost:{closed.ports.ssh}, who can run" in told
    assert closed.event(refusal_of(key))["keys"] == [fingerprint(key)]


def test_all_refused_keys_stand_in_one_banner(
    closed: Gateway, key: Path, new_key: Callable[[], Path], tmp_path: Path
) -> None:
    other = new_key()
    ended = closed.ssh(tmp_path, key).run("-i", str(other), words="whoami")
    assert ended.err.count("this gateway does not know") == 1
    assert {line.split()[-1] for line in ended.err.splitlines() if line.startswith("ferry:   ")} == {
        fingerprint(key),
        fingerprint(other),
    }


def test_a_client_with_a_known_key_too_reads_nothing(closed: Gateway, allowed: Path, key: Path, tmp_path: Path) -> None:
    ended = closed.ssh(tmp_path, key).run("-i", str(allowed.with_name("known")), words="whoami")
    assert ended.code == 0
    assert "does not know" not in ended.err


def test_a_client_without_a_key_reads_how_to_make_one(closed: Gateway, tmp_path: Path) -> None:
    ended = closed.ssh(tmp_path, None).run(words="whoami")
    assert "ssh-keygen -t ed25519" in ended.err
    assert "Permission denied (publickey)" in ended.err


def test_the_operator_lets_a_refused_key_in(refused: tuple[Gateway, Path], key: Path, tmp_path: Path) -> None:
    closed, allowed = refused
    assert re.search(f"^{re.escape(fingerprint(key))}  .*  offered, not proven$", allow(closed).out, re.MULTILINE)
    done = allow(closed, fingerprint(key), "web-1")
    assert (done.code, done.out.startswith(f"added {fingerprint(key)} to {allowed}")) == (0, True)
    first, second = allowed.read_text().splitlines()
    assert first.startswith("ssh-ed25519 ")
    assert second.split()[:2] == public_key(key).split()
    closed.event(r'"keys.loaded".*"keys": 2')
    assert closed.ssh(tmp_path, key).run(words="whoami").out == f"web-1 with key {fingerprint(key)}\n"


def test_keys_that_are_added_to_a_folder_are_not_one_identity(
    start_gateway: Callable[..., Gateway], new_key: Callable[[], Path], tmp_path: Path
) -> None:
    """The name of a file in a folder names the identity of its keys. Here they are those of different people, who must
    not take each other's names and reach each other's aliases."""
    folder = tmp_path / "keys.d"
    folder.mkdir()
    closed = start_gateway(access={"mode": "keys", "keys": [folder]})
    for number, one in enumerate((new_key(), new_key()), 1):
        ssh = closed.ssh(tmp_path, one)
        assert ssh.run(words="whoami").code == 255
        assert allow(closed, fingerprint(one)).code == 0
        closed.event(rf'"keys.loaded".*"keys": {number}')
        assert ssh.run(words="whoami").out == f"key {fingerprint(one)}\n"


def test_a_stranger_does_not_choose_the_file_of_a_login_name(
    start_gateway: Callable[..., Gateway], key: Path, tmp_path: Path
) -> None:
    """Whoever knows a public key can offer it with any login name, also after its owner did."""
    folder = tmp_path / "keys.d"
    folder.mkdir()
    closed = start_gateway(access={"mode": "keys", "keys": [folder / "%u"]})
    for user in ("anna", "root"):
        assert closed.ssh(tmp_path, key).run(user=user, words="whoami").code == 255
    assert "anna,root@127.0.0.1" in allow(closed).out
    unclear = allow(closed, fingerprint(key))
    assert (unclear.code, list(folder.iterdir())) == (1, [])
    assert "the login names anna, root: name the right one with --user NAME" in " ".join(unclear.err.split())
    named = allow(closed, fingerprint(key), "web-1", "--user", "anna")
    assert (named.code, list(folder.iterdir())) == (2, [])
    assert allow(closed, fingerprint(key), "--user", "anna").code == 0
    assert [file.name for file in folder.iterdir()] == ["anna"]


def test_the_gateway_can_read_a_file_of_keys_that_is_made_with_a_strict_umask(
    start_gateway: Callable[..., Gateway], key: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "keys.d"
    folder.mkdir()
    closed = start_gateway(access={"mode": "keys", "keys": [folder]})
    assert closed.ssh(tmp_path, key).run(words="whoami").code == 255
    before = os.umask(0o077)
    try:
        assert allow(closed, fingerprint(key)).code == 0
    finally:
        os.umask(before)
    (made,) = folder.iterdir()
    assert stat.S_IMODE(made.stat().st_mode) == 0o644


def test_a_part_of_a_fingerprint_lets_nobody_in(closed: Gateway, allowed: Path, key: Path, tmp_path: Path) -> None:
    """Another key may begin like it."""
    before = allowed.read_text()
    assert closed.ssh(tmp_path, key).run(words="whoami").code == 255
    done = allow(closed, fingerprint(key)[:-1])
    assert (done.code, done.out, allowed.read_text()) == (1, "", before)
    assert "is a part of a fingerprint: write all of it" in done.err


async def test_a_key_of_a_kind_that_no_file_may_have_is_not_added(closed: Gateway, allowed: Path) -> None:
    before = allowed.read_text()
    odd = asyncssh.generate_private_key("ssh-ed448")
    with pytest.raises(asyncssh.PermissionDenied):
        await asyncssh.connect(
            "127.0.0.1", closed.ports.ssh, client_keys=[odd], known_hosts=None, config=None, agent_path=None,
            username="dev",
        )  # fmt: skip
    done = allow(closed, odd.get_fingerprint())
    assert (done.code, done.out, allowed.read_text()) == (1, "", before)
    assert "this key cannot be let in: 'ssh-ed448' is not a key type" in done.err


def test_a_password_in_the_place_of_the_user_is_not_kept(closed: Gateway, key: Path, tmp_path: Path) -> None:
    assert closed.ssh(tmp_path, key).run(user="ann:Sesame17", words="whoami").code == 255
    closed.event(refusal_of(key))
    database = b"".join(file.read_bytes() for file in closed.state.glob("ferry.db*"))
    assert "Sesame17" not in closed.running.err.text + json.dumps(closed.events()) + database.decode("latin-1")


def test_a_line_that_cannot_be_added_is_printed(
    start_gateway: Callable[..., Gateway], key: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "keys.d"
    (folder / "ferry_allow.keys").mkdir(parents=True)  # where the line would go
    closed = start_gateway(access={"mode": "keys", "keys": [folder]})
    assert closed.ssh(tmp_path, key).run(words="whoami").code == 255
    done = allow(closed, fingerprint(key))
    assert done.code == 1
    assert done.out.split()[:2] == public_key(key).split()
    assert f"cannot be written: {os.strerror(errno.EISDIR)}" in done.err
    assert "add the line above" in done.err


def test_a_pipe_in_the_place_of_the_file_holds_nothing_up(refused: tuple[Gateway, Path], key: Path) -> None:
    """`ferry allow` waited for somebody who reads it."""
    closed, allowed = refused
    allowed.unlink()
    os.mkfifo(allowed)
    done = allow(closed, fingerprint(key))
    assert done.code == 1
    assert done.out.split()[:2] == public_key(key).split()
    assert f"{allowed} cannot be read (it is not a file" in done.err
    assert "correct access.keys" in done.err


def test_the_file_is_that_of_the_configuration_and_of_the_gateway_that_runs(
    refused: tuple[Gateway, Path], key: Path, tmp_path: Path
) -> None:
    closed, allowed = refused
    config, changed, other = closed.folder / "ferry.toml", tmp_path / "changed.toml", tmp_path / "other"
    other.touch()
    changed.write_text(config.read_text().replace(str(allowed), str(other)))
    before = allowed.read_text()
    denied = ferry("allow", fingerprint(key), "--config", changed, cwd=tmp_path)
    assert (denied.code, denied.out) == (1, "")
    assert f"the gateway that runs lets in the keys in {allowed}, and with {changed} it would let in the" in denied.err
    assert f"the keys in {other}: reload it (`ferry reload`), or name" in denied.err
    assert (allowed.read_text(), other.read_text()) == (before, "")
    assert ferry("allow", fingerprint(key), "--config", config, cwd=tmp_path).code == 0
    assert len(allowed.read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("before", "says"),
    [
        ('restrict,port-forwarding,permitopen="any:any" ', "and is refused: permitopen=\"any:any\": 'any' is no port"),
        ("restrict, port-forwarding ", "and is refused: a blank stands between options"),
        ("#disabled restrict ", "and is disabled: `ferry keys enable web-1` lets it in again"),
    ],
)
def test_a_key_whose_line_lets_nobody_in_gets_no_second_line_without_its_options(
    start_gateway: Callable[..., Gateway], key: Path, tmp_path: Path, before: str, says: str
) -> None:
    """A restricted line with a slip of the pen became an unrestricted one."""
    allowed = file_of_keys(tmp_path)
    known = allowed.read_text()
    others = f"nonsense\nrestrct {known}\n"
    content = f"{known}\n{others}{before}{key.with_suffix('.pub').read_text().strip()} name=web-1\n"
    allowed.write_text(content)
    closed = start_gateway(access={"mode": "keys", "keys": [allowed]})
    ended = closed.ssh(tmp_path, key).run(words="whoami")
    assert ended.code == 255
    assert "this gateway does not know your key" not in ended.err
    assert ("your key is disabled here" if "#" in before else "the gateway refuses the line of your key") in ended.err
    denied = closed.event(f'"keys.denied".*{re.escape(fingerprint(key))}')
    assert denied["rule"] == f"{allowed}, line 4"
    assert str(denied["detail"]).startswith("its line is disabled: " if "#" in before else "its line is refused: ")
    told = f"{allowed}, line 4 has this key, {says}"
    assert told in " ".join(allow(closed).out.split())
    (listed,) = json.loads(allow(closed, "--json").out)
    assert listed["shut"][0].startswith(told)
    done = allow(closed, fingerprint(key), "web-1")
    assert (done.code, done.out, allowed.read_text()) == (1, "", content)
    assert told in " ".join(done.err.split())


def test_a_key_that_stands_in_a_file_already_gets_no_second_line(refused: tuple[Gateway, Path], key: Path) -> None:
    closed, allowed = refused
    assert allow(closed, fingerprint(key)).code == 0
    before = allowed.read_text()
    again = allow(closed, fingerprint(key))
    assert (again.code, allowed.read_text()) == (1, before)
    assert f"the key stands in {allowed}, line 2 already" in " ".join(again.err.split())


def test_a_file_is_not_filled_up_until_none_of_its_keys_counts(refused: tuple[Gateway, Path], key: Path) -> None:
    """`ferry allow` appended beside the lock and the bounds of `ferry keys`."""
    closed, allowed = refused
    with allowed.open("a") as file:
        file.write("\n" + "#" * (4 * 1024 * 1024 - 20 - file.tell()))
    size = allowed.stat().st_size
    done = allow(closed, fingerprint(key))
    assert (done.code, allowed.stat().st_size) == (1, size)
    assert "would be larger than 4 MiB, so that none of its keys counts" in " ".join(done.err.split())
    assert done.out.split()[:2] == public_key(key).split()


@needs_root
def test_root_writes_to_no_file_because_the_gateways_user_names_it(
    refused: tuple[Gateway, Path], key: Path, tmp_path: Path
) -> None:
    closed, allowed = refused
    before = allowed.read_text()
    give_to_nobody(closed.state)
    denied = allow(closed, fingerprint(key))
    assert (denied.code, allowed.read_text()) == (1, before)
    assert "runs as nobody, and root does not write to a file because that user names it: name the" in denied.err
    assert ferry("allow", fingerprint(key), "--config", closed.folder / "ferry.toml", cwd=tmp_path).code == 0


@needs_root
def test_root_adds_no_key_behind_a_link_of_another_user(
    start_gateway: Callable[..., Gateway], key: Path, tmp_path: Path
) -> None:
    with passable_folder() as folder:
        keys, roots = folder / "keys", folder / "roots"
        keys.mkdir()
        roots.write_text("# of root\n")
        roots.chmod(0o644)  # whatever the umask
        (keys / "ferry_allow.keys").symlink_to(roots)
        give_to_nobody(keys)
        closed = start_gateway(access={"mode": "keys", "keys": [keys]})
        assert closed.ssh(tmp_path, key).run(words="whoami").code == 255
        done = allow(closed, fingerprint(key))
        assert (done.code, roots.read_text()) == (1, "# of root\n")
        assert "ferry_allow.keys is a symbolic link: write the file itself into access.keys: add the line" in done.err
        (keys / "ferry_allow.keys").unlink()
        assert allow(closed, fingerprint(key)).code == 0
        assert (keys / "ferry_allow.keys").stat().st_uid == NOBODY


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("SHA256:unknown",), 1, "let its owner try to log in"),
        (("key.pub",), 2, "write it as the client shows it"),
        (("SHA256:unknown", "no_name"), 2, "name"),
    ],
)
def test_what_ferry_allow_cannot_do(closed: Gateway, arguments: tuple[str, ...], code: int, words: str) -> None:
    done = allow(closed, *arguments)
    assert (done.code, words in done.err) == (code, True)


def test_the_list_is_json_for_programs(start_gateway: Callable[..., Gateway], key: Path, tmp_path: Path) -> None:
    closed = start_gateway(access={"mode": "keys", "keys": [file_of_keys(tmp_path)]})
    assert json.loads(allow(closed, "--json").out) == []
    closed.ssh(tmp_path, key).run(user="anna", words="whoami")
    (listed,) = json.loads(allow(closed, "--json").out)
    assert (listed["fingerprint"], listed["user"], listed["host"]) == (fingerprint(key), "anna", "127.0.0.1")


def test_a_gateway_for_every_key_has_none_to_allow(gateway: Gateway) -> None:
    done = allow(gateway, "SHA256:any")
    assert (done.code, "remembers no refused key" in done.err) == (1, True)
