"""A certificate authority of this gateway alone, so that HTTPS works before the operator gets a real certificate.

To trust it is a small risk. It is name-constrained to the gateway's domain (RFC 5280 §4.2.1.10; it excludes addresses,
because a constraint does not restrict kinds of names that it does not mention). It may not sign another CA, and signs
for TLS servers only. Each leaf has one exact name, because curl and OpenSSL refuse `*.localhost`.
"""

from __future__ import annotations

import os
import ssl
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from ferry import limits
from ferry.clock import Clock
from ferry.errors import InvalidInput
from ferry.hostnames import Domain

from .ca_files import BACKDATE, certificate_builder, key_pem, open_ca
from .context import context_with


@dataclass(frozen=True, slots=True, eq=False)
class Certificate:
    """A certificate to present to a client. Compared by identity."""

    names: frozenset[str]
    """The lower-case hostnames and `*.` wildcards of its subject alternative names."""
    not_after: float
    """The end of its validity, in seconds since the epoch."""
    context: ssl.SSLContext


class LocalCa:
    """Signs leaf certificates for names of `domain`, and caches the last `cache` of them."""

    def __init__(
        self,
        certificate: x509.Certificate,
        key: ec.EllipticCurvePrivateKey,
        *,
        domain: str,
        clock: Clock,
        cache: int = limits.LEAF_CACHE,
    ) -> None:
        self.certificate: Final = certificate
        self._key = key
        self._domain = Domain(domain)
        self._clock = clock
        self._bound = cache
        self._leaves: OrderedDict[str, Certificate] = OrderedDict()

    @classmethod
    def open(cls, state: Path, domain: str, *, clock: Clock, cache: int = limits.LEAF_CACHE) -> LocalCa:
        """The CA of a state folder; the first call makes it. Raises the errors of `ca_files.open_ca`."""
        certificate, key = open_ca(state, domain, now=clock.now())
        return cls(certificate, key, domain=domain, clock=clock, cache=cache)

    def may_sign(self, host: str) -> bool:
        """Whether a client that trusts this CA would accept its signature for `host`."""
        return self._domain.has(host)

    def leaf(self, host: str) -> Certificate:
        """A certificate for exactly `host` (lower-case), from the cache or signed now (about 1 ms).

        Raises InvalidInput for a name outside the domain.
        """
        if not self.may_sign(host):
            raise InvalidInput(
                f"the local CA is for {self._domain} and names below it: {host} needs a certificate file"
            )
        leaf = self._leaves.get(host)
        if leaf is None or not self._is_valid(leaf):
            leaf = self._leaves[host] = self._sign(host)
            if len(self._leaves) > self._bound:
                self._leaves.popitem(last=False)
        self._leaves.move_to_end(host)
        return leaf

    def _is_valid(self, leaf: Certificate) -> bool:
        left = leaf.not_after - self._clock.now()
        # A leaf with more than its whole life left begins in the future, because the clock was set back: clients refuse
        # it.
        return limits.LEAF_RENEW_DAYS * 86400 <= left <= limits.LEAF_DAYS * 86400

    def __len__(self) -> int:
        """The number of leaves in the cache."""
        return len(self._leaves)

    def _sign(self, host: str) -> Certificate:
        now = datetime.fromtimestamp(self._clock.now(), UTC)
        key = ec.generate_private_key(ec.SECP256R1())
        begin = max(now - BACKDATE, self.certificate.not_valid_before_utc)
        end = min(now - BACKDATE + timedelta(days=limits.LEAF_DAYS), self.certificate.not_valid_after_utc)
        usage = x509.KeyUsage(
            digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False,
            key_agreement=False, key_cert_sign=False, crl_sign=False, encipher_only=False, decipher_only=False,
        )  # fmt: skip
        certificate = (
            certificate_builder("Ferry gateway", begin, end, key.public_key())
            .issuer_name(self.certificate.subject)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        context = _context_of(key_pem(key) + certificate.public_bytes(serialization.Encoding.PEM))
        return Certificate(frozenset({host}), end.timestamp(), context)


def _context_of(pem: bytes) -> ssl.SSLContext:
    """`load_cert_chain` takes files only. This file is in memory, so that a leaf's key never reaches a disk."""
    descriptor = os.memfd_create("leaf", os.MFD_CLOEXEC)
    with os.fdopen(descriptor, "wb", buffering=0) as file:
        file.write(pem)
        path = Path(f"/proc/self/fd/{descriptor}")
        return context_with(path, path)
