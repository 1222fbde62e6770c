"""Identities with stock ssh: each test tries one way to get another identity."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ferry_command import clean_environment, ferry
from gateway_process import Gateway
from origin_server import Origin
from passphrase import PASSPHRASE, Asked
from ssh_command import StockSsh, fingerprint, make_key
from web_client import visit


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A key that its asker cannot sign with: the passphrase is not known."""
    return make_key(tmp_path / "victim", passphrase=PASSPHRASE)


def asks_about(ssh: StockSsh, *more: str, words: str) -> dict[str, object]:
    """Ask whether the key of `ssh` would do, fail to sign with it, and come in however else one can: the answer to `words`."""
    with Asked(ssh.folder) as person:
        options = ("-o", "NumberOfPasswordPrompts=1", *more)
        with ssh.start(*options, words=f"{words} --output json", env=person.environment) as child:
            person.wait()
            person.types("not it")
            assert child.exit_code() == 0, child.err.text
            answer: dict[str, object] = json.loads(child.out.lines[0])
            return answer


def test_an_unproven_key_is_not_the_identity_of_a_keyless_log_in(
    gateway: Gateway, victim: Path, tmp_path: Path
) -> None:
    """CVE-2024-45337: the gateway has accepted the victim's key at its offer, without a signature."""
    who = asks_about(gateway.ssh(tmp_path, victim), words="whoami")
    assert who == {"event": "whoami", "name": None, "key": None, "anonymous": True}


def test_an_unproven_key_is_not_the_identity_of_another_keys_log_in(
    gateway: Gateway, victim: Path, key: Path, tmp_path: Path
) -> None:
    who = asks_about(gateway.ssh(tmp_path, victim), "-i", str(key), words="whoami")
    assert who["key"] == fingerprint(key)


def test_no_client_logs_in_without_a_key_in_keys_mode(
    start_gateway: Callable[..., Gateway], key: Path, tmp_path: Path
) -> None:
    gateway = start_gateway(access={"mode": "keys", "keys": [key.with_suffix(".pub")]})
    keyless = gateway.ssh(tmp_path, None)
    for user in ("nokey", "dev", ""):
        ended = keyless.run(user=user or "root", words="whoami")
        assert (ended.code, ended.out) == (255, "")
        assert "Permission denied (publickey)" in ended.err
    ended = gateway.ssh(tmp_path, key).run(user="nokey", words="whoami")
    assert (ended.code, ended.out) == (0, f"key {fingerprint(key)}\n")


def test_a_keyless_client_logs_in_where_anyone_may_and_owns_no_names(gateway: Gateway, tmp_path: Path) -> None:
    for user in ("nokey", "dev"):
        ended = gateway.ssh(tmp_path, None).run(user=user, words="whoami")
        assert (ended.code, ended.out.startswith("anonymous:")) == (0, True)
    # in batch mode ssh answers nothing that could be a question: only `nokey` is let in without one
    batch = [gateway.ssh(tmp_path, None).run("-o", "BatchMode=yes", user=user, words="ls") for user in ("nokey", "dev")]
    assert [ended.code for ended in batch] == [0, 255]


def test_a_name_of_a_keyless_client_is_free_afterwards(
    gateway: Gateway, ssh: StockSsh, origin: Origin, another_origin: Origin, name: str, tmp_path: Path
) -> None:
    with gateway.ssh(tmp_path, None).start("-R", f"{name}:80:localhost:{origin.port}") as keyless:
        keyless.line("Forwarding HTTP")
        assert [one for one in gateway.ask("names") if name in str(one)] == []
    gateway.event(rf'"tunnel\.closed".*{name}')
    assert not [line for line in gateway.running.err.lines if "name.reserved" in line and name in line]
    with ssh.start("-R", f"{name}:80:localhost:{another_origin.port}") as owner:
        owner.line("Forwarding HTTP")
        assert visit(gateway, name).text == "another"
    assert [one for one in gateway.ask("names") if name in str(one)] != []  # this is what a reservation looks like


@pytest.mark.parametrize(
    ("settings", "fix"),
    [
        ('[ssh]\nlisten = "0.0.0.0:0"', 'mode = "keys"'),
        ('[ssh]\nlisten = "[::]:0"', 'mode = "keys"'),
        ('[ssh]\nlisten = "127.0.0.1:0"\n[https]\nlisten = "0.0.0.0:0"', 'mode = "keys"'),
        ('[ssh]\nlisten = []\n[https]\nlisten = ["127.0.0.1:0", "192.0.2.1:0"]', 'mode = "keys"'),
        ('[admin]\nlisten = "0.0.0.0:9090"', "write 127.0.0.1:9090"),
        ('[admin]\nlisten = ["127.0.0.1:9090", "[::]:9091"]', "write 127.0.0.1:9091"),
        ('[access]\nmode = "keys"', "needs keys"),
    ],
)
def test_access_for_everybody_must_be_configured_explicitly(tmp_path: Path, settings: str, fix: str) -> None:
    (tmp_path / "ferry.toml").write_text(f'domain = "gw.test"\n{settings}\n')
    ran = ferry(
        "check-config", "--config", tmp_path / "ferry.toml", cwd=tmp_path, env=clean_environment(HOME=str(tmp_path))
    )
    assert ran.code == 2
    assert fix in ran.err
    ran = ferry("serve", "--config", tmp_path / "ferry.toml", cwd=tmp_path, env=clean_environment(HOME=str(tmp_path)))
    assert (ran.code, fix in ran.err) == (2, True)


def test_a_public_https_port_without_ssh_needs_no_access_mode(tmp_path: Path) -> None:
    text = '[ssh]\nlisten = "127.0.0.1:0"\n[https]\nlisten = "0.0.0.0:0"\nssh = false\n'
    (tmp_path / "ferry.toml").write_text(f'domain = "gw.test"\n{text}')
    ran = ferry(
        "check-config", "--config", tmp_path / "ferry.toml", cwd=tmp_path, env=clean_environment(HOME=str(tmp_path))
    )
    assert "access.mode" not in ran.out + ran.err
