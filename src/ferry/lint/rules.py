"""The rules of `ferry lint sshd`: each with its severity, what happens, and what to write. Words in braces are filled in by
the functions that look (`config_rules`, `file_rules`, `key_rules`)."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final


class Severity(enum.Enum):
    """How serious a finding is."""

    NOTE = "note"
    """It works, and the operator should know something about it."""
    FIX = "FIX"
    """It breaks tunnels, or lets a key do more than it seems."""


@dataclass(frozen=True, slots=True)
class Rule:
    """The texts of one rule."""

    name: str
    severity: Severity
    what: str
    fix: str


_FIX: Final = Severity.FIX
_NOTE: Final = Severity.NOTE

_OF_FILES: Final = (
    Rule("unreadable", _FIX, "{why}.", "{fix}"),
    Rule(
        "unknown-keyword",
        _FIX,
        "sshd does not know {keyword}, and does not start.",
        "{meant}",
    ),
    Rule(
        "other-keyword",
        _NOTE,
        "{keyword} is no keyword of OpenSSH. Where sshd was not changed to know it, it does not start.",
        "delete the line, unless `sshd -t` takes it",
    ),
    Rule(
        "newer-keyword",
        _FIX,
        "{keyword} came with OpenSSH {since}. This sshd is {version}: it does not start.",
        "delete the line, or upgrade OpenSSH first",
    ),
    Rule(
        "not-below-match",
        _FIX,
        "{keyword} is for everybody, but the Match of {place} still holds here: sshd does not start. Indentation does "
        "not end a Match block; the next Match does, or the end of the file.",
        "move the line above {place}",
    ),
    Rule(
        "first-counts",
        _FIX,
        "{keyword} is set already, in {place}: sshd takes the first value, and this line changes nothing.{more}",
        "{fix}",
    ),
    Rule("bad-value", _FIX, "{keyword} {value} is no value that sshd takes: it does not start.", "{keyword} {meant}"),
    Rule(
        "bad-permit",
        _FIX,
        "sshd does not take '{value}' in {keyword}, and does not start: {why}.",
        "{keyword} {meant}",
    ),
    Rule(
        "name-without-dns",
        _FIX,
        "With UseDNS no, sshd knows addresses alone: '{pattern}' is compared with an address, and never matches.",
        "{meant}",
    ),
)

_OF_EVERYBODY: Final = (
    Rule(
        "max-startups",
        _FIX,
        "From {begin} log-ins in progress on sshd drops new connections at random, and from {full} on all of them "
        "(MaxStartups {value}). After an outage all machines come back at once, and keep one another out.",
        "MaxStartups 200:30:1000",
    ),
    Rule(
        "startups-per-source",
        _NOTE,
        "Only {value} machines behind one address (a NAT, a mobile network) may log in at the same time; sshd drops "
        "the others.",
        "PerSourceMaxStartups none",
    ),
    Rule(
        "penalties",
        _NOTE,
        "sshd blocks an address for a while after failed log-ins (PerSourcePenalties). One machine with a wrong key "
        "blocks all machines behind its NAT, and the TCP checks of a load balancer count as failures.",
        "PerSourcePenaltyExemptList NETWORK,NETWORK",
    ),
    Rule(
        "login-grace",
        _FIX,
        "With LoginGraceTime 0 a connection that never logs in stays for ever, and takes a place of MaxStartups. (As "
        "a remedy for CVE-2024-6387 it is not needed once sshd is updated.)",
        "LoginGraceTime 30",
    ),
    Rule(
        "no-tunnels",
        _NOTE,
        "No account can open a tunnel here: {keyword} {value} refuses every -R.",
        "Match User NAME\n    {keyword} {meant}",
    ),
)

_OF_ACCOUNTS: Final = (
    Rule(
        "keepalive-off",
        _FIX,
        "sshd never asks whether a client is still there (ClientAliveInterval 0). A machine that loses its network "
        "keeps its port {lasting}, and until then its next -R is refused.",
        "ClientAliveInterval 15\nClientAliveCountMax 3",
    ),
    Rule(
        "keepalive-endless",
        _FIX,
        "ClientAliveCountMax 0 means that sshd never closes a connection that does not answer (before OpenSSH 8.2: "
        "that it closes every quiet one). A machine that loses its network keeps its port.",
        "ClientAliveCountMax 3",
    ),
    Rule(
        "keepalive-slow",
        _FIX,
        "sshd notices after {real} that a client is gone ({sum}). Until then the machine's next -R is refused.",
        "ClientAliveInterval 15\nClientAliveCountMax 3",
    ),
    Rule(
        "keepalive-doubled",
        _NOTE,
        "Before OpenSSH 9.5 sshd takes twice the time: this one ({version}) notices after {real} that a client is "
        "gone, not after {meant}.",
        "ClientAliveInterval {half}",
    ),
    Rule(
        "unused-timeout",
        _FIX,
        "UnusedConnectionTimeout {value} closes a connection without open channels, and a waiting -R is none: an idle "
        "tunnel dies after that time, again and again.",
        "UnusedConnectionTimeout none",
    ),
    Rule(
        "channel-timeout",
        _NOTE,
        "ChannelTimeout {value} closes connections through tunnels that are quiet for that long: a shell that waits, "
        "a pool of database connections.",
        "ChannelTimeout session=1h, or none",
    ),
    Rule(
        "streamlocal-escape",
        _FIX,
        "{bound} bounds TCP ports only. With AllowStreamLocalForwarding {value} the same client may open Unix sockets "
        "(`-R /tmp/x.sock:...`) wherever the account may write.",
        "AllowStreamLocalForwarding no",
    ),
    Rule(
        "streamlocal-open",
        _FIX,
        "AllowTcpForwarding {tcp} says nothing of Unix sockets: AllowStreamLocalForwarding {value} lets the account "
        "{does}.",
        "AllowStreamLocalForwarding {meant}",
    ),
    Rule(
        "streamlocal-default",
        _NOTE,
        "A key with permitlisten= may still open Unix sockets here, as AllowStreamLocalForwarding is {value}: neither "
        "permitlisten= nor PermitListen bounds them.",
        "AllowStreamLocalForwarding no",
    ),
    Rule(
        "stale-socket",
        _NOTE,
        "A client that is killed leaves its socket file behind, and its next -R fails: StreamLocalBindUnlink is no. "
        "(With yes, whoever comes last takes the socket over.)",
        "StreamLocalBindUnlink yes",
    ),
    Rule(
        "forwarding-refused",
        _FIX,
        "{keyword} {value} refuses every -R, although {place} gives ports: sshd's own setting is above a key's.",
        "{keyword} {meant}",
    ),
    Rule(
        "forwarding-disabled",
        _FIX,
        "DisableForwarding yes is above all other settings: {keyword} {value} in {place} has no effect.",
        "DisableForwarding no",
    ),
    Rule(
        "gateway-ports",
        _FIX,
        "With GatewayPorts yes every -R listens on all addresses, `-R localhost:PORT:...` and keys with "
        'permitlisten="localhost:PORT" too: ports that are meant for this host are open to the network.',
        "GatewayPorts clientspecified, and PermitListen with the addresses that may be public",
    ),
    Rule(
        "gateway-ports-open",
        _FIX,
        "With GatewayPorts clientspecified and no PermitListen, a client opens any port on all addresses "
        "(`-R '*:PORT:...'`).",
        "PermitListen localhost:PORT localhost:PORT",
    ),
    Rule(
        "gateway-ports-any-host",
        _NOTE,
        "{bound} {value} has no host: as GatewayPorts is clientspecified, the client may open that port on all "
        "addresses.",
        "{meant}",
    ),
    Rule(
        "gateway-ports-unheard",
        _FIX,
        "{bound} allows {values}, but with GatewayPorts no the port listens on loopback alone, and ssh says nothing.",
        "GatewayPorts clientspecified, or localhost in place of the address",
    ),
    Rule(
        "dial-out",
        _FIX,
        "PermitListen bounds what may listen. With AllowTcpForwarding {value} and no PermitOpen the same client "
        "reaches all that this host reaches (-L, -D, -W), its loopback services too.",
        "AllowTcpForwarding remote",
    ),
    Rule(
        "shell",
        _NOTE,
        "PermitListen makes this an account for tunnels, but it may open shells and run commands (MaxSessions "
        "{value}), unless its login shell is nologin.",
        "MaxSessions 0",
    ),
    Rule(
        "accept-env",
        _NOTE,
        "`ssh -N` opens no session and sends no variables: {value} never comes from a machine that only keeps a "
        "tunnel. Take the name of a machine from its key.",
        "AcceptEnv LANG LC_*",
    ),
    Rule(
        "tun-device",
        _NOTE,
        "PermitTunnel {value} lets a client join networks with `ssh -w`; no PermitListen or PermitOpen bounds that.",
        "PermitTunnel no",
    ),
    Rule(
        "keys-command-user",
        _FIX,
        "AuthorizedKeysCommand needs AuthorizedKeysCommandUser: without it sshd does not start; below Match it lets "
        "nobody in by the program's keys.",
        "AuthorizedKeysCommandUser nobody",
    ),
    Rule(
        "keys-command",
        _NOTE,
        "AuthorizedKeysCommand starts a program for each key that a client offers: after an outage for all machines "
        "at once. Its keys are not looked at here.",
        "AuthorizedKeysFile /etc/ssh/tunnel_keys, if a file will do",
    ),
)

_OF_KEYS: Final = (
    Rule("key-refused", _FIX, "sshd passes over this line: {why}. The machine cannot log in with it.", "{fix}"),
    Rule(
        "any-any",
        _FIX,
        'sshd refuses {option}="any:any", and the whole line with it: the machine cannot log in.',
        '{option}="{meant}"',
    ),
    Rule(
        "missing-restrict",
        _FIX,
        "The key has no `restrict`: it may forward an agent and X11, and get a terminal.",
        "{fix}",
    ),
    Rule(
        "restrict-closes-ports",
        _FIX,
        "{why}, so that sshd refuses every -R of this key; permitlisten= does not open what it closes.",
        "{fix}",
    ),
    Rule(
        "key-listens-anywhere",
        _FIX,
        "The key may listen on every port from 1024 on that is free, that of a machine which is away, too.",
        'permitlisten="localhost:PORT"',
    ),
    Rule(
        "key-dials-out",
        _FIX,
        "permitlisten= bounds what the key may listen on. It still reaches all that this host reaches (-L, -D, -W), "
        "loopback services too, as permitopen= has no `none`.",
        'AllowTcpForwarding remote (in sshd_config), or permitopen="localhost:1"',
    ),
    Rule(
        "key-shell",
        _NOTE,
        "`restrict` takes the terminal, not the commands: `ssh gateway COMMAND` still runs with this key, unless the "
        "account's login shell is nologin.",
        'MaxSessions 0 (in sshd_config), or command="/usr/sbin/nologin"',
    ),
    Rule(
        "port-twice",
        _FIX,
        "{permit} is given in {place} too. Who comes first has the port, and the other's -R is refused.",
        'permitlisten="{host}:PORT" with another port',
    ),
    Rule(
        "key-twice",
        _FIX,
        "{place} has the same key, and sshd takes the first line: the options of this one never count.",
        "one line with the options of both, or another key",
    ),
    Rule(
        "key-of-two-accounts",
        _NOTE,
        "{place} lets the same key into another account. Where these are two machines, one is a clone of the other: "
        "revoking the key locks out both.",
        "a new key pair for one of them",
    ),
    Rule(
        "key-expired",
        _FIX,
        "The key's expiry-time={value} is over: sshd refuses it.",
        'expiry-time="{later}", or delete the line',
    ),
    Rule(
        "key-environment",
        _NOTE,
        "environment= is for sessions, and `ssh -N` opens none{more}: {value} is set for nobody.",
        "the name of the machine as the key's comment",
    ),
    Rule(
        "permitlisten-loopback",
        _NOTE,
        "permitlisten= compares texts: `ssh -R PORT:...` asks for localhost, and {values} lets `-R {host}:PORT:...` "
        "alone through.",
        'permitlisten="localhost:PORT"',
    ),
    Rule(
        "permitlisten-unheard",
        _FIX,
        "The key may listen on {values}, which PermitListen in {place} does not allow: its -R is refused.",
        "the port in PermitListen too (in sshd_config), or PermitListen any where each key has its own permitlisten=",
    ),
)

RULES: Final[Mapping[str, Rule]] = MappingProxyType(
    {rule.name: rule for rule in (*_OF_FILES, *_OF_EVERYBODY, *_OF_ACCOUNTS, *_OF_KEYS)}
)
