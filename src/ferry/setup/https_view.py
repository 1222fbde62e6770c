"""Says what visitors will see over https, and how to change it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from ferry.clock import SystemClock
from ferry.config.model import Config
from ferry.edge.tls.certificate_folder import CertificateFolder
from ferry.errors import InvalidInput
from ferry.hostnames import Domain

from .dns import LOCALHOST
from .findings import Finding, Severity

OWN_CA = "a warning: this gateway's own CA signs the certificate, and browsers do not know it"


def how_to_trust(domain: Domain) -> str:
    """How visitors get rid of the warning."""
    if LOCALHOST.has(domain.name):
        return "`ferry ca` prints how to trust that CA"
    return (
        f"put a certificate for {domain.wildcard} and its key into a folder, as NAME.crt and NAME.key, and "
        'write certificates = "FOLDER" in [https]; or let visitors trust that CA: `ferry ca`'
    )


def check_https(config: Config) -> Iterator[Finding]:
    """What visitors see over https."""
    if not config.https.listen:
        yield Finding(
            Severity.NOTE, "https", "off: visitors use http:// alone, unless a proxy before this gateway adds https"
        )
        return
    domain = Domain(config.domain)
    urls = config.urls(lambda _host: False)
    shown = urls.url(domain.host("NAME"), secure=True)
    reasons: list[str] = []
    if config.https.certificates:
        folder = CertificateFolder(config.https.certificates, clock=SystemClock())
        try:
            reading = folder.read(first=True)
        except InvalidInput:
            return  # the check of the folder itself says so
        ends = [certificate.not_after for certificate in reading.loaded if domain.wildcard in certificate.names]
        if ends:
            end = datetime.fromtimestamp(max(ends), UTC)
            text = f"visitors of {shown} see your certificate for {domain.wildcard}, valid until {end:%Y-%m-%d}"
            yield Finding(Severity.OK, "https", text)
            return
        reasons = [error for _, error in reading.rejected]
        reasons.append(f"{config.https.certificates} has no usable certificate for {domain.wildcard}")
    first = "; sessions print the http:// address first" if config.http.listen else ""
    text = "\n".join([*reasons, f"visitors of {shown} see {OWN_CA}{first}", how_to_trust(domain)])
    yield Finding(Severity.NOTE, "https", text)
