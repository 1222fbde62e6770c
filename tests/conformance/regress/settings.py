"""A gateway's configuration from the sshd_config of OpenSSH's scripts.

What Ferry has a setting for becomes that setting: those with sshd's names as `ferry import sshd_config` translates them. What
concerns shells goes to `shell.ShellRules`. Ciphers and the like are left to the client: the scripts write the same list on
both sides, and Ferry offers what it offers.
"""

from __future__ import annotations

import getopt
import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ferry.protocol.sshd_config import Block, Parsed, Source, Statement, in_patterns, parse, seconds
from ferry.setup.sshd_import import translate
from sshd_program import own_user

from .shell import ShellRules

FIRST_PORT, LAST_PORT = 1, 65535
POLICY = """
[[rule]]
name = "all that sshd does without settings"
who = "*"
publish.ports = ["*"]
reach.ports = ["*"]
reach.hosts = ["127.0.0.1:*", "localhost:*", "127.0.0.1:{port}", "localhost:{port}"]
publish.sockets = ["*"]
reach.sockets = ["*"]
"""


@dataclass
class Arguments:
    """Those of one call of `sshd`, as far as the scripts give them (sshd(8))."""

    file: Path = Path("/dev/null")
    settings: list[str] = field(default_factory=list)
    """`-o`: they count before the file."""
    log: Path | None = None
    test: bool = False
    prints: bool = False
    """`-T`."""
    inetd: bool = False


def arguments_of(words: Sequence[str]) -> Arguments:
    """Raises getopt.GetoptError."""
    given, rest = getopt.getopt(list(words), "f:o:E:p:h:c:g:u:k:b:C:46DdeiqrtT")
    if rest:
        raise getopt.GetoptError(f"{rest[0]!r} follows the options")
    arguments = Arguments()
    for name, value in given:
        match name:
            case "-f":
                arguments.file = Path(value)
            case "-o":
                arguments.settings.append(value)
            case "-E":
                arguments.log = Path(value)
            case "-t":
                arguments.test = True
            case "-T":
                arguments.prints = True
            case "-C":  # it goes with -T
                arguments.prints = True
            case "-i":
                arguments.inetd = True
            case _:
                raise getopt.GetoptError(f"no script was known to give {name}")
    return arguments


@dataclass
class Wanted:
    """What an sshd_config asks for, for all who log in."""

    parsed: Parsed = field(default_factory=lambda: Parsed(""))

    @property
    def statements(self) -> list[Statement]:
        return [each for each in self.parsed.statements if all(block.is_for_all for block in each.blocks)]

    def all(self, keyword: str) -> list[tuple[str, ...]]:
        """The values of each line with that keyword."""
        return [each.values for each in self.statements if each.keyword == keyword.lower()]

    def first(self, keyword: str, default: str = "") -> str:
        """The value that counts of a keyword with one value."""
        return next((values[0] for values in self.all(keyword)), default)

    def words(self, keyword: str) -> list[str]:
        """The values of all lines with a keyword that may stand in several."""
        return [value for values in self.all(keyword) for value in values]

    @property
    def port(self) -> int:
        return int(self.first("Port", "22"))

    @property
    def pid_file(self) -> Path | None:
        text = self.first("PidFile", "none")
        return None if text == "none" else Path(text)

    @property
    def key_files(self) -> list[Path]:
        """Those for the user of the scripts, of whom a gateway has one configuration."""
        named = [each for each in self.parsed.statements if each.keyword == "authorizedkeysfile"]
        named.sort(key=lambda each: each.blocks == ())
        found = next((each for each in named if all(_is_for_user(block) for block in each.blocks)), None)
        values = () if found is None else found.values
        return [Path(value) for value in values if value != "/dev/null"]

    @property
    def host_keys(self) -> list[Path]:
        return [Path(value) for value in self.words("HostKey")]

    @property
    def host_certificates(self) -> list[Path]:
        return [Path(value) for value in self.words("HostCertificate")]

    @property
    def rekey(self) -> tuple[int | None, float | None]:
        """Bytes and seconds after which the server exchanges keys (`RekeyLimit`)."""
        values = next(iter(self.all("RekeyLimit")), ())
        size = values[0].lower() if values else "default"
        time = values[1].lower() if len(values) > 1 else "none"
        units = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
        after = None
        if size not in ("default", "none"):
            after = int(size[:-1]) * units[size[-1]] if size[-1] in units else int(size)
        return after, None if time == "none" else seconds(time)


