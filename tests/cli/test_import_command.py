"""`ferry import sshd_config`: what it prints is a configuration, and what it leaves behind has a reason."""

from __future__ import annotations

import grp
import os
import pwd
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from ferry.cli.import_settings import Origin, import_settings
from ferry.config.file import load
from ferry.config.model import TcpRange
from ferry.errors import InvalidInput
from ferry.names import Endpoint
from ferry.setup.sshd_files import read_config
from ssh_command import make_key
from sshd_program import printed

TYPICAL = """\
Port 22
Port 2222
AddressFamily any
LoginGraceTime 1m
MaxAuthTries 4
MaxStartups 50:30:300
PerSourceMaxStartups 20
PerSourcePenalties no
PerSourcePenaltyExemptList 10.0.0.0/8,!10.1.1.1
ClientAliveInterval 15
ClientAliveCountMax 4
AuthorizedKeysFile /etc/ssh/keys/%u .ssh/authorized_keys
PermitListen localhost:21001 localhost:21002 21004
LogLevel VERBOSE
X11Forwarding yes
PrintMotd no
Ciphers aes256-gcm@openssh.com
TrustedUserCAKeys /etc/ssh/ca.pub
UseDNS yes
StrictModes no
Match User tunnel
    AllowTcpForwarding remote
    PermitListen localhost:21009
"""


@dataclass(frozen=True, slots=True)
class Imported:
    """What the command printed."""

    out: str
    said: str
    """Standard error, on one line."""


def imported(tmp_path: Path, text: str) -> Imported:
    (tmp_path / "sshd_config").write_text(text)
    app = typer.Typer()
    app.command()(import_settings)
    result = CliRunner().invoke(app, ["sshd_config", str(tmp_path / "sshd_config")])
    assert result.exit_code == 0, result.output
    return Imported(result.stdout, " ".join(result.stderr.split()))


def test_a_typical_file(tmp_path: Path) -> None:
    ran = imported(tmp_path, TYPICAL)
    file = tmp_path / "ferry.toml"
    file.write_text(ran.out)
    config = load(file, {}, {})
    assert config.ssh.listen == [Endpoint("::", 22), Endpoint("::", 2222)]
    assert (config.ssh.keepalive_interval, config.ssh.keepalive_count) == (15, 4)
    assert (config.ssh.login_grace, config.ssh.auth_tries, config.ssh.penalties) == (60, 4, False)
    assert (config.ssh.handshakes, config.ssh.handshakes_per_network) == (300, 20)
    assert (config.access.mode, config.access.keys) == ("keys", [Path("/etc/ssh/keys/%u")])
    assert config.access.use_dns
    assert not config.sshd.strict_modes
    assert config.limits.exempt[-1] == "10.0.0.0/8"
    assert config.tcp.ranges == [
        TcpRange(first=21001, last=21002, listen="loopback"),
        TcpRange(first=21004, last=21004, listen="loopback"),
        TcpRange(first=21009, last=21009, listen="loopback"),
    ]
    assert config.sshd.permit_listen == ["localhost:21001", "localhost:21002", "21004"]
    (match,) = config.sshd.match
    assert (match.user, match.allow_tcp_forwarding, match.permit_listen) == (["tunnel"], "remote", ["localhost:21009"])
    assert '[[sshd.match]]  # Match User tunnel, line 21\nuser = ["tunnel"]\n' in ran.out
    assert "AllowTcpForwarding" not in ran.said
    assert "PermitListen (line" not in ran.said
    assert config.log.level == "info"
    assert 'keepalive_interval = "15s"  # ClientAliveInterval, line 10\n' in ran.out
    assert "X11Forwarding (line 15), PrintMotd (line 16): Ferry has no shells, files or desktops" in ran.said
    assert "Match User tunnel (line 21): it carries over, but a client of Ferry chooses its login name" in ran.said
    assert "Ciphers (line 17): Ferry offers its own list" in ran.said
    assert config.access.trusted_ca_keys == [Path("/etc/ssh/ca.pub")]
    assert "files of each account (.ssh/authorized_keys): name them in access.keys, as in /home/%u/" in ran.said


