"""The audit log of a gateway that stock ssh uses: a record for each act, and a chain that a kill does not break."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from child_process import Child
from ferry_command import PROGRAM, Ran, clean_environment, ferry
from gateway_process import Gateway
from line_service import SECONDS, LineService
from looks import until
from origin_server import Origin
from replaced_file import replace_file
from ssh_command import fingerprint, make_key
from ssh_command import run as run_command
from web_client import visit

Audit = Callable[..., list[dict[str, Any]]]


def run(gateway: Gateway, *arguments: str | Path) -> Ran:
    return ferry("audit", *arguments, "--state", gateway.state, cwd=gateway.folder)


def records(gateway: Gateway, *arguments: str) -> list[dict[str, Any]]:
    done = run(gateway, "--json", "--limit", "1000", *arguments)
    assert (done.code, done.err) == (0, "")
    return [json.loads(line) for line in done.out.splitlines()]


def kinds(found: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(record["kind"], record["outcome"]) for record in found]


@pytest.fixture
def web_1(tmp_path: Path) -> Path:
    return make_key(tmp_path / "web-1", comment="web-1 name=web-1")


@pytest.fixture
def keys(tmp_path: Path, web_1: Path) -> Path:
    shutil.copy(web_1.with_suffix(".pub"), tmp_path / "keys")
    return tmp_path / "keys"


@pytest.fixture
def gateway(start_gateway: Callable[..., Gateway], keys: Path) -> Gateway:
    return start_gateway(access={"mode": "keys", "keys": [keys]})


def test_a_record_for_a_log_in_a_forward_and_their_ends(
    gateway: Gateway, web_1: Path, keys: Path, origin: Origin, tmp_path: Path
) -> None:
    with gateway.ssh(tmp_path, web_1).start("-R", f"blog:80:localhost:{origin.port}") as child:
        child.line("http://blog.localhost")
        assert visit(gateway, "blog", "/?secret=query").status == 200
        child.line("^GET ")
    until(lambda: ("login", "ended") in kinds(records(gateway)))
    found = records(gateway, "--identity", "web-1")
    assert kinds(found) == [
        ("login", "ok"), ("name", "ok"), ("forward", "ok"), ("forward", "ended"), ("login", "ended"),
    ]  # fmt: skip
    login, _, forward, closed, ended = found
    assert login["key"] == fingerprint(web_1)
    assert login["peer"].startswith("127.0.0.1:")
    assert login["rule"] == f"{keys}, line 1"
    assert {record["connection"] for record in (login, forward, closed, ended)} == {login["connection"]}
    assert (forward["what"], forward["rule"]) == ("blog.localhost", f"{keys}, line 1")
    assert closed["down"] == ended["down"] > 0
    assert closed["milliseconds"] >= 0
    everything = run(gateway, "--json").out + (gateway.state / "ferry.db-wal").read_bytes().decode("latin-1")
    assert "secret" not in everything.replace("secrets", "")


def test_a_record_for_each_refusal(
    gateway: Gateway, web_1: Path, keys: Path, new_key: Callable[[], Path], tmp_path: Path
) -> None:
    stranger = new_key()
    assert "Permission denied" in gateway.ssh(tmp_path, stranger).run().err
    owner = gateway.ssh(tmp_path, web_1)
    assert owner.run("-R", "admin:80:localhost:9").code == 1
    owner.run("-W", "other:22")
    owner.run("-s", words="sftp")
    owner.run("-w", "any:any", words="ls")
    until(lambda: len(records(gateway, "--outcome", "refused")) == 5)
    refused = records(gateway, "--outcome", "refused")
    assert kinds(refused) == [(kind, "refused") for kind in ("login", "forward", "reach", "request", "request")]
    assert [(record["what"], record["detail"].split(":")[0]) for record in refused[3:]] == [
        ("sftp", "unknown_form"), ("-w", "unknown_form"),
    ]  # fmt: skip
    assert (refused[0]["key"], refused[0]["detail"]) == (fingerprint(stranger), "a key that is in no file")
    assert refused[1]["what"] == "-R admin:80"
    assert refused[1]["detail"].startswith("reserved_name: ")
    assert (refused[2]["what"], refused[2]["detail"].split(":")[0]) == ("other:22", "no_such_alias")
    assert all(record["identity"] == "web-1" for record in refused[1:])
    seen = gateway.log_lines
    replace_file(keys, f'from="192.0.2.1" {keys.read_text()}')
    gateway.event('"keys.loaded"', after=seen)
    assert "Permission denied" in owner.run().err
    gateway.event('"handshake.ended".*"failed"', after=seen)
    assert "Permission denied" in gateway.ssh(tmp_path, stranger).run().err
    until(lambda: len(records(gateway, "--outcome", "refused")) >= 7)
    denied, unknown = records(gateway, "--outcome", "refused")[5:]  # one of each log-in
    assert (denied["kind"], denied["key"], denied["rule"]) == ("login", fingerprint(web_1), f"{keys}, line 1: from")
    assert (unknown["kind"], unknown["key"]) == ("login", fingerprint(stranger))


def test_each_key_that_a_log_in_offers_in_vain_has_one_record_with_its_line(
    gateway: Gateway, web_1: Path, keys: Path, new_key: Callable[[], Path], tmp_path: Path
) -> None:
    """Two for which `from=` says the same, on two lines, one that is disabled, and one that is in no file. The end of the
    log-in has none."""
    twin, disabled, stranger = new_key(), new_key(), new_key()
    far = 'from="192.0.2.1" '
    seen = gateway.log_lines
    replace_file(
        keys,
        f"{far}{keys.read_text()}{far}{twin.with_suffix('.pub').read_text()}#disabled {disabled.with_suffix('.pub').read_text()}",
    )
    gateway.event('"keys.loaded"', after=seen)
    more = [word for key in (twin, disabled, stranger) for word in ("-i", str(key))]
    assert "Permission denied" in gateway.ssh(tmp_path, web_1).run(*more).err
    ended = gateway.event('"handshake.ended"', after=seen)
    assert (ended["outcome"], ended["explained"]) == ("failed", True)
    gateway.running.signal(signal.SIGHUP)  # its record is the last one
    until(lambda: ("config", "ok") in kinds(records(gateway)))
    found = [record for record in records(gateway) if record["kind"] == "login"]
    assert {record["key"]: record.get("rule") for record in found} == {
        fingerprint(web_1): f"{keys}, line 1: from",
        fingerprint(twin): f"{keys}, line 2: from",
        fingerprint(disabled): f"{keys}, line 3",
        fingerprint(stranger): None,
    }
    assert len(found) == 4


def test_a_record_for_a_takeover(gateway: Gateway, web_1: Path, origin: Origin, tmp_path: Path) -> None:
    ssh = gateway.ssh(tmp_path, web_1)
    with ssh.start("-R", f"blog:80:localhost:{origin.port}") as first:
        first.line("http://blog.localhost")
        with ssh.start("-R", f"blog:80:localhost:{origin.port}") as second:
            second.line("taken over")
            first.exit_code()
    until(lambda: kinds(records(gateway)).count(("login", "ended")) == 2)
    (takeover,) = records(gateway, "--kind", "takeover")
    logins = records(gateway, "--kind", "login", "--outcome", "ok")
    assert takeover["what"] == "blog.localhost"
    assert takeover["connection"] == logins[1]["connection"]
    assert takeover["detail"] == f"from connection {logins[0]['connection']}"


def test_a_record_for_each_connection_through_the_gateway(
    gateway: Gateway, web_1: Path, lines: LineService, tmp_path: Path
) -> None:
    ssh = gateway.ssh(tmp_path, web_1)
    port = next(gateway.loopback_ports)
    forwards = (
        "-R",
        f"laptop:22:localhost:{lines.port}",
        "-R",
        f"{port}:localhost:{lines.port}",
        "-R",
        "dead:22:localhost:9",
    )
    with ssh.start(*forwards) as child:
        child.line("dead:22")
        for target in ("laptop:22", f"localhost:{port}", "dead:22"):
            ended = run_command(ssh.command("-W", target), folder=tmp_path, stdin=b"hello\n")
            assert (ended.code == 0) is (target != "dead:22"), ended.err
        until(lambda: len(records(gateway, "--kind", "reach")) == 5)
    found = records(gateway, "--kind", "reach")
    assert [(record["what"], record["outcome"]) for record in found] == [
        ("laptop:22", "ok"), ("laptop:22", "ended"),
        (f"port {port}", "ok"), (f"port {port}", "ended"), ("dead:22", "refused"),
    ]  # fmt: skip
    for record in found[1:4:2]:
        assert record["up"] == len(b"hello\n")
        assert record["down"] > 0
        assert record["milliseconds"] >= 0
    assert found[4]["detail"] == "the alias's local service cannot be reached"


def test_the_end_of_what_a_rule_has_allowed_names_that_rule_and_that_the_rules_have_changed(
    start_gateway: Callable[..., Gateway], keys: Path, web_1: Path, lines: LineService, tmp_path: Path
) -> None:
    policy = tmp_path / "policy.toml"

    def rules(published: str, reached: str) -> None:
        replace_file(
            policy,
            f'[[rule]]\nname = "fleet"\nwho = "web-1"\npublish.aliases = ["web-1:22"]\n{published}\n'
            f'[[rule]]\nname = "staff"\nwho = "web-1"\n{reached}\n',
        )

    target = f"localhost:{lines.port}"
    rules('publish.ports = ["1024-65535"]', f'reach.hosts = ["{target}"]\nreach.aliases = ["web-1:22"]')
    gateway = start_gateway(access={"mode": "keys", "keys": [keys], "policy": policy})
    port, to_host, to_alias = (next(gateway.loopback_ports) for _ in range(3))
    ssh = gateway.ssh(tmp_path, web_1)
    with (
        ssh.start("-R", f"web-1:22:{target}", "-R", f"{port}:{target}") as machine,
        ssh.start("-v", "-N", "-L", f"{to_host}:{target}", "-L", f"{to_alias}:web-1:22") as staff,
        ExitStack() as visits,
    ):
        machine.line(str(port))
        staff.error_line("Entering interactive session")
        for at in (to_host, to_alias):
            each = visits.enter_context(socket.create_connection(("127.0.0.1", at), timeout=SECONDS))
            each.sendall(b"hello\n")
            assert each.recv(100) == b"HELLO\n"
        rules("", 'reach.hosts = ["db.example.com:5432"]')
        until(lambda: kinds(records(gateway, "--outcome", "ended")).count(("reach", "ended")) == 2)
    until(lambda: kinds(records(gateway)).count(("forward", "ended")) == 2)
    found = [record for record in records(gateway) if record["kind"] in ("forward", "reach")]
    staff_rule = f"{policy}, line 6: staff"
    cut = [record for record in found if record["outcome"] == "ended" and record["kind"] == "reach"]
    assert {(record["what"].split(" at ")[0], record["rule"], record["detail"]) for record in cut} == {
        (target, staff_rule, "the rules no longer allow it"), ("web-1:22", staff_rule, "the rules no longer allow it"),
    }  # fmt: skip
    forwards = [record for record in found if record["kind"] == "forward"]
    assert sorted(kinds(forwards)) == [("forward", "ended")] * 2 + [("forward", "ok")] * 2
    assert {record["rule"] for record in forwards} == {f"{policy}, line 1: fleet"}


def test_a_record_for_what_the_operator_does(gateway: Gateway, web_1: Path, origin: Origin, tmp_path: Path) -> None:
    with gateway.ssh(tmp_path, web_1).start("-R", f"blog:80:localhost:{origin.port}") as child:
        child.line("http://blog.localhost")
        assert ferry("release", "blog", "--state", gateway.state, cwd=tmp_path).code == 0
        assert ferry("close", "blog", "--state", gateway.state, cwd=tmp_path).code == 0
        child.exit_code()
    assert ferry("unblock", "192.0.2.1", "--state", gateway.state, cwd=tmp_path).code == 1
    gateway.reload()
    gateway.settings["access"] = {"mode": "keys", "keys": ["/nowhere"]}
    gateway.reload("rejected")
    acts = records(gateway, "--kind", "admin")
    assert [(act["what"], act["outcome"]) for act in acts] == [
        ("release blog", "ok"), ("close tunnel blog", "ok"), ("unblock 192.0.2.1", "refused"),
    ]  # fmt: skip
    assert {act["peer"] for act in acts} == {f"uid {os.getuid()}"}
    (freed,) = records(gateway, "--kind", "name", "--outcome", "ended")
    assert (freed["what"], freed["identity"].split()[0]) == ("blog.localhost", "web-1")
    assert kinds(records(gateway, "--kind", "config")) == [("config", "ok"), ("config", "refused")]


def test_the_records_of_what_came_into_force_have_the_hash_of_the_files(
    start_gateway: Callable[..., Gateway], keys: Path, new_key: Callable[[], Path], tmp_path: Path
) -> None:
    def sums(*files: Path) -> str:
        """What the documents tell people to compute."""
        printed = subprocess.run(["sha256sum", *files], capture_output=True, check=True).stdout
        one = printed.split()[0].decode()
        return f"SHA-256 {one if len(files) == 1 else hashlib.sha256(printed).hexdigest()}"

    policy, more = tmp_path / "policy.toml", tmp_path / "more"
    policy.write_text('[[rule]]\nwho = "*"\npublish.ports = ["21000-21999"]\n')
    more.write_text(new_key().with_suffix(".pub").read_text())
    gateway = start_gateway(access={"mode": "keys", "keys": [keys], "policy": policy})
    configured = gateway.folder / "ferry.toml"

    def told(kind: str) -> str:
        return str(records(gateway, "--kind", kind)[-1]["detail"])

    before = sums(configured), sums(policy)
    assert (told("gateway"), told("policy")) == (f"configuration: {before[0]}", f"1 rule, 0 tests, {before[1]}")
    assert told("keys") == f"1 key in 1 file, {sums(keys)}"
    policy.write_text(f"# as approved\n{policy.read_text()}")
    gateway.settings["access"] = {"mode": "keys", "keys": [keys, more], "policy": policy}
    gateway.reload()
    assert told("config") == sums(configured) != before[0]
    assert told("policy") == f"1 rule, 0 tests, {sums(policy)}"
    assert told("keys") == f"2 keys in 2 files, {sums(*sorted((keys, more)))}"


def test_a_record_for_what_the_operator_does_with_keys(
    gateway: Gateway, keys: Path, new_key: Callable[[], Path], tmp_path: Path
) -> None:
    """While the gateway runs, and while it does not."""
    stranger, config = new_key(), ("--config", gateway.folder / "ferry.toml")
    assert "Permission denied" in gateway.ssh(tmp_path, stranger).run().err
    assert ferry("allow", fingerprint(stranger), *config, cwd=tmp_path).code == 0
    (allowed,) = records(gateway, "--kind", "admin")
    assert allowed["what"] == f"allow fingerprint={fingerprint(stranger)} file={keys}"
    machines = [new_key(), new_key()]
    assert ferry("keys", "add", "web-8", machines[0].with_suffix(".pub"), *config, cwd=tmp_path).code == 0
    gateway.stop()
    done = ferry("keys", "add", "web-9", machines[1].with_suffix(".pub"), *config, cwd=tmp_path)
    assert done.code == 0, done.err
    assert ferry("forget-host-key", "ssh-rsa", "--state", gateway.state, cwd=tmp_path).code == 0
    acts = records(gateway, "--kind", "admin")[1:]
    assert [act["what"].split(" fingerprint=")[0] for act in acts] == [
        "keys enrol name=web-8", "keys enrol name=web-9", "forget-host-key ssh-rsa",
    ]  # fmt: skip
    assert {act["peer"] for act in acts} == {f"uid {os.getuid()}"}
    entered = [record for record in records(gateway, "--kind", "keys") if record.get("what") == "entered"]
    assert [(record["identity"], record["key"]) for record in entered] == [
        ("web-8", fingerprint(machines[0])), ("web-9", fingerprint(machines[1])),
    ]  # fmt: skip
    assert run(gateway, "verify").code == 0


def test_the_chain_holds_after_a_kill_a_restart_and_a_restore(
    gateway: Gateway, web_1: Path, origin: Origin, tmp_path: Path
) -> None:
    forward = ("-R", f"blog:80:localhost:{origin.port}")
    ssh = gateway.ssh(tmp_path, web_1)
    with ssh.start(*forward) as child:
        child.line("http://blog.localhost")
        until(lambda: ("forward", "ok") in kinds(records(gateway)))
        anchor = run(gateway, "head").out
        gateway.kill()
    assert run(gateway, "verify", "--anchor", anchor).code == 0
    gateway.start()
    with ssh.start(*forward) as child:
        child.line("http://blog.localhost")
    assert run(gateway, "verify", "--anchor", anchor).code == 0
    starts = kinds(records(gateway, "--kind", "gateway"))
    assert starts == [("gateway", "ok"), ("gateway", "ok")]
    assert len(records(gateway, "--kind", "began")) == 1
    assert ferry("backup", "b", "--state", gateway.state, cwd=tmp_path).code == 0
    later = run(gateway, "head").out
    ssh.run()
    gateway.stop()
    latest = run(gateway, "head").out
    assert ferry("restore", "b", "--state", gateway.state, "--force", cwd=tmp_path).code == 0
    assert run(gateway, "verify", "--anchor", anchor).code == 0
    assert run(gateway, "verify", "--anchor", latest).code == 1
    (restored,) = records(gateway, "--kind", "admin")
    assert (restored["what"], restored["peer"]) == ("restore", f"uid {os.getuid()}")
    assert restored["detail"].startswith("a backup of 20")
    gateway.start()
    ssh.run()
    assert run(gateway, "verify", "--anchor", later).code == 0


def test_the_file_is_rotated_and_has_every_record_once(
    start_gateway: Callable[..., Gateway], web_1: Path, keys: Path, tmp_path: Path
) -> None:
    file, moved = tmp_path / "audit.jsonl", tmp_path / "audit.jsonl.1"
    gateway = start_gateway(access={"mode": "keys", "keys": [keys]}, audit={"file": file})
    ssh = gateway.ssh(tmp_path, web_1)
    ssh.run()
    until(lambda: '"ended"' in file.read_text())
    file.rename(moved)
    gateway.reload()
    ssh.run()
    gateway.stop()
    lines = moved.read_text().splitlines() + file.read_text().splitlines()
    assert [json.loads(line)["seq"] for line in lines] == list(range(1, len(lines) + 1))
    assert lines == [json.dumps(record, separators=(",", ":")) for record in records(gateway)]
    for each in (file, moved):
        assert run(gateway, "verify", "--lines", each).code == 0


def test_new_records_are_followed(gateway: Gateway, web_1: Path, tmp_path: Path) -> None:
    command = [str(PROGRAM), "audit", "-f", "-n", "1", "--state", str(gateway.state)]
    with Child(command, env=clean_environment(), cwd=tmp_path) as follower:
        follower.line("gateway +ok")
        gateway.ssh(tmp_path, web_1).run()
        follower.line("login +ok +web-1 from 127.0.0.1")
        follower.line("login +ended +web-1")
        gateway.stop()
        follower.error_line("the gateway has stopped")
        assert follower.exit_code() == 0
