"""Public key files: `authorized_keys` lines without options (sshd(8), AUTHORIZED_KEYS FILE FORMAT).

    ssh-ed25519 AAAA... alice@laptop name=alice

`name=` inside the comment names the identity. In a folder the file's name does where a line has none. A line with options is refused: if the gateway ignored an option, the key
could do things that the option forbids.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from types import MappingProxyType

from ferry.errors import InvalidInput
from ferry.names import Fingerprint, parse_label, typed_name

_KEY_TYPE = re.compile(r"[a-z]+-[a-z0-9-]{1,40}(?:@[a-z.]{1,40})?")
_FIELDS = MappingProxyType(
    {
        "ssh-ed25519": 2,
        "ssh-rsa": 3,
        "ecdsa-sha2-nistp256": 3,
        "ecdsa-sha2-nistp384": 3,
        "ecdsa-sha2-nistp521": 3,
        "sk-ssh-ed25519@openssh.com": 3,
        "sk-ecdsa-sha2-nistp256@openssh.com": 4,
    }
)
"""Strings in a key's wire form, the first of which is the algorithm (RFC 4253 §6.6, RFC 5656 §3.1, RFC 8709 §4,
PROTOCOL.u2f of OpenSSH)."""
ALGORITHMS = frozenset(_FIELDS)
FILE_SUFFIXES = (".pub", ".keys")


@dataclass(frozen=True, slots=True)
class AuthorizedKey:
    """One key of a file."""

    algorithm: str
    fingerprint: Fingerprint
    name: str | None
    """From `name=` in the comment."""


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that was refused: its number from 1, and the reason with what to write instead."""

    number: int
    why: str
    detail: str
    """The reason for the log, without any text of the line that may be secret."""


def fingerprint_of(blob: bytes) -> Fingerprint:
    """`SHA256:...` of a public key's wire form, as `ssh-keygen -l` prints it."""
    return Fingerprint("SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode("ascii").rstrip("="))


def parse_file(text: str) -> tuple[list[AuthorizedKey], list[BadLine]]:
    """All keys of a file, and all lines that are refused. Empty lines and `#` comments are skipped."""
    keys: list[AuthorizedKey] = []
    bad: list[BadLine] = []
    for number, raw in enumerate(text.split("\n"), 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        try:
            keys.append(parse_line(line))
        except InvalidInput as error:
            bad.append(BadLine(number, str(error), error.detail))
    return keys, bad


def parse_line(line: str) -> AuthorizedKey:
    """One `algorithm base64 [comment]` line. Raises InvalidInput."""
    algorithm, encoded, comment = (*line.split(None, 2), "", "")[:3]
    if algorithm not in ALGORITHMS:
        if not ALGORITHMS.isdisjoint(line.split()):
            raise InvalidInput(
                f"the line begins with options ({typed_name(algorithm)}), which this version does not enforce: "
                "remove them, or the key"
            )
        # The line may be a pasted private key: none of it may reach the log.
        shown = f"'{algorithm}'" if _KEY_TYPE.fullmatch(algorithm) else typed_name(algorithm)
        raise InvalidInput(f"{shown} is not a key type: a line is `ssh-ed25519 AAAA... comment`")
    try:
        blob = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidInput("the key is not base64: copy the whole .pub line again") from None
    fields = _fields(blob)
    if fields[:1] != [algorithm.encode()] or len(fields) != _FIELDS[algorithm]:
        raise InvalidInput(f"the key is cut short or is not an {algorithm} key: copy the whole .pub line again")
    return AuthorizedKey(algorithm, fingerprint_of(blob), _name_in(comment))


def _fields(blob: bytes) -> list[bytes]:
    """The strings (RFC 4251 §5) that `blob` consists of; none if it ends within one."""
    fields, at = [], 0
    while at < len(blob):
        size = int.from_bytes(blob[at : at + 4], "big")
        fields.append(blob[at + 4 : at + 4 + size])
        at += 4 + size
    return fields if at == len(blob) else []


def name_of_file(file: str) -> str | None:
    """The identity name of the keys without `name=` in a file of a folder: `ann` for `ann.pub`, `ann.keys` and `ann`. None
    if the file is not called as an identity may be: `id_ed25519.pub`, `authorized_keys`."""
    for suffix in FILE_SUFFIXES:
        file = file.removesuffix(suffix)
    try:
        return parse_label(file)
    except InvalidInput:
        return None


def _name_in(comment: str) -> str | None:
    names = [word[5:] for word in comment.split() if word.startswith("name=")]
    if len(names) > 1:
        raise InvalidInput("the comment has two name=: keep one")
    return parse_label(names[0], "identity name") if names else None
