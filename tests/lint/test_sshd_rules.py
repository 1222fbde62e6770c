"""Each trap of an sshd, written into files that have none."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ferry.lint.rules import RULES, Severity
from ferry.lint.views import KeyFile
from ferry.protocol.sshd_config import Version
from ferry.setup.sshd_files import local_version
from lint.hardened_sshd import HARDENED, KEYS, OPTIONS, changed, findings, found_in, named, public_key
from ssh_command import make_key
from sshd_program import starts

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("user", ["tunnel", None])
def test_hardened_files_have_no_finding(user: str | None) -> None:
    assert findings(HARDENED, user=user) == []


CONFIGS = [
    ("ClientAliveInterval 15", "ClientAliveInterval 0", "keepalive-off sshd_config:11"),
    ("    ClientAliveInterval 15\n", "", "keepalive-off sshd_config"),
    ("ClientAliveCountMax 3", "ClientAliveCountMax 0", "keepalive-endless sshd_config:12"),
    ("ClientAliveInterval 15", "ClientAliveInterval 5m", "keepalive-slow sshd_config:11"),
    ("MaxSessions 0", "MaxSessions 0\nUnusedConnectionTimeout 10m", "unused-timeout sshd_config:14"),
    ("MaxSessions 0", "MaxSessions 0\nChannelTimeout *=5m", "channel-timeout sshd_config:14"),
    ("MaxSessions 0", "MaxSessions 0\nChannelTimeout session=5m", ""),
    ("MaxStartups 200:30:1000", "MaxStartups 10:30:100", "max-startups sshd_config:1"),
    ("MaxStartups 200:30:1000\n", "", "max-startups sshd_config"),
    ("LoginGraceTime 30", "LoginGraceTime 0", "login-grace sshd_config:2"),
    ("LoginGraceTime 30", "PerSourceMaxStartups 5", "startups-per-source sshd_config:2"),
    ("    AllowStreamLocalForwarding no\n", "", "streamlocal-escape sshd_config:8"),
    ("AllowStreamLocalForwarding no", "AllowStreamLocalForwarding local", "streamlocal-open sshd_config:8"),
    (
        "    AllowStreamLocalForwarding no",
        "    AllowStreamLocalForwarding yes",
        "streamlocal-escape sshd_config:8, stale-socket sshd_config:8",
    ),
    (
        "AllowStreamLocalForwarding no",
        "AllowStreamLocalForwarding yes\n    StreamLocalBindUnlink yes",
        "streamlocal-escape sshd_config:8",
    ),
    ("AllowTcpForwarding remote", "AllowTcpForwarding no", "forwarding-refused sshd_config:7"),
    ("    DisableForwarding no\n", "", "forwarding-refused sshd_config:3"),
    ("AllowTcpForwarding remote", "AllowTcpForwarding yes", "dial-out sshd_config:7, key-dials-out keys:2"),
    ("GatewayPorts no", "GatewayPorts yes", "gateway-ports sshd_config:10"),
    (
        "GatewayPorts no\n",
        "GatewayPorts clientspecified\n    PermitOpen none\n    PermitTunnel yes\n",
        "tun-device sshd_config:12",
    ),
    ("localhost:21002", "0.0.0.0:21002", "gateway-ports-unheard sshd_config:9, permitlisten-unheard keys:3"),
    (
        "localhost:21002\n    GatewayPorts no",
        "21002\n    GatewayPorts clientspecified",
        "gateway-ports-any-host sshd_config:9",
    ),
    ("localhost:21002", "127.9.9.9:21002", "permitlisten-unheard keys:3"),
    ("localhost:21002", "localhost:21003", "permitlisten-unheard keys:3"),
    ("    MaxSessions 0\n", "", "shell sshd_config:9"),
    ("MaxSessions 0", "ForceCommand /usr/sbin/nologin", ""),
    ("LC_*", "LC_* SELF_REMOTE_HOST", "accept-env sshd_config:4"),
    (
        "AcceptEnv LANG",
        "AuthorizedKeysCommand /usr/bin/keys %u\nAcceptEnv LANG",
        "keys-command sshd_config:4, keys-command-user sshd_config:4",
    ),
    (
        "AcceptEnv LANG",
        "AuthorizedKeysCommand /usr/bin/keys %u\nAuthorizedKeysCommandUser nobody\nAcceptEnv LANG",
        "keys-command sshd_config:4",
    ),
    ("    MaxSessions 0", "    MaxSessions 0\n    Port 2222", "not-below-match sshd_config:14"),
    ("MaxSessions 0", "MaxSessions 0\nClientAliveInterval 60", "first-counts sshd_config:14"),
    ("MaxSessions 0", "MaxSessions 0\nPermitListen localhost:21003", "first-counts sshd_config:14"),
    ("LoginGraceTime", "LoginGraceTme", "unknown-keyword sshd_config:2"),
    ("LoginGraceTime 30", "Frobnicate 30", "other-keyword sshd_config:2"),
    ("LoginGraceTime 30", "PerSourcePenalties no", "newer-keyword sshd_config:2"),
    ("LoginGraceTime 30", "LoginGraceTime soon", "bad-value sshd_config:2"),
    ("LoginGraceTime 30", "GatewayPorts true", "bad-value sshd_config:2"),
    ("LoginGraceTime 30", "MaxAuthTries few", "bad-value sshd_config:2"),
    ("LoginGraceTime 30", "PermitOpen any:any", "bad-permit sshd_config:2"),
    ("LoginGraceTime 30", "LoginGraceTime", "unreadable sshd_config:2"),
    ("LoginGraceTime 30", 'Banner "/etc/issue', "unreadable sshd_config:2"),
    ("MaxSessions 0", "MaxSessions 0\nMatch Owner root", "unreadable sshd_config:14"),
    ("MaxSessions 0", "MaxSessions 0\nMatch Host web-*,!10.0.*", "name-without-dns sshd_config:14"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "expected"), CONFIGS)
def test_a_trap_of_the_configuration_is_named(old: str, new: str, expected: str) -> None:
    assert ", ".join(named(findings(changed(HARDENED, old, new)))) == expected


def test_sshd_starts_where_no_finding_says_that_it_does_not(tmp_path: Path) -> None:
    host_key, file, version = make_key(tmp_path / "host_key"), tmp_path / "sshd_config", local_version()
    differing = []
    for old, new, _ in CONFIGS:
        text = changed(HARDENED, old, new)
        file.write_text(text)
        ours = any("does not start" in each.what for each in findings(text, version=version))
        if ours == starts(file, host_key):
            differing.append(new)
    assert differing == []


LINES = [
    ("restrict,port-forwarding,permitlisten", "permitlisten", "missing-restrict keys:2"),
    ("restrict,port-forwarding", "no-pty,no-agent-forwarding,no-X11-forwarding,port-forwarding", ""),
    ("restrict,port-forwarding", "restrict", "restrict-closes-ports keys:2"),
    ("restrict,port-forwarding", "port-forwarding,restrict", "restrict-closes-ports keys:2"),
    ("restrict,port-forwarding", "no-port-forwarding", "missing-restrict keys:2, restrict-closes-ports keys:2"),
    ('permitlisten="localhost:21001"', 'permitopen="any:any"', "any-any keys:2"),
    ("localhost:21001", "any:any", "any-any keys:2"),
    ("restrict,", 'restrict,command="any:any",', ""),
    ("localhost:21001", "localhost:0", "key-refused keys:2"),
    ("localhost:21001", "::1:21001", "key-refused keys:2"),
    ("localhost:21001", "[::1]:21001", "permitlisten-loopback keys:2, permitlisten-unheard keys:2"),
    ("localhost:21001", "127.0.0.1:21001", "permitlisten-loopback keys:2, permitlisten-unheard keys:2"),
    ("restrict,", "restrict ,", "key-refused keys:2"),
    ("restrict,", "restrict,loud,", "key-refused keys:2"),
    ("restrict,", 'restrict,from="10.0.0.1"x,', "key-refused keys:2"),
    ("restrict,port-forwarding,permitlisten=\"localhost:21001\"", "restrict", ""),
    ("restrict,", 'restrict,command="a",command="b",', "key-refused keys:2"),
    ("restrict,", "restrict,from=10.0.0.1,", "key-refused keys:2"),
    ("restrict,", 'restrict,from="10.0.0.1,', "key-refused keys:2"),
    ("restrict,", 'restrict,from="10.0.0.0/8,!10.1.1.1,2001:db8::/32",', ""),
    ("restrict,", 'restrict,from="*.example.com",', "name-without-dns keys:2"),
    ("restrict,", 'restrict,expiry-time="20261121",', "key-expired keys:2"),
    ("restrict,", 'restrict,expiry-time="209912312359Z",', ""),
    ("restrict,", 'restrict,expiry-time="tomorrow",', "key-refused keys:2"),
    ("restrict,", 'restrict,environment="SELF_REMOTE_HOST=web-1",', "key-environment keys:2"),
    ("restrict,", 'restrict,command="echo \\"a, b\\" c",', ""),
    ("AAAAC3", "AAAA", "key-refused keys:2"),
    ("localhost:21002", "localhost:21001", "port-twice keys:3"),
    (public_key(2), public_key(1), "key-twice keys:3"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "expected"), LINES)
def test_a_trap_of_a_key_line_is_named(old: str, new: str, expected: str) -> None:
    config = changed(HARDENED, "MaxSessions 0", "ForceCommand /usr/sbin/nologin")  # sessions, which keys may bound too
    assert ", ".join(sorted(named(findings(config, changed(KEYS, old, new))))) == expected


def test_what_no_setting_bounds_a_key_must_bound() -> None:
    config = changed(HARDENED, "    PermitListen localhost:21001 localhost:21002\n", "")
    config = changed(config, "MaxSessions 0", "GatewayPorts no")
    assert named(findings(config)) == ["key-shell keys:2"]
    (shell,) = findings(config)
    assert shell.also == (3,), "lines with the same finding are told once"
    bare = changed(KEYS, ',permitlisten="localhost:21001"', "")
    assert "key-listens-anywhere keys:2" in named(findings(config, bare))


def test_a_trap_of_many_lines_is_told_once_with_the_values_of_the_first() -> None:
    """A fleet has hundreds of keys, each with a port of its own."""
    fleet = "".join(f"{OPTIONS.format(number)} {public_key(number)} root@web-{number}\n" for number in range(3, 10))
    (unheard,) = findings(HARDENED, KEYS + fleet)
    assert (str(unheard.place), unheard.also) == ("keys:4", (5, 6, 7, 8, 9, 10))
    assert "may listen on localhost:21003, localhost:21004, localhost:21005 and 4 more, which" in unheard.what
    assert unheard.values == tuple(f"localhost:2100{number}" for number in range(3, 10))
    two = OPTIONS.format(3) + ',permitlisten="localhost:21004"'
    (both,) = findings(HARDENED, f"{KEYS}{two} {public_key(3)}\n")
    assert (str(both.place), both.also) == ("keys:4", ())
    assert "may listen on localhost:21003 and localhost:21004, which" in both.what
    permits = changed(HARDENED, "PermitListen localhost:21001 localhost:21002", "PermitListen any")
    loopback = changed(changed(KEYS, "localhost:21001", "127.0.0.1:21001"), "localhost:21002", "127.0.0.1:21002")
    (compared,) = findings(permits, loopback)
    assert (compared.rule, compared.also, compared.fix) == (
        "permitlisten-loopback",
        (3,),
        'permitlisten="localhost:PORT"',
    )


def test_an_sshd_as_it_is_shipped() -> None:
    found = findings("UsePAM yes\n", "", user=None)
    assert named(found) == ["keepalive-off sshd_config", "streamlocal-default sshd_config", "max-startups sshd_config"]
    assert [each.severity for each in found] == [Severity.FIX, Severity.NOTE, Severity.FIX]


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ((9, 4), ["keepalive-doubled sshd_config:11"]),
        ((9, 5), []),
        ((9, 8), ["penalties sshd_config"]),
        ((7, 7), ["keepalive-doubled sshd_config:11", "newer-keyword sshd_config:9"]),
        (None, []),
    ],
)
def test_some_traps_are_of_a_version(version: Version | None, expected: list[str]) -> None:
    assert sorted(named(findings(HARDENED, version=version))) == expected


def test_a_time_that_doubles_past_the_bound_is_to_mend() -> None:
    slow = changed(HARDENED, "ClientAliveInterval 15", "ClientAliveInterval 1m")
    assert findings(slow) == []
    (found,) = findings(slow, version=(9, 2))
    assert (found.rule, found.severity) == ("keepalive-slow", Severity.FIX)
    assert "after 8m" in found.what


def test_values_made_to_keep_the_reader_busy_are_answered() -> None:
    """A pattern of many stars, a time of many digits without a unit, and a number longer than Python reads."""
    stars = changed(
        HARDENED, "MaxSessions 0", f"MaxSessions 0\nChannelTimeout {'*' * 60}z=5m {'*' * 60}forwarded?tcpip=5m"
    )
    assert named(findings(stars)) == ["channel-timeout sshd_config:14"]
    for digits in ("1" * 60 + "x", "9" * 5000):
        busy = f"MaxStartups 9{digits}\nClientAliveInterval {digits}\nClientAliveCountMax {digits}\n"
        bad = [each.place.line for each in findings(busy, keys="") if each.rule == "bad-value"]
        assert bad == [2, 3], digits


def test_a_finding_says_which_block_it_is_about() -> None:
    (found,) = findings(changed(HARDENED, "ClientAliveInterval 15", "ClientAliveInterval 0"), user=None)
    assert found.scope == "Match User tunnel"
    assert "is no, too" not in found.what
    dead = changed(
        changed(HARDENED, "ClientAliveInterval 15", "ClientAliveInterval 0"),
        "LoginGrace",
        "TCPKeepAlive no\nLoginGrace",
    )
    assert "TCPKeepAlive is no, too" in findings(dead)[0].what


def test_sockets_of_those_who_may_not_forward_ports() -> None:
    config = changed(HARDENED, "DisableForwarding yes", "AllowTcpForwarding no")
    (found,) = findings(config, user=None)
    assert f"{found.rule} {found.place} {found.scope}" == "streamlocal-open sshd_config:3 "
    assert findings(config, user="tunnel") == []


def test_blocks_of_other_accounts_do_not_count_for_one() -> None:
    other = HARDENED + "Match User backup\n    GatewayPorts yes\n    DisableForwarding no\n"
    assert findings(other) == []
    assert "gateway-ports sshd_config:15" in named(findings(other, user=None))
    both = HARDENED + "Match User tunnel Address 10.0.0.0/8\n    GatewayPorts yes\n"
    assert findings(both) == [], "the first block that holds has set GatewayPorts"
    both = changed(both, "    GatewayPorts no\n", "")
    assert named(findings(both)) == ["gateway-ports sshd_config:14"]


def test_a_file_of_no_known_account_is_judged_by_what_holds_for_all() -> None:
    """The keys of --keys may be those of any account: only the one of `tunnel` may not dial."""
    config = changed(HARDENED, "DisableForwarding yes\n", "AllowStreamLocalForwarding no\nClientAliveInterval 9\n")
    found = found_in(config, KeyFile("keys", KEYS))
    assert named(found) == []
    found = found_in(config, KeyFile("keys", KEYS, "ann"))
    assert "key-dials-out keys:2" in named(found)


def test_keys_of_an_account_whose_groups_are_not_known() -> None:
    config = changed(HARDENED, "Match User tunnel", "Match Group tunnels")
    files = [KeyFile("keys", changed(KEYS, "localhost:21001", "localhost:21009"), "web")]
    found = found_in(config, *files)
    assert named(found) == [], "the keys may be of an account that PermitListen is not about"


def test_ports_of_keys_beside_wide_permits() -> None:
    for permits in ("*:*", "21001 21002", "localhost:*"):
        assert findings(changed(HARDENED, "localhost:21001 localhost:21002", permits)) == []
    assert findings(HARDENED, changed(KEYS, "localhost:21001", "21001")) == []
    assert named(findings(HARDENED, changed(KEYS, "localhost:21001", "*:21003"))) == ["permitlisten-unheard keys:2"]


def test_what_nobody_listens_on_has_no_trap_of_listening() -> None:
    """Those who may not listen lose no tunnel by a time-out, and open no port to the world."""
    for line in ("UnusedConnectionTimeout 10m", "ChannelTimeout *=5m", "GatewayPorts yes"):
        config = f"MaxStartups 200:30:1000\nAllowTcpForwarding local\nAllowStreamLocalForwarding no\n{line}\n"
        rules = {each.rule for each in findings(config, "", user=None)}
        assert not rules & {"unused-timeout", "channel-timeout", "gateway-ports"}, line


def test_a_permitlisten_behind_a_closed_forwarding_bounds_nothing() -> None:
    """Such a key is no sign that ports are given out, and so that Unix sockets go around them."""
    config = changed(HARDENED, "    PermitListen localhost:21001 localhost:21002\n", "")
    config = changed(config, "AllowStreamLocalForwarding no", "AllowStreamLocalForwarding yes")
    escapes = [
        any(each.rule == "streamlocal-escape" for each in findings(config, KEYS.replace(old, new)))
        for old, new in (("", ""), ("restrict,port-forwarding,", "restrict,"))
    ]
    assert escapes == [True, False]


def test_clients_that_choose_the_address_may_be_bound_by_their_keys() -> None:
    config = changed(HARDENED, "    PermitListen localhost:21001 localhost:21002\n", "")
    config = changed(config, "GatewayPorts no", "GatewayPorts clientspecified")
    bare = changed(KEYS, ',permitlisten="localhost:21001"', "")
    broken = changed(KEYS, "restrict,port-forwarding", "restrict,loud")
    for keys, opens in ((KEYS, False), (bare, True), ("", True), (broken, False)):
        assert ("gateway-ports-open" in {each.rule for each in findings(config, keys)}) == opens


def test_a_host_without_tunnels_says_so() -> None:
    assert named(findings("AllowTcpForwarding no\nAllowStreamLocalForwarding no\n", "", user=None)) == [
        "no-tunnels sshd_config:1"
    ]
    assert named(findings("PermitListen none\n", "", user=None))[0] == "no-tunnels sshd_config:1"
    (found,) = findings("DisableForwarding yes\nAllowTcpForwarding yes\n", "", user=None)
    assert f"{found.rule} {found.place}" == "forwarding-disabled sshd_config:1"


def test_two_lines_are_told_apart() -> None:
    twins = changed(changed(KEYS, "localhost:21002", "localhost:21001"), "root@web-2", "root@web-1")
    (found,) = findings(HARDENED, twins)
    assert (found.rule, found.severity) == ("port-twice", Severity.NOTE), "two keys of one machine"
    files = [KeyFile("one", KEYS, "tunnel"), KeyFile("two", KEYS.replace("2100", "2200"), "backup")]
    found_twice = found_in(HARDENED, *files)
    assert "key-of-two-accounts two:2" in named(found_twice)
    assert not any(each.rule == "key-twice" for each in found_twice)


def test_a_pasted_private_key_is_not_repeated() -> None:
    secret = "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW"
    for each in findings(HARDENED, f"-----BEGIN OPENSSH PRIVATE KEY-----\n{secret}\n{secret[:20]}/{secret}==\n"):
        assert each.rule == "key-refused"
        assert secret[:8].lower() not in f"{each.what} {each.fix}".lower()


def test_the_page_has_every_rule() -> None:
    page = (ROOT / "docs" / "lint.md").read_text("utf-8")
    rows = re.findall(r"^\| ((?:`[a-z-]+`(?:, )?)+) \|", page, re.MULTILINE)
    assert sorted(name for row in rows for name in re.findall(r"`([a-z-]+)`", row)) == sorted(RULES)
