from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from console_commands import run
from ferry.cli.init import init as write
from ferry.config.file import load
from ferry.errors import InvalidInput
from ferry.names import Endpoint
from ferry.setup import ports
from ferry.setup.answers import Answers, SshChoice, Who, sshd_steps
from ferry_command import Ran, clean_environment, ferry, ferry_at_terminal


def init(folder: Path, *arguments: str | Path) -> Ran:
    return ferry("init", "--out", folder / "ferry.toml", "--state", folder / "state", *arguments, cwd=folder)


def test_flags_alone_write_a_file_that_serves_a_domain(tmp_path: Path) -> None:
    ran = init(tmp_path, "--domain", "GW.example", "--access", "keys", "--ssh", "443")
    assert (ran.code, ran.err) == (0, "")
    config = load(tmp_path / "ferry.toml", {}, {})
    assert (config.domain, config.state) == ("gw.example", tmp_path / "state")
    assert (config.ssh.listen, config.https.listen) == ([], [Endpoint("::", 443)])
    assert config.ssh_port == 443
    assert config.access.keys == [tmp_path / "keys"]
    assert (tmp_path / "keys").is_dir()
    assert "ssh -p 443 -R 80:localhost:3000 gw.example" in ran.out
    assert "*.gw.example. A" in ran.out
    assert "visitors of https://NAME.gw.example will see\n    a warning: this gateway's own CA signs" in ran.out
    assert 'write certificates = "FOLDER" in [https]' in ran.out
    assert stat.S_IMODE((tmp_path / "ferry.toml").stat().st_mode) == 0o644
    assert list(tmp_path.glob(".ferry*")) == []


@pytest.mark.parametrize(("choice", "command"), [("2222", "ssh -p 2222 -R"), ("22", "ssh -R")])
async def test_ssh_may_listen_on_another_port(tmp_path: Path, choice: str, command: str) -> None:
    flags = ("--domain", "gw.example", "--access", "anyone", "--ssh", choice)
    written = await run(write, "--out", str(tmp_path / "ferry.toml"), *flags)
    config = load(tmp_path / "ferry.toml", {}, {})
    assert config.ssh.listen == [Endpoint("::", int(choice))]
    assert config.access.mode == "anyone"
    assert not (tmp_path / "keys").exists()
    assert f"      {command} 80:localhost:3000 gw.example" in written.lines


async def test_yes_without_a_domain_configures_localhost(tmp_path: Path) -> None:
    written = await run(write, "--yes", "--out", str(tmp_path / "ferry.toml"))
    config = load(tmp_path / "ferry.toml", {}, {})
    assert not config.listens_beyond_loopback
    assert config.access.mode == "anyone"
    assert "      ssh -p 2222 -R 80:localhost:3000 localhost" in written.lines
    assert "DNS" not in written.text
    assert "      `ferry ca` prints how to trust that CA" in written.lines


def test_init_without_a_terminal_says_that_it_cannot_ask(tmp_path: Path) -> None:
    ran = init(tmp_path)
    assert ran.code == 2
    assert ran.err == "ferry: standard input is not a terminal: give --domain and --access, or --yes for the defaults\n"
    assert not (tmp_path / "ferry.toml").exists()


@pytest.mark.parametrize("given", [("--domain", "gw.example"), ("--access", "keys")])
async def test_init_without_a_terminal_needs_both_domain_and_access(tmp_path: Path, given: tuple[str, str]) -> None:
    refused = await run(write, "--out", str(tmp_path / "ferry.toml"), *given)
    assert str(refused.error).startswith("standard input is not a terminal: give --domain and --access")


async def test_settings_without_a_flag_get_their_defaults_with_yes(tmp_path: Path) -> None:
    written = await run(write, "--yes", "--domain", "gw.example", "--out", str(tmp_path / "ferry.toml"))
    assert written.code == 0, written.error
    config = load(tmp_path / "ferry.toml", {}, {})
    assert (config.access.mode, config.access.keys) == ("keys", [tmp_path / "keys"])


