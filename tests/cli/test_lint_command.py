"""`ferry lint sshd` on files, on what a real sshd prints, and on a host that is asked over ssh."""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from console_commands import Result, run
from ferry.cli.lint import lint
from ferry.errors import InvalidInput
from ferry.setup.sshd_files import local_version
from ferry_command import PROGRAM
from ssh_command import make_key
from ssh_command import run as run_program
from sshd_program import SSHD, listening, printed

LINT_CONFIG_BYTES = 2**20
LINT_CONFIG_FILES = 1000
LINT_HOST_FILES = 16
CLEAN = """\
MaxStartups 200:30:1000
AllowStreamLocalForwarding no
ClientAliveInterval 15
Include {folder}/more/*.conf
"""


@pytest.fixture(scope="module")
def host_key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_key(tmp_path_factory.mktemp("lint") / "host_key")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "more").mkdir()
    path = tmp_path / "sshd_config"
    path.write_text(CLEAN.format(folder=tmp_path))
    return path


async def look(target: Path | str, *arguments: str) -> Result:
    return await run(lint, "sshd", str(target), "--openssh", "9.7", *arguments)


def test_what_debians_sshd_prints(tmp_path: Path, host_key: Path) -> None:
    text = printed(os.devnull, host_key)
    ran = run_program([str(PROGRAM), "lint", "sshd", "-", "--openssh", "9.2"], folder=tmp_path, stdin=text.encode())
    assert (ran.code, ran.err) == (1, "")
    number = text.splitlines().index("clientaliveinterval 0") + 1
    assert f"stdin:{number}: FIX keepalive-off\n" in ran.out
    assert "fix: ClientAliveInterval 15\n         ClientAliveCountMax 3\n" in ran.out
    assert "FIX max-startups\n" in ran.out
    assert "\n2 to mend, 1 to know" in ran.out
    assert "not looked at: Match blocks" in ran.out
    assert max(map(len, ran.lines)) <= 80


async def test_a_clean_file_ends_with_0(config: Path) -> None:
    ran = await look(config)
    assert ran.code == 0
    assert ran.lines[0] == "nothing to mend"
    assert ran.lines[1].startswith("looked at:")  # the file's name may be short enough to follow
    assert "OpenSSH 9.7 (as you say)" in " ".join(ran.text.split())
    assert "Match blocks" not in ran.text


