from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from console_commands import run
from ferry.cli import locate
from ferry.cli.check_config import check_config
from ferry.config.file import load
from ferry.config.model import Access, Admin, Audit, Config, Http, Https, Ssh, Tcp
from ferry.names import Endpoint
from ferry.setup import hostcheck
from ferry.setup.findings import Finding, Severity
from ferry.setup.hostcheck import Running, check_host, effective
from ferry.setup.ports import Busy
from ferry_command import Ran, clean_environment, ferry
from gateway_process import Gateway
from other_user import NOBODY, needs_root, passable_folder
from ssh_command import public_key

PUBLIC_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJcYV5ZSZ7lVXdu0m6rO8bxZ1Gm7UeBy9TR5q3hUq8aT alice@laptop"
STOPPED = Running()
ANY_PORT = [Endpoint("127.0.0.1", 0)]


def config(state: Path, **sections: object) -> Config:
    """Ports that are always free, so that only what a test sets is looked at."""
    free = {
        "ssh": Ssh(listen=ANY_PORT),
        "http": Http(listen=ANY_PORT),
        "https": Https(listen=ANY_PORT),
        "admin": Admin(listen=ANY_PORT),
    }
    return Config.model_validate({"state": state, **free, **sections})


def findings(configuration: Config, *, running: Running = STOPPED) -> list[Finding]:
    return check_host(configuration, running=running)


def to_fix(configuration: Config, *, running: Running = STOPPED) -> list[Finding]:
    return [each for each in findings(configuration, running=running) if each.severity is Severity.FIX]


def check(tmp_path: Path, text: str) -> Ran:
    file = tmp_path / "ferry.toml"
    file.write_text(text)
    return ferry("check-config", "--config", file, "--no-dns", cwd=tmp_path)


LISTEN = """\
[ssh]
listen = "127.0.0.1:0"
[http]
listen = "127.0.0.1:0"
[https]
listen = []
[admin]
listen = "127.0.0.1:{admin}"
"""


def test_a_good_configuration(tmp_path: Path) -> None:
    ran = check(tmp_path, LISTEN.format(admin=0))
    assert (ran.code, ran.err) == (0, "")
    assert f"state      {tmp_path}/ferry-data\n" in ran.out
    assert "https      off\n" in ran.out
    assert not (tmp_path / "ferry-data").exists(), "looking makes nothing"


