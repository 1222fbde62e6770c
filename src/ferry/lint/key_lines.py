"""Lines of authorized_keys with their options (sshd(8), AUTHORIZED_KEYS FILE FORMAT), as far as the rules ask for them.

    restrict,port-forwarding,permitlisten="localhost:21001" ssh-ed25519 AAAA... root@web-1

`read_line` is the only door, so that the grammar behind it can change. A line that sshd passes over has the reason, and no
options.
"""

from __future__ import annotations

import base64
import binascii
import re
import struct
from dataclasses import dataclass
from typing import Final

from ferry.errors import InvalidInput
from ferry.names import Fingerprint, printable, typed_name
from ferry.protocol.authorized_keys import fingerprint_of
from ferry.protocol.key_options import System, expiry
from ferry.protocol.permits import Permit
from ferry.protocol.sshd_config import Place, permit

_FLAGS: Final = frozenset({"agent-forwarding", "port-forwarding", "pty", "user-rc", "x11-forwarding"})
_OTHER_FLAGS: Final = frozenset({"cert-authority", "restrict", "touch-required", "verify-required"})
_ONCE: Final = frozenset({"command", "from", "principals"})
_PERMITS: Final = frozenset({"permitlisten", "permitopen"})
_VALUED: Final = _ONCE | _PERMITS | {"environment", "expiry-time", "tunnel"}
_OPTION: Final = re.compile(r'([A-Za-z0-9-]+)(?:="((?:\\"|[^"])*+)")?')
_QUOTED: Final = re.compile(r'(?:\\"|"(?:\\"|[^"])*+"|[^" \t])++')
_VARIABLE: Final = re.compile(r"[A-Za-z0-9_]+=.*")
_EXAMPLE: Final = 'restrict,port-forwarding,permitlisten="localhost:PORT" ssh-ed25519 AAAA... COMMENT'


@dataclass(frozen=True, slots=True)
class Refused:
    """Why sshd passes over a line, and what to write."""

    why: str
    fix: str
    any_any: str = ""
    """`permitopen` or `permitlisten` where its value is any:any."""


@dataclass(frozen=True, slots=True)
class KeyLine:
    """One key of a file."""

    place: Place
    options: tuple[tuple[str, str], ...] = ()
    """In their order, names in lower case; flags have no value."""
    fingerprint: Fingerprint | None = None
    comment: str = ""
    listens_on: tuple[Permit, ...] = ()
    """From permitlisten=."""
    refused: Refused | None = None

    def has(self, name: str) -> bool:
        return any(option == name for option, _ in self.options)

    def values(self, name: str) -> list[str]:
        return [value for option, value in self.options if option == name]

    def allows(self, flag: str) -> bool:
        """Whether `pty`, `port-forwarding` or the like is allowed. Of several options about it the last decides."""
        allowed = True
        for name, _ in self.options:
            if name in ("restrict", f"no-{flag}"):
                allowed = False
            elif name == flag:
                allowed = True
        return allowed

    @property
    def is_restricted(self) -> bool:
        """Whether sshd takes from the key what a tunnel does not need, by `restrict` or one by one."""
        return self.has("restrict") or not any(self.allows(flag) for flag in _FLAGS - {"port-forwarding", "user-rc"})

    @property
    def listens(self) -> bool:
        """Whether the line gives the key ports to listen on."""
        return self.has("permitlisten")


def key_lines(name: str, text: str, system: System) -> list[KeyLine]:
    """All keys of a file. Empty lines and `#` comments are skipped."""
    lines = []
    for number, raw in enumerate(text.split("\n"), 1):
        line = raw.strip(" \t\r")
        if line and not line.startswith("#"):
            lines.append(read_line(Place(name, number), line, system))
    return lines


