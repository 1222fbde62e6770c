"""Paths of key files with `%u` (sshd_config(5), TOKENS): one file for each login name.

    /etc/ferry/keys/%u           a key in the file `backup` counts for log-ins as `backup`
    /home/%u/.ssh/authorized_keys

`%%` stands for one `%`. Any other `%` stands for itself.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, NamedTuple

from ferry.errors import InvalidInput
from ferry.names import printable

_TOKEN: Final = re.compile(r"%[%u]")
_OTHERS: Final = re.compile(r"(?<!%)(?:%%)*(%[hU])")
_USER: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@-]{0,63}")
"""Login names with a file: none of them leads to another folder, is hidden, or looks like an option."""
# systemd's `hidden_or_backup_file` (src/basic/path-util.c) has most of these, for folders of settings.
_COPY: Final = re.compile(
    r".*~|#.*"  # editors, cp --backup; Emacs while a file is edited
    r"|.*\.(?:bak|backup|old|orig|rej|save|sav|new|tmp|temp|copy|sw[a-p])"  # sed -i.bak, patch, nano, vim
    r"|.*\.(?:(?:dpkg|ucf)-[a-z]+|(?:rpm|pac)(?:new|save|orig)|cfsaved)"  # packages
    r"|.*\.(?:pub|keys)[^A-Za-z0-9].*"  # whatever stands behind an ending of ours: fleet.keys.1, ann.pub_2025
    r"|.*(?:\.(?:19|20)[0-9]{6}|[._-](?:19|20)[0-9]{2}-[01][0-9]-[0-3][0-9])(?:[^0-9].*)?",  # fleet-2026-11-22
    re.DOTALL | re.IGNORECASE,
)


class KeyPath(NamedTuple):
    """One path of `access.keys` or `access.authorized_principals`."""

    path: Path
    """All of it, if it has no `%u`; else the folder above the part with `%u`."""
    part: str = ""
    """The name in that folder, with `%u`; empty if there is none."""
    rest: str = ""
    """The path below it, which may have `%u` too."""

    def user_of(self, name: str) -> str | None:
        """The login name for which an entry of the folder is; None if it is for none."""
        found = re.fullmatch(_pattern(self.part), name, re.DOTALL)
        return found["user"] if found is not None and is_login_name(found["user"]) else None

    def file_of(self, user: str) -> Path:
        """The file for a login name. Raises InvalidInput if it may have none."""
        if is_copy(user):
            raise InvalidInput(
                f"a file for the login name {printable(user, 60)!r} would not count, for files are called so that editors and "
                "people leave behind as copies: log in with another name"
            )
        if not is_login_name(user):
            raise InvalidInput(f"the login name {printable(user, 60)!r} has no file of keys: log in with another")
        return self.path / _expanded(self.part, user) / _expanded(self.rest, user)


def is_login_name(text: str) -> bool:
    """Whether a login name may have a file of keys."""
    return _USER.fullmatch(text) is not None


def is_copy(name: str) -> bool:
    """Whether an editor, a package or a person has left a file of this name beside another: `fleet.keys.bak`, `#ann#`. In
    a folder it counts for nothing, or a key that was taken out of its file would be let in by the copy."""
    return _COPY.fullmatch(name) is not None


def parse_key_path(path: Path) -> KeyPath:
    """One path of `access.keys`. Raises InvalidInput with what to write instead."""
    text = str(path)
    if (other := _OTHERS.search(text)) is not None:
        raise InvalidInput(f"{printable(text)!r} has {other.group(1)}: only %u is known, and %% for one %")
    above: list[str] = []
    for number, part in enumerate(path.parts):
        if "%u" in _TOKEN.findall(part):
            rest = path.parts[number + 1 :]
            return KeyPath(Path(*above) if above else Path(), part, str(Path(*rest)) if rest else "")
        above.append(_expanded(part, ""))
    return KeyPath(Path(*above))


class Role(enum.StrEnum):
    """What stands in a file, by the key of the configuration that names it."""

    KEYS = "access.keys"
    CAS = "access.trusted_ca_keys"
    PRINCIPALS = "access.authorized_principals"
    REVOKED = "access.revoked_keys"


@dataclass(frozen=True, slots=True)
class AccessPaths:
    """The paths in the configuration."""

    keys: tuple[Path, ...] = ()
    """Files, folders of files, or files for login names."""
    trusted_cas: tuple[Path, ...] = ()
    """Files, or folders of files."""
    principals: Path | None = None
    """A file, or files for login names."""
    revoked: Path | None = None
    """A file."""
    strict_beside: Path | None = None
    """The state folder: its owner and root alone may write the files, or they grant nothing (StrictModes). None: whoever
    may write them."""

    def one_by_one(self) -> Iterator[tuple[Role, Path, AccessPaths]]:
        """Each path alone."""
        none = AccessPaths(strict_beside=self.strict_beside)
        yield from ((Role.KEYS, path, replace(none, keys=(path,))) for path in self.keys)
        yield from ((Role.CAS, path, replace(none, trusted_cas=(path,))) for path in self.trusted_cas)
        if self.principals is not None:
            yield Role.PRINCIPALS, self.principals, replace(none, principals=self.principals)
        if self.revoked is not None:
            yield Role.REVOKED, self.revoked, replace(none, revoked=self.revoked)

    def all(self) -> Iterator[tuple[Role, KeyPath]]:
        """All of them, in the order in which their lines decide."""
        yield from ((Role.KEYS, parse_key_path(path)) for path in self.keys)
        yield from ((Role.CAS, KeyPath(path)) for path in self.trusted_cas)
        if self.principals is not None:
            yield Role.PRINCIPALS, parse_key_path(self.principals)
        if self.revoked is not None:
            yield Role.REVOKED, KeyPath(self.revoked)


def _expanded(text: str, user: str) -> str:
    return _TOKEN.sub(lambda token: "%" if token.group() == "%%" else user, text)


def _pattern(part: str) -> str:
    """A regular expression for names that `part`, which has `%u`, may stand for."""
    made, at, user = "", 0, "(?P<user>.+)"
    for token in _TOKEN.finditer(part):
        made += re.escape(part[at : token.start()])
        if token.group() == "%%":
            made += "%"
        else:
            made, user = made + user, "(?P=user)"
        at = token.end()
    return made + re.escape(part[at:])
