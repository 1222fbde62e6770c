"""`[sshd]` and `[[sshd.match]]` of the file and of the environment: what is valid, and what may surprise."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from ferry.config.file import load
from ferry.config.rules import surprises
from ferry.config.sshd import Sshd, SshdMatch
from ferry.config.sshd_rules import sshd_rules_of
from ferry.errors import InvalidInput
from ferry.names import Endpoint, Fingerprint, Identity, IdentityId
from ferry.policy.sshd import Forwarding, Who
from ferry.protocol.permits import ANYWHERE, Permit
from ferry.setup.hostcheck import Running, check_host
from ferry.setup.values import literal

ROOT = Path(__file__).parents[2]
ANN = Identity(IdentityId("ann"), "ann", Fingerprint("SHA256:ann"))


def write(folder: Path, text: str) -> Path:
    (file := folder / "ferry.toml").write_text(text)
    return file


def test_the_page_names_all_that_a_block_may_have() -> None:
    page = (ROOT / "docs" / "reference" / "configuration.md").read_text("utf-8")
    section = page.partition("\n## [sshd]\n")[2].partition("\n## ")[0]
    for name in SshdMatch.model_fields:
        assert f"`sshd.{name}`<br>" in section or f"* `{name}`: " in section
    left_out = section.partition("keys of the table above, but ")[2].partition(", or these")[0]
    assert {name.strip("`") for name in left_out.split(", ")} == set(Sshd.model_fields) - set(SshdMatch.model_fields)


def test_the_file_and_the_environment_have_the_same_blocks(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        '[sshd]\nallow_tcp_forwarding = false\nstreamlocal_folder = "run"\nclient_alive_count_max = 7\n'
        '[[sshd.match]]\nuser = "tunnel other"\nallow_tcp_forwarding = "remote"\nclient_alive_interval = "1m"\n',
    )
    blocks = '[{"user": ["tunnel", "other"], "allow_tcp_forwarding": "remote", "client_alive_interval": 60}]'
    from_file = load(file, {}, {}).sshd
    from_environment = load(None, {"FERRY_SSHD__ALLOW_TCP_FORWARDING": "no", "FERRY_SSHD__MATCH": blocks}, {}).sshd
    assert from_file.match == from_environment.match
    assert from_file.allow_tcp_forwarding == from_environment.allow_tcp_forwarding == "no"
    assert from_file.streamlocal_folder == tmp_path / "run"
    assert (
        load(file, {"FERRY_SSHD__ALLOW_STREAMLOCAL_FORWARDING": "yes"}, {}).sshd.streamlocal_folder == tmp_path / "run"
    )
    who = Who("tunnel", ANN, "192.0.2.1", Endpoint("192.0.2.2", 22))
    found = sshd_rules_of(load(file, {}, {}), None).of(who)
    assert (found.allow_tcp_forwarding, found.client_alive_interval) == (Forwarding.REMOTE, 60.0)
    assert found.client_alive_count_max == 7, "of all, where the block says nothing"
    assert found.rule("allow_tcp_forwarding") == f"{file}, line 7: sshd.match 1: allow_tcp_forwarding"
    by_variable = sshd_rules_of(load(None, {"FERRY_SSHD__MATCH": blocks}, {}), None).of(who)
    assert by_variable.rule("allow_tcp_forwarding") == "FERRY_SSHD__MATCH: sshd.match 1: allow_tcp_forwarding"
    for_all = sshd_rules_of(load(file, {}, {}), None).of(who._replace(user="root"))
    assert for_all.rule("allow_tcp_forwarding") == f"{file}, line 2: sshd.allow_tcp_forwarding"


def test_a_block_can_be_written_on_one_line() -> None:
    block = SshdMatch.model_validate({"user": ["a", "!b"], "permit_open": ["db:5432"], "disable_forwarding": "no"})
    read = tomllib.loads(f"match = [{literal(block)}]")["match"]
    assert read == [{"permit_open": ["db:5432"], "disable_forwarding": False, "user": ["a", "!b"]}]
    assert SshdMatch.model_validate(read[0]) == block


@pytest.mark.parametrize(
    ("lines", "allowed"),
    [
        ("", None),
        ('permit_open = ["any"]\nauthentication_methods = ["any"]', ANYWHERE),
        ('permit_open = ["none"]\nauthentication_methods = ["publickey"]', ()),
    ],
)
def test_where_streams_may_lead(tmp_path: Path, lines: str, allowed: tuple[Permit, ...] | None) -> None:
    who = Who("tunnel", ANN, "192.0.2.1", Endpoint("192.0.2.2", 22))
    assert sshd_rules_of(load(write(tmp_path, f"[sshd]\n{lines}"), {}, {}), None).of(who).permit_open == allowed


@pytest.mark.parametrize(
    "text",
    [
        '[sshd]\npubkey_accepted_algorithms = ["ssh-ed25519"]\n',
        "[sshd]\npubkey_accepted_algorithms = []\n",
        '[sshd]\nallow_streamlocal_forwarding = "no"\n',
        '[sshd]\nallow_streamlocal_forwarding = "yes"\nstreamlocal_folder = "run"\n',
        '[access]\nmode = "keys"\nkeys = ["/k"]\n[sshd]\nauthentication_methods = ["publickey,publickey"]\n',
        '[access]\npolicy = "/p"\n[[sshd.match]]\ntag = ["fleet"]\nmax_sessions = 1\n',
    ],
)
def test_settings_that_go_together(tmp_path: Path, text: str) -> None:
    assert load(write(tmp_path, f'state = "data"\n{text}'), {}, {}).state == tmp_path / "data"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[[sshd.match]]\nmax_sessions = 1\n", 'it is for nobody in particular: write user = ["*"] for all'),
        ('[[sshd.match]]\naddress = ["10.0.0.1/8"]\n', "10.0.0.1/8 has bits behind its mask"),
        ('[sshd]\npermit_listen = ["any", "80"]\n', 'any stands alone: write ["any"], or hosts with ports'),
        ('[sshd]\npermit_open = ["80"]\n', "'80' is no host with a port"),
        ('[sshd]\nauthentication_methods = ["none"]\n', "none would let nobody in: remove it, or stop the gateway"),
        (
            '[sshd]\nauthentication_methods = ["publickey,publickey"]\n',
            'needs access.mode = "keys": with "anyone" each',
        ),
        ('[sshd]\nauthentication_methods = ["publickey,publickey,publickey,publickey,publickey"]\n', "4 keys at most"),
        ('[sshd]\nauthentication_methods = ["publickey,password"]\n', "Ferry knows no passwords and asks no other"),
        (
            '[sshd]\npubkey_accepted_algorithms = ["ssh-rsa"]\n',
            "Ferry has none of these, so nobody could log in: write some of ssh-ed25519,",
        ),
        (
            '[sshd]\npubkey_accepted_algorithms = ["-*"]\n',
            "Ferry has none of these, so nobody could log in: write some of ssh-ed25519,",
        ),
        ('[sshd]\npubkey_accepted_algorithms = ["rsa"]\n', "'rsa' is no algorithm of sshd: write some of ssh-ed25519,"),
        ('[sshd]\npubkey_accepted_algorithms = ["ssh-ed25519", "!rsa-*"]\n', 'write "-rsa-*" to leave it out'),
        ('[sshd]\npubkey_accepted_algorithms = ["-rsa-*", "-ssh-*"]\n', "- stands before the first word alone"),
        ('[sshd]\nallow_streamlocal_forwarding = "yes"\n', 'write streamlocal_folder = "/run/ferry/sockets" in [sshd]'),
        ('[sshd]\nstreamlocal_folder = "data"\n', "are one inside the other: write another folder, such as"),
        ('[sshd]\nstreamlocal_folder = "data/run"\n', "are one inside the other: write another folder, such as"),
        ('[sshd]\nstreamlocal_folder = "."\n', "are one inside the other: write another folder, such as"),
        ("sshd = 1\n", "is not a table"),
        ("[sshd]\nmatch = 1\n", "1 is no list of blocks: write each below a line [[sshd.match]]"),
        (
            '[[sshd.match]]\ntag = ["fleet"]\nmax_sessions = 1\n',
            "sshd.match 1 is for a tag, and there is no policy file",
        ),
        ("[sshd]\nmax_sessions = 101\n", "101 is too large: the most is 100"),
    ],
)
def test_a_mistake_is_named_with_what_to_write(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        load(write(tmp_path, f'state = "data"\n{text}'), {}, {})
    assert why in str(refused.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[sshd]\ngateway_ports = "yes"\n', 'gateway_ports = "yes" opens nothing to the network, because tcp.public_addresses'),
        ('[sshd]\ngateway_ports = "yes"\n[tcp]\npublic_addresses = ["0.0.0.0"]\n', ""),
        ('[sshd]\ngateway_ports = "no"\n', ""),
        ('[[sshd.match]]\nuser = ["tunnel"]\n', "sshd.match 1 is about login names (user), and a client may choose another one"),
        ('[[sshd.match]]\nuser = ["*"]\n', ""),
        ('[[sshd.match]]\nidentity = ["tunnel"]\n', ""),
        ('[[sshd.match]]\nidentity = ["!ann"]\n', 'sshd.match 1 is for nobody, because identity only leaves out'),
        ('[access]\nmode = "keys"\nkeys = ["/k/%u"]\n[[sshd.match]]\nuser = ["tunnel"]\n', ""),
        ('[access]\nmode = "keys"\nkeys = ["/k/%u", "/k"]\n[[sshd.match]]\nuser = ["tunnel"]\n', "login names"),
    ],
)  # fmt: skip
def test_what_may_surprise_is_said(tmp_path: Path, text: str, says: str) -> None:
    found = " ".join(remark.text for remark in surprises(load(write(tmp_path, text), {}, {})))
    assert says in found
    assert bool(says) == bool(found)


@pytest.mark.parametrize(("setting", "noted"), [("", True), ("yes", True), ("no", False), ("clientspecified", False)])
def test_localhost_in_a_key_is_public_where_gateway_ports_does_not_keep_it(
    tmp_path: Path, setting: str, *, noted: bool
) -> None:
    (tmp_path / "keys").write_text(
        'permitlisten="localhost:30001" ssh-ed25519 '
        "AAAAC3NzaC1lZDI1NTE5AAAAIJq9zjKGUq5EwF4qg1vYk0h7dGmzv2y2JZ3kq1oXb8aS name=ann\n"
    )
    table = f'[sshd]\ngateway_ports = "{setting}"\n' if setting else ""
    config = load(write(tmp_path, f'[access]\nmode = "keys"\nkeys = ["keys"]\n{table}'), {}, {})
    said = [finding.text for finding in check_host(config, running=Running())]
    assert any("opens a public port" in text for text in said) is noted, said