def wanted_of(arguments: Arguments) -> Wanted:
    """Read the settings of a call. Raises OSError, ValueError."""
    text = "\n".join([*arguments.settings, arguments.file.read_text("utf-8")])
    parsed = parse(Source(str(arguments.file), text), _included)
    if parsed.mistakes:
        raise ValueError(f"{parsed.mistakes[0].place}: {parsed.mistakes[0].why}")
    return Wanted(parsed)


def _included(pattern: str) -> list[Source]:
    raise ValueError(f"no script was known to include {pattern}")


def _sshd(wanted: Wanted) -> dict[str, Any]:
    """The table `sshd`. The folder of sockets of an identity is that of the script, if the identity is called as that."""
    table: dict[str, Any] = {"match": []}
    for each in translate(wanted.parsed).carried:
        if each.key == "sshd.match":
            table["match"].append(each.value)
        elif each.key.startswith("sshd."):
            table[each.key.removeprefix("sshd.")] = each.value
    if "streamlocal_folder" in table:
        table["streamlocal_folder"] = Path(os.environ["OBJ"]).parent
    return table


def _is_for_user(block: Block) -> bool:
    users = block.values("user")
    return len(users) == len(block.criteria) and all(in_patterns(own_user(), each) for each in users)


def configuration(wanted: Wanted, folder: Path) -> dict[str, Any]:
    """The tables of a gateway's configuration, which listens nowhere but for SSH. Its files are in `folder`."""
    policy = folder / "policy.toml"
    policy.write_text(
        POLICY.format(port=wanted.port)
    )  # to a port of its own the gateway wants a rule for that very port
    grace = seconds(wanted.first("LoginGraceTime", "120")) or 0
    return {
        "state": folder / "state",
        "ssh": {
            "listen": f"{wanted.first('ListenAddress', '127.0.0.1')}:{wanted.port}",
            "login_grace": grace,
            "key_grace": grace,
            "auth_tries": int(wanted.first("MaxAuthTries", "6")),
            "handshakes": int(wanted.first("MaxStartups", "10").partition(":")[0]),
            "banner": False,
            "penalties": False,
        },
        "http": {"listen": []},
        "https": {"listen": []},
        "admin": {"listen": []},
        "access": {
            "mode": "keys",
            "policy": policy,
            "keys": wanted.key_files,
            "trusted_ca_keys": [Path(value) for value in wanted.words("TrustedUserCAKeys")],
            "authorized_principals": wanted.first("AuthorizedPrincipalsFile") or None,
            "revoked_keys": wanted.first("RevokedKeys") or None,
        },
        "tcp": {"ranges": [{"first": FIRST_PORT, "last": LAST_PORT, "listen": "loopback"}], "allocate_from": 0},
        "sshd": _sshd(wanted),
        "session": {"end_refused": False},
        "log": {"format": "human", "level": "debug"},
    }


def shell_rules(wanted: Wanted) -> ShellRules:
    variables: dict[str, str] = {}
    for word in wanted.words("SetEnv"):
        name, _, value = word.partition("=")
        variables.setdefault(name, value)
    return ShellRules(
        accepted=tuple(wanted.words("AcceptEnv")),
        variables=variables,
        subsystems={values[0]: shlex.join(values[1:]) for values in wanted.all("Subsystem")},
        key_variables=wanted.first("PermitUserEnvironment", "no") == "yes",
        command=wanted.first("ForceCommand") or None,
    )
