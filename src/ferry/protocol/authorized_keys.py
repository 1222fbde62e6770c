"""Public key files: lines of `authorized_keys` (sshd(8), AUTHORIZED_KEYS FILE FORMAT).

    ssh-ed25519 AAAA... alice@laptop name=alice
    restrict,port-forwarding,permitlisten="21022" ssh-ed25519 AAAA... root@web-1

`name=` inside the comment names the identity. In a folder the file's name does, where it has one key without `name=`, or
is called `NAME.keys`. `key_options` reads
the options. A line with an option that cannot be kept to is refused as a whole: if the gateway passed over it, the key
could do things that the option forbids.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from types import MappingProxyType
from typing import NamedTuple

from ferry import limits
from ferry.errors import InvalidInput
from ferry.names import Fingerprint, parse_label, printable, typed_name

from .key_options import NO_OPTIONS, KeyOptions, System, is_option, options_end, parse_options_of_key

KEY_TYPE = re.compile(r"[a-z]+-[a-z0-9-]{1,40}(?:@[a-z.]{1,40})?")
KEY_FIELDS = MappingProxyType(
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
"""The types of keys that may log in, each with the number of strings in its wire form, the first of which is the type (RFC 4253 §6.6, RFC 5656 §3.1, RFC 8709 §4,
PROTOCOL.u2f of OpenSSH)."""
ALGORITHMS = frozenset(KEY_FIELDS)
CERTIFICATE = "-cert-v01@openssh.com"
"""The end of the type of a certificate (PROTOCOL.certkeys of OpenSSH)."""
SEVERAL_KEYS = ".keys"
"""The end of the name of a file in a folder that has several keys of one person or machine."""
FILE_SUFFIXES = (".pub", SEVERAL_KEYS)
RSA_BITS = range(2048, 8193)
"""Of keys that may log in. Below is weak; above, one signature check costs seconds (CVE-2026-39829)."""
_RSA = "ssh-rsa"
_BLANKS = " \t"
_MOST_FIELDS = max(KEY_FIELDS.values())
_BYTE_ORDER_MARK = "\ufeff"
_KEYS_IN_LINE = re.compile(
    rf"(?:(?<=[ \t])|^)({'|'.join(map(re.escape, KEY_FIELDS))})[ \t]+([A-Za-z0-9+/]+=*)(?=[ \t]|$)(?=([^\n]*))"
)
_MOST_KEYS_IN_LINE = 4
_PORTS = range(1, 65536)
_PORTS_IN_OPTIONS = re.compile(r'permit[-_]?listen\w*\s*=\s*"?(?:[^",]{0,1024}:)?([0-9]{1,5})(?![0-9])', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class AuthorizedKey:
    """One key of a file."""

    algorithm: str
    fingerprint: Fingerprint
    name: str | None
    """From `name=` in the comment."""
    options: KeyOptions = NO_OPTIONS
    comment: str = field(default="", compare=False)
    """What its author calls it, up to KEY_COMMENT_CHARS. It proves nothing."""


@dataclass(frozen=True, slots=True)
class ShutKey:
    """The key of a line that lets nobody in, as far as it can be read. It gives no right."""

    algorithm: str
    fingerprint: Fingerprint
    name: str | None = None
    """From `name=` in the comment."""
    ports: tuple[int, ...] = ()
    """The ports in what looks like `permitlisten=`."""
    comment: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that was refused: its number from 1, and the reason with what to write instead."""

    number: int
    why: str
    detail: str
    """The reason for the log, without any text of the line that may be secret."""
    key: ShutKey | None = None
    """None: no key can be read in it."""


def fingerprint_of(blob: bytes) -> Fingerprint:
    """`SHA256:...` of a public key's wire form, as `ssh-keygen -l` prints it."""
    return fingerprint_of_digest(hashlib.sha256(blob).digest())


def fingerprint_of_digest(digest: bytes) -> Fingerprint:
    """The same of the SHA-256 digest."""
    return Fingerprint("SHA256:" + base64.b64encode(digest).decode("ascii").rstrip("="))


def rsa_bits(blob: bytes) -> int | None:
    """The size of an RSA key in its wire form; None if it is no such key. Its time does not depend on the size."""
    fields = _fields(blob)
    if fields[:1] != [_RSA.encode()] or len(fields) != KEY_FIELDS[_RSA]:
        return None
    return _size(fields[2])


def is_canonical(blob: bytes) -> bool:
    """Whether a key in its wire form has the one form that ssh-keygen writes: numbers without more zeros before them than
    they need (RFC 4251 §5), points of a curve not compressed, as in sshd (RFC 5656 §3.1). Else one key could have several
    fingerprints, and count for several."""
    fields = _fields(blob)
    if fields[:1] == [_RSA.encode()]:
        return all(
            number and number[0] < 0x80 and (number[0] or (number[1:] or b"\0")[0] >= 0x80) for number in fields[1:]
        )
    if len(fields) > 2 and b"ecdsa-sha2-" in fields[0]:
        return fields[2][:1] == b"\4"
    return True