async def test_what_is_called_like_a_host_and_is_there_is_a_file(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(config.parent)
    config.rename("bastion")
    assert (await look("bastion")).lines[0] == "nothing to mend"


async def test_included_files_and_key_files_are_found(config: Path, tmp_path: Path) -> None:
    (tmp_path / "more" / "50-tunnel.conf").write_text(f"AuthorizedKeysFile {tmp_path}/keys/%u\n")
    (tmp_path / "more" / ".hidden.conf").write_text("Nonsense\n")
    (tmp_path / "keys").mkdir()
    public = make_key(tmp_path / "id", comment="web-1").with_suffix(".pub").read_text()
    (tmp_path / "keys" / "web-1").write_text(f'restrict,permitlisten="localhost:21001" {public}')
    ran = await look(config, "--json")
    first, second = ran.json["findings"]
    assert (first["rule"], first["file"], first["line"]) == ("restrict-closes-ports", f"{tmp_path}/keys/web-1", 1)
    assert (first["severity"], first["fix"]) == ("FIX", 'restrict,port-forwarding,permitlisten="..."')
    assert (second["rule"], second["severity"]) == ("key-shell", "note")
    assert ran.json["key_files"] == [f"{tmp_path}/keys/web-1"]
    assert ran.json["files"] == [str(config), f"{tmp_path}/more/50-tunnel.conf"]
    assert (ran.json["openssh"], ran.code) == ("9.7", 1)


async def test_the_first_value_counts_over_files(config: Path, tmp_path: Path) -> None:
    (tmp_path / "more" / "50-late.conf").write_text("GatewayPorts yes\nClientAliveInterval 0\n")
    ran = await look(config)
    assert ran.code == 1
    assert f"{tmp_path}/more/50-late.conf:1: FIX gateway-ports\n" in ran.text
    assert f"{tmp_path}/more/50-late.conf:2: FIX first-counts\n" in ran.text
    assert "keepalive-off" not in ran.text


async def test_what_include_names_is_read_if_it_is_a_file_and_in_reason(config: Path, tmp_path: Path) -> None:
    """No pipe, folder, pattern or circle of files holds the reader up, or ends it with an error of Python's."""
    (tmp_path / "more" / "a.conf").write_text("MaxSessions 0\n")
    os.mkfifo(tmp_path / "more" / "pipe.conf")
    (tmp_path / "more" / "folder.conf").mkdir()
    config.write_text(
        f"{config.read_text()}Include / /**/none /etc/**x/y {tmp_path}/**/a.conf nul\0/*\nInclude ~nosuchuser/x\n"
    )
    ran = await look(config, "--json")
    assert ran.json["files"] == [str(config), *[f"{tmp_path}/more/a.conf"] * 2]
    assert [each["line"] for each in ran.json["findings"] if each["rule"] == "unreadable"] == [6]
    assert ran.json["left_out"][:3] == [
        f"{tmp_path}/more/folder.conf cannot be read (it is no file)",
        f"{tmp_path}/more/pipe.conf cannot be read (it is no file)",
        "/ cannot be read (it is no file)",
    ]


async def test_files_that_include_others_twice_are_bounded(tmp_path: Path) -> None:
    for level in range(14):
        (tmp_path / f"{level}").write_text(f"Include {tmp_path}/{level + 1} {tmp_path}/{level + 1}\n")
    (tmp_path / "14").write_text("MaxSessions 0\n")
    ran = await look(tmp_path / "0", "--json")
    assert len(ran.json["files"]) == LINT_CONFIG_FILES + 1
    assert "what Include names beyond 1,000 files, or 1.0 MB in all" in ran.json["left_out"]

    (tmp_path / "0").write_text(f"Include {tmp_path}/long*\n")
    for number in range(3):
        (tmp_path / f"long{number}").write_text("#" * (LINT_CONFIG_BYTES - 1))
    ran = await look(tmp_path / "0", "--json")
    assert len(ran.json["files"]) == 2, "the last may go beyond"
    assert "what Include names beyond 1,000 files, or 1.0 MB in all" in ran.json["left_out"]


async def test_a_key_file_that_is_a_pipe(config: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "keys")
    config.write_text(f"{config.read_text()}AuthorizedKeysFile {tmp_path}/keys\n")
    ran = await look(config, "--json")
    assert f"{tmp_path}/keys cannot be read (it is no file)" in ran.json["left_out"]


async def test_a_pipe_that_is_named_is_read_once(config: Path, tmp_path: Path) -> None:
    """As `--keys <(cat a b)`. What AuthorizedKeysFile names again is not opened anew."""
    os.mkfifo(tmp_path / "keys")
    config.write_text(f"{config.read_text()}AuthorizedKeysFile {tmp_path}/keys {tmp_path}/none {tmp_path}/more\n")
    writing = asyncio.create_task(asyncio.to_thread((tmp_path / "keys").write_text, "no key\n"))
    ran = await look(config, "--json", "--keys", str(tmp_path / "keys"))
    await writing
    assert ran.json["key_files"] == [f"{tmp_path}/keys"]
    assert not any(str(tmp_path) in each for each in ran.json["left_out"]), "what is not there, or a folder, is no file"


async def test_a_file_that_is_too_long(tmp_path: Path) -> None:
    (tmp_path / "sshd_config").write_text("#" * (LINT_CONFIG_BYTES + 1))
    ran = await look(tmp_path / "sshd_config")
    assert f"cannot read {tmp_path}/sshd_config (longer than 1.0 MB): name an sshd_config" in str(ran.error)


@pytest.mark.parametrize(
    ("pattern", "user", "found"),
    [
        (".ssh/authorized_keys", "ann", [".ssh/authorized_keys"]),
        ("%h/keys/%u", "ann", ["keys/ann"]),
        ("none", "ann", []),
        (".ssh/authorized_keys", None, []),
        ("keys/%u", None, []),
        ("{home}/keys/%u", None, ["keys/ann"]),
        ("{home}/%u/%u", None, []),
        ("{home}/keys/%U", None, []),
    ],
)
async def test_where_the_files_of_accounts_are(
    tmp_path: Path, pattern: str, user: str | None, found: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`ann` has a home here; a path that is relative is below it, and not below the folder that this is run in."""
    entry = pwd.getpwuid(os.getuid())
    ann = pwd.struct_passwd(("ann", "x", entry.pw_uid, entry.pw_gid, "", str(tmp_path), "/bin/sh"))
    monkeypatch.setattr(pwd, "getpwnam", {"ann": ann}.__getitem__)
    monkeypatch.chdir(tmp_path)
    for file in (".ssh/authorized_keys", "keys/ann", "none"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text("no key\n")
    (tmp_path / "sshd_config").write_text(f"AuthorizedKeysFile {pattern.format(home=tmp_path)}\n")
    ran = await look("sshd_config", "--json", *(("--user", user) if user else ()))
    assert ran.json["key_files"] == [f"{tmp_path}/{file}" for file in found]


def test_a_host_without_sshd_has_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    assert local_version() is None


async def test_a_default_has_no_line(tmp_path: Path) -> None:
    (tmp_path / "sshd_config").write_text("Match User tunnel\nGatewayPorts no\n")
    ran = await look(tmp_path / "sshd_config")
    assert f"{tmp_path}/sshd_config: FIX keepalive-off (not set there)\n" in ran.text


async def test_the_keys_of_an_account(config: Path, tmp_path: Path) -> None:
    """Homes are those of this host: the account of the tests has one."""
    account = pwd.getpwuid(os.getuid()).pw_name
    (tmp_path / "more" / "50-keys.conf").write_text(f"Match User {account}\nAuthorizedKeysFile {tmp_path}/of/%u/%U\n")
    folder = tmp_path / "of" / account
    folder.mkdir(parents=True)
    public = make_key(tmp_path / "id").with_suffix(".pub").read_text()
    (folder / str(os.getuid())).write_text(public)
    for arguments in ((), ("--user", account)):
        ran = await look(config, *arguments)
        assert f"{folder}/{os.getuid()}:1: FIX missing-restrict\n" in ran.text
    named = tmp_path / "named"
    named.write_text(f"{public}no key\n")
    ran = await look(config, "--user", "nobody", "--keys", str(named))
    assert f"{named}:2: FIX key-refused\n" in ran.text
    assert str(folder) not in ran.text


async def test_a_file_of_keys_alone(tmp_path: Path) -> None:
    """It is no sshd_config, of which each line would be to delete. The command of the last line looks at both."""
    public = make_key(tmp_path / "id").with_suffix(".pub").read_text()
    named = tmp_path / "authorized_keys"
    options = 'restrict,port-forwarding,permitlisten="localhost:21001",permitopen='
    named.write_text(f'# the fleet\n{options}"any:any" {public}')
    ran = await look(named)
    assert ran.code == 1
    assert ran.lines[0] == f"{named}:2: FIX any-any"
    assert ran.lines.count("") == 1, "there is one finding"
    said = " ".join(ran.text.split())
    assert "keyword" not in said
    assert f"looked at: 1 key in {named} not looked at: sshd's settings" in said
    document = json.loads((await look(named, "--output", "json")).text)
    assert (document["files"], document["key_files"]) == ([], [str(named)])
    named.write_text(f'{options}"localhost:1",command="x" {public}')
    assert (await look(named)).code == 0


async def test_a_long_file_of_keys_is_read_and_a_long_configuration_is_not(tmp_path: Path) -> None:
    public = make_key(tmp_path / "id").with_suffix(".pub").read_text()
    named = tmp_path / "authorized_keys"
    named.write_text("#" * LINT_CONFIG_BYTES + f"\nrestrict {public}")
    assert "1 key in" in (await look(named)).text
    named.write_text("#" * LINT_CONFIG_BYTES + "\nPort 22\n")
    ran = await look(named)
    assert isinstance(ran.error, InvalidInput)
    assert "longer than 1.0 MB" in str(ran.error)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("/nonexistent/sshd_config",), "cannot read /nonexistent/sshd_config (No such file or directory): name an"),
        (("-oProxyCommand=true",), "'-oProxyCommand=true' is neither a file nor a host"),
        (("/dev/null", "--keys", "/none"), "cannot read /none (No such file or directory): --keys names a file"),
        (("/dev/null", "--openssh", "new"), "'new' is not a version of OpenSSH: write one such as 9.2"),
        (("host.example", "--user", "$(id)"), "'$(id)' is not the name of an account"),
    ],
)
async def test_mistakes_of_the_command_line(arguments: tuple[str, ...], says: str) -> None:
    ran = await run(lint, "--", "sshd", *arguments) if arguments[0][0] == "-" else await run(lint, "sshd", *arguments)
    assert isinstance(ran.error, InvalidInput)  # exit code 2
    assert says in str(ran.error)


@dataclass(frozen=True, slots=True)
class Bastion:
    """A real sshd on loopback, which the ssh in PATH reaches as `bastion`."""

    folder: Path
    keys: Path

    def sudo(self, text: str) -> None:
        """What stands for sudo on the host."""
        program(self.folder / "remote" / "sudo", text)


def program(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@pytest.fixture
def bastion(tmp_path: Path, free_port: int, host_key: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bastion]:
    key = make_key(tmp_path / "id")
    keys = tmp_path / "authorized_keys"
    keys.write_bytes(key.with_suffix(".pub").read_bytes())
    for folder in ("local", "remote"):
        (tmp_path / folder).mkdir()
    (tmp_path / "config").write_text(
        f"Host bastion\nHostName 127.0.0.1\nPort {free_port}\nUser {pwd.getpwuid(os.getuid()).pw_name}\n"
        f"IdentityFile {key}\nIdentitiesOnly yes\nIdentityAgent none\nStrictHostKeyChecking accept-new\n"
        f"UserKnownHostsFile {tmp_path}/known_hosts\nGlobalKnownHostsFile none\n"
    )
    program(tmp_path / "local" / "ssh", f'exec {shutil.which("ssh")} -F {tmp_path}/config "$@"')
    monkeypatch.setenv("PATH", f"{tmp_path}/local:{os.environ['PATH']}")
    linted = tmp_path / "linted"
    linted.write_text(f"GatewayPorts yes\nAuthorizedKeysFile {keys}\n")
    settings = {"HostKey": host_key, "AuthorizedKeysFile": keys, "SetEnv": f"PATH={tmp_path}/remote:/usr/bin:/bin"}
    with listening(tmp_path, free_port, **settings):
        made = Bastion(tmp_path, keys)
        made.sudo(f'shift; [ "$1" != sshd ] || {{ shift; set -- {SSHD} -f {linted} -h {host_key} "$@"; }}\nexec "$@"')
        yield made


async def test_a_host_is_asked_over_ssh(bastion: Bastion) -> None:
    """LINT_CONNECT_SECONDS, LINT_FILE_BYTES."""
    ran = await run(lint, "sshd", "bastion", "--user", "root")
    assert ran.code == 1
    running = [line for line in ran.lines if line.startswith("running ")]
    assert running[0].startswith("running ssh -v -o ConnectTimeout=10 bastion sudo -n sshd -T -C user=root,")
    assert running[1:] == [f"running ssh -o ConnectTimeout=10 bastion sudo -n head -c 16777217 {bastion.keys}"]
    assert ": FIX gateway-ports\n" in ran.text
    assert f"bastion:{bastion.keys}:1: FIX missing-restrict\n" in ran.text
    assert "(bastion's)" in ran.text, "the version is that of the host"
    assert "Match blocks" not in ran.text

    bastion.sudo("echo hello")
    ran = await run(lint, "sshd", "bastion")
    assert "bastion did not print sshd's settings: try `ssh -v -o ConnectTimeout=10 bastion sudo -n" in str(ran.error)

    bastion.sudo("echo 'sudo: a password is required' >&2; exit 1")
    ran = await run(lint, "sshd", "bastion")
    assert isinstance(ran.error, InvalidInput)
    assert "sudo on bastion asks for a password. Run `sudo sshd -T` there yourself" in str(ran.error)

    bastion.sudo("echo 'bash: line 1: sudo: command not found' >&2; exit 127")
    assert "bastion has no sudo: write root@bastion" in str((await run(lint, "sshd", "bastion")).error)

    (bastion.folder / "config").write_text("Host *\nProxyCommand false\n")
    ran = await run(lint, "sshd", "bastion")
    assert "bastion is no file here, and as a host it does not answer: " in str(ran.error)
    assert "debug1" not in str(ran.error)


async def look_at_bastion() -> tuple[dict[str, Any], str]:
    """What the command printed, and what it said meanwhile."""
    app = typer.Typer()
    app.command()(lint)
    ran = await asyncio.to_thread(CliRunner().invoke, app, ["sshd", "bastion", "--json"], obj=True)
    return json.loads(ran.stdout), ran.stderr


async def test_key_files_on_a_host_that_are_not_read_are_named(bastion: Bastion) -> None:
    many = " ".join(f"%h/{number}" for number in range(LINT_HOST_FILES + 1))
    (bastion.folder / "linted").write_text(f"GatewayPorts yes\nAuthorizedKeysFile {many}\n")
    looked, _ = await look_at_bastion()
    assert len(looked["ran"]) == 1
    assert looked["left_out"][:2] == [
        f"key files on bastion beyond {LINT_HOST_FILES}",
        "%h/0 on bastion (--user NAME reads those of one account)",
    ]
    (bastion.folder / "linted").write_text("GatewayPorts yes\nAuthorizedKeysFile none\n")
    looked, _ = await look_at_bastion()
    assert not any("on bastion" in each for each in looked["left_out"])


async def test_a_host_that_sends_without_end(bastion: Bastion) -> None:
    endless = bastion.folder / "endless"
    endless.symlink_to("/dev/zero")
    (bastion.folder / "linted").write_text(f"GatewayPorts yes\nAuthorizedKeysFile {endless} {bastion.keys}\n")
    looked, said = await look_at_bastion()
    assert f"{endless} on bastion is longer than 16.8 MB" in looked["left_out"]
    assert looked["key_files"] == [f"bastion:{bastion.keys}"]
    assert [json.loads(line)["running"] for line in said.splitlines()] == looked["ran"], "JSON, line by line"

    bastion.sudo("exec cat /dev/zero")
    refused = await run(lint, "sshd", "bastion")
    assert "bastion printed more than 1.0 MB, which are not sshd's settings: try `ssh -v -o" in str(refused.error)