def test_addresses_and_public_ports(tmp_path: Path) -> None:
    ran = imported(
        tmp_path,
        "ListenAddress 0.0.0.0\nListenAddress [::]:22\nListenAddress 192.0.2.1:2200\nListenAddress bastion.example\n"
        "GatewayPorts yes\nPermitListen 30001\nClientAliveCountMax 0\nLoginGraceTime 0\nFrobnicate 1\nUseDNS yes\nAuthorizedKeysFile %h/k /k/%U /k/%%u\n",
    )
    shown = tomllib.loads(ran.out)
    assert shown["ssh"] == {"listen": ["*:22", "192.0.2.1:2200"]}
    assert (shown["access"]["use_dns"], shown["access"]["keys"]) == (True, ["/k/%%u"])
    assert shown["tcp"] == {
        "ranges": [{"first": 30001, "last": 30001, "listen": "public"}],
        "allocate_from": 0,
        "public_addresses": ["0.0.0.0", "::"],
    }
    for reason in (
        "'bastion.example' is a name",
        "ClientAliveCountMax (line 7): 0 is never in sshd",
        "Ferry always bounds a log-in",
        "frobnicate (line 9): sshd does not know it, and does not start",
        "files of each account (%h/k, /k/%U): name them in access.keys, as in /home/%u/k",
    ):
        assert reason in ran.said


def test_certificates_and_revoked_keys(tmp_path: Path) -> None:
    files = "TrustedUserCAKeys /ca.pub\nAuthorizedPrincipalsFile /etc/principals/%u\nRevokedKeys /etc/revoked\n"
    ran = imported(tmp_path, f"{files}HostCertificate /etc/ssh/x-cert.pub\nCASignatureAlgorithms rsa-sha2-512\n")
    file = tmp_path / "ferry.toml"
    file.write_text(ran.out)
    access = load(file, {}, {}).access
    assert (access.authorized_principals, access.revoked_keys) == (Path("/etc/principals/%u"), Path("/etc/revoked"))
    assert "HostCertificate (line 4): Ferry takes the certificate of a host key from the state folder" in ran.said
    assert "CASignatureAlgorithms (line 5): Ferry offers its own list" in ran.said

    ran = imported(tmp_path, "AuthorizedPrincipalsFile %h/.ssh/principals\nRevokedKeys none\n")
    assert "AuthorizedPrincipalsFile (line 1): it is for the CAs of TrustedUserCAKeys, and there is none" in ran.said
    assert "RevokedKeys" not in ran.said
    ran = imported(tmp_path, "TrustedUserCAKeys /ca\nAuthorizedPrincipalsFile %h/.ssh/principals\n")
    assert (
        "AuthorizedPrincipalsFile (line 2): its path depends on the account: write access.authorized_principals"
        in ran.said
    )


def test_ports_of_clients_that_choose_the_address(tmp_path: Path) -> None:
    ran = imported(tmp_path, "GatewayPorts clientspecified\nPermitListen 22001 localhost:22002 0.0.0.0:22003\n")
    read = tomllib.loads(ran.out)
    assert read["tcp"]["ranges"] == [
        {"first": 22002, "last": 22002, "listen": "loopback"},
        {"first": 22001, "last": 22001, "listen": "public"},
        {"first": 22003, "last": 22003, "listen": "public"},
    ]
    assert read["sshd"] == {
        "gateway_ports": "clientspecified", "permit_listen": ["22001", "localhost:22002", "0.0.0.0:22003"]
    }  # fmt: skip


