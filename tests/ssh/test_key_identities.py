"""Who somebody is that has signed: by the key, the name of its line, or its certificate."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ferry.names import CertificateName, Fingerprint, Identity, IdentityId
from ferry.policy.keys import ANY_KEY
from ferry.policy.several_keys import Proven
from ferry.protocol.authorized_keys import fingerprint_of
from ferry.protocol.certificates import Certificate
from ferry.ssh.key_identities import claimed_identity, identity_of
from made_certificate import KEY, made, made_blob

OF_KEY = fingerprint_of(KEY)
ANNS = replace(ANY_KEY, name="ann")
WEB, UNNAMED = made(), made(key_id="")


class Identities:
    """What is asked of the database."""

    def __init__(self) -> None:
        self.asked: tuple[object, ...] = ()

    async def identity_for_key(
        self, fingerprint: Fingerprint, algorithm: str, name: str | None, *, now: float
    ) -> Identity:
        self.asked = (fingerprint, algorithm, name, now)
        return Identity(IdentityId("by key"), name, fingerprint)

    async def identity_for_certificate(
        self, certificate: CertificateName, fingerprint: Fingerprint, *, now: float
    ) -> Identity:
        self.asked = (certificate, fingerprint, now)
        return Identity(IdentityId("by certificate"), None, fingerprint, certificate=certificate)


OF_WEB = CertificateName(WEB.ca_fingerprint, "web-1", 7)


@pytest.mark.parametrize(
    ("blob", "certificate", "who", "asked"),
    [
        (KEY, None, "by key", (OF_KEY, "ssh-ed25519", "ann", 5.0)),
        (made_blob(), WEB, "by certificate", (OF_WEB, OF_KEY, 5.0)),
        (made_blob(key_id=""), UNNAMED, "by key", (OF_KEY, "ssh-ed25519", "ann", 5.0)),
    ],
    ids=["key", "certificate", "certificate without a key id"],
)
async def test_who_has_signed(
    blob: bytes, certificate: Certificate | None, who: str, asked: tuple[object, ...]
) -> None:
    """A certificate without a key id names nobody, so its key is the identity."""
    identities = Identities()
    found = await identity_of(identities, blob, OF_KEY, certificate, ANNS, now=5.0)
    assert (found.id, identities.asked) == (who, asked)


@pytest.mark.parametrize(("certificate", "named"), [(None, None), (WEB, OF_WEB), (UNNAMED, None)])
def test_whom_a_key_may_turn_out_to_be(certificate: Certificate | None, named: CertificateName | None) -> None:
    claimed = claimed_identity(Proven("dev", OF_KEY, certificate, ANNS))
    assert (claimed.name, claimed.fingerprint, claimed.certificate) == ("ann", OF_KEY, named)
