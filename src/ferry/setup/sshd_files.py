"""Reads what `ferry lint sshd` and `ferry import` look at: an sshd configuration with the files that it includes, and the
key files that it names."""

from __future__ import annotations

import errno
import glob
import grp
import itertools
import pwd
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final

from ferry import limits
from ferry.amounts import size
from ferry.errors import InvalidInput
from ferry.lint.views import KeyFile, View
from ferry.names import printable
from ferry.protocol.authorized_keys import numbered, shut_key
from ferry.protocol.sshd_config import Parsed, Source, Version, parse, version_in
from ferry.regular_files import NotAFile, read_regular

FOLDER: Final = Path("/etc/ssh")  # a relative pattern of Include begins here (SSHDIR)
STDIN: Final = "-"
_OF_ACCOUNT: Final = re.compile("%[hUu]")
_LINES_LOOKED_AT: Final = 100
_UNKNOWN: Final = Source("sshd_config", "AllowStreamLocalForwarding no\n")
"""Defaults, without that trap of them which no line of a key can mend."""


@dataclass(slots=True)
class Read:
    """What was read, and what could not be."""

    parsed: Parsed
    left_out: list[str] = field(default_factory=list)
    """Sentences about what was not looked at."""
    keys: KeyFile | None = None
    """A file of keys, where that was named in place of a configuration: that of `parsed` nobody has written."""


def read_config(name: str) -> Read:
    """A configuration with its included files; `-` reads standard input. Raises InvalidInput if the file cannot be read."""
    return _configuration(name, _configuration_text(name, limits.LINT_CONFIG_BYTES))


def read_subject(name: str, user: str | None) -> Read:
    """The same, or a file of keys, which is that of `user`. Raises InvalidInput if the file cannot be read."""
    text = _configuration_text(name, limits.LINT_FILE_BYTES)
    shown = "stdin" if name == STDIN else name
    if _has_keys(text):
        return Read(parse(_UNKNOWN, lambda _pattern: []), keys=KeyFile(shown, text, user))
    if len(text) > limits.LINT_CONFIG_BYTES:
        raise InvalidInput(
            f"cannot read {printable(name)} (longer than {size(limits.LINT_CONFIG_BYTES)}): name an sshd_config, or - for "
            "standard input"
        )
    return _configuration(name, text)


def _has_keys(text: str) -> bool:
    """Whether most lines of a file have keys, by the first ones."""
    lines = [line for _, line in itertools.islice(numbered(text), _LINES_LOOKED_AT)]
    return sum(shut_key(line) is not None for line in lines) * 2 > len(lines)


def _configuration_text(name: str, most: int) -> str:
    try:
        return _named(None if name == STDIN else Path(name), most)
    except OSError as error:
        why = error.strerror or str(error)
        fix = (
            "run this with sudo"
            if isinstance(error, PermissionError)
            else "name an sshd_config, or - for standard input"
        )
        raise InvalidInput(f"cannot read {printable(name)} ({why}): {fix}") from None


def _configuration(name: str, text: str) -> Read:
    left_out: list[str] = []
    source = Source("stdin" if name == STDIN else name, text)
    included = _Included(left_out, limits.LINT_CONFIG_FILES, limits.LINT_CONFIG_BYTES - len(text))
    return Read(parse(source, included.by), left_out)


@dataclass(slots=True)
class _Included:
    """Reads the files that Include names."""

    left_out: list[str]
    files: int
    """How many more may be read."""
    room: int
    """How many characters more they may have."""

    def by(self, pattern: str) -> list[Source]:
        """The files that a pattern means, in their order (glob(7))."""
        if "\0" in pattern:
            return []
        # Path.glob reads ** as any folders, which walks the disk, and refuses what sshd takes.
        matches = glob.iglob(str(FOLDER / pattern), recursive=False)  # noqa: PTH207
        sources = []
        for path in sorted(itertools.islice(matches, self.files + 1)):
            self.files -= 1
            if self.files < 0:
                most = f"{limits.LINT_CONFIG_FILES:,} files, or {size(limits.LINT_CONFIG_BYTES)} in all"
                self.left_out.append(f"what Include names beyond {most}")
                break
            text = _try(Path(path), self.left_out, limits.LINT_CONFIG_BYTES)
            if text is not None:
                self.room -= len(text)
                if self.room < 0:
                    self.files = 0
                sources.append(Source(path, text))
        return sources


def _named(path: Path | None, most: int) -> str:
    """The text of what somebody names: a file, a pipe, or standard input (None). Raises OSError."""
    if path is None:
        return _all_of(sys.stdin.buffer, most)
    with path.open("rb") as file:
        return _all_of(file, most)


def _text(path: Path, most: int) -> str:
    """The text of what a file names. Raises OSError if that is no file."""
    return _decoded(read_regular(path, most + 1), most)


def _all_of(file: BinaryIO, most: int) -> str:
    return _decoded(file.read(most + 1), most)


def _decoded(data: bytes, most: int) -> str:
    """The text. Raises OSError if it has more than `most` bytes."""
    if len(data) > most:
        raise OSError(errno.EFBIG, f"longer than {size(most)}")
    return data.decode("utf-8", "replace")


def _try(path: Path, left_out: list[str], most: int) -> str | None:
    try:
        return _text(path, most)
    except OSError as error:
        sudo = ": run this with sudo" if isinstance(error, PermissionError) else ""
        why = "it is no file" if isinstance(error, NotAFile) else error.strerror
        left_out.append(f"{path} cannot be read ({why}){sudo}")
        return None


def read_keys(views: Sequence[View], named: Iterable[Path], user: str | None, left_out: list[str]) -> list[KeyFile]:
    """The key files that are `named`, and those of AuthorizedKeysFile that are on this host. Raises InvalidInput for one that
    is named and cannot be read."""
    files: dict[str, KeyFile] = {}
    for path in named:
        try:
            files[str(path)] = KeyFile(str(path), _named(path, limits.LINT_FILE_BYTES), user)
        except OSError as error:
            raise InvalidInput(
                f"cannot read {printable(str(path))} ({error.strerror}): --keys names a file of public keys"
            ) from None
    for path, account in dict.fromkeys(pair for view in views for pair in _wanted(view, user, left_out)):
        if str(path) in files or not _is_there(path):
            continue
        if (text := _try(path, left_out, limits.LINT_FILE_BYTES)) is not None:
            files[str(path)] = KeyFile(str(path), text, account)
    return list(files.values())


def _is_there(path: Path) -> bool:
    """Whether there is such a file, as far as this user may know."""
    try:
        return not path.is_dir() and path.exists()
    except OSError:
        return True


def _wanted(view: View, user: str | None, left_out: list[str]) -> Iterator[tuple[Path, str | None]]:
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
            yield from _of_all_accounts(pattern, left_out)


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


def _of_all_accounts(pattern: str, left_out: list[str]) -> Iterator[tuple[Path, str]]:
    """The files that `/etc/ssh/keys/%u` or `/home/%u/keys` stands for, with the part that is the account's name."""
    before, after = pattern.split("%u")
    begin, end = before.rpartition("/")[2], after.partition("/")[0]
    folder, below = Path(before).parent if begin else Path(before), after.partition("/")[2]
    try:
        entries = sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        left_out.append(f"{folder} cannot be read ({error.strerror}): run this with sudo")
        return
    for entry in entries:
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
