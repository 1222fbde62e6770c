"""Where a rule begins and ends: files that differ in one thing, with and without a finding."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from ferry.lint.key_lines import key_lines
from ferry.lint.views import KeyFile
from ferry.protocol.sshd_config import Version
from ferry.this_host import THIS_HOST
from lint.hardened_sshd import HARDENED, KEYS, OPTIONS, changed, findings, found_in, named, public_key
from ssh_command import make_key
from sshd_program import printed

Change = tuple[str, str]
NO_PERMIT_LISTEN: Change = ("    PermitListen localhost:21001 localhost:21002\n", "")
NO_SOCKET_LINE: Change = ("    AllowStreamLocalForwarding no\n", "")
BOTH_WAYS: Change = ("AllowTcpForwarding remote", "AllowTcpForwarding yes")
LOCAL: Change = ("AllowTcpForwarding remote", "AllowTcpForwarding local")
BARE_1: Change = (',permitlisten="localhost:21001"', "")
BARE_2: Change = (',permitlisten="localhost:21002"', "")
SESSIONS: Change = ("    MaxSessions 0\n", "")
CHOSEN: Change = ("GatewayPorts no", "GatewayPorts clientspecified")


class Case(NamedTuple):
    """Changes of the hardened files, and all findings after them."""

    expected: str
    config: tuple[Change, ...] = ()
    keys: tuple[Change, ...] = ()
    version: Version = (9, 7)


CASES = {
    "penalties, but for the fleet's network": Case(
        "", (("DisableForwarding yes", "PerSourcePenaltyExemptList 10.0.0.0/8\nDisableForwarding yes"),), (), (9, 8)
    ),
    "penalties that are off": Case(
        "", (("DisableForwarding yes", "PerSourcePenalties no\nDisableForwarding yes"),), (), (9, 8)
    ),
    "a MaxStartups that is none": Case("", (("200:30:1000", "soon"),)),
    "a time-out of nothing": Case("", (("MaxSessions 0", "MaxSessions 0\nUnusedConnectionTimeout 0"),)),
    "no time-out": Case("", (("MaxSessions 0", "MaxSessions 0\nUnusedConnectionTimeout none"),)),
    "a channel's time-out of nothing": Case("", (("MaxSessions 0", "MaxSessions 0\nChannelTimeout *=0"),)),
    "sockets of those who may not listen on ports": Case(
        "forwarding-refused sshd_config:7, streamlocal-open sshd_config:8, stale-socket sshd_config:8",
        (
            LOCAL,
            ("AllowStreamLocalForwarding no", "AllowStreamLocalForwarding yes"),
            ("MaxSessions 0", "PermitOpen localhost:22"),
        ),
    ),
    "PermitListen of those who may not listen": Case(
        "forwarding-refused sshd_config:7, key-dials-out keys:2",
        (
            LOCAL,
            SESSIONS,
        ),
    ),
    "sockets beside keys without ports": Case(
        "streamlocal-open sshd_config:7, key-listens-anywhere keys:2",
        (
            NO_PERMIT_LISTEN,
            NO_SOCKET_LINE,
        ),
        (
            BARE_1,
            BARE_2,
        ),
    ),
    "sockets beside keys without ports, of those who may forward as they like": Case(
        "key-listens-anywhere keys:2",
        (
            NO_PERMIT_LISTEN,
            NO_SOCKET_LINE,
            BOTH_WAYS,
        ),
        (
            BARE_1,
            BARE_2,
        ),
    ),
    "sockets beside a key with a port behind one without": Case(
        "key-listens-anywhere keys:2, streamlocal-escape keys:3",
        (
            NO_PERMIT_LISTEN,
            NO_SOCKET_LINE,
        ),
        (BARE_1,),
    ),
    "a permit that is none, where clients choose the address": Case(
        "bad-permit sshd_config:9, permitlisten-unheard keys:3",
        (
            ("localhost:21002", "foo"),
            CHOSEN,
        ),
    ),
    "a permit that is none": Case(
        "bad-permit sshd_config:9, permitlisten-unheard keys:3", (("localhost:21002", "foo"),)
    ),
    "dialling that PermitOpen bounds": Case(
        "", (("AllowTcpForwarding remote", "AllowTcpForwarding yes\n    PermitOpen localhost:22"),)
    ),
    "dialling that PermitOpen forbids": Case(
        "", (("AllowTcpForwarding remote", "AllowTcpForwarding yes\n    PermitOpen none"),)
    ),
    "two lines of AcceptEnv": Case("", (("AcceptEnv LANG LC_*", "AcceptEnv LANG\nAcceptEnv LC_*"),)),
    "names of hosts that sshd resolves": Case(
        "",
        (
            ("AcceptEnv", "UseDNS yes\nAcceptEnv"),
            ("MaxSessions 0", "MaxSessions 0\nMatch Host web-*"),
        ),
    ),
    "a terminal behind restrict": Case(
        "",
        (("MaxSessions 0", "ForceCommand /usr/sbin/nologin"),),
        (("restrict,port-forwarding", "restrict,pty,port-forwarding"),),
    ),
    "one character of a host": Case("", (), (("localhost:21001", "local?ost:21001"),)),
    "another host and the same port": Case("permitlisten-unheard keys:2", (), (("localhost:21001", "10.*:21001"),)),
    "a certificate authority": Case(
        "key-dials-out keys:3",
        (
            NO_PERMIT_LISTEN,
            BOTH_WAYS,
            ("MaxSessions 0", "ForceCommand x"),
        ),
        ((OPTIONS.format(1), "cert-authority"),),
    ),
    "a key without restrict and without sessions": Case(
        "", (), (("restrict,port-forwarding,permitlisten", "permitlisten"),)
    ),
    "a key that may nothing": Case("", (NO_PERMIT_LISTEN,), ((OPTIONS.format(1), "restrict"),)),
    "a key that may nothing, with sessions": Case(
        "key-shell keys:3",
        (
            NO_PERMIT_LISTEN,
            SESSIONS,
        ),
        ((OPTIONS.format(1), "restrict"),),
    ),
    "sessions of a key without ports": Case(
        "key-listens-anywhere keys:2, key-shell keys:3",
        (
            NO_PERMIT_LISTEN,
            SESSIONS,
        ),
        (BARE_1,),
    ),
    "sessions of a key with a command": Case(
        "key-shell keys:3",
        (
            NO_PERMIT_LISTEN,
            SESSIONS,
        ),
        (("restrict,port-forwarding", 'restrict,port-forwarding,command="x"'),),
    ),
    "a key without ports below PermitListen": Case("", (), (BARE_1,)),
    "a key without ports that may not listen": Case(
        "forwarding-refused sshd_config:7, key-dials-out keys:3",
        (
            NO_PERMIT_LISTEN,
            LOCAL,
        ),
        (BARE_1,),
    ),
    "a key that names what it reaches": Case(
        "key-dials-out keys:3",
        (
            NO_PERMIT_LISTEN,
            BOTH_WAYS,
        ),
        (("restrict,port-forwarding", 'restrict,port-forwarding,permitopen="localhost:22"'),),
    ),
    "a key that reaches everything": Case(
        "key-listens-anywhere keys:2, key-dials-out keys:3",
        (
            NO_PERMIT_LISTEN,
            BOTH_WAYS,
        ),
        (BARE_1,),
    ),
    "keys that PermitOpen bounds": Case(
        "",
        (
            NO_PERMIT_LISTEN,
            ("AllowTcpForwarding remote", "AllowTcpForwarding yes\n    PermitOpen localhost:22"),
        ),
    ),
    "a public port without GatewayPorts": Case(
        "gateway-ports-unheard keys:2", (NO_PERMIT_LISTEN,), (("localhost:21001", "203.0.113.7:21001"),)
    ),
    "a public port with GatewayPorts": Case(
        "gateway-ports sshd_config:9",
        (
            NO_PERMIT_LISTEN,
            ("GatewayPorts no", "GatewayPorts yes"),
        ),
        (("localhost:21001", "203.0.113.7:21001"),),
    ),
    "a port of any host, where clients choose the address": Case(
        "gateway-ports-any-host keys:2",
        (
            NO_PERMIT_LISTEN,
            CHOSEN,
        ),
        (("localhost:21001", "21001"),),
    ),
    "a port of any host": Case("", (NO_PERMIT_LISTEN,), (("localhost:21001", "21001"),)),
    "one key on a refused line and on another": Case(
        "key-refused keys:2",
        (),
        (
            ("restrict,port", "restrict,loud,port"),
            (public_key(2), public_key(1)),
        ),
    ),
    "all ports on two lines": Case(
        "",
        (("localhost:21001 localhost:21002", "localhost:*"),),
        (
            ("localhost:21001", "localhost:*"),
            ("localhost:21002", "localhost:*"),
        ),
    ),
    "one port twice on a line": Case(
        "", (), (('permitlisten="localhost:21001"', 'permitlisten="localhost:21001",permitlisten="localhost:21001"'),)
    ),
    "one key twice with one port": Case(
        "key-twice keys:3",
        (),
        (
            ("localhost:21002", "localhost:21001"),
            (public_key(2), public_key(1)),
        ),
    ),
    "localhost by its name and by its address": Case(
        "permitlisten-loopback keys:2, port-twice keys:3",
        (NO_PERMIT_LISTEN,),
        (
            ("localhost:21001", "127.0.0.1:21001"),
            ("localhost:21002", "localhost:21001"),
        ),
    ),
    "sockets of everybody, with keys without ports": Case(
        "key-listens-anywhere keys:2, key-dials-out keys:3", (NO_PERMIT_LISTEN, BOTH_WAYS), (BARE_1,)
    ),
    "keys without ports, where clients choose the address of a permitted port": Case("", (CHOSEN,), (BARE_1, BARE_2)),
    "keys of those who may forward nothing": Case(
        "forwarding-refused sshd_config:6", (("DisableForwarding no", "DisableForwarding yes"), BOTH_WAYS)
    ),
    "two refused lines": Case(
        "key-refused keys:2", (), (("restrict,port", "loud,port"), ("restrict,port", "loud,port"))
    ),
    "a variable that the second line takes": Case(
        "accept-env sshd_config:4", (("AcceptEnv LANG LC_*", "AcceptEnv LANG\nAcceptEnv SELF_REMOTE_HOST"),)
    ),
    "a block for everybody": Case("", (("Match User tunnel", "Match All"),)),
    "the number of a tunnel device": Case("", (), (("restrict,", 'restrict,tunnel="0",'),)),
    "the name of a tunnel device": Case("key-refused keys:2", (), (("restrict,", 'restrict,tunnel="tun0",'),)),
}


@pytest.mark.parametrize("name", CASES)
def test_a_rule_says_no_more_and_no_less(name: str) -> None:
    case = CASES[name]
    config, keys = HARDENED, KEYS
    for old, new in case.config:
        config = changed(config, old, new)
    for old, new in case.keys:
        keys = changed(keys, old, new)
    assert ", ".join(named(findings(config, keys, version=case.version))) == case.expected


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ("DisableForwarding yes\nAllowTcpForwarding no\n", "no-tunnels sshd_config:1"),
        ("DisableForwarding yes\nPermitTunnel yes\n", "no-tunnels sshd_config:1"),
        (
            "AllowTcpForwarding no\nAllowStreamLocalForwarding no\nPermitTunnel yes\n",
            "tun-device sshd_config:3, no-tunnels sshd_config:1",
        ),
    ],
)
def test_a_host_without_tunnels(config: str, expected: str) -> None:
    assert sorted(named(findings(config, "", user=None))) == sorted(expected.split(", "))


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("restrict,", 'restrict,from="10.0.0.1,', "a value has no end"),
        ("restrict,", 'restrict,from="10.0.0.1"x,', "from: 'x,port-forwarding,permitlisten=\"localho…' follows it"),
        ("restrict,", "restrict,command,", "command: it needs a value"),
        ("restrict,", "restrict,=x,", "an option without a name: its value has no quotes"),
        ("restrict,", "restrict ,", "there is no key type behind its options, or a space inside them"),
        ("ssh-ed25519 AAAA", "foo AAAA", "there is no key type behind its options, or a space inside them"),
        ("ssh-ed25519 AAAA", "ssh-rsa AAAA", "the key is cut short or is no ssh-rsa key"),
        (public_key(1), public_key(1)[:-4], "the key is cut short or is no ssh-ed25519 key"),
        (public_key(1), public_key(1)[:-3], "the key is not base64"),
        (public_key(1), "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5", "the key is cut short or is no ssh-ed25519 key"),
        (public_key(1), "ssh-ed25519", "the key is not base64"),
        (
            "restrict,",
            'restrict,principals="ann",',
            "principals= is for lines with cert-authority, so this key may not log in",
        ),
    ],
)
def test_a_refused_line_says_why(old: str, new: str, why: str) -> None:
    first, second = key_lines("keys", changed(KEYS, old, new), THIS_HOST)
    assert first.refused is not None
    assert first.refused.why == why
    assert second.refused is None


def test_a_line_with_an_open_quote_at_its_begin_says_so() -> None:
    (line,) = key_lines("keys", f'"restrict {public_key(1)}', THIS_HOST)
    assert line.refused is not None
    assert line.refused.why == "a value has no end"


@pytest.mark.parametrize(
    ("old", "new", "fix"),
    [
        ("permitlisten=", "permit-listen=", "write permitlisten"),
        ("restrict,", "restrict,loud,", "leave it out, or the whole line"),
        ("restrict,", 'restrict,from="10.0.0.1/8",', "write 10.0.0.0/8"),
        ("localhost:21001", "localhost:0", "write a number from 1 to 65535, or * for every port"),
        ("restrict,", 'restrict,command="a",command="b",', "keep one"),
    ],
)
def test_a_refused_line_says_what_to_write(old: str, new: str, fix: str) -> None:
    """An option that is mistyped is to be written right: without it the key may do more."""
    first, _ = key_lines("keys", changed(KEYS, old, new), THIS_HOST)
    assert first.refused is not None
    assert first.refused.fix.startswith(fix)


def test_bounds_of_a_gateway_are_no_traps_of_an_sshd() -> None:
    long = f'from="{",".join(f"10.0.{number}.0/24" for number in range(257))}",restrict,'
    assert findings(HARDENED, changed(KEYS, "restrict,", long)) == []


def test_a_port_list_that_is_not_heard_is_to_stand_on_the_first_line() -> None:
    twice = changed(HARDENED, "MaxSessions 0", "MaxSessions 0\n    PermitListen localhost:21003")
    (found,) = findings(twice)
    assert found.rule == "first-counts"
    assert found.fix.startswith("PermitListen localhost:21001 localhost:21002 localhost:21003\n(in sshd_config:9,")


def test_what_a_block_repeats_is_told_once() -> None:
    off = "MaxStartups 200:30:1000\nClientAliveInterval 0\nAllowStreamLocalForwarding no\n"
    blocks = "Match User a\n    X11Forwarding no\nMatch User b\n    X11Forwarding no\n"
    assert [each.rule for each in findings(off + blocks, "", user=None)].count("keepalive-off") == 1


def test_a_block_of_another_account_before_ones_own_counts_for_that_one_only() -> None:
    before = changed(HARDENED, "Match User tunnel", "Match User backup\n    GatewayPorts yes\nMatch User tunnel")
    before = changed(before, "    GatewayPorts no\n", "")
    assert findings(before) == []


def test_a_block_with_more_criteria_counts_beside_what_holds_for_the_account() -> None:
    before = changed(
        HARDENED, "Match User tunnel", "Match User tunnel Address 10.0.0.0/8\n    GatewayPorts yes\nMatch User tunnel"
    )
    assert [(each.rule, each.scope) for each in findings(before)] == [
        ("gateway-ports", "Match User tunnel Address 10.0.0.0/8")
    ]


def test_keys_of_no_known_account_surely_count_where_all_accounts_are_alike() -> None:
    config = "MaxStartups 200:30:1000\nMatch All\n    ClientAliveInterval 15\n"
    rules = [each.rule for each in findings(config, KEYS, user=None)]
    assert "streamlocal-escape" in rules
    assert "streamlocal-default" not in rules


def test_what_is_wrong_with_a_key_in_every_case_is_told_and_so_is_what_is_wrong_in_a_block_that_is_its_own() -> None:
    """The groups of `web` are not known; that some connections come from 10.0.0.0/8 is."""
    of_group = changed(HARDENED, "Match User tunnel", "Match Group tunnels")
    refused = changed(KEYS, "restrict,port", "restrict,loud,port")
    assert named(found_in(of_group, KeyFile("keys", refused, "web"))) == ["key-refused keys:2"]
    at_home = changed(changed(HARDENED, "DisableForwarding yes\n", ""), "Match User tunnel", "Match Address 10.0.0.0/8")
    elsewhere = changed(KEYS, "localhost:21001", "localhost:21009")
    assert "permitlisten-unheard keys:2" in named(found_in(at_home, KeyFile("keys", elsewhere, "web")))


def test_the_settings_in_force_have_no_lines_that_are_not_heard(tmp_path: Path) -> None:
    """`sshd -T` prints some settings with a line for each value."""
    settings = "MaxStartups 200:30:1000\nClientAliveInterval 15\nAllowTcpForwarding remote\nMaxSessions 0\n"
    settings += "AllowStreamLocalForwarding no\nPermitListen localhost:21001 localhost:21002\n"
    host_key, file = make_key(tmp_path / "host_key"), tmp_path / "sshd_config"
    file.write_text(settings)
    printed_by_sshd = changed(
        printed(file, host_key), "localhost:21001 localhost:21002", "localhost:21001\npermitlisten localhost:21002"
    )
    assert findings(printed_by_sshd, KEYS, user=None) == []