def _size(modulus: bytes) -> int:
    """The bits of a positive number (RFC 4251 §5, mpint)."""
    digits = modulus.lstrip(b"\0")
    return 8 * (len(digits) - 1) + digits[0].bit_length() if digits else 0


def parse_file(text: str, system: System) -> tuple[list[tuple[int, AuthorizedKey]], list[BadLine]]:
    """All keys of a file with the numbers of their lines, and all lines that are refused. Empty lines and `#` comments
    are skipped."""
    keys: list[tuple[int, AuthorizedKey]] = []
    bad: list[BadLine] = []
    room: dict[Fingerprint, _Room] = {}
    for number, line in numbered(text):
        try:
            size = checked_size(line)
            key = parse_line(line, system)
            room[key.fingerprint] = room.get(key.fingerprint, _Room()).with_line(size)
            keys.append((number, key))
        except InvalidInput as error:
            bad.append(BadLine(number, str(error), error.detail, shut_key(line)))
    return keys, bad


def shut_key(line: str) -> ShutKey | None:
    """The key in a line that lets nobody in, whatever is wrong with its options; None if it has none."""
    line = line.removeprefix(_BYTE_ORDER_MARK)
    for found in islice(_KEYS_IN_LINE.finditer(line), _MOST_KEYS_IN_LINE):
        algorithm, encoded, comment = found.groups()
        try:
            blob = decoded(encoded)
        except InvalidInput:
            continue
        fields = _fields(blob)
        if fields[:1] != [algorithm.encode()] or len(fields) != KEY_FIELDS[algorithm]:
            continue
        try:
            name = _name_in(comment)
        except InvalidInput:
            name = None
        options = line[: min(found.start(), limits.KEY_LINE_BYTES)]
        ports = dict.fromkeys(map(int, _PORTS_IN_OPTIONS.findall(options)))
        return ShutKey(
            algorithm,
            fingerprint_of(blob),
            name,
            tuple(port for port in ports if port in _PORTS),
            _shown_comment(comment),
        )
    return None


def numbered(text: str) -> Iterator[tuple[int, str]]:
    """The lines of a file that are neither empty nor a comment, with their numbers from 1."""
    for number, raw in enumerate(text.split("\n"), 1):
        line = raw.strip(" \t\r")
        if line and not line.startswith("#"):
            yield number, line


class _Room(NamedTuple):
    """What the lines of one key have taken of a file."""

    lines: int = 0
    size: int = 0

    def with_line(self, size: int) -> _Room:
        """With a line of `size` bytes more. Raises InvalidInput if that is too much."""
        if self.lines >= limits.KEY_LINES:
            raise InvalidInput(
                f"the key has {limits.KEY_LINES} lines above, the most in one file: leave this one out, or join lines"
            )
        if self.size + size > limits.KEY_LINES_BYTES:
            raise InvalidInput(
                f"the lines of the key have more than {limits.KEY_LINES_BYTES // limits.KIB} KiB together with this one, "
                "the most in one file: leave it out, or write shorter ones (networks in from=)"
            )
        return _Room(self.lines + 1, self.size + size)


def checked_size(line: str) -> int:
    """The bytes of a line. Raises InvalidInput if they are too many, or if the line begins with the mark that some editors put
    at the begin of a file, and do not show. sshd refuses such a line too."""
    if line.startswith(_BYTE_ORDER_MARK):
        raise InvalidInput(
            "the line begins with a byte order mark, which editors do not show: save the file as UTF-8 without BOM "
            "(sed -i '1s/^\\xef\\xbb\\xbf//' FILE)"
        )
    size = len(line.encode("utf-8", "replace"))
    if size > limits.KEY_LINE_BYTES:
        raise InvalidInput(
            f"the line has {size:,} bytes, and {limits.KEY_LINE_BYTES // limits.KIB} KiB are allowed: write shorter "
            "options, such as networks in from=, or several lines for the key"
        )
    return size


def parse_line(line: str, system: System) -> AuthorizedKey:
    """One `[options] algorithm base64 [comment]` line. Raises InvalidInput."""
    if _first_word(line) in ALGORITHMS:
        return parse_key(line)
    end = options_end(line)
    rest = line[end:].lstrip(_BLANKS)
    if _first_word(rest) not in ALGORITHMS:
        raise _no_key(line, end)
    options = parse_options_of_key(line[:end], system)
    key = parse_key(rest, options)
    if options.cert_authority and key.name is not None:
        raise InvalidInput(_NAME_OF_CA)
    return key


