"""The wire form of a certificate, field by field. Nobody has signed it."""

from __future__ import annotations

from typing import Any

from ferry.protocol.certificates import Certificate, parse_certificate


def text(data: bytes | str) -> bytes:
    """A string (RFC 4251 §5)."""
    raw = data.encode() if isinstance(data, str) else data
    return len(raw).to_bytes(4, "big") + raw


def options(*given: tuple[str, bytes]) -> bytes:
    return b"".join(text(name) + text(data) for name, data in given)


CA = text("ssh-ed25519") + text(b"c" * 32)
KEY = text("ssh-ed25519") + text(b"k" * 32)
PERMIT = options(("permit-port-forwarding", b""))


def made_blob(
    *,
    kind: int = 1,
    key_id: bytes | str = "web-1",
    principals: tuple[bytes | str, ...] = ("dev",),
    after: int = 0,
    before: int = 2**64 - 1,
    critical: bytes = b"",
    extensions: bytes = PERMIT,
    ca: bytes = CA,
    serial: int = 7,
    algorithm: str = "ssh-ed25519-cert-v01@openssh.com",
    key: bytes = text(b"k" * 32),
) -> bytes:
    parts = (
        *(text(algorithm), text(b"nonce"), key, serial.to_bytes(8, "big"), kind.to_bytes(4, "big"), text(key_id)),
        *(text(b"".join(map(text, principals))), after.to_bytes(8, "big"), before.to_bytes(8, "big")),
        *(text(critical), text(extensions), text(b""), text(ca), text(b"signature")),
    )
    return b"".join(parts)


def made(**fields: Any) -> Certificate:
    return parse_certificate(made_blob(**fields))