def read_line(place: Place, line: str, system: System) -> KeyLine:
    """One line, which is neither empty nor a comment."""
    rest, options = line, ""
    first = line.split(None, 1)[0]
    if not _is_key_type(first):
        match = _QUOTED.match(line)
        if not match or '"' in line[match.end() : match.end() + 1]:
            why = "a quote of its options is not closed"
            return KeyLine(place, refused=Refused(why, 'OPTION="VALUE",OPTION="VALUE" ssh-ed25519 AAAA... COMMENT'))
        options, rest = match[0], line[match.end() :].strip(" \t")
    read = _options(options, system)
    if isinstance(read, Refused):
        return KeyLine(place, refused=read)
    algorithm, encoded, comment = (*rest.split(None, 2), "", "", "")[:3]
    if not _is_key_type(algorithm):
        why = "there is no key type behind its options, or a space inside them"
        return KeyLine(place, refused=Refused(why, _EXAMPLE))
    blob = _blob(encoded, algorithm)
    if blob is None:
        why = f"the key is not base64, is cut short or is no {printable(algorithm, 60)} key"
        return KeyLine(place, refused=Refused(why, "copy the whole .pub line again"))
    ports = (permit(value, system.port_of, listens=True) for name, value in read if name == "permitlisten")
    return KeyLine(place, read, fingerprint_of(blob), comment, tuple(each for each in ports if each))


def _blob(encoded: str, algorithm: str) -> bytes | None:
    """The wire form of a key (RFC 4253 §6.6): strings, of which the first is the algorithm. None if it is no such thing."""
    try:
        blob = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return None
    at, first = 0, struct.pack(">I", len(algorithm)) + algorithm.encode()
    while at < len(blob):
        at += 4 + int.from_bytes(blob[at : at + 4], "big")
    return blob if at == len(blob) and blob.startswith(first) and len(blob) > len(first) else None


def _is_key_type(word: str) -> bool:
    return re.fullmatch(r"(?:ssh|ecdsa|sk-ssh|sk-ecdsa|webauthn-sk)-[a-z0-9@.-]+", word) is not None


def _options(text: str, system: System) -> tuple[tuple[str, str], ...] | Refused:
    found: list[tuple[str, str]] = []
    at = 0
    while at < len(text):
        if text[at] == ",":  # sshd takes nothing between two commas for an option
            at += 1
            continue
        match = _OPTION.match(text, at)
        if not match:
            return Refused('its options are not NAME or NAME="VALUE" with commas between them', _EXAMPLE)
        name, value = match[1].lower(), match[2]
        if refused := _wrong(name, value, found, text[match.end() : match.end() + 1]) or _wrong_value(
            name, value or "", system
        ):
            return refused
        found.append((name, (value or "").replace('\\"', '"')))
        at = match.end()
    return tuple(found)


def _wrong(name: str, value: str | None, earlier: list[tuple[str, str]], following: str) -> Refused | None:
    """Why sshd refuses one option, if it does. `following` is the character behind it."""
    flag = name.removeprefix("no-")
    is_flag = flag in _FLAGS or name in _OTHER_FLAGS or flag in ("touch-required", "verify-required")
    if not is_flag and name not in _VALUED:
        shown = typed_name(name)  # the line may be a private key, pasted by mistake
        return Refused(f"it has the option {shown}, which sshd does not know", "the line without that option")
    if not is_flag and value is None:
        return Refused(f"{name} has no value in double quotes", f'{name}="VALUE"')
    if following not in ("", ","):
        return Refused(f"there is more behind {name} than a comma", "OPTION,OPTION ssh-ed25519 AAAA... COMMENT")
    if value is None:
        return None
    if is_flag:
        return Refused(f"{name} takes no value", name)
    if name in _ONCE and any(option == name for option, _ in earlier):
        return Refused(f"{name}= stands twice", f"one {name}= alone")
    return None


def _wrong_value(name: str, value: str, system: System) -> Refused | None:
    if name in _PERMITS and permit(value, system.port_of, listens=name == "permitlisten") is None:
        if value == "any:any":
            return Refused("any:any is no host and port", f'{name}="*:*"', any_any=name)
        host = "localhost" if name == "permitlisten" else "HOST"
        return Refused(f"{name}={value} is no HOST:PORT with a port from 1 to 65535", f'{name}="{host}:PORT"')
    if name == "expiry-time":
        try:
            expiry(value, system)
        except InvalidInput:
            return Refused(f"expiry-time={value} is no time", 'expiry-time="20301231" (or 203012312359Z)')
    if name == "tunnel" and value.lower() != "any" and not value.isdecimal():
        return Refused(f"tunnel={value} is no number of a device", 'tunnel="0", or no tunnel= at all')
    if name == "environment" and not _VARIABLE.fullmatch(value):
        return Refused(f"environment={value} is no variable", 'environment="NAME=VALUE"')
    return None