def parse_ca_file(text: str) -> tuple[list[tuple[int, AuthorizedKey]], list[BadLine]]:
    """The keys of CAs in a file (sshd_config(5), TrustedUserCAKeys), with the numbers of their lines, and all lines that are
    refused. There are no options."""
    keys: list[tuple[int, AuthorizedKey]] = []
    bad: list[BadLine] = []
    for number, line in numbered(text):
        try:
            checked_size(line)
            if is_option(_first_word(line)):
                raise InvalidInput(
                    "a trusted CA has no options: write its key alone, or the whole line into a file of access.keys"
                )
            key = parse_key(line)
            if key.name is not None:
                raise InvalidInput(_NAME_OF_CA)
            keys.append((number, key))
        except InvalidInput as error:
            bad.append(BadLine(number, str(error), error.detail))
    return keys, bad


_NAME_OF_CA = (
    "name= would give all certificates of this CA one identity, so none lets anybody in: remove it (the CA and the key id "
    "are the identity: ssh-keygen -s CA -I KEY_ID)"
)


def parse_key(line: str, options: KeyOptions = NO_OPTIONS) -> AuthorizedKey:
    """One `algorithm base64 [comment]` line, without its `options`. Raises InvalidInput."""
    algorithm = _first_word(line)
    if algorithm not in ALGORITHMS:
        raise _no_key_type(algorithm)
    encoded, _, comment = line[len(algorithm) :].lstrip(_BLANKS).replace("\t", " ").partition(" ")
    blob = decoded(encoded)
    fields = _fields(blob)
    if fields[:1] != [algorithm.encode()] or len(fields) != KEY_FIELDS[algorithm]:
        raise InvalidInput(f"the key is cut short or is not an {algorithm} key: copy the whole .pub line again")
    if algorithm == _RSA and (bits := _size(fields[2])) not in RSA_BITS:
        raise InvalidInput(wrong_size(bits))
    return AuthorizedKey(algorithm, fingerprint_of(blob), _name_in(comment), options, _shown_comment(comment))


def _shown_comment(comment: str) -> str:
    return comment.strip(_BLANKS)[: limits.KEY_COMMENT_CHARS]


def decoded(encoded: str) -> bytes:
    """The wire form of a key. Raises InvalidInput."""
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidInput("the key is not base64: copy the whole .pub line again") from None


def wrong_size(bits: int) -> str:
    """Why an RSA key with so many bits may not log in."""
    return (
        f"an RSA key of {bits} bits may not log in: use one of {RSA_BITS[0]} to {RSA_BITS[-1]} bits, or Ed25519 "
        "(ssh-keygen -t ed25519)"
    )


def _first_word(line: str) -> str:
    return line.replace("\t", " ").partition(" ")[0]


def _no_key(line: str, end: int) -> InvalidInput:
    """The error of a line that neither is a key nor has one behind its options, which would end at `end`."""
    first = _first_word(line)
    if not is_option(first):
        # The line may be a pasted private key: none of it may reach the log.
        return _no_key_type(first)
    if not ALGORITHMS.isdisjoint(line[end:].split()):
        return InvalidInput(
            f"a blank stands between options, behind {printable(line[:end], 60)!r}: write them with commas alone",
            detail="a blank stands between options",
        )
    return InvalidInput("no key follows the options: a line is `OPTIONS ssh-ed25519 AAAA... comment`")


def _no_key_type(word: str) -> InvalidInput:
    if word.endswith(CERTIFICATE) and KEY_TYPE.fullmatch(word):
        return InvalidInput(
            f"'{word}' is a certificate, and its key alone belongs here (the .pub file without -cert). To let in all "
            "certificates of its CA write the CA's key behind cert-authority, or into a file of access.trusted_ca_keys"
        )
    shown = f"'{word}'" if KEY_TYPE.fullmatch(word) else typed_name(word)
    return InvalidInput(f"{shown} is not a key type: a line is `ssh-ed25519 AAAA... comment`")


def _fields(blob: bytes) -> list[bytes]:
    """The strings (RFC 4251 §5) that `blob` consists of; none if it ends within one, or has more than any key."""
    fields: list[bytes] = []
    at = 0
    while at < len(blob) and len(fields) <= _MOST_FIELDS:
        size = int.from_bytes(blob[at : at + 4], "big")
        fields.append(blob[at + 4 : at + 4 + size])
        at += 4 + size
    return fields if at == len(blob) else []


def name_of_file(file: str) -> str | None:
    """The identity name of a key without `name=` in a file of a folder: `ann` for `ann.pub`, `ann.keys` and `ann`. None
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