def test_match_lines(tmp_path: Path) -> None:
    text = """\
GatewayPorts no
PermitOpen any
PermitListen nobody
MaxSessions 4
DisableForwarding no
AllowTcpForwarding sometimes
Match Address 10.0.0.0/8,!10.1.1.1 LocalPort 2222
    AllowTcpForwarding local
    allowtcpforwarding no
    X11Forwarding no
    PermitOpen laptop:22 [2001:db8::1]:*
Match all
    MaxSessions 0
    GatewayPorts sometimes
Match User a,b User c
    PermitListen none
Match Group no-such-group-here
    PermitListen none
Match Group root User r*
    PermitListen none
Match Host 192.0.2.?
    DisableForwarding yes
Match Host *.example.com
    DisableForwarding yes
Match RDomain x
    DisableForwarding yes
Match User empty
    Banner none
Match User fleet
    ClientAliveInterval 1m
    ClientAliveCountMax 2
    AuthenticationMethods publickey
Match User admins
    AuthenticationMethods publickey,publickey publickey,publickey,publickey
    PubkeyAcceptedKeyTypes -rsa-*,ssh-rsa
Match User others
    PubkeyAcceptedAlgorithms rsa
    ClientAliveCountMax 0
    AuthenticationMethods password publickey
"""
    ran = imported(tmp_path, text)
    assert tomllib.loads(ran.out)["sshd"] == {
        "gateway_ports": "no",
        "permit_open": ["any"],
        "disable_forwarding": False,
        "max_sessions": 4,
        "match": [
            {
                "address": ["10.0.0.0/8", "!10.1.1.1"], "local_port": [2222],
                "allow_tcp_forwarding": "local", "permit_open": ["laptop:22", "[2001:db8::1]:*"],
            },
            {"user": ["*"], "max_sessions": 0},
            {"address": ["192.0.2.?"], "disable_forwarding": True},
            {
                "user": ["fleet"], "client_alive_interval": 60, "client_alive_count_max": 2,
                "authentication_methods": ["publickey"],
            },
            {
                "user": ["admins"],
                "authentication_methods": ["publickey,publickey", "publickey,publickey,publickey"],
                "pubkey_accepted_algorithms": ["-rsa-*", "ssh-rsa"],
            },
        ],
    }  # fmt: skip
    for reason in (
        "GatewayPorts below Match all (line 14), PubkeyAcceptedAlgorithms below Match User others (line 37): sshd itself",
        "X11Forwarding below Match Address 10.0.0.0/8,!10.1.1.1 LocalPort 2222 (line 10): Ferry has no shells",
        "Match User a,b User c (line 15), Match Group root User r* (line 19): two criteria about the same",
        "Match Group no-such-group-here (line 17): Ferry knows no groups, and this host has no group no-such-group-here",
        "Match Host *.example.com (line 23): Ferry has no such criterion: host",
        "Match RDomain x (line 25): Ferry has no such criterion: rdomain",
        "Banner below Match User empty (line 28)",
        "PermitListen (line 3)",
        "ClientAliveCountMax below Match User others (line 38): 0 is never in sshd",
        "AuthenticationMethods below Match User others (line 39): Ferry knows no passwords and asks no other program: public keys alone: publickey, or publickey,publickey",
    ):
        assert reason in ran.said
    (tmp_path / "ferry.toml").write_text(ran.out)
    assert len(load(tmp_path / "ferry.toml", {}, {}).sshd.match) == 5


def test_a_group_is_the_login_names_in_it(tmp_path: Path) -> None:
    ran = imported(tmp_path, "Match Group root\n    AllowTcpForwarding no\n")
    (match,) = tomllib.loads(ran.out)["sshd"]["match"]
    assert "root" in match["user"]
    assert "it carries over as the login names that are in the group on this host now" in ran.said