def test_a_taken_port_is_something_to_fix(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        ran = check(tmp_path, LISTEN.format(admin=port))
    assert ran.code == 1
    assert f"FIX  admin           127.0.0.1:{port} is held by " in ran.out
    assert "or write another port in admin.listen" in ran.out


def test_a_mistake_prints_one_line_and_no_traceback(tmp_path: Path) -> None:
    ran = check(tmp_path, 'domian = "x"')
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == f"ferry: {tmp_path}/ferry.toml, line 1: unknown key domian: did you mean domain?\n"
    debug = ferry("check-config", "--domain", "-", cwd=tmp_path, env=clean_environment(FERRY_DEBUG="1"))
    assert "Traceback" in debug.err


def test_the_default_domain_is_looked_up(tmp_path: Path) -> None:
    (tmp_path / "ferry.toml").write_text(LISTEN.format(admin=0))
    ran = ferry("check-config", "--config", "ferry.toml", cwd=tmp_path)
    assert ran.code == 0
    assert "dns             NAME.localhost " in ran.out


@pytest.mark.parametrize("spelling", [("--json",), ("--output", "json"), ("-o", "json")])
def test_the_findings_as_json(tmp_path: Path, spelling: tuple[str, ...]) -> None:
    (tmp_path / "ferry.toml").write_text(LISTEN.format(admin=0))
    ran = ferry("check-config", "--config", "ferry.toml", "--no-dns", *spelling, cwd=tmp_path)
    document = json.loads(ran.out)
    assert (document["domain"], document["state"]) == ("localhost", f"{tmp_path}/ferry-data")
    assert {"severity": "ok", "subject": "ssh", "text": "127.0.0.1:0 is free"} in document["findings"]


def test_what_may_surprise_is_noted(tmp_path: Path) -> None:
    ran = check(tmp_path, LISTEN.format(admin=0) + '[names]\nreserved = ["shop"]\n')
    assert ran.code == 0
    assert "note names           names.reserved replaces the built-in list, so that anybody may have admin, " in ran.out


def test_ports_held_by_this_very_gateway_are_no_fault(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mine:
        held = config(tmp_path, ssh=Ssh(listen=[Endpoint("127.0.0.1", mine.getsockname()[1])]))
        assert [each.subject for each in to_fix(held)] == ["ssh"]
        assert to_fix(held, running=Running(tuple(held.ssh.listen))) == []
        (other,) = to_fix(held, running=Running((Endpoint("127.0.0.1", 1),)))
        assert "is held by" in other.text, "the running gateway listens elsewhere"
        (note,) = [each for each in findings(held, running=Running(hidden=True)) if each.subject == "ssh"]
        assert note.severity is Severity.NOTE
        assert note.text.endswith(
            "perhaps this gateway itself, whose state folder you cannot look into: run this with sudo"
        )


def test_a_running_gateway_is_found_from_any_directory(tmp_path: Path, gateway: Gateway) -> None:
    """It judged this directory's folder, and blamed the gateway for its own ports."""
    (tmp_path / "elsewhere").mkdir()
    checked = ferry("check-config", "--config", gateway.folder / "ferry.toml", "--no-dns", cwd=tmp_path / "elsewhere")
    assert f"\nstate      {gateway.state}\n" in checked.out
    for subject, port in (("ssh", gateway.ports.ssh), ("http", gateway.ports.http), ("admin", gateway.ports.admin)):
        assert f"ok   {subject:<16}127.0.0.1:{port} is held by this gateway, which runs\n" in checked.out
    (tmp_path / "clone").mkdir()
    (tmp_path / "clone" / "ferry-data").symlink_to(gateway.state)
    env = clean_environment(FERRY_CLONE=str(tmp_path / "clone"))
    checked = ferry("check-config", "--no-dns", cwd=tmp_path / "elsewhere", env=env)
    assert f"\nstate      {tmp_path}/clone/ferry-data\n" in checked.out


@pytest.mark.parametrize(
    ("installed", "named", "environ", "domain", "state"),
    [
        (True, [], {}, "gw.example", "installed"),
        (True, ["--state", "other"], {}, "localhost", "other"),
        (True, [], {"FERRY_STATE": "other"}, "localhost", "other"),
        (False, [], {}, "localhost", "ferry-data"),
    ],
)
async def test_the_state_folder_that_was_named_comes_before_the_installation(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    installed: bool,
    named: list[str],
    environ: dict[str, str],
    domain: str,
    state: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("FERRY_STATE", "FERRY_CLONE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(locate, "SYSTEM_CONFIG", tmp_path / "ferry.toml")
    monkeypatch.setattr(locate, "SYSTEM_STATE", tmp_path / "none")
    if installed:
        (tmp_path / "ferry.toml").write_text('domain = "gw.example"\nstate = "installed"\n')
    found = await run(check_config, "--no-dns", "--json", *named)
    assert (found.json["domain"], found.json["state"]) == (domain, str(tmp_path / state))


@pytest.mark.parametrize(
    ("http", "https", "says"),
    [
        ("*:8443", "*:8443", "http.listen and https.listen both have *:8443: write another port for one of them"),
        ("*:8443", "127.0.0.1:8443", "http.listen has *:8443 and https.listen has 127.0.0.1:8443, the same port: "),
        ("0.0.0.0:8443", "10.0.0.1:8443", "http.listen has 0.0.0.0:8443 and https.listen has 10.0.0.1:8443, the same"),
        (
            "127.0.0.1:8080",
            "[::1]:2222",
            "ssh.listen and https.listen both have [::1]:2222: https.listen serves SSH too",
        ),
        ("127.0.0.1:9380", "127.0.0.1:8443", "http.listen and admin.listen both have 127.0.0.1:9380"),
        ("*:8080 127.0.0.1:8080", "*:8443", "http.listen has *:8080 and 127.0.0.1:8080, and one address contains the"),
    ],
)
@pytest.mark.parametrize("command", ["check-config", "serve"])
def test_two_listeners_on_one_port_are_refused(tmp_path: Path, command: str, http: str, https: str, says: str) -> None:
    """It took the file, and the start blamed the gateway's own process."""
    file = tmp_path / "ferry.toml"
    file.write_text(f'[http]\nlisten = "{http}"\n[https]\nlisten = "{https}"\n[access]\nmode = "anyone"\n')
    ran = ferry(command, "--config", file, cwd=tmp_path)
    assert (ran.code, ran.out) == (2, "")
    assert says in ran.err
    assert len(ran.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("http", "https"),
    [
        ("127.0.0.1:8443", "[::1]:8443"),
        ("127.0.0.1:8443", "127.0.0.2:8443"),
        ("0.0.0.0:8080 *:8080", "127.0.0.1:8443"),
        ("127.0.0.1:8080 127.0.0.1:8080", "127.0.0.1:8443"),
        ("127.0.0.1:0", "127.0.0.1:0"),
    ],
)
def test_listeners_that_do_not_meet_are_accepted(http: str, https: str) -> None:
    environ = {"FERRY_HTTP__LISTEN": http, "FERRY_HTTPS__LISTEN": https, "FERRY_ACCESS__MODE": "anyone"}
    assert load(None, environ, {}).http.listen


def test_an_address_of_another_host_is_a_fault_also_while_the_gateway_runs(tmp_path: Path) -> None:
    absent = config(tmp_path, http=Http(listen=[Endpoint("127.0.0.1", 0), Endpoint("192.0.2.1", 9)]))
    for running in (Running(), Running((Endpoint("0.0.0.0", 9),)), Running(hidden=True)):
        (finding,) = to_fix(absent, running=running)
        assert finding == Finding(Severity.FIX, "http", "192.0.2.1 is not an address of this host")


def test_a_host_without_ipv6_needs_only_the_ipv4_loopback_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_ipv6(endpoint: Endpoint) -> Busy | None:
        return Busy(endpoint, "none here", absent=True) if ":" in endpoint.host else None

    monkeypatch.setattr(hostcheck, "blocked", without_ipv6)
    four, six, public = Endpoint("127.0.0.1", 80), Endpoint("::1", 80), Endpoint("2001:db8::1", 80)
    assert to_fix(config(tmp_path, http=Http(listen=[four, six]))) == []
    for listen in ([six], [four, public]):
        (finding,) = to_fix(config(tmp_path, http=Http(listen=listen)))
        assert finding.text == "none here"


def test_ipv6_that_is_taken_is_a_fault(tmp_path: Path) -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as other:
        taken = Endpoint("::1", other.getsockname()[1])
        (finding,) = to_fix(config(tmp_path, ssh=Ssh(listen=[Endpoint("127.0.0.1", 0), taken])))
        assert "is held by" in finding.text


@pytest.mark.parametrize("ssh", [False, True])
def test_check_config_says_if_the_https_port_serves_ssh(tmp_path: Path, *, ssh: bool) -> None:
    assert (
        effective(config(tmp_path, https=Https(listen=ANY_PORT, ssh=ssh)))["https"] == "127.0.0.1:0, SSH too"
    ) is ssh


@pytest.mark.parametrize("https", ["listen = []", "ssh = false"])
@pytest.mark.parametrize("command", ["check-config", "serve"])
def test_a_configuration_without_an_ssh_listener_is_refused(tmp_path: Path, command: str, https: str) -> None:
    file = tmp_path / "ferry.toml"
    file.write_text(f"[ssh]\nlisten = []\n[https]\n{https}\n")
    ran = ferry(command, "--config", file, cwd=tmp_path)
    assert (ran.code, ran.out) == (2, "")
    assert "no listener serves SSH: write ssh.listen, or https.listen with https.ssh = true" in ran.err


def test_check_config_prints_the_addresses_of_a_service_on_one_line(tmp_path: Path) -> None:
    configuration = config(tmp_path, ssh=Ssh(listen=[Endpoint("127.0.0.1", 0), Endpoint("127.0.0.2", 0)]))
    found = [each.text for each in findings(configuration) if each.subject in ("ssh", "http")]
    assert found == ["127.0.0.1:0 and 127.0.0.2:0 are free", "127.0.0.1:0 is free"]


def test_ssh_on_the_https_port_alone(tmp_path: Path) -> None:
    assert to_fix(config(tmp_path, ssh=Ssh(listen=[]))) == []


def test_keys_are_counted_and_bad_lines_named(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.mkdir()
    configuration = config(tmp_path, access=Access(mode="keys", keys=[keys]))
    found = [each for each in findings(configuration) if each.subject == "keys"]
    assert found == [
        Finding(Severity.NOTE, "keys", f"{keys}: 0 keys"),
        Finding(Severity.FIX, "keys", f"no usable key, so nobody can connect: put public keys into {keys}"),
    ]
    (keys / "alice.pub").write_text(PUBLIC_KEY + "\n")
    found = [each for each in findings(configuration) if each.subject == "keys"]
    assert found == [Finding(Severity.OK, "keys", f"{keys}: 1 key")]
    (keys / "bad").write_text("# mine\nssh-ed25519 nonsense\n")
    (finding,) = [each for each in findings(configuration) if each.subject == "keys"]  # and no count
    assert finding.severity is Severity.FIX
    assert finding.text.startswith(f"{keys / 'bad'}, line 2: ")
    (keys / "alice.pub").write_text("# none\n")
    assert [each.text.partition(":")[0] for each in to_fix(configuration)][1:] == [
        "no usable key, so nobody can connect"
    ]


def test_a_fleets_file_in_a_folder_of_keys_is_to_fix(tmp_path: Path, new_key: Callable[[], Path]) -> None:
    keys = tmp_path / "keys"
    keys.mkdir()
    lines = [new_key().with_suffix(".pub").read_text() for _ in range(2)]
    (keys / "fleet").write_text("".join(lines))
    configuration = config(tmp_path, access=Access(mode="keys", keys=[keys]))
    (finding,) = [each for each in findings(configuration) if each.subject == "keys"]
    assert finding.severity is Severity.FIX
    assert finding.text.startswith(f"{keys / 'fleet'}: its name names none of its 2 keys without name=")
    (keys / "fleet").write_text("".join(f"{line.strip()} name=web-{number}\n" for number, line in enumerate(lines)))
    assert [each.severity for each in findings(configuration) if each.subject == "keys"] == [Severity.OK]


def test_keys_without_names_are_noted_with_what_to_write(tmp_path: Path, new_key: Callable[[], Path]) -> None:
    keys = tmp_path / "fleet"
    lines = [public_key(new_key()) for _ in range(3)]
    keys.write_text(f"{lines[0]} name=web-1\n{lines[1]} root@web-2.example\n{lines[2]} root@web-3\n")
    configuration = config(tmp_path, access=Access(mode="keys", keys=[keys]))
    (note,) = [each for each in findings(configuration) if each.severity is Severity.NOTE and each.subject == "keys"]
    assert note.text.startswith(f"{keys}: 2 of its keys have no name, so lists show their comments, and rules, ")
    assert note.text.endswith("do not know them: write name=web-2 behind the key in line 2, and so on")


def test_keys_that_cannot_be_one_of_two_are_told_with_what_to_write(
    tmp_path: Path, new_key: Callable[[], Path]
) -> None:
    keys = tmp_path / "fleet"
    lines = [public_key(new_key()) for _ in range(4)]

    def told(*names: str, **sshd: object) -> list[tuple[Severity, str]]:
        keys.write_text("".join(f"{line} {name}\n" for line, name in zip(lines, names, strict=False)))
        configuration = config(tmp_path, access=Access(mode="keys", keys=[keys]), sshd=sshd)
        found = [
            each for each in findings(configuration) if each.subject == "keys" and each.severity is not Severity.OK
        ]
        return [(each.severity, each.text.partition(":")[0]) for each in found]

    two = {"authentication_methods": ["publickey,publickey"]}
    assert told("root@a", "root@b", "name=ann", **two) == [
        (Severity.FIX, f"{keys}, lines 1, 2"), (Severity.FIX, f"{keys}, line 3"),
    ]  # fmt: skip
    assert told("root@a", "root@b", "name=ann", "name=ann", **two) == [(Severity.NOTE, f"{keys}, lines 1, 2")]
    assert told("name=ann", "name=ann", **two) == []
    assert told("name=ann", "name=bob", match=[{"identity": ["bob"], **two}]) == [(Severity.NOTE, f"{keys}, line 2")]
    assert told("root@a", "root@b") == [(Severity.NOTE, str(keys))]  # that they have no name


def test_a_folder_of_sockets_that_is_missing_is_told(tmp_path: Path) -> None:
    def told(folder: Path, **sshd: object) -> list[tuple[Severity, str]]:
        sshd |= {"streamlocal_folder": folder}
        found = [each for each in findings(config(tmp_path / "state", sshd=sshd)) if "streamlocal_folder" in each.text]
        return [(each.severity, each.text.partition(str(folder))[2][:20].strip()) for each in found]

    sockets, yes = tmp_path / "sockets", {"allow_streamlocal_forwarding": "yes"}
    assert told(sockets) == []
    assert told(sockets, **yes) == [(Severity.FIX, "does not exist, so")]
    assert told(sockets, match=[{"user": ["ann"], **yes}]) == [(Severity.FIX, "does not exist, so")]
    assert told(Path("/run/no-such-folder/sockets"), **yes) == [(Severity.NOTE, "is not there now, a")]
    sockets.mkdir()
    assert told(sockets, **yes) == []
    (link := tmp_path / "link").symlink_to(sockets)
    assert told(link, **yes) == [(Severity.FIX, "is no folder: write")]


def test_a_byte_order_mark_is_told_as_such(tmp_path: Path) -> None:
    for role in ("keys", "trusted_ca_keys", "authorized_principals"):
        text = "ops" if role == "authorized_principals" else PUBLIC_KEY
        files: dict[str, object] = {"keys": [tmp_path / "keys"], "trusted_ca_keys": [tmp_path / "cas"]}
        (tmp_path / "keys").write_text(PUBLIC_KEY + "\n")
        (tmp_path / "cas").write_text(PUBLIC_KEY.replace("name=alice", "") + "\n")
        marked = tmp_path / role
        marked.write_text(f"\ufeff{text}\n")
        files |= {role: marked if role == "authorized_principals" else [marked]}
        told = [each.text for each in to_fix(config(tmp_path, access=Access.model_validate({"mode": "keys"} | files)))]
        assert any(f"{marked}, line 1: the line begins with a byte order mark" in text for text in told), told


def test_options_that_do_something_else_than_meant_are_noted(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text(f'no-pty {PUBLIC_KEY}\nrestrict,permitlisten="80" {PUBLIC_KEY}\n')
    configuration = config(tmp_path, access=Access(mode="keys", keys=[keys]))
    trap, counted = [each for each in findings(configuration) if each.subject == "keys"]
    assert trap.severity is Severity.NOTE
    assert trap.text.startswith(f"{keys}, line 2: restrict turns all forwards off")
    assert counted == Finding(Severity.OK, "keys", f"{keys}: 1 key")


def test_ports_of_two_keys_and_those_that_nobody_can_have_are_noted(
    tmp_path: Path, new_key: Callable[[], Path]
) -> None:
    keys = tmp_path / "keys"
    one, two, three = (public_key(new_key()) for _ in range(3))
    keys.write_text(
        f'permitlisten="21022",permitlisten="80" {one} name=web-1\npermitlisten="21022" {one} name=web-1\n'
        f'permitlisten="21022",permitlisten="20001",permitlisten="21023" {two}\npermitlisten="20002",permitlisten="21023" {two}\n'
        f'permitlisten="21024" {one} name=web-1\npermitlisten="21024" {three} name=web-1\npermitlisten="21023" {three}\n'
    )
    configuration = config(tmp_path, access=Access(mode="keys", keys=[keys]))
    told = [each.text for each in findings(configuration) if each.subject == "keys"]
    assert [text for text in told if "have no name" not in text] == [
        f"{keys}, line 3: permitlisten= names port 21022, and so does {keys}, line 1, for another key: only the first that "
        "comes gets it",
        f"{keys}, line 7: permitlisten= names port 21023, and so does {keys}, line 3, for another key: only the first that "
        "comes gets it",
        f"{keys}, line 3: permitlisten= names port 20001, which nobody can have: add a range with it to tcp.ranges (and 1 "
        "more lines name such a port)",
        f"{keys}: 3 keys",
        f"{keys}, line 7: its key stands in {keys}, line 6 too, with name=web-1 there and no name here: it logs in by either, so "
        "write one name in both, or delete one of them",
    ]


def test_keys_are_counted_as_the_gateway_reads_them(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.mkdir()
    (keys / "alice.pub~").write_text(PUBLIC_KEY + "\n")  # what an editor leaves behind
    (keys / ".bob.pub").write_text(PUBLIC_KEY + "\n")
    (keys / "carol.pub").write_text(f"# gone since May\r{PUBLIC_KEY}\n", newline="")
    settings = config(tmp_path, access=Access(mode="keys", keys=[keys]))
    (finding,) = to_fix(settings)
    assert finding.text.startswith("no usable key")
    told = f"{keys}/alice.pub~: it is called as a copy of another file, so no key in it counts: delete it"
    assert any(each.text.startswith(told) for each in findings(settings))


@pytest.mark.parametrize("mode", ["keys", "anyone"])
def test_names_of_nobody_are_noted_where_keys_have_names(tmp_path: Path, mode: str) -> None:
    """Where every key may log in, it does so by any name, and no line keeps it out."""
    (tmp_path / "fleet").write_text(f"{PUBLIC_KEY} name=web-1\n")
    sshd = {
        "match": [{"identity": ["web-1", "SHA256:x"]}, {"identity": ["*", "!web-2"]}],
        "pubkey_accepted_algorithms": ["rsa-sha2-512"],
    }
    settings = config(tmp_path, access={"mode": mode, "keys": [tmp_path / "fleet"]}, sshd=sshd)
    texts = [each.text for each in findings(settings)]
    noted = [text.partition(": no key has the name web-2")[0] for text in texts if "identity" in text]
    assert noted == (["sshd.match 2: identity"] if mode == "keys" else [])
    assert any("let nobody in" in text or "lets nobody in" in text for text in texts) is (mode == "keys")


def test_keys_of_login_names_need_no_name(tmp_path: Path, new_key: Callable[[], Path]) -> None:
    (tmp_path / "users").mkdir()
    (tmp_path / "users" / "ann").write_text("".join(f"{public_key(new_key())}\n" for _ in range(3)))
    settings = config(tmp_path, access=Access(mode="keys", keys=[tmp_path / "users" / "%u"]))
    assert [each.severity for each in findings(settings) if each.subject == "keys"] == [Severity.OK]


def test_a_key_with_two_names_is_noted(tmp_path: Path) -> None:
    """Who takes the key out by one of them leaves it in."""
    keys, user = tmp_path / "keys", tmp_path / "users"
    for folder in (keys, user):
        folder.mkdir()
    paths = [keys, user / "%u"]
    for name in ("ann", "joe"):
        (user / name).write_text(f"{PUBLIC_KEY}\n")
    settings = config(tmp_path, access=Access(mode="keys", keys=paths))
    assert not [each for each in findings(settings) if "logs in by either" in each.text]
    (keys / "fleet.keys").write_text(f"{PUBLIC_KEY} name=web-1\n{PUBLIC_KEY} name=web-1\n")
    assert not [each for each in findings(settings) if "logs in by either" in each.text]
    (keys / "more").write_text(f"{PUBLIC_KEY}\n")
    assert [(each.severity, each.text) for each in findings(settings) if "logs in by either" in each.text] == [
        (Severity.NOTE, f"{keys}/more, line 1: its key stands in {keys}/fleet.keys, line 1 too, with name=web-1 there and "
         "name=more here: it logs in by either, so write one name in both, or delete one of them"),
    ]  # fmt: skip


def test_a_file_that_the_gateway_cannot_read_is_a_finding_to_fix(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.mkdir()
    (keys / "good.pub").write_text(PUBLIC_KEY + "\n")
    (keys / "large.pub").write_text(PUBLIC_KEY + "\n" + "#" * 4 * 1024 * 1024)
    (keys / "broken.pub").symlink_to(keys / "nowhere")
    os.mkfifo(keys / "pipe")  # reading it would wait for ever
    texts = [each.text for each in to_fix(config(tmp_path, access=Access(mode="keys", keys=[keys])))]
    assert [text.partition(":")[0] for text in texts] == [
        str(keys / "broken.pub"),
        str(keys / "pipe"),
        str(keys / "large.pub"),
    ]
    assert "spread them over the files of a folder" in texts[-1]


def test_a_bad_line_of_a_key_file_is_shown_to_its_readers(tmp_path: Path) -> None:
    """Other than in the log, where it may be a secret."""
    (tmp_path / "keys").write_text(f"{PUBLIC_KEY} name=My_Laptop\n")
    finding, _ = to_fix(config(tmp_path, access=Access(mode="keys", keys=[tmp_path / "keys"])))
    assert finding.text.startswith(f"{tmp_path / 'keys'}, line 1: ")
    assert "My_Laptop" in finding.text


def test_a_path_of_keys_that_is_not_there_is_something_to_fix(tmp_path: Path) -> None:
    finding, _ = to_fix(config(tmp_path, access=Access(mode="keys", keys=[tmp_path / "nowhere"])))
    assert finding.text.endswith("nowhere does not exist: make the file or folder, or correct the path")


def test_a_named_file_of_keys_counts_with_any_name(tmp_path: Path) -> None:
    (tmp_path / ".keys").write_text(PUBLIC_KEY + "\n")
    assert to_fix(config(tmp_path, access=Access(mode="keys", keys=[tmp_path / ".keys"]))) == []


def test_certificates_are_found_in_both_forms(tmp_path: Path) -> None:
    folder = tmp_path / "certs"
    configuration = config(tmp_path, https=Https(listen=ANY_PORT, certificates=folder))
    (finding,) = to_fix(configuration)
    assert finding.text == f"{folder}: No such file or directory"
    (folder / "gw").mkdir(parents=True)
    (folder / "one.crt").touch()
    (finding,) = to_fix(configuration)
    assert "has no NAME.crt with NAME.key" in finding.text
    for name in ("half/fullchain.pem", "other-half/privkey.pem", "gw/fullchain.pem"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    assert "has no NAME.crt with NAME.key" in to_fix(configuration)[0].text
    for name in ("one.key", "gw/privkey.pem"):
        (folder / name).touch()
    assert to_fix(configuration) == []
    shown = [each.text for each in findings(configuration) if each.subject == "certificates"]
    assert shown == [str(folder / "gw/fullchain.pem"), str(folder / "one.crt")]


def https_of(configuration: Config) -> Finding:
    """What visitors see, beside what is said of the port."""
    found = [each for each in findings(configuration) if each.subject == "https" and "free" not in each.text]
    assert len(found) == 1
    return found[0]


def test_check_config_says_what_visitors_see_over_https(tmp_path: Path) -> None:
    warned = https_of(config(tmp_path, domain="gw.example"))
    assert warned.severity is Severity.NOTE
    assert "visitors of https://NAME.gw.example:0 see a warning: this gateway's own CA signs" in warned.text
    assert "put a certificate for *.gw.example and its key into a folder" in warned.text
    assert "`ferry ca` prints how to trust that CA" in https_of(config(tmp_path)).text
    assert https_of(config(tmp_path, https=Https(listen=[]))).text.startswith("off: visitors use http:// alone")


def test_check_config_finds_the_certificate_that_visitors_see(tmp_path: Path) -> None:
    folder = tmp_path / "certs"
    folder.mkdir()
    configuration = config(tmp_path, domain="gw.example", https=Https(listen=ANY_PORT, certificates=folder))
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "9"]

    def certificate_for(name: str) -> None:
        files: list[str | Path] = ["-keyout", folder / "gw.key", "-out", folder / "gw.crt"]
        names = ["-subj", "/CN=x", "-addext", f"subjectAltName=DNS:{name}"]
        subprocess.run([*make, *names, *files], check=True, capture_output=True)

    certificate_for("gw.example")
    assert f"{folder} has no usable certificate for *.gw.example\nvisitors of " in https_of(configuration).text
    certificate_for("*.gw.example")
    seen = https_of(configuration)
    assert seen.severity is Severity.OK
    assert "see your certificate for *.gw.example, valid until 2" in seen.text


@pytest.mark.parametrize(
    ("host", "http", "https", "contact", "noted"),
    [
        ("0.0.0.0", True, True, None, True),
        ("0.0.0.0", True, False, None, True),
        ("0.0.0.0", False, True, None, True),
        ("0.0.0.0", False, False, None, False),
        ("0.0.0.0", True, True, "me@gw.example", False),
        ("127.0.0.1", True, True, None, False),
    ],
)
def test_a_public_gateway_says_whom_to_tell_about_abuse(
    tmp_path: Path, host: str, contact: str | None, *, http: bool, https: bool, noted: bool
) -> None:
    public = config(
        tmp_path,
        domain="gw.example",
        abuse_contact=contact,
        access=Access(mode="anyone"),
        ssh=Ssh(listen=[Endpoint(host, 0)]),
        http=Http(listen=ANY_PORT if http else []),
        https=Https(listen=ANY_PORT if https else []),
    )
    found = [each.text for each in findings(public) if each.subject == "abuse_contact"]
    assert len(found) == noted
    assert all('write abuse_contact = "abuse@gw.example", which the page at ' in text for text in found)


@needs_root
def test_a_file_of_the_audit_log_can_be_written() -> None:
    """By the gateway's user, which is nobody here: access(2) asks for the real user."""
    with passable_folder() as folder:
        for name, mode in (("open", 0o777), ("closed", 0o755)):
            (folder / name).mkdir()
            (folder / name).chmod(mode)
        for name, mode in (("open/closed", 0o644), ("closed/open", 0o666)):
            (folder / name).touch()
            (folder / name).chmod(mode)
        (folder / "open" / "folder").mkdir()
        (folder / "open" / "folder").chmod(0o777)
        names = ("open/new", "closed/new", "open/closed", "closed/open", "open/folder", "none/new")
        os.setreuid(NOBODY, 0)
        try:
            checked = [findings(config(folder / "open", audit=Audit(file=folder / name))) for name in names]
        finally:
            os.setreuid(0, 0)
        texts = [each.text for found in checked for each in found if each.subject == "audit"]
    mend = "cannot be written by you: run this as the gateway's user, or sudo"
    assert texts == [
        f"{folder}/open/new will be made",
        f"{folder}/closed/new {mend}",
        f"{folder}/open/closed {mend}",
        f"{folder}/closed/open is there",
        f"{folder}/open/folder {mend}",
        f"{folder}/none does not exist: make it, and give it to the gateway's user",
    ]


def test_a_public_address_must_be_this_hosts(tmp_path: Path) -> None:
    (finding,) = to_fix(config(tmp_path, tcp=Tcp(public_addresses=["127.0.0.1", "192.0.2.7"])))
    assert finding.text == "tcp.public_addresses: 192.0.2.7 is not an address of this host"


def test_a_state_folder_that_a_start_refuses(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state").chmod(0o755)
    (finding,) = to_fix(config(tmp_path / "state"))
    assert "is open to other users (mode 755)" in finding.text
    assert f"type chmod 700 {tmp_path}/state" in finding.text


def test_a_state_that_cannot_be_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (finding,) = to_fix(config(tmp_path / "file" / "state"))
    assert finding.text == f"{tmp_path / 'file'} is not a folder: write another state"


@pytest.mark.parametrize(
    ("port", "command"), [(22, "ssh gw.example"), (443, "ssh -p 443 gw.example"), (2222, "ssh -p 2222 gw.example")]
)
def test_the_command_to_type_has_the_real_port(tmp_path: Path, port: int, command: str) -> None:
    ssh = Ssh(listen=[Endpoint("127.0.0.1", port)])
    assert effective(config(tmp_path, domain="gw.example", ssh=ssh))["ssh"].endswith(f"; people type {command}")
