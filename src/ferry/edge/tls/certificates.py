"""Chooses a client's certificate by SNI: exact name before wildcard, the operator's folder before the local CA."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Final, cast

from ferry.clock import Clock
from ferry.hostnames import normal, wildcard_above
from ferry.report import Report

from .certificate_folder import CertificateFolder, Reading
from .context import NamedSslObject, TlsHandshake, current_handshake, server_context
from .local_ca import Certificate, LocalCa


class Certificates:
    """The gateway's certificates, behind one `context` that stays the same through all changes.

    `allowed(host)` says whether the local CA may sign for a name: for the domain itself, and for live or reserved
    names. Any other name ends the handshake with `unrecognized_name` (RFC 6066 §3), so that nobody can make the gateway
    sign at will. A client without SNI gets the domain's certificate.
    """

    def __init__(
        self, *, domain: str, local: LocalCa, allowed: Callable[[str], bool], report: Report, clock: Clock
    ) -> None:
        self.context: Final = server_context()
        self.context.sni_callback = self._choose
        self._domain = domain
        self._local = local
        self._allowed = allowed
        self._report = report
        self._clock = clock
        self._folder: CertificateFolder | None = None
        self._by_name: dict[str, Certificate] = {}

    async def use_folder(self, path: Path | None) -> None:
        """Serve the certificates in `path`; None turns them off. Called at the start and on reload.

        Raises InvalidInput, and changes nothing, if the folder cannot be read. Unusable pairs are reported and are no
        error: the local CA serves instead.
        """
        folder = reading = None
        if path is not None:
            folder = CertificateFolder(path, clock=self._clock)
            reading = await asyncio.to_thread(folder.read, first=True)
        self._folder = folder
        self._index()
        if reading is not None:
            self._tell(reading)

    async def look(self) -> None:
        """Load the changes of the folder. Called every `limits.CERTIFICATE_POLL_SECONDS`."""
        if (folder := self._folder) is None:
            return
        reading = await asyncio.to_thread(folder.read)
        if folder is self._folder:
            if reading.changed:
                self._index()
            self._tell(reading)

    def certificate_for(self, host: str) -> Certificate | None:
        """The certificate for a client that asks for `host`; None ends its handshake.

        Two names have the same certificate if this returns the same object for both (RFC 9110 §7.4: a request for a
        host that the connection's certificate does not cover is misdirected, 421).
        """
        host = normal(host)
        if (certificate := self._trusted(host)) is not None:
            return certificate
        if self._local.may_sign(host) and self._allowed(host):
            return self._local.leaf(host)
        return None

    def covers(self, host: str) -> bool:
        """Whether the folder has a valid certificate for `host`, so that visitors need not trust the local CA."""
        certificate = self._trusted(normal(host))
        return certificate is not None and certificate.not_after > self._clock.now()

    def _trusted(self, host: str) -> Certificate | None:
        return self._by_name.get(host) or self._by_name.get(wildcard_above(host))

    def _index(self) -> None:
        by_name: dict[str, Certificate] = {}
        for certificate in self._folder.certificates if self._folder is not None else ():
            for name in certificate.names:
                if name not in by_name or by_name[name].not_after < certificate.not_after:
                    by_name[name] = certificate
        self._by_name = by_name

    def _tell(self, reading: Reading) -> None:
        for certificate in reading.loaded:
            self._report("certificate.loaded", names=sorted(certificate.names))
        for path, error in reading.rejected:
            self._report("certificate.rejected", path=str(path), error=error)

    def _choose(self, ssl_object: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> int | None:
        """OpenSSL calls this within the handshake, also without SNI. To end the handshake, return an alert's number."""
        host = normal(name) if name else self._domain
        record = current_handshake.get() or TlsHandshake()
        record.sni = host if name else ""
        if name:
            cast(NamedSslObject, ssl_object).sni = host
        try:
            certificate = self.certificate_for(host)
        except Exception as error:  # otherwise the interpreter would print it to stderr instead of our log
            record.refused = f"the local CA cannot make a certificate: {error}"
            return ssl.ALERT_DESCRIPTION_INTERNAL_ERROR
        if certificate is None:
            record.refused = "no tunnel or reservation has this name"
            return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
        ssl_object.context = certificate.context
        return None
