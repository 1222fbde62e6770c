"""The operator's certificates: a folder that is read again when it changes.

Renewal tools replace a certificate and its key one after the other, and copy slowly. So a pair is taken only when it
is complete, matching and has not changed while it was read; until then, and for ever if it is broken, the pair that
was read before goes on being served.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509

from ferry import limits
from ferry.clock import Clock
from ferry.errors import InvalidInput

from .context import context_with, normal_name
from .local_ca import Certificate


class Expired(InvalidInput):
    """A certificate is past its end, by our clock."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two files that belong together."""

    certificate: Path
    key: Path


Stamp = tuple[tuple[int, int, int], ...]  # of both files: modification time in ns, size, inode; zeros where missing


@dataclass(slots=True)
class _Known:
    """What is known about one pair."""

    stamp: Stamp = ()
    """Of the last look."""
    settled: bool = False
    """The state of `stamp` is loaded, or was told to be unusable."""
    expired: bool = False
    """It was told to be past its end: a clock that was ahead, and is set right, makes it good again."""
    loaded: Certificate | None = None
    missing: bool = False
    """It was not there at the last look."""


@dataclass(slots=True)
class Reading:
    """What one look at the folder found."""

    changed: bool = False
    """What is served is not what was served before."""
    loaded: list[Certificate] = field(default_factory=list)
    """Read anew."""
    rejected: list[tuple[Path, str]] = field(default_factory=list)
    """Found unusable, with what to do about it."""


class CertificateFolder:
    """`NAME.crt` + `NAME.key`, and `NAME/fullchain.pem` + `NAME/privkey.pem` as certbot keeps them."""

    def __init__(self, folder: Path, *, clock: Clock) -> None:
        self._folder = folder
        self._clock = clock
        self._pairs: dict[Pair, _Known] = {}

    @property
    def certificates(self) -> list[Certificate]:
        """What is served now."""
        return [known.loaded for known in self._pairs.values() if known.loaded is not None]

    def read(self, *, first: bool = False) -> Reading:
        """Look at the folder. Blocks on the disk; call it in a thread, one call at a time.

        A pair that cannot be used is told once, and only when it has been so at two looks in a row (at the `first`
        look at once): it may be half written. One that vanished is no longer served, after two looks for the same
        reason. Raises InvalidInput where the folder cannot be read at the first look.
        """
        reading = Reading()
        found = self._find(reading, first=first)
        if found is None:
            return reading
        for pair in [pair for pair in self._pairs if pair not in found]:
            if self._pairs[pair].missing:
                reading.changed |= self._pairs.pop(pair).loaded is not None
            else:
                self._pairs[pair].missing = True
        for pair in found:
            self._look(pair, reading, patient=not first)
        return reading

    def _find(self, reading: Reading, *, first: bool) -> list[Pair] | None:
        """All pairs; None if the folder cannot be read just now (a lost mount must not end every name)."""
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
        """Read one pair, if it is not what it was."""
        known = self._pairs.setdefault(pair, _Known())
        known.missing = False
        stamp = _stamp(pair)
        unchanged = stamp == known.stamp
        if unchanged and known.settled and not known.expired:
            return
        told = unchanged and known.expired
        known.stamp, known.settled, known.expired = stamp, False, False
        try:
            certificate = load_pair(pair, now=self._clock.now())
            if _stamp(pair) != stamp:
                return  # being written: the next look reads it again
        except (InvalidInput, OSError) as error:
            if unchanged or not patient:
                known.settled, known.expired = True, isinstance(error, Expired)
                if not told:
                    reading.rejected.append((pair.certificate, _text(error)))
            return
        known.loaded, known.settled = certificate, True
        reading.changed = True
        reading.loaded.append(certificate)


def load_pair(pair: Pair, *, now: float) -> Certificate:
    """Read a pair. Raises InvalidInput saying what is wrong with it, or OSError where it cannot be read."""
    path = pair.certificate
    pair.key.open("rb").close()  # its error has a file name; load_cert_chain's has none
    with path.open("rb") as file:
        pem = file.read(limits.CERTIFICATE_BYTES + 1)
    try:
        leaf = x509.load_pem_x509_certificates(pem)[0] if len(pem) <= limits.CERTIFICATE_BYTES else None
        names = leaf and leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        names = None
    except ValueError as error:
        raise InvalidInput(
            f"{path} is not a PEM certificate ({error}): the server's comes first, then its chain"
        ) from None
    if leaf is None:
        raise InvalidInput(f"{path} is larger than {limits.CERTIFICATE_BYTES} bytes: leave the chain only")
    hosts = frozenset(normal_name(name) for name in names.get_values_for_type(x509.DNSName)) if names else frozenset()
    if not hosts:  # RFC 9525 §2: the common name is not looked at
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
    except OSError:  # not ours to look into, or a mount is lost: reading it says so
        there = True
    return Pair(chain, entry / "privkey.pem") if there else None


def _stamp(pair: Pair) -> Stamp:
    stamps = []
    for path in (pair.certificate, pair.key):
        try:
            stat = path.stat()
            stamps.append((stat.st_mtime_ns, stat.st_size, stat.st_ino))
        except OSError:
            stamps.append((0, 0, 0))
    return tuple(stamps)


def _text(error: InvalidInput | OSError) -> str:
    if isinstance(error, OSError):
        return f"{error.filename} cannot be read ({error.strerror}): both files of the pair are needed"
    return str(error)
