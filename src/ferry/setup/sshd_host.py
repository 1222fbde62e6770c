"""Asks an sshd on another host for its settings, with stock `ssh` and `sudo -n sshd -T`, which change nothing there."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from ferry import limits
from ferry.errors import InvalidInput
from ferry.lint.views import KeyFile, View
from ferry.names import printable
from ferry.protocol.sshd_config import Parsed, Source, Version, parse, version_in

_ACCOUNT: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_CHATTER: Final = re.compile(r"debug[123]: |OpenSSH_|Transferred: |Bytes per second: |Authenticated to ")
_BANNER: Final = re.compile(r"remote software version (OpenSSH_\S+)")


@dataclass(slots=True)
class Host:
    """An sshd that is reached over ssh. `say` is told of each command before it runs."""

    name: str
    say: Callable[[str], None]
    version: Version | None = None
    """As the server introduces itself; None where ssh uses a connection that is there already."""
    ran: list[str] = field(default_factory=list)

    def settings(self, user: str | None) -> Parsed:
        """The settings in force; with `user`, for that account. Raises InvalidInput if the host does not give them."""
        if self.name.startswith("-"):
            raise InvalidInput(f"'{printable(self.name)}' is neither a file nor a host")
        command = "sshd -T"
        if user is not None:
            command += f" -C user={_checked(user)},host=localhost,addr=127.0.0.1,laddr=127.0.0.1,lport=22"
        done = self._run("-v", self._as_root(command))
        if banner := _BANNER.search(done.stderr):
            self.version = version_in(banner[1])
        if done.returncode:
            raise InvalidInput(self._why(done))
        parsed = parse(Source(f"{self.name} (sshd -T)", done.stdout), lambda _pattern: [])
        if not parsed.is_effective:
            raise InvalidInput(f"{printable(self.name)} did not print sshd's settings: try `{self.ran[-1]}` yourself")
        return parsed

    def keys(self, view: View, user: str | None, left_out: list[str]) -> list[KeyFile]:
        """The key files that the settings name: of `user`, or of all accounts together."""
        files = []
        for pattern in view["authorizedkeysfile"].values:
            path = _path(pattern, user)
            if path is None:
                if pattern != "none":
                    of_one = "" if user else " (--user NAME reads those of one account)"
                    left_out.append(f"{printable(pattern)} on {self.name}{of_one}")
                continue
            done = self._run(self._as_root(f"cat {path}"))
            if done.returncode == 0:
                files.append(KeyFile(f"{self.name}:{path}", done.stdout, user))
            elif "No such file" not in done.stderr:
                left_out.append(f"{path} on {self.name} cannot be read")
        return files

    def _as_root(self, command: str) -> str:
        return command if self.name.startswith("root@") else f"sudo -n {command}"

    def _run(self, *words: str) -> subprocess.CompletedProcess[str]:
        *options, command = words
        line = ["ssh", *options, self.name, command]
        self.ran.append(shlex.join(line[:-1]) + f" {command}")
        self.say(self.ran[-1])
        try:
            done = subprocess.run(
                line, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False
            )
        except FileNotFoundError:
            raise InvalidInput("there is no ssh on this host: install openssh-client") from None
        done.stdout = done.stdout[: limits.LINT_FILE_BYTES]
        return done

    def _why(self, done: subprocess.CompletedProcess[str]) -> str:
        """What ssh, sudo or sshd said, with what to do."""
        name, said = printable(self.name), [line for line in done.stderr.splitlines() if not _CHATTER.match(line)]
        if any("password is required" in line or "a terminal is required" in line for line in said):
            return (
                f"sudo on {name} asks for a password. Run `sudo sshd -T` there yourself, and give what it prints to "
                "`ferry lint sshd -`"
            )
        last = printable(" / ".join(line.strip() for line in said if line.strip()), limits.LOG_FIELD_CHARS)
        where = "is no file here, and as a host it does not answer" if done.returncode == 255 else "gave no settings"
        return f"{name} {where}: {last or f'exit code {done.returncode}'}"


def _checked(user: str) -> str:
    if not _ACCOUNT.fullmatch(user):
        raise InvalidInput(f"'{printable(user)}' is not the name of an account")
    return user


def _path(pattern: str, user: str | None) -> str | None:
    """The file as the remote shell reads it: `~tunnel/.ssh/authorized_keys`. None if it needs an account, or if it has
    characters that mean something to a shell."""
    if user is not None:
        home = f"~{_checked(user)}"
        pattern = pattern.replace("%u", user).replace("%h", home)
        if not pattern.startswith(("/", "~")):
            pattern = f"{home}/{pattern}"
    plain = re.fullmatch(r"(?:~[A-Za-z0-9_.-]+)?/[A-Za-z0-9_./@+-]+", pattern)
    return pattern if plain else None
