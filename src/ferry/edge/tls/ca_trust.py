"""The text of `ferry ca`: the local CA, and how to make a program trust it. Needs no running gateway."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from ferry import limits
from ferry.errors import InvalidInput
from ferry.hostnames import Domain
from ferry.regular_files import NotAFile, read_regular

from .ca_files import ca_path


@dataclass(frozen=True, slots=True)
class CaDescription:
    """The local CA, for people and for `--json`."""

    path: Path
    domain: str
    """The CA can sign for this name and names below it only."""
    fingerprint: str
    """SHA-256, as `openssl x509 -fingerprint -sha256` and browsers print it."""
    not_after: datetime
    pem: str
    trust: tuple[tuple[str, str], ...]
    """Programs, each with the command that makes it trust the CA (for a browser: the way through its menus)."""

    def text(self) -> str:
        """For a terminal."""
        lines = [
            f"Local CA for {self.domain} and names below it (it cannot sign for anything else)",
            f"  certificate  {self.path}",
            f"  SHA-256      {self.fingerprint}",
            f"  valid until  {self.not_after:%Y-%m-%d}",
            "",
            "To trust it:",
        ]
        for where, how in self.trust:
            lines += [f"  {where}", f"    {how}"]
        return "\n".join(lines)


def describe_ca(state: Path) -> CaDescription:
    """The local CA of a state folder. Raises InvalidInput if there is none, or if it cannot be read."""
    path = ca_path(state).resolve()
    try:
        data = read_regular(path, limits.CERTIFICATE_BYTES)
        certificate = x509.load_pem_x509_certificate(data)
        constraints = certificate.extensions.get_extension_for_class(x509.NameConstraints).value
    except FileNotFoundError:
        raise InvalidInput(f"no local CA at {path}: the first start of `ferry serve` makes it") from None
    except (NotAFile, ValueError, x509.ExtensionNotFound):
        raise InvalidInput(f"{path} is not the certificate of a local CA: restore it from a backup") from None
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read ({error.strerror}): run this as the gateway's user") from None
    domain = str((constraints.permitted_subtrees or [x509.DNSName("")])[0].value)
    return CaDescription(
        path=path,
        domain=domain,
        fingerprint=certificate.fingerprint(hashes.SHA256()).hex(":").upper(),
        not_after=certificate.not_valid_after_utc,
        pem=data.decode("ascii"),
        trust=_trust(path, domain),
    )


def _trust(path: Path, domain: str) -> tuple[tuple[str, str], ...]:
    file, name = shlex.quote(str(path)), f"ferry-{domain}"
    return (
        ("one command", f"curl --cacert {file} https://{Domain(domain).host('NAME')}:PORT"),
        (
            "Debian, Ubuntu: everything that uses the system's certificates",
            f"sudo install -m 644 {file} /usr/local/share/ca-certificates/{name}.crt && sudo update-ca-certificates",
        ),
        (
            "macOS: Safari, Chrome, curl",
            f"sudo security add-trusted-cert -d -r trustRoot -k /Library/Keychains/System.keychain {file}",
        ),
        (
            "Chromium and Chrome on Linux (certutil is in libnss3-tools)",
            f'certutil -d "sql:$HOME/.pki/nssdb" -A -t C,, -n {name} -i {file}',
        ),
        (
            "Firefox",
            "Settings, Privacy & Security, View Certificates, Authorities, Import: choose the file, tick websites",
        ),
    )
