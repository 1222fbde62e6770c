"""The certificates of the gateway's host keys: `ssh_host_ed25519_key-cert.pub` beside `ssh_host_ed25519_key`, as sshd's
`HostCertificate`. Clients that trust their CA (`@cert-authority` in known_hosts) need no fingerprint.

A certificate that cannot be used is reported, and the key goes without it: one that has run out at night must not keep a
gateway from starting.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

import asyncssh
from asyncssh.public_key import SSHLocalKeyPair

from ferry import limits
from ferry.clock import Clock
from ferry.errors import InvalidInput
from ferry.protocol.authorized_keys import decoded
from ferry.protocol.certificates import Certificate, CertificateKind, parse_certificate
from ferry.regular_files import read_regular
from ferry.report import Report

from .host_keys import HostKey, certificate_of
from .offered_keys import certified_key
from .options import ConnectionOptions
from .wire.algorithms import HOST_KEY_ALGORITHMS


class BadHostCertificate(NamedTuple):
    """A certificate that cannot be used."""

    path: Path
    why: str


@dataclass(frozen=True, slots=True)
class HostCertificatesFound:
    """The result of one reading."""

    lines: Mapping[str, bytes] = field(default_factory=dict)
    """The certificates that can be used, as they stand in their files, by the algorithm of the key."""
    bad: Sequence[BadHostCertificate] = ()


def read_host_certificates(folder: Path, keys: Mapping[str, bytes], now: float) -> HostCertificatesFound:
    """Read the certificates of host keys, `keys` by their algorithm in wire form. Blocks. `now` is in seconds since the
    epoch."""
    lines: dict[str, bytes] = {}
    bad: list[BadHostCertificate] = []
    for algorithm, key in keys.items():
        path = certificate_of(folder, algorithm)
        try:
            line = read_regular(path, 2 * limits.SSH_CERTIFICATE_BYTES)
        except FileNotFoundError:
            continue
        except OSError as error:
            bad.append(BadHostCertificate(path, str(error)))
            continue
        try:
            check_host_certificate(line, key, now)
        except InvalidInput as error:
            bad.append(BadHostCertificate(path, str(error)))
        else:
            lines[algorithm] = line
    return HostCertificatesFound(lines, tuple(bad))


def check_host_certificate(line: bytes, key: bytes, now: float) -> Certificate:
    """A certificate for a host key, from the line of its file. Raises InvalidInput with what to do."""
    words = line.decode("ascii", "replace").split()
    if len(words) < 2:
        raise InvalidInput("it is no certificate: sign the host key with ssh-keygen -s CA -h -I ID -n HOST KEY.pub")
    certificate = parse_certificate(decoded(words[1]))
    if certificate.kind is not CertificateKind.HOST:
        raise InvalidInput(
            "it is a user's certificate: sign the host key with ssh-keygen -s CA -h (-h makes one of a host)"
        )
    if certificate.key != key:
        raise InvalidInput("it is for another key: sign the .pub file of this gateway's host key")
    if certificate.critical:
        raise InvalidInput("it has critical options, which no client takes from a host: sign the host key without -O")
    if now >= certificate.valid_before:
        raise InvalidInput("it has run out: sign the host key again (ssh-keygen -s CA -h -V +52w)")
    if now < certificate.valid_after:
        raise InvalidInput("it is not valid yet: sign the host key again, or look at this host's clock")
    if certified_key(certificate) is None:
        raise InvalidInput("the signature of its CA is wrong, or made with SHA-1 (ssh-rsa): sign the host key again")
    return certificate


def offered(
    plain: Mapping[bytes, asyncssh.SSHKeyPair], keys: Sequence[HostKey], lines: Mapping[str, bytes]
) -> dict[bytes, asyncssh.SSHKeyPair]:
    """The host keys to offer by their signature algorithm: the `plain` ones, then those with a certificate. Each algorithm
    has a pair of its own: asyncssh notes in it what to sign with."""
    found = dict(plain)
    for key in keys:
        line = lines.get(key.algorithm.decode())
        if line is None:
            continue
        certificate = asyncssh.import_certificate(line)
        for algorithm in certificate.host_key_algorithms:
            if algorithm in HOST_KEY_ALGORITHMS:
                found[algorithm] = SSHLocalKeyPair(key, None, certificate, None)
    return found


class HostCertificates:
    """Those in force, in the options of all connections that are still to come."""

    def __init__(
        self, folder: Path, keys: Sequence[HostKey], options: ConnectionOptions, clock: Clock, report: Report
    ) -> None:
        self._folder = folder
        self._keys = keys
        self._options: Final = options
        self._plain = dict(options.server_host_keys)
        self._clock = clock
        self._report = report
        self._found = HostCertificatesFound()

    def read(self) -> HostCertificatesFound:
        """Read them. Blocks on the disk, and so runs in a thread."""
        keys = {key.algorithm.decode(): key.public_data for key in self._keys}
        return read_host_certificates(self._folder, keys, self._clock.now())

    def use(self, found: HostCertificatesFound) -> None:
        """Put the result of `read` in force, and report what is new."""
        before, self._found = self._found, found
        if found == before:
            return
        pairs = offered(self._plain, self._keys, found.lines)
        self._options.server_host_keys.clear()
        self._options.server_host_keys.update(pairs)
        for bad in found.bad:
            if bad not in before.bad:
                self._report("certificate.rejected", path=str(bad.path), error=bad.why)
        if found.lines != before.lines:
            names = " ".join(str(certificate_of(self._folder, algorithm)) for algorithm in found.lines)
            self._report("certificate.loaded", names=names)
