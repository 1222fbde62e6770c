"""The identity of a key, or of a certificate, that has signed."""

from __future__ import annotations

from typing import Protocol

from ferry.names import CertificateName, Fingerprint, Identity, IdentityId
from ferry.policy.keys import KeyLine
from ferry.policy.several_keys import Proven
from ferry.protocol.certificates import Certificate


class Identities(Protocol):
    """The identities of keys (`ferry.store`)."""

    async def identity_for_key(
        self, fingerprint: Fingerprint, algorithm: str, name: str | None, *, now: float
    ) -> Identity:
        """The identity of a key, or of the name that the operator gave to it."""
        ...

    async def identity_for_certificate(
        self, certificate: CertificateName, fingerprint: Fingerprint, *, now: float
    ) -> Identity:
        """The identity of a certificate's CA and key id; `fingerprint` is that of its key now."""
        ...


async def identity_of(
    identities: Identities,
    key_data: bytes,
    fingerprint: Fingerprint,
    certificate: Certificate | None,
    line: KeyLine,
    *,
    now: float,
) -> Identity:
    """The identity of the key in `key_data`, by the line that lets it in. Raises StoreUnavailable."""
    if certificate is not None and (name := _name_of(certificate)) is not None:
        return await identities.identity_for_certificate(name, fingerprint, now=now)
    # a certificate without a key id names nobody, so that its key is the identity
    blob = key_data if certificate is None else certificate.key
    algorithm = blob[4 : 4 + int.from_bytes(blob[:4], "big")].decode("ascii", "replace")
    return await identities.identity_for_key(fingerprint, algorithm, line.name, now=now)


def claimed_identity(key: Proven) -> Identity:
    """Whom a key may turn out to be, before the database is asked: for settings that count for some identities alone."""
    name = None if key.certificate is None else _name_of(key.certificate)
    return Identity(IdentityId(""), key.line.name, key.fingerprint, certificate=name)


def _name_of(certificate: Certificate) -> CertificateName | None:
    """Who has a certificate; None if it has no key id."""
    if not certificate.key_id:
        return None
    return CertificateName(certificate.ca_fingerprint, certificate.key_id, certificate.serial)