def test_a_value_below_match_counts_from_the_first_line_that_holds(tmp_path: Path) -> None:
    """An included file may stand below two Match lines."""
    (tmp_path / "inner").write_text("MaxSessions 1\nMatch Address 10.0.0.0/8\n    MaxSessions 2\n")
    ran = imported(tmp_path, f"Match User a\n    Include {tmp_path}/inner\n    PermitOpen none\n")
    assert tomllib.loads(ran.out)["sshd"]["match"] == [
        {"user": ["a"], "max_sessions": 1},
        {"user": ["a"], "address": ["10.0.0.0/8"], "max_sessions": 2},
        {"user": ["a"], "permit_open": ["none"]},
    ]
    assert ran.said.count("Match User a (line 1)") == 1, "one warning for the two blocks"


def test_what_sshd_prints_is_translated_too(tmp_path: Path) -> None:
    ran = imported(tmp_path, printed(os.devnull, make_key(tmp_path / "host_key")))
    shown = tomllib.loads(ran.out)
    assert shown["ssh"]["listen"] == ["*:22"]
    assert "keepalive_interval" not in shown["ssh"], "a default is nobody's choice"
    assert "PermitTunnel" not in ran.said, "nor is one that Ferry has not"
    assert "Match blocks: `sshd -T` prints what counts for everybody, and no Match block" in ran.said
    assert NO_PORTS in ran.said
    (tmp_path / "ferry.toml").write_text(ran.out)
    assert load(tmp_path / "ferry.toml", {}, {}).access.mode == "keys"


def test_the_name_of_an_included_file_writes_no_settings(tmp_path: Path) -> None:
    """Whoever may write files into the folder may not decide who connects to Ferry."""
    (tmp_path / 'a\n[log]\nlevel = "debug" #.conf').write_text("ClientAliveInterval 15\nAuthorizedKeysFile /k/\x9b2J\n")
    ran = imported(tmp_path, f"Include {tmp_path}/*.conf\n")
    assert tomllib.loads(ran.out) == {
        "ssh": {"listen": ["*:22"], "keepalive_interval": "15s"},
        "access": {"mode": "keys", "keys": ["/k/\x9b2J"]},
    }
    assert "\x9b" not in ran.out, "no terminal is told to clear itself"


def test_numbers_that_are_none(tmp_path: Path) -> None:
    """Python refuses more than 4,300 digits with an error of its own."""
    many = "9" * 5000
    ran = imported(
        tmp_path,
        f"Port {many}\nListenAddress 192.0.2.1:{many}\nClientAliveInterval {many}\nClientAliveCountMax {many}\n"
        f"MaxAuthTries {many}\nMaxStartups {many}\nPerSourceMaxStartups {many}\nLoginGraceTime {many}\n",
    )
    assert tomllib.loads(ran.out) == {"access": {"mode": "keys", "keys": ["/etc/ferry/keys"]}}
    assert not [word for word in ("ssh.auth_tries", "ssh.handshakes", "0 is never in sshd") if word in ran.said]


