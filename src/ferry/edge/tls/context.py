"""The one TLS policy of the gateway's own ports, and the name in a client's ClientHello (SNI)."""

from __future__ import annotations

import ssl
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from ferry.errors import InvalidInput

# TLS 1.3 brings its own suites; these are for 1.2: forward secrecy and AEAD only (RFC 9325 §4.2).
_TLS12_CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"


@dataclass(slots=True)
class TlsHandshake:
    """The facts about a handshake for the report of its failure. The SSL object is out of reach by then."""

    sni: str = ""
    error: ssl.SSLError | None = None
    refused: str = ""
    """The reason, if the gateway ended the handshake."""


# Both event loops call a connection's callbacks in the context of the task that made its transport, so that each
# handshake finds its own record here.
current_handshake: Final[ContextVar[TlsHandshake | None]] = ContextVar("handshake", default=None)


class NamedSslObject(ssl.SSLObject):
    """The server's side of one connection. It keeps the client's SNI name, and delivers alerts.

    After a failed handshake, asyncio and uvloop close the connection and do not send OpenSSL's last bytes: the alert
    that tells the client why. So after a failure with bytes to send, `do_handshake` first asks for more input, and the
    loop sends the alert. The failure is raised when the client answers (as a rule by closing) or the time is up.
    """

    sni: str | None = None
    _failure: ssl.SSLError | None = None
    _outgoing: ssl.MemoryBIO

    @classmethod
    def _create(cls, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, *args: Any, **named: Any) -> Self:
        """`SSLContext.wrap_bio` calls this. There is no public way to get the outgoing buffer."""
        made: Self = super()._create(incoming, outgoing, *args, **named)  # type: ignore[misc]  # not in typeshed
        made._outgoing = outgoing
        return made

    def do_handshake(self) -> None:
        if self._failure is not None:
            raise self._failure
        try:
            super().do_handshake()
        except ssl.SSLWantReadError:
            raise
        except ssl.SSLError as error:
            if (record := current_handshake.get()) is not None:
                record.error = error
            if not self._outgoing.pending:
                raise
            self._failure = error
            raise ssl.SSLWantReadError(ssl.SSL_ERROR_WANT_READ, "the alert must be sent first") from None


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

    Raises InvalidInput if the files are not PEM, the key does not match, or the key has a passphrase.
    """
    context = server_context()
    try:
        context.load_cert_chain(certificate, key, password=_no_passphrase)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise InvalidInput(f"{key} is not the key of {certificate}: replace both files of the pair") from None
        raise InvalidInput(
            f"cannot load {certificate} and {key} ({(error.reason or str(error)).lower().replace('_', ' ')}): "
            "both must be PEM"
        ) from None
    return context


def _no_passphrase() -> str:
    """Without this, OpenSSL would ask on the terminal and stop the gateway."""
    raise InvalidInput("the key has a passphrase: write it without one with `openssl pkey -in KEY -out KEY.plain`")


def sni_of(ssl_object: object) -> str | None:
    """The client's SNI name, lower-case; None if it sent none. Takes `transport.get_extra_info("ssl_object")`."""
    return ssl_object.sni if isinstance(ssl_object, NamedSslObject) else None