@pytest.mark.parametrize(
    ("domain", "port", "banner", "line"),
    [
        ("gw.example", "443", "SSH-2.0-x", "scp ~/.ssh/id_ed25519.pub root@gw.example:{keys}     (from a laptop)"),
        (
            "gw.example",
            "22",
            "SSH-2.0-x",
            "scp -P 2022 ~/.ssh/id_ed25519.pub root@gw.example:{keys}     (from a laptop)",
        ),
        ("gw.example", "22", None, "cp id_ed25519.pub {keys}"),
        ("localhost", "22", "SSH-2.0-x", "cp id_ed25519.pub {keys}"),
    ],
)
async def test_a_key_is_copied_through_the_existing_ssh_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, domain: str, port: str, banner: str | None, line: str
) -> None:
    monkeypatch.setattr(ports, "sshd_on", lambda _port: banner)
    flags = ("--domain", domain, "--access", "keys", "--ssh", port, "--out", str(tmp_path / "ferry.toml"))
    written = await run(write, *flags)
    assert "      " + line.format(keys=tmp_path / "keys/YOUR-NAME.pub") in written.lines
    assert ("Port 22 is held by an SSH server" in written.text) is ("-P 2022" in line)


async def test_an_existing_file_is_kept_unless_forced(tmp_path: Path) -> None:
    (tmp_path / "ferry.toml").write_text("mine")
    flags = ("--yes", "--out", str(tmp_path / "ferry.toml"))
    refused = await run(write, *flags)
    assert isinstance(refused.error, InvalidInput)
    assert "edit it, or replace it with --force" in str(refused.error)
    assert (tmp_path / "ferry.toml").read_text() == "mine"
    assert (await run(write, *flags, "--force")).code == 0
    assert "domain =" in (tmp_path / "ferry.toml").read_text()
    assert (tmp_path / "ferry.toml.old").read_text() == "mine"


async def test_a_folder_is_not_overwritten_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    refused = await run(write, "--yes", "--force", "--out", str(tmp_path / "folder"))
    assert str(refused.error).startswith(f"cannot write {tmp_path}/folder: Is a directory: ")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_questions_are_asked_again_until_they_are_answered(tmp_path: Path) -> None:
    typed = ["not a domain", "gw.example", "nobody", "keys", str(tmp_path / "people"), "2222", "me", "abuse@gw.example"]
    arguments = ("init", "--out", tmp_path / "ferry.toml", "--state", tmp_path / "state")
    ran = ferry_at_terminal(*arguments, cwd=tmp_path, typed=typed)
    assert ran.code == 0, ran.err
    assert "hostname label 'not a domain' has ' ' in it" in ran.out
    assert "Write one of keys, anyone." in ran.out
    assert "'me' is neither an e-mail address nor a URL: write abuse@example.com or https://..." in ran.out
    config = load(tmp_path / "ferry.toml", {}, {})
    assert (config.domain, config.ssh_port, config.access.keys) == ("gw.example", 2222, [tmp_path / "people"])
    assert config.abuse_contact == "abuse@gw.example"


def test_a_setting_with_a_flag_is_not_asked_for(tmp_path: Path) -> None:
    given = ("--domain", "gw.example", "--keys", tmp_path / "people", "--abuse-contact", "https://gw.example/abuse")
    arguments = ("init", "--out", tmp_path / "ferry.toml", "--state", tmp_path / "state", *given)
    ran = ferry_at_terminal(*arguments, cwd=tmp_path, typed=["keys", "2222"])
    assert ran.code == 0, ran.err
    config = load(tmp_path / "ferry.toml", {}, {})
    assert (config.domain, config.ssh_port, config.access.keys) == ("gw.example", 2222, [tmp_path / "people"])
    assert config.abuse_contact == "https://gw.example/abuse"


def test_questions_do_not_get_into_the_json(tmp_path: Path) -> None:
    arguments = ("init", "--json", "--out", tmp_path / "ferry.toml", "--state", tmp_path / "state")
    ran = ferry_at_terminal(*arguments, cwd=tmp_path, typed=["gw.example", "keys", str(tmp_path / "people"), "443", ""])
    assert ran.code == 0, ran.err
    assert "Enter for none" in ran.err
    document = json.loads(ran.out)
    assert document["next"].startswith("Next:\n")
    assert (
        document.items()
        >= {
            "file": f"{tmp_path}/ferry.toml",
            "kept": None,
            "folders": [f"{tmp_path}/people"],
            "domain": "gw.example",
            "access": "keys",
            "keys": f"{tmp_path}/people",
            "ssh_port": 443,
            "abuse_contact": None,
            "state": f"{tmp_path}/state",
        }.items()
    )