@pytest.mark.parametrize(
    ("line", "key", "value", "says"),
    [
        ("ListenAddress 2001:db8::1", "ssh.listen", ["[2001:db8::1]:22"], "ListenAddress (line 1): it carries over"),
        ("ListenAddress 192.0.2.1 rdomain x", "ssh.listen", ["192.0.2.1:22"], "rdomain x stays behind: Ferry has no routing domains"),
        ("Port 70000", "ssh.listen", None, ""),
        ("Port 0", "ssh.listen", None, ""),
        ("MaxStartups ten", "ssh.handshakes", None, ""),
        ("PerSourceMaxStartups none", "ssh.handshakes_per_network", None, ""),
        ("PerSourcePenaltyExemptList none", "limits.exempt", None, ""),
        ("PerSourcePenaltyExemptList !10.1.1.1,,10.0.0.0/8", "limits.exempt", ["127.0.0.0/8", "::1/128", "10.0.0.0/8"], "names, wildcards and ! do not: write networks"),
        ("AuthorizedKeysFile none", "access.keys", ["/etc/ferry/keys"], ""),
        ("AuthorizedPrincipalsFile none", "access.authorized_principals", None, ""),
        ("TrustedUserCAKeys none", "access.trusted_ca_keys", None, ""),
        ("TrustedUserCAKeys /ca/%u", "access.trusted_ca_keys", None, "TrustedUserCAKeys (line 1): its path depends on the account"),
        ("PermitListen none", "tcp.ranges", None, ""),
        ("PermitListen *", "tcp.ranges", None, "PermitListen (line 1): it has no port that is a number"),
        ("GatewayPorts yes\nPermitListen 30001 *:*", "tcp.ranges", [{"first": 30001, "last": 30001, "listen": "public"}], "PermitListen (line 2): it has hosts with any port (*), too"),
        ("GatewayPorts clientspecified", "tcp.public_addresses", ["0.0.0.0", "::"], ""),
        ("AddressFamily inet\nGatewayPorts yes", "tcp.public_addresses", ["0.0.0.0"], ""),
        ("AddressFamily inet6\nGatewayPorts yes", "tcp.public_addresses", ["::"], ""),
        ("GatewayPorts no\nMatch User a\n  GatewayPorts yes", "tcp.public_addresses", ["0.0.0.0", "::"], ""),
        ("AllowTcpForwardin yes", "sshd.allow_tcp_forwarding", None, "sshd does not know it, and does not start: did you mean AllowTcpForwarding?"),
        ("Matc User a", "sshd.match", None, "sshd does not know it, and does not start"),
        ("Match User a\n  AllowTcpForwardin no", "sshd.match", None, "sshd does not know it, and does not start: did you mean AllowTcpForwarding?"),
    ],
)  # fmt: skip
def test_one_line(tmp_path: Path, line: str, key: str, value: object, says: str) -> None:
    ran = imported(tmp_path, f"{line}\n")
    section, _, name = key.partition(".")
    assert tomllib.loads(ran.out).get(section, {}).get(name) == value
    assert says in ran.said
    keyword = line.rpartition("\n")[2].split()[0]
    if keyword[:4] not in ("Matc", "Allo"):
        assert (f"{keyword} (line" in ran.said) is bool(says), ran.said


def test_a_setting_of_any_port_alone_is_told_once(tmp_path: Path) -> None:
    said = imported(tmp_path, "PermitListen *\n").said
    assert "it has no port that is a number" in said
    assert "it has hosts with any port" not in said


def test_an_include_with_a_zero_byte_in_its_name_names_no_file(tmp_path: Path) -> None:
    assert tomllib.loads(imported(tmp_path, "Include /etc/a\0b/*\nPort 23\n").out)["ssh"] == {"listen": ["*:23"]}


def test_a_file_that_is_too_long_is_no_configuration(tmp_path: Path) -> None:
    """LINT_CONFIG_BYTES."""
    file = tmp_path / "sshd_config"
    file.write_text("#" * 2**20)
    assert read_config(str(file)).parsed.statements == []
    file.write_text("#" * (2**20 + 1))
    with pytest.raises(InvalidInput, match=r"longer than 1\.0 MB\): name an sshd_config"):
        read_config(str(file))


NO_PORTS = "PermitListen, which is not set: sshd lets each key listen on any port"
NO_HOSTS = "sshd lets each key reach any host that it does not forbid"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Port 22\n", {NO_PORTS, NO_HOSTS}),
        ("PermitListen 22001\n", {NO_HOSTS}),
        ("PermitOpen none\n", {NO_PORTS}),
        ("PermitOpen db.example.com:5432\nPermitListen 22001\n", {NO_HOSTS}),
        ("AllowTcpForwarding remote\n", {NO_PORTS}),
        ("AllowTcpForwarding local\n", {NO_HOSTS}),
        ("AllowTcpForwarding no\n", set()),
        ("DisableForwarding yes\n", set()),
    ],
)
def test_what_sshd_allows_and_ferry_does_not_is_told(tmp_path: Path, text: str, told: set[str]) -> None:
    ran = imported(tmp_path, text)
    assert {each for each in (NO_PORTS, NO_HOSTS) if each in ran.said} == told
    assert "domain: sshd has no such setting. Write the name by which clients reach this host" in ran.said


