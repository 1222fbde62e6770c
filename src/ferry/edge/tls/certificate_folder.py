"""The operator's certificates, from a folder. The gateway reads it again after each change.

Renewal tools replace a certificate and its key one after the other, and copy slowly. So the gateway takes a pair only
if it is complete, its key matches, and neither file changed during the read. Until then it serves the pair that it read
before; while the new pair is broken, it keeps the old one.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509

from ferry import limits
from ferry.clock import Clock
from ferry.errors import InvalidInput
from ferry.hostnames import normal
from ferry.regular_files import FileStamp, read_regular

from .context import context_with
from .local_ca import Certificate


class Expired(InvalidInput):
    """A certificate has expired, by our clock."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key, as two files."""

    certificate: Path
    key: Path


Stamp = tuple[FileStamp | None, ...]  # of both files; None for a missing one


@dataclass(slots=True)
class _Known:
    """The state of one pair."""

    stamp: Stamp = ()
    """The files' stamp at the last look."""
    settled: bool = False
    """The files with this stamp are loaded, or were reported as unusable."""
    expired: bool = False
    """The pair was reported as expired. It may become valid again, if our clock was ahead and is corrected."""
    loaded: Certificate | None = None
    content: bytes = b""
    """The digest of the files of `loaded`; empty if others were reported as unusable since."""
    missing: bool = False
    """The last look did not find it."""


@dataclass(slots=True)
class Reading:
    """The result of one look at the folder."""

    changed: bool = False
    """The certificates to serve have changed."""
    loaded: list[Certificate] = field(default_factory=list)
    """Newly read certificates."""
    rejected: list[tuple[Path, str]] = field(default_factory=list)
    """Unusable files, each with an error that says what to do."""


class CertificateFolder:
    """`NAME.crt` + `NAME.key`, and `NAME/fullchain.pem` + `NAME/privkey.pem` as certbot keeps them."""

    def __init__(self, folder: Path, *, clock: Clock) -> None:
        self._folder = folder
        self._clock = clock
        self._pairs: dict[Pair, _Known] = {}

    @property
    def certificates(self) -> list[Certificate]:
        """The certificates to serve now."""
        return [known.loaded for known in self._pairs.values() if known.loaded is not None]

    def read(self, *, first: bool = False) -> Reading:
        """Look at the folder. Blocks on the disk; call it in a thread, one call at a time.

        An unusable pair may be half written. So it is rejected once, at the second look in a row that finds it unusable
        (at the `first` look at once). A pair that vanishes is dropped after two looks, for the same reason. Raises
        InvalidInput if the first look cannot read the folder.
        """
        reading = Reading()
        found = self._find(reading, first=first)
        if found is None:
            return reading
        present = set(found)
        for pair in [pair for pair in self._pairs if pair not in present]:
            if self._pairs[pair].missing:
                reading.changed |= self._pairs.pop(pair).loaded is not None
            else:
                self._pairs[pair].missing = True
        for pair in found:
            self._look(pair, reading, patient=not first)
        return reading

    def _find(self, reading: Reading, *, first: bool) -> list[Pair] | None:
        """All pairs; None if the folder cannot be read now: a lost mount must not end all names."""
        try:
            entries = sorted(self._folder.iterdir())
        except OSError as error:
            if first:
                raise InvalidInput(
                    f"https.certificates = {self._folder} cannot be read ({error.strerror}): make the folder or change it"
                ) from error
            return None
        pairs = [pair for entry in entries if (pair := _pair_at(entry)) is not None]
        if first and len(pairs) > limits.CERTIFICATE_PAIRS:
            reading.rejected.append((self._folder, f"it has {len(pairs)} pairs: {limits.CERTIFICATE_PAIRS} are read"))
        return pairs[: limits.CERTIFICATE_PAIRS]

    def _look(self, pair: Pair, reading: Reading, *, patient: bool) -> None:
        """Read one pair, if it has changed."""
        known = self._pairs.setdefault(pair, _Known())
        known.missing = False
        stamp = _stamp(pair)
        unchanged = stamp == known.stamp
        if unchanged and known.settled and not known.expired:
            return
        reported = unchanged and known.expired
        known.stamp, known.settled, known.expired = stamp, False, False
        try:
            content = _content(pair)
            certificate = load_pair(pair, now=self._clock.now())
            if _stamp(pair) != stamp:
                return  # a tool is writing it: the next look reads it again
        except (InvalidInput, OSError) as error:
            if unchanged or not patient:
                known.settled, known.expired = True, isinstance(error, Expired)
                known.content = b""  # so that it is reported when they are right again
                if not reported:
                    reading.rejected.append((pair.certificate, _text(error)))
            return
        known.settled = True
        if content == known.content:  # it was away for a moment, or has other permissions
            return
        known.loaded, known.content = certificate, content
        reading.changed = True
        reading.loaded.append(certificate)


def load_pair(pair: Pair, *, now: float) -> Certificate:
    """Read a pair. Raises InvalidInput, which says what to change, or OSError if a file cannot be read."""
    path = pair.certificate
    read_regular(pair.key, 0)  # its error has a file name; load_cert_chain's has none
    pem = read_regular(path, limits.CERTIFICATE_BYTES + 1)
    try:
        leaf = x509.load_pem_x509_certificates(pem)[0] if len(pem) <= limits.CERTIFICATE_BYTES else None
        names = leaf and leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        names = None
    except ValueError as error:
        raise InvalidInput(
            f"{path} is not a PEM certificate ({error}): put the server's certificate first, then its chain"
        ) from None
    if leaf is None:
        raise InvalidInput(f"{path} is larger than {limits.CERTIFICATE_BYTES} bytes: keep only the chain")
    hosts = frozenset(normal(name) for name in names.get_values_for_type(x509.DNSName)) if names else frozenset()
    if not hosts:  # RFC 9525 §2: clients ignore the common name
        raise InvalidInput(f"{path} names no host: it needs a subject alternative name")
    end = leaf.not_valid_after_utc
    if end.timestamp() <= now:
        raise Expired(f"{path} expired on {end:%Y-%m-%d}: renew it")
    return Certificate(hosts, end.timestamp(), context_with(path, pair.key))


def _pair_at(entry: Path) -> Pair | None:
    if entry.name.startswith("."):
        return None
    if entry.suffix == ".crt":
        return Pair(entry, entry.with_suffix(".key"))
    chain = entry / "fullchain.pem"
    try:
        there = chain.exists()
    except OSError:  # we may not look into it, or a mount is lost: `load_pair` reports it
        there = True
    return Pair(chain, entry / "privkey.pem") if there else None


def _content(pair: Pair) -> bytes:
    """A digest of both files. Raises OSError."""
    texts = (read_regular(path, limits.CERTIFICATE_BYTES + 1) for path in (pair.certificate, pair.key))
    return hashlib.sha256(b"\0".join(texts)).digest()


def _stamp(pair: Pair) -> Stamp:
    return FileStamp.at(pair.certificate), FileStamp.at(pair.key)


def _text(error: InvalidInput | OSError) -> str:
    if isinstance(error, OSError):
        return f"{error.filename} cannot be read ({error.strerror}): both files of the pair are needed"
    return str(error)
