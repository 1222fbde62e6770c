"""Lines of authorized_keys with their options (sshd(8), AUTHORIZED_KEYS FILE FORMAT), as far as the rules ask for them.

    restrict,port-forwarding,permitlisten="localhost:21001" ssh-ed25519 AAAA... root@web-1

The options are read by the grammar of the gateway, without its own bounds. A line that sshd passes over has the reason, and
no options.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import Final

from ferry.errors import InvalidInput
from ferry.names import Fingerprint, printable
from ferry.protocol.authorized_keys import decoded, fingerprint_of, numbered
from ferry.protocol.key_options import System, options_end, parse_options_of_key, split_options
from ferry.protocol.permits import Permit
from ferry.protocol.sshd_config import Place

_FLAGS: Final = frozenset({"agent-forwarding", "port-forwarding", "pty", "user-rc", "x11-forwarding"})
_PERMITS: Final = frozenset({"permitlisten", "permitopen"})
_KEY_TYPE: Final = re.compile(r"(?:ssh|ecdsa|sk-ssh|sk-ecdsa|webauthn-sk)-[a-z0-9@.-]+")
_BLANKS: Final = re.compile(r"[ \t]+")
_WHAT_TO_WRITE: Final = re.compile(r": (?=(?:add|copy|did you mean|keep|leave|remove|write) )")
_MEANT: Final = re.compile(r"did you mean (.+)\?")
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
    return [read_line(Place(name, number), line, system) for number, line in numbered(text)]


def read_line(place: Place, line: str, system: System) -> KeyLine:
    """One line, which is neither empty nor a comment."""
    try:
        return _read(place, line, system)
    except InvalidInput as error:
        why, *fix = _WHAT_TO_WRITE.split(str(error), maxsplit=1)
        return KeyLine(place, refused=Refused(why, _MEANT.sub(r"write \1", fix[0]) if fix else _EXAMPLE))


def _read(place: Place, line: str, system: System) -> KeyLine:
    end = 0 if _KEY_TYPE.fullmatch(_BLANKS.split(line, maxsplit=1)[0]) else options_end(line)
    algorithm, encoded, comment = (*_BLANKS.split(line[end:].lstrip(" \t"), maxsplit=2), "", "")[:3]
    if not _KEY_TYPE.fullmatch(algorithm):  # its options may be a private key, pasted by mistake
        raise InvalidInput(f"there is no key type behind its options, or a space inside them: write {_EXAMPLE}")
    options = tuple((name.lower(), value or "") for name, value in split_options(line[:end]))
    for name in (name for name, value in options if name in _PERMITS and value == "any:any"):
        return KeyLine(place, refused=Refused("any:any is no host and port", f'{name}="*:*"', any_any=name))
    ports = parse_options_of_key(line[:end], system, as_sshd=True).permit_listen
    return KeyLine(place, options, fingerprint_of(_blob(encoded, algorithm)), comment, ports)


def _blob(encoded: str, algorithm: str) -> bytes:
    """The wire form of a key (RFC 4253 §6.6): strings, of which the first is the algorithm. Raises InvalidInput. sshd takes
    more kinds and sizes of keys than a gateway."""
    blob = decoded(encoded)
    at, first = 0, struct.pack(">I", len(algorithm)) + algorithm.encode()
    while at < len(blob):
        at += 4 + int.from_bytes(blob[at : at + 4], "big")
    if at != len(blob) or not blob.startswith(first) or len(blob) == len(first):
        shown = printable(algorithm, 60)
        raise InvalidInput(f"the key is cut short or is no {shown} key: copy the whole .pub line again")
    return blob
