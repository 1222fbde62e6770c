"""Reads what `ferry lint sshd` and `ferry import` look at: an sshd configuration with the files that it includes, and the
key files that it names."""

from __future__ import annotations

import errno
import grp
import pwd
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final

from ferry import limits
from ferry.amounts import size
from ferry.errors import InvalidInput
from ferry.lint.views import KeyFile, View
from ferry.names import printable
from ferry.protocol.sshd_config import Parsed, Source, Version, parse, version_in
from ferry.regular_files import read_regular

FOLDER: Final = Path("/etc/ssh")  # a relative pattern of Include begins here (SSHDIR)
STDIN: Final = "-"
_OF_ACCOUNT: Final = re.compile("%[hUu]")


@dataclass(slots=True)
class Read:
    """What was read, and what could not be."""

    parsed: Parsed
    left_out: list[str] = field(default_factory=list)
    """Sentences about what was not looked at."""


def read_config(name: str) -> Read:
    """A configuration with its included files; `-` reads standard input. Raises InvalidInput if the file cannot be read."""
    left_out: list[str] = []
    try:
        source = Source("stdin", _all_of(sys.stdin.buffer)) if name == STDIN else Source(name, _text(Path(name)))
    except OSError as error:
        why = error.strerror or str(error)
        fix = (
            "run this with sudo"
            if isinstance(error, PermissionError)
            else "name an sshd_config, or - for standard input"
        )
        raise InvalidInput(f"cannot read {printable(name)} ({why}): {fix}") from None
    return Read(parse(source, lambda pattern: _included(pattern, left_out)), left_out)


def _text(path: Path) -> str:
    with path.open("rb") as file:
        return _all_of(file)


def _text_of_account(path: Path) -> str:
    """That of a file which an account may exchange for a pipe."""
    return _decoded(read_regular(path, limits.LINT_FILE_BYTES + 1))


def _all_of(file: BinaryIO) -> str:
    """Its text. Raises OSError if it is too long."""
    return _decoded(file.read(limits.LINT_FILE_BYTES + 1))


def _decoded(data: bytes) -> str:
    if len(data) > limits.LINT_FILE_BYTES:
        raise OSError(errno.EFBIG, f"longer than {size(limits.LINT_FILE_BYTES)}")
    return data.decode("utf-8", "replace")


def _included(pattern: str, left_out: list[str]) -> list[Source]:
    """The files that a pattern of Include means, in their order (glob(7))."""
    path = Path(pattern).expanduser() if pattern.startswith("~") else FOLDER / pattern
    matches = Path(path.anchor).glob(str(path.relative_to(path.anchor)))
    found = sorted(each for each in matches if not each.name.startswith(".") or path.name.startswith("."))
    return [Source(str(each), text) for each in found if (text := _try(each, left_out)) is not None]


def _try(path: Path, left_out: list[str], text_of: Callable[[Path], str] = _text) -> str | None:
    try:
        return text_of(path)
    except OSError as error:
        sudo = ": run this with sudo" if isinstance(error, PermissionError) else ""
        left_out.append(f"{path} cannot be read ({error.strerror or error}){sudo}")
        return None


def read_keys(views: Sequence[View], named: Iterable[Path], user: str | None, left_out: list[str]) -> list[KeyFile]:
    """The key files that are `named`, and those of AuthorizedKeysFile that are on this host. Raises InvalidInput for one that
    is named and cannot be read."""
    files: dict[str, KeyFile] = {}
    for path in named:
        try:
            files[str(path)] = KeyFile(str(path), _text(path), user)
        except OSError as error:
            raise InvalidInput(f"cannot read {path} ({error.strerror}): --keys names a file of public keys") from None
    for path, account in dict.fromkeys(pair for view in views for pair in _wanted(view, user)):
        if str(path) not in files and path.is_file() and (text := _try(path, left_out, _text_of_account)) is not None:
            files[str(path)] = KeyFile(str(path), text, account)
    return list(files.values())


def _wanted(view: View, user: str | None) -> Iterator[tuple[Path, str | None]]:
    """The key files of a view that may be on this host, and whose they are."""
    accounts = [user] if user else [*view.named("user"), *_members(view.named("group"))]
    for pattern in view["authorizedkeysfile"].values:
        if pattern == "none":
            continue
        if pattern.startswith("/") and not _OF_ACCOUNT.search(pattern):
            yield Path(pattern.replace("%%", "%")), user
        elif accounts:
            yield from ((path, name) for name in accounts if (path := _of_account(pattern, name)))
        elif pattern.startswith("/") and pattern.count("%") == 1 and "%u" in pattern:
            yield from _of_all_accounts(pattern)


def _members(groups: Iterable[str]) -> Iterator[str]:
    """The accounts of this host that are in these groups."""
    for name in groups:
        try:
            group = grp.getgrnam(name)
        except KeyError:
            continue
        yield from group.gr_mem
        yield from (entry.pw_name for entry in pwd.getpwall() if entry.pw_gid == group.gr_gid)


def _of_account(pattern: str, name: str) -> Path | None:
    """AuthorizedKeysFile for one account of this host; None if there is no such account."""
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    values = {"%%": "%", "%h": entry.pw_dir, "%u": name, "%U": str(entry.pw_uid)}
    return Path(entry.pw_dir) / re.sub("%.", lambda match: values.get(match[0], match[0]), pattern)


def _of_all_accounts(pattern: str) -> Iterator[tuple[Path, str]]:
    """The files that `/etc/ssh/keys/%u` or `/home/%u/keys` stands for, with the part that is the account's name."""
    before, after = pattern.split("%u")
    begin, end = before.rpartition("/")[2], after.partition("/")[0]
    folder, below = Path(before).parent if begin else Path(before), after.partition("/")[2]
    if not folder.is_dir():
        return
    for entry in sorted(folder.iterdir()):
        name = entry.name.removeprefix(begin).removesuffix(end)
        if f"{begin}{name}{end}" == entry.name:
            yield entry / below if below else entry, name


def local_version() -> Version | None:
    """The version of this host's sshd, if it has one."""
    program = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/sbin")
    if program is None:
        return None
    # Before OpenSSH 9.3 there is no -V: the version is in the complaint about it.
    done = subprocess.run(
        [program, "-V"], stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False
    )
    return version_in(done.stderr + done.stdout)