@pytest.mark.parametrize(
    ("match", "below", "lost"),
    [
        ("Host *.example.com", "AllowTcpForwarding no", "allow_tcp_forwarding = \"no\" does not hold"),
        ("Group no-such-group-here", "PermitListen none", "permit_listen = [\"none\"] does not hold"),
        ("RDomain x", "GatewayPorts no\n  DisableForwarding yes", 'gateway_ports = "no" and disable_forwarding = true does not hold'),
        ("RDomain x", "AllowTcpForwarding yes\n  PermitOpen any", ""),
    ],
)  # fmt: skip
def test_a_restriction_that_is_lost_with_its_match_line_is_told(
    tmp_path: Path, match: str, below: str, lost: str
) -> None:
    ran = imported(tmp_path, f"Match {match}\n  {below}\n")
    assert "match" not in tomllib.loads(ran.out).get("sshd", {})
    assert ("may do more than with sshd" in ran.said, lost in ran.said) == (bool(lost), True)


OF_EACH = "AuthorizedKeysFile /etc/ssh/keys/%u\n"
OF_ALL = "AuthorizedKeysFile /etc/ssh/fleet_keys\n"
WITH_CA = f"{OF_ALL}TrustedUserCAKeys /etc/ssh/ca.pub\n"
FILES = "/etc/ssh/keys/%u in access.keys"


@pytest.mark.parametrize(
    ("text", "more"),
    [
        (f"{OF_EACH}DenyUsers bad worse", f"these people|DenyUsers bad worse|Take away what lets these accounts in: {FILES}"),
        (f"{OF_EACH}AllowUsers tun\nAllowUsers two", f"other people|AllowUsers tun two|Take away what lets other accounts in: {FILES}"),
        (f"{OF_EACH}DenyGroups staff", f"these people|DenyGroups staff|Take away what lets these accounts in: {FILES}"),
        (f"{OF_EACH}AllowGroups tun", f"other people|AllowGroups tun|Take away what lets other accounts in: {FILES}"),
        (f"{OF_EACH}PermitRootLogin no", f"these people|PermitRootLogin no|Take away what lets root in: {FILES}"),
        (f"{OF_EACH}PermitRootLogin prohibit-password", ""),
        (f"{OF_EACH}PubkeyAuthentication no", "everybody|PubkeyAuthentication no|Take all lines out of the files of access.keys, as sshd lets no key in"),
        (f"{OF_ALL}PubkeyAuthentication no", "everybody|PubkeyAuthentication no|Take all lines out of the files of access.keys, as sshd lets no key in"),
        (f"{OF_EACH}PubkeyAuthentication yes\nRefuseConnection no", ""),
        (f"{OF_EACH}Match User c\n PubkeyAuthentication no", f"these people|PubkeyAuthentication no|Take away what lets them in: {FILES}"),
        (f"{OF_EACH}Match User c\n RefuseConnection yes", f"these people|RefuseConnection yes|Take away what lets them in: {FILES}"),
        (f"{OF_EACH}Match User c\n AuthorizedKeysFile none", f"these people|AuthorizedKeysFile none|Take away what lets them in: {FILES}"),
        (f"{OF_ALL}Match Address 10.0.0.0/8\n RefuseConnection yes", "these people|RefuseConnection yes|Write from= into the lines of the keys, with the addresses from where they may come"),
        (f"{OF_ALL}Match User c\n RefuseConnection yes", ""), (f"{OF_ALL}DenyUsers bad\nAllowUsers tun\nPermitRootLogin no", ""),
        (f"{OF_ALL}AllowUsers tun@10.0.0.*", "other people|AllowUsers tun@10.0.0.*|Write from= with these addresses into the lines of the keys"),
        (f"{WITH_CA}DenyUsers bad", "these people|DenyUsers bad|Take away what lets these accounts in: certificates with their names"),
        ("DenyUsers bad", "these people|DenyUsers bad|Take away what lets these accounts in: .ssh/authorized_keys, .ssh/authorized_keys2 in access.keys"),
        (f"{OF_ALL}AuthenticationMethods publickey,keyboard-interactive", "everybody|AuthenticationMethods publickey,keyboard-interactive|A key alone lets them in: write authentication_methods for two keys, or take their keys away"),
        (f"{OF_ALL}AuthenticationMethods password publickey", ""),
        (f"{OF_ALL}PubkeyAuthOptions touch-required,verify-required", "everybody|PubkeyAuthOptions touch-required,verify-required|Write verify-required into the lines of the keys"),
        (f"{OF_ALL}RequiredRSASize 3072", "everybody|RequiredRSASize 3072|Take the lines with smaller RSA keys away"), (f"{OF_ALL}RequiredRSASize 2048", ""),
        (f"{OF_ALL}Match RDomain x\n PubkeyAcceptedAlgorithms ssh-ed25519", 'these people|pubkey_accepted_algorithms = ["ssh-ed25519"]|'),
    ],
)  # fmt: skip
def test_who_is_let_in_though_sshd_keeps_them_out_is_told(tmp_path: Path, text: str, more: str) -> None:
    ran = imported(tmp_path, f"{text}\n")
    who, _, rest = more.partition("|")
    lost, _, fix = rest.partition("|")
    sentence = f"So {who} may do more than with sshd: {lost} does not hold{f'. {fix}' if fix else ''} "
    assert not more or sentence in ran.said
    assert ran.said.count("may do more than with sshd") == int(bool(more))


