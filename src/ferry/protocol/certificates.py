"""OpenSSH certificates (PROTOCOL.certkeys of OpenSSH): a public key with the word of a CA on who may use it, when, and for
what.

`parse_certificate` reads the wire form. It does not check the CA's signature, which needs cryptography. A critical option
that is not known makes a certificate useless, so `read_permissions` refuses it; an extension that is not known means
nothing.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from ferry import limits
from ferry.errors import InvalidInput
from ferry.names import Fingerprint, printable

from .authorized_keys import KEY_FIELDS, fingerprint_of
from .fields import Fields
from .host_patterns import Network, parse_networks
from .key_algorithms import of_certificate

_ALGORITHMS: Final[Mapping[bytes, tuple[bytes, int]]] = MappingProxyType(
    {of_certificate(name).encode(): (name.encode(), fields - 1) for name, fields in KEY_FIELDS.items()}
)
"""Each with the algorithm of its key, and the fields of that without the first."""
CERTIFICATE_ALGORITHMS: Final = frozenset(name.decode() for name in _ALGORITHMS)
FOREVER: Final = 2**64 - 1
"""`valid_before` of a certificate without an end."""


class CertificateKind(enum.IntEnum):
    """Whom a certificate names."""

    USER = 1
    HOST = 2


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a certificate says. Nobody has checked the signature of the CA, until somebody does."""

    key: bytes
    """The certified public key, in its wire form."""
    serial: int
    kind: CertificateKind
    key_id: str
    """The CA's name for the holder."""
    principals: tuple[str, ...]
    """Login names, or hosts."""
    valid_after: int
    """Seconds since the epoch, from which on it counts."""
    valid_before: int
    """Seconds since the epoch, before which it counts."""
    critical: tuple[tuple[str, bytes], ...]
    extensions: tuple[tuple[str, bytes], ...]
    ca: bytes
    """The public key of the CA, in its wire form."""
    signed: bytes
    """What the CA has signed."""
    signature: bytes
    fingerprint: Fingerprint
    """Of the certified key."""
    ca_fingerprint: Fingerprint

    def in_time(self, now: float) -> bool:
        """Whether it counts at a time, in seconds since the epoch."""
        return self.valid_after <= int(now) < self.valid_before


@dataclass(frozen=True, slots=True)
class Permissions:
    """What the critical options and extensions of a user's certificate allow. What is missing is not allowed."""

    forwards: bool = False
    """`permit-port-forwarding`."""
    touch_required: bool = True
    """Of a security key; `no-touch-required` turns it off."""
    verify_required: bool = False
    command: str | None = None
    """`force-command`. It is never run: its key runs no command of a session."""
    sources: tuple[Network, ...] | None = None
    """`source-address`: the networks from which it counts; None: from everywhere."""


def is_certificate(blob: bytes) -> bool:
    """Whether a public key's wire form begins as that of a certificate."""
    return blob[4 : 4 + int.from_bytes(blob[:4], "big")] in _ALGORITHMS


def parse_certificate(blob: bytes) -> Certificate:
    """A certificate from its wire form. Raises InvalidInput."""
    if len(blob) > limits.SSH_CERTIFICATE_BYTES:
        raise InvalidInput(
            f"the certificate has {len(blob):,} bytes, and {limits.SSH_CERTIFICATE_BYTES // limits.KIB} KiB are allowed: "
            "sign one with fewer principals or extensions"
        )
    reader = Fields(blob, _CUT)
    name = reader.string()
    if name not in _ALGORITHMS:
        raise InvalidInput("it is no certificate of OpenSSH: sign the key with ssh-keygen -s")
    algorithm, fields = _ALGORITHMS[name]
    reader.string()  # the nonce
    key = b"".join(_string(part) for part in (algorithm, *(reader.string() for _ in range(fields))))
    serial, kind = reader.number(8), reader.number(4)
    key_id = _text(reader.string(), "key id")
    principals = tuple(_text(name, "principal") for name in Fields(reader.string(), _CUT).strings())
    valid_after, valid_before = reader.number(8), reader.number(8)
    critical, extensions = _options(reader.string()), _options(reader.string())
    reader.string()  # reserved
    ca = reader.string()
    signed = blob[: reader.at]
    signature = reader.string()
    if reader.at != len(blob) or kind not in tuple(CertificateKind):
        raise InvalidInput(_CUT)
    if len(key_id.encode()) > limits.SSH_CERTIFICATE_NAME_BYTES:
        raise InvalidInput(
            f"the key id of the certificate has more than {limits.SSH_CERTIFICATE_NAME_BYTES} bytes: sign one with a shorter one"
        )
    if len(principals) > limits.SSH_CERTIFICATE_PRINCIPALS:
        raise InvalidInput(f"a certificate may have {limits.SSH_CERTIFICATE_PRINCIPALS} principals: sign several")
    return Certificate(
        key, serial, CertificateKind(kind), key_id, principals, valid_after, valid_before, critical, extensions, ca,
        signed, signature, fingerprint_of(key), fingerprint_of(ca),
    )  # fmt: skip


_CUT: Final = "the certificate is cut short or damaged: copy its -cert.pub file again"


def _string(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


def _text(data: bytes, what: str) -> str:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise InvalidInput(f"a {what} of the certificate is not UTF-8: sign one with another") from None
    if "\0" in text:
        raise InvalidInput(f"a {what} of the certificate has a NUL byte: sign one without it")
    return text


def _options(data: bytes) -> tuple[tuple[str, bytes], ...]:
    """Names and data, in their order."""
    parts = list(Fields(data, _CUT).strings())
    if len(parts) % 2:
        raise InvalidInput(_CUT)
    return tuple((_text(name, "option"), value) for name, value in zip(parts[::2], parts[1::2], strict=True))


# --- what they mean

_FLAGS: Final = frozenset(
    ("permit-port-forwarding", "no-touch-required", "permit-X11-forwarding", "permit-agent-forwarding", "permit-pty",
     "permit-user-rc")
)  # fmt: skip


def read_permissions(certificate: Certificate) -> Permissions:
    """The meaning of a user's certificate's options (auth-options.c of OpenSSH, cert_option_list). Raises InvalidInput for
    options by which sshd refuses it too."""
    command, sources, verify = None, None, False
    for name, data in certificate.critical:
        match name:
            case "verify-required":
                _check_empty(name, data)
                verify = True
            case "force-command":
                command = _only(command, name, data)
            case "source-address":
                sources = _only(sources, name, data)
            case _:
                raise InvalidInput(
                    f"the certificate has the critical option {printable(name, 60)}, which is not known here, so it may "
                    "not be used: sign one without it"
                )
    given = set[str]()
    for name, data in certificate.extensions:
        if name in _FLAGS:
            _check_empty(name, data)
            given.add(name)
    return Permissions(
        forwards="permit-port-forwarding" in given,
        touch_required="no-touch-required" not in given,
        verify_required=verify,
        command=command,
        sources=None if sources is None else parse_networks(sources),
    )


def _only(before: str | None, name: str, data: bytes) -> str:
    """The text in an option's data, which has not come before."""
    if before is not None:
        raise InvalidInput(f"the certificate has {name} twice: sign one with one of them")
    reader = Fields(data, _CUT)
    text = _text(reader.string(), name)
    _check_empty(name, data[reader.at :])
    return text


def _check_empty(name: str, data: bytes) -> None:
    """Raises InvalidInput if there is data where none belongs."""
    if data:
        raise InvalidInput(f"the certificate's {name} has data that does not belong there: sign another one")