@pytest.mark.parametrize(
    ("domain", "given", "line"),
    [
        ("gw.example", (), '# abuse_contact = "abuse@gw.example"   # an example; not set'),
        ("gw.example", ("--abuse-contact", "mailto:me@gw.example"), 'abuse_contact = "me@gw.example"'),
        ("gw.example", ("--abuse-contact", ""), '# abuse_contact = "abuse@gw.example"   # an example; not set'),
        ("localhost", (), "# abuse_contact = …   (text; not set)"),
    ],
)
async def test_the_file_has_a_line_for_whom_to_tell_about_abuse(
    tmp_path: Path, domain: str, given: tuple[str, ...], line: str
) -> None:
    written = await run(write, "--yes", "--domain", domain, "--out", str(tmp_path / "ferry.toml"), *given)
    assert written.code == 0, written.error
    text = (tmp_path / "ferry.toml").read_text()
    assert line in text.splitlines()
    (tmp_path / "on.toml").write_text(text.replace('# abuse_contact = "', 'abuse_contact = "'))
    assert load(tmp_path / "on.toml", {}, {}).domain == domain  # without its `#` the example is right


def test_for_this_machine_alone_no_port_is_asked_for(tmp_path: Path) -> None:
    arguments = ("init", "--out", tmp_path / "ferry.toml", "--state", tmp_path / "state")
    ran = ferry_at_terminal(*arguments, cwd=tmp_path, typed=["", "anyone"])
    assert ran.code == 0, ran.err
    assert load(tmp_path / "ferry.toml", {}, {}).domain == "localhost"


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--domain", "a b"), "hostname label 'a b' has ' ' in it"),
        (("--access", "anyone", "--keys", "k"), "--keys goes with --access keys"),
        (("--abuse-contact", "me"), "--abuse-contact: 'me' is neither an e-mail address nor a URL: write"),
        (("--out", "/proc/nowhere/ferry.toml"), "cannot write /proc/nowhere/ferry.toml"),
    ],
)
async def test_wrong_flags_leave_nothing_behind(tmp_path: Path, flags: tuple[str, ...], says: str) -> None:
    refused = await run(write, "--yes", "--out", str(tmp_path / "ferry.toml"), *flags)
    assert isinstance(refused.error, InvalidInput)
    assert str(refused.error).startswith(says)
    assert list(tmp_path.iterdir()) == []


async def test_what_was_there_before_is_named_in_json_too(tmp_path: Path) -> None:
    (tmp_path / "ferry.toml").write_text("mine")
    written = await run(write, "--yes", "--force", "-o", "json", "--out", str(tmp_path / "ferry.toml"))
    assert (written.json["kept"], written.json["folders"]) == (f"{tmp_path}/ferry.toml.old", [])


def test_commands_are_printed_as_they_work_from_here(tmp_path: Path) -> None:
    arguments = ("init", "--yes", "--out", tmp_path / "f.toml", "--state", tmp_path / "s")
    env = clean_environment(FERRY_CLONE=str(tmp_path))
    assert f"      ./ferry serve --config {tmp_path}/f.toml\n" in ferry(*arguments, cwd=tmp_path, env=env).out
    env = clean_environment(FERRY_CLONE="/srv/ferry")
    assert "/srv/ferry/ferry serve" in ferry(*arguments, "--force", cwd=tmp_path, env=env).out


def test_moving_sshd_keeps_a_way_in() -> None:
    steps = sshd_steps("SSH-2.0-OpenSSH_9.2p1")
    assert "held by an SSH server (SSH-2.0-OpenSSH_9.2p1)" in steps
    assert steps.index("ufw allow 2022") < steps.index("restart ssh") < steps.index("ssh -p 2022 YOU@THIS-HOST")


@pytest.mark.parametrize("sshd", [False, True])
def test_the_note_on_ssh_over_https_names_an_ssh_server_only_if_one_was_seen(*, sshd: bool) -> None:
    answers = Answers("gw.example", Who.ANYONE, None, SshChoice.HTTPS_PORT, Path("/s"), ("0.0.0.0",), sshd=sshd)
    note = answers.notes()["ssh.listen"]
    assert note.startswith("Empty: SSH is served on the HTTPS port alone")
    assert ("port 22 of this host was held by an SSH server" in note) is sshd


def test_answers_for_localhost_write_no_listeners() -> None:
    answers = Answers("localhost", Who.ANYONE, None, SshChoice.STANDARD, Path("/s"), ("0.0.0.0",))
    assert set(answers.written()) == {"domain", "state", "access.mode"}
    assert answers.notes() == {}
    assert answers.ssh_command == "ssh -p 2222"
