"""Binary lists of revoked keys (PROTOCOL.krl of OpenSSH), as `ssh-keygen -k` writes them, and the result of either kind of
list.

    header, then sections: a type (a byte) and its data (a string)

A section that is not known is an error: a key in it would count as good. Signatures of lists are not checked, as in sshd.
"""

from __future__ import annotations

import enum
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from ferry import limits
from ferry.errors import InvalidInput
from ferry.names import Fingerprint

from .authorized_keys import fingerprint_of, fingerprint_of_digest
from .certificates import Certificate
from .fields import Fields

KRL_MAGIC: Final = b"SSHKRL\n\0"
_FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class RevokedOfCa:
    """What is revoked of the certificates of one CA."""

    key_ids: frozenset[bytes] = frozenset()
    serials: frozenset[int] = frozenset()
    starts: tuple[int, ...] = ()
    """Of ranges of serial numbers, in order. No two of them overlap."""
    ends: tuple[int, ...] = ()
    """The last serial number of each."""
    bitmaps: tuple[tuple[int, bytes], ...] = ()
    """The first serial number, and a bit for it and each of the next ones, the first bit in the last byte."""

    def has(self, certificate: Certificate) -> bool:
        """Whether it has a certificate. As in sshd, the serial number 0 is none."""
        return certificate.key_id.encode() in self.key_ids or (certificate.serial > 0 and self._has(certificate.serial))

    def _has(self, serial: int) -> bool:
        if serial in self.serials:
            return True
        at = bisect_right(self.starts, serial) - 1
        return (at >= 0 and serial <= self.ends[at]) or any(
            _bit(bits, serial - first) for first, bits in self.bitmaps if serial >= first
        )


def _bit(bits: bytes, number: int) -> bool:
    return number < 8 * len(bits) and bool(bits[-1 - number // 8] >> number % 8 & 1)


@dataclass(frozen=True, slots=True)
class Revocations:
    """A list of revoked keys."""

    keys: frozenset[Fingerprint] = frozenset()
    """Keys, certified keys and CAs."""
    of_cas: dict[Fingerprint | None, RevokedOfCa] = field(default_factory=dict)
    """Certificates by their CA; None: of every CA."""

    def __len__(self) -> int:
        return len(self.keys) + sum(
            len(of.key_ids) + len(of.serials) + len(of.starts) + len(of.bitmaps) for of in self.of_cas.values()
        )

    def has_certificate(self, certificate: Certificate) -> bool:
        """Whether it has a certificate by its key id or its serial number."""
        of_cas = (self.of_cas.get(ca) for ca in (certificate.ca_fingerprint, None))
        return any(of is not None and of.has(certificate) for of in of_cas)


class _Section(enum.IntEnum):
    CERTIFICATES = 1
    KEYS = 2
    SHA1 = 3
    SIGNATURE = 4
    SHA256 = 5


class _Part(enum.IntEnum):
    """Of a section of certificates."""

    SERIALS = 0x20
    RANGE = 0x21
    BITMAP = 0x22
    KEY_IDS = 0x23


@dataclass(slots=True)
class _OfCa:
    key_ids: set[bytes] = field(default_factory=set)
    serials: set[int] = field(default_factory=set)
    ranges: list[tuple[int, int]] = field(default_factory=list)
    bitmaps: list[tuple[int, bytes]] = field(default_factory=list)

    def made(self) -> RevokedOfCa:
        ranges = list(_joined(sorted(self.ranges)))
        starts, ends = tuple(first for first, _ in ranges), tuple(last for _, last in ranges)
        return RevokedOfCa(frozenset(self.key_ids), frozenset(self.serials), starts, ends, tuple(self.bitmaps))


def _joined(ranges: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Ordered ranges without overlaps."""
    before: tuple[int, int] | None = None
    for first, last in ranges:
        if before is not None and first <= before[1] + 1:
            before = before[0], max(before[1], last)
            continue
        if before is not None:
            yield before
        before = first, last
    if before is not None:
        yield before


def parse_krl(data: bytes) -> Revocations:
    """A binary list. Raises InvalidInput."""
    fields = Fields(data, _CUT)
    fields.take(len(KRL_MAGIC))
    if fields.number(4) != _FORMAT:
        raise InvalidInput(
            "its format is newer than this gateway knows: make it with ssh-keygen -k of OpenSSH 10 or older"
        )
    fields.take(3 * 8)  # its version, its date, flags
    fields.string(), fields.string()  # reserved, comment
    keys: set[Fingerprint] = set()
    of_cas: dict[Fingerprint | None, _OfCa] = {}
    sections = 0
    while fields.more:
        kind, content = fields.number(1), Fields(fields.string(), _CUT)
        sections += 1
        match kind:
            case _Section.CERTIFICATES:
                ca = content.string()
                content.string()  # reserved
                sections += _read_certificates(content, of_cas.setdefault(fingerprint_of(ca) if ca else None, _OfCa()))
            case _Section.KEYS:
                keys.update(map(fingerprint_of, content.strings()))
            case _Section.SHA256:
                keys.update(map(fingerprint_of_digest, content.strings()))
            case _Section.SIGNATURE:
                fields.string()  # by the key in the section
            case _Section.SHA1:
                raise InvalidInput(
                    "it has SHA-1 fingerprints, which are not compared: make it of public keys or sha256: lines"
                )
            case _:
                raise InvalidInput(_UNKNOWN)
        if sections > limits.KRL_SECTIONS:
            raise InvalidInput(f"it has more than {limits.KRL_SECTIONS:,} sections: make it anew with ssh-keygen -k")
    return Revocations(frozenset(keys), {ca: of.made() for ca, of in of_cas.items()})


_CUT: Final = "the list is cut short or damaged: copy it again"
_UNKNOWN: Final = "it has a section that this gateway does not know: make it with ssh-keygen -k of OpenSSH 10 or older"


def _read_certificates(content: Fields, of: _OfCa) -> int:
    """Read a section of certificates. Returns the number of its parts."""
    parts = 0
    while content.more:
        kind, part = content.number(1), Fields(content.string(), _CUT)
        parts += 1
        match kind:
            case _Part.SERIALS:
                while part.more:
                    of.serials.add(part.number(8))
            case _Part.RANGE:
                of.ranges.append((part.number(8), part.number(8)))
            case _Part.BITMAP:
                of.bitmaps.append((part.number(8), part.string()))
            case _Part.KEY_IDS:
                of.key_ids.update(part.strings())
            case _:
                raise InvalidInput(_UNKNOWN)
    return parts
