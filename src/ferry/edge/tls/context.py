"""The one TLS policy of the gateway's own port, and the name that a client asked for."""

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
class Handshake:
    """What is known about a handshake that failed; its SSL object is out of reach by then."""

    sni: str = ""
    error: ssl.SSLError | None = None
    refused: str = ""
    """Why we ended it, where it was our decision."""


# Both event loops call a connection's callbacks in the context of the task that made its transport, so that each
# handshake finds its own record here.
current_handshake: Final[ContextVar[Handshake | None]] = ContextVar("handshake", default=None)


class NamedSslObject(ssl.SSLObject):
    """A server's side of one connection, which knows the name that was asked for and delivers its alerts.

    asyncio and uvloop close a connection whose handshake failed without sending what OpenSSL wrote last: the alert
    that tells the client why. So a failure that left something to send first looks like a wait for more; the loop
    sends, and the failure is raised when the client answers (with its own close, as a rule) or the time is up.
    """

    sni: str | None = None
    _failure: ssl.SSLError | None = None
    _outgoing: ssl.MemoryBIO

    @classmethod
    def _create(cls, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, *args: Any, **named: Any) -> Self:
        """What `SSLContext.wrap_bio` calls; there is no public way to the outgoing buffer."""
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
            raise ssl.SSLWantReadError(ssl.SSL_ERROR_WANT_READ, "an alert is to be sent") from None


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