@pytest.mark.parametrize("port", ["22,2222", "0", "70000", "ssh"])
def test_a_local_port_that_sshd_does_not_take(tmp_path: Path, port: str) -> None:
    ran = imported(tmp_path, f"Match LocalPort {port}\n  PermitListen none\n")
    assert "match" not in tomllib.loads(ran.out).get("sshd", {})
    assert "sshd takes one port from 1 to 65535 here, and does not start: write one Match for each" in ran.said


def test_what_stands_below_a_match_line_that_nobody_understands_is_for_nobody_else(tmp_path: Path) -> None:
    ran = imported(
        tmp_path, "Match User a\n  MaxSessions 1\nMatch Usr b\n  AllowTcpForwarding no\nMatch all\n  MaxSessions 2\n"
    )
    assert tomllib.loads(ran.out)["sshd"]["match"] == [
        {"user": ["a"], "max_sessions": 1}, {"user": ["*"], "max_sessions": 2}
    ]  # fmt: skip
    assert (
        "this line (line 3): sshd does not understand 'Match Usr b', and does not start: write Match User" in ran.said
    )


def test_a_group_without_anybody(tmp_path: Path) -> None:
    primary = {entry.pw_gid for entry in pwd.getpwall()}
    empty = next(group.gr_name for group in grp.getgrall() if not group.gr_mem and group.gr_gid not in primary)
    ran = imported(tmp_path, f"Match Group {empty}\n    PermitListen none\n")
    assert f"Match Group {empty} (line 1): nobody is in these groups: write user = [...]" in ran.said


def test_an_included_file_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "inner").write_text("\nClientAliveInterval 15\n")
    ran = imported(tmp_path, f"Include {tmp_path}/inner\n")
    assert f'keepalive_interval = "15s"  # ClientAliveInterval, {tmp_path}/inner:2\n' in ran.out


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"cannot read .*/nothing \(No such file or directory\)"):
        import_settings(Origin.SSHD_CONFIG, str(tmp_path / "nothing"))
