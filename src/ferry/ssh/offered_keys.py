"""The keys that one client offers until it has logged in: the certificates among them, those that may not log in, and what
the client has read about these."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import asyncssh

from ferry.errors import InvalidInput
from ferry.names import Fingerprint, printable
from ferry.protocol.authorized_keys import RSA_BITS, fingerprint_of, is_canonical, rsa_bits, wrong_size
from ferry.protocol.certificates import Certificate, is_certificate, parse_certificate
from ferry.protocol.key_algorithms import SIGNATURES

from .refused_keys import refused_banner
from .wire.algorithms import readable_key, signed_with

_CA_SIGNATURES: Final = frozenset(name.encode() for name in SIGNATURES)


class OfferedKeys:
    """Those of one log-in."""

    __slots__ = (
        "_certificate", "_certified", "_denied", "_refused_told", "_reported", "_send", "_turned_away", "algorithms", "asked",
        "explained", "refused", "strange",
    )  # fmt: skip

    def __init__(self, send: Callable[[str], None]) -> None:
        """`send` shows a text to the client at once, with `BatchMode` too."""
        self._send = send
        self._certificate: tuple[bytes, Certificate] | None = None
        """The last one, which a client offers and then signs with."""
        self.asked = ""
        """The algorithm that the last request names."""
        self.algorithms = frozenset[str]()
        """What the last key signs with, or would."""
        self.refused: list[Fingerprint] = []
        """The offered keys that are in no file, in their order."""
        self._turned_away: set[Fingerprint] = set()
        """These, and those in lines that are refused or disabled."""
        self._certified: set[Fingerprint] = set()
        """The keys in offered certificates. ssh offers each of them by itself, too."""
        self._reported: set[tuple[Fingerprint, str]] = set()
        """The keys that were reported as ones that may not log in, each with the reason."""
        self.explained = False
        """A report has said why the last of them that may not log in may not."""
        self.strange: list[Certificate] = []
        """The offered certificates whose CA is in no file."""
        self._denied: set[str] = set()
        """What the client has read about keys that may not log in."""
        self._refused_told = False
        """The client has read what to do with them."""

    def certificate_in(self, key_data: bytes) -> Certificate | None:
        """The certificate in an offered key; None if it is a plain one. Raises InvalidInput."""
        if not is_certificate(key_data):
            return None
        if self._certificate is None or self._certificate[0] != key_data:
            self._certificate = key_data, parse_certificate(key_data)
            self._certified.add(self._certificate[1].fingerprint)
        return self._certificate[1]

    def may_be_read(self, key_data: bytes) -> bool:
        """Whether a key that nobody has decoded yet costs little, and is strong. If not, tell the client."""
        try:
            certificate = self.certificate_in(key_data)
        except InvalidInput as error:
            self.tell(str(error))
            return False
        for blob, whose in ((key_data, ""),) if certificate is None else ((certificate.key, ""), (certificate.ca, _CA)):
            if readable_key(blob) is None:  # asyncssh would end the connection with an error of our log
                return False
            if not is_canonical(blob):
                self.tell(f"{whose}{_ODD_FORM}")
                return False
            if (bits := rsa_bits(blob)) is not None and bits not in RSA_BITS:
                self.tell(f"{whose}{wrong_size(bits)}")
                return False
        return True

    def signed_with(self, algorithm: str) -> None:
        """The last key has signed with an algorithm, which may differ from the one that the request names; empty: it has not
        signed."""
        self.algorithms = frozenset((self.asked, algorithm)) if algorithm else frozenset((self.asked,))

    def refuse(self, fingerprint: Fingerprint, *, is_shut: bool) -> bool:
        """Remember a key that no line lets in. `is_shut`: it stands in one that is refused or disabled, which is told by
        itself. False if it was offered before."""
        if fingerprint in self._turned_away:
            return False
        self._turned_away.add(fingerprint)
        if not is_shut:
            self.refused.append(fingerprint)
        return True

    def refuse_certificate(self, certificate: Certificate) -> None:
        """Remember a certificate whose CA is in no file."""
        if certificate not in self.strange:
            self.strange.append(certificate)

    def take_refused(self) -> dict[str, object]:
        """What was refused since the last call, for the log; empty if nothing was."""
        keys, strange, self.refused, self.strange = self.refused, self.strange, [], []
        if not keys and not strange:
            return {}
        self.explained = True
        found: dict[str, object] = {"keys": keys or [each.fingerprint for each in strange]}
        if strange:
            found["certificates"] = [_shown(each) for each in strange]
        elif self._certified.issuperset(keys):
            found["certified"] = True
            if {key for key, _ in self._reported}.issuperset(keys):
                found["denied"] = True
        return found

    def tell(self, why: str) -> None:
        """Tell the client why a key may not log in, unless it has read that already."""
        if why not in self._denied:
            self._denied.add(why)
            self._send(f"ferry: {why}\r\n")

    def deny(self, fingerprint: Fingerprint, why: str) -> bool:
        """Tell the client why this key may not log in. The caller reports it too, unless the answer is False: then it has
        done so before."""
        self.tell(why)
        self.explained = True
        is_new = (fingerprint, why) not in self._reported
        self._reported.add((fingerprint, why))
        return is_new

    @property
    def may_tell_refused(self) -> bool:
        """Whether the client has not read yet what to do with refused keys."""
        return not self._refused_told

    def tell_refused(self, gateway: str, why: str = "") -> None:
        """Tell it. `gateway` is what to type after `ssh`; `why` says it all, where it is not empty."""
        self._refused_told = True
        if why:
            self.tell(why)
            return
        for ca in dict.fromkeys(each.ca_fingerprint for each in self.strange):
            self._send(f"ferry: your certificate is from a CA that this gateway does not know:\r\nferry:   {ca}\r\n")
        if self.refused or not (self._denied or self.strange):
            self._send(refused_banner(self.refused, gateway))


_ODD_FORM: Final = (
    "the key is written in a form that is not ssh-keygen's: make the .pub file again (ssh-keygen -y -f KEYFILE)"
)
_CA: Final = "the CA of your certificate: "


def certified_key(certificate: Certificate) -> asyncssh.SSHKey | None:
    """The key of a certificate that its CA has signed; None if it has not, or with SHA-1 (as in sshd,
    CASignatureAlgorithms)."""
    if signed_with(certificate.signature) not in _CA_SIGNATURES:
        return None
    ca = readable_key(certificate.ca)
    if ca is None or not ca.verify(certificate.signed, certificate.signature):
        return None
    return readable_key(certificate.key)


def fingerprint_in(key_data: bytes, certificate: Certificate | None) -> Fingerprint:
    """Of an offered key, or of the key in its certificate."""
    return fingerprint_of(key_data) if certificate is None else certificate.fingerprint


def _shown(certificate: Certificate) -> str:
    """A certificate for the log: its key id, its serial number and its CA."""
    return f"{printable(certificate.key_id, 100)} serial {certificate.serial} CA {certificate.ca_fingerprint}"
