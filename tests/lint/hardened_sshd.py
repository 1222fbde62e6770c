"""The files of an sshd without any trap, and what the linter finds in them once a trap is written in."""

from __future__ import annotations

import struct
from base64 import b64encode
from datetime import UTC, datetime

from ferry.lint.config_rules import Server
from ferry.lint.findings import Finding
from ferry.lint.run import lint
from ferry.lint.views import KeyFile
from ferry.protocol.sshd_config import Source, Version, parse
from ferry.this_host import THIS_HOST

NOW = datetime(2026, 11, 22, tzinfo=UTC)
HARDENED = """\
MaxStartups 200:30:1000
LoginGraceTime 30
DisableForwarding yes
AcceptEnv LANG LC_*
Match User tunnel
    DisableForwarding no
    AllowTcpForwarding remote
    AllowStreamLocalForwarding no
    PermitListen localhost:21001 localhost:21002
    GatewayPorts no
    ClientAliveInterval 15
    ClientAliveCountMax 3
    MaxSessions 0
"""
OPTIONS = 'restrict,port-forwarding,permitlisten="localhost:2100{}"'


def public_key(number: int) -> str:
    """`ssh-ed25519 AAAA...`, another for each number."""
    fields = b"ssh-ed25519", bytes([number]) * 32
    return "ssh-ed25519 " + b64encode(b"".join(struct.pack(">I", len(each)) + each for each in fields)).decode()


KEYS = f"""\
# the machines
{OPTIONS.format(1)} {public_key(1)} root@web-1
{OPTIONS.format(2)} {public_key(2)} root@web-2
"""


def findings(
    config: str, keys: str = KEYS, *, user: str | None = "tunnel", version: Version | None = (9, 7)
) -> list[Finding]:
    files = [KeyFile("keys", keys, user)] if keys else []
    return found_in(config, *files, user=user, version=version)


def found_in(config: str, *files: KeyFile, user: str | None = None, version: Version | None = (9, 7)) -> list[Finding]:
    """The findings in a configuration and several files of keys."""
    parsed = parse(Source("sshd_config", config), lambda _pattern: [])
    return lint(parsed, files, user=user, server=Server(THIS_HOST, version), now=NOW)


def named(found: list[Finding]) -> list[str]:
    """`rule FILE:LINE`, for each."""
    return [f"{each.rule} {each.place}" for each in found]


def changed(text: str, old: str, new: str) -> str:
    assert old in text
    return text.replace(old, new, 1)
