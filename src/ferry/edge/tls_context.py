"""The one TLS policy of the gateway's own port, and the name that a client asked for."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Final

from ferry.errors import InvalidInput

# TLS 1.3 brings its own suites; these are for 1.2: forward secrecy and AEAD only (RFC 9325 §4.2).
_TLS12_CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"


class NamedSslObject(ssl.SSLObject):
    """asyncio makes server-side objects without a `server_hostname`; the SNI callback writes the name here."""

    sni: str | None = None


def server_context() -> ssl.SSLContext:
    """TLS 1.2 and 1.3, HTTP/1.1 only, no certificate yet."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_TLS12_CIPHERS)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    context.sslobject_class = NamedSslObject
    return context


def context_with(certificate: Path, key: Path) -> ssl.SSLContext:
    """A server context that presents `certificate` (leaf first, then its chain).

    Raises InvalidInput where the files are not PEM, do not belong together, or the key has a passphrase.
    """
    context = server_context()
    try:
        context.load_cert_chain(certificate, key, password=_no_passphrase)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise InvalidInput(f"{key} is not the key of {certificate}: put the pair in place together") from None
        raise InvalidInput(
            f"{certificate} and {key} cannot be loaded ({(error.reason or str(error)).lower().replace('_', ' ')}): "
            "both must be PEM"
        ) from None
    return context


def _no_passphrase() -> str:
    """Without this, OpenSSL would ask on the terminal and stop the gateway."""
    raise InvalidInput("the key has a passphrase: write it without one with `openssl pkey -in KEY -out KEY.plain`")


def sni_of(ssl_object: object) -> str | None:
    """The name a client asked for, lower-case, from `transport.get_extra_info("ssl_object")`; None if it sent none."""
    return ssl_object.sni if isinstance(ssl_object, NamedSslObject) else None


def normal_name(name: str) -> str:
    """A hostname for comparisons: lower-case, without a final dot."""
    return name.lower().removesuffix(".")
