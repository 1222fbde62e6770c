"""The local CA on disk. The first start makes it, later starts load it. A replaced CA stays in the folder."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ferry import limits
from ferry.errors import StartupError
from ferry.regular_files import read_regular

BACKDATE: Final = timedelta(seconds=limits.BACKDATE_SECONDS)
_KEY_MODE: Final = 0o600


def ca_path(state: Path) -> Path:
    """The path of the CA's certificate in a state folder. Needs no running gateway."""
    return state / "ca" / "ca.crt"


def _key_path(state: Path) -> Path:
    return state / "ca" / "ca.key"


def open_ca(state: Path, domain: str, *, now: float) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """The CA of `state`; the first call makes it. A CA of another domain, or an expired one, is renamed to
    `ca-SERIAL.crt` and `.key` and replaced: no client would accept its signature for this domain.

    Raises StartupError if a file is missing or broken, or if the CA cannot be made.
    """
    loaded = _load(state)
    if loaded is None or not _fits(loaded[0], domain, now):
        try:
            if loaded is not None:
                _put_aside(state, loaded[0])
            loaded = _make(state, domain, now)
        except OSError as error:
            raise StartupError(
                f"cannot make the local CA in {ca_path(state).parent} ({error.strerror}): free disk space, or make the "
                "folder writable"
            ) from error
    return loaded


def certificate_builder(
    common_name: str, begin: datetime, end: datetime, public_key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    """The common part of the CA's certificate and its leaves."""
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)]))
        .not_valid_before(begin)
        .not_valid_after(end)
        .serial_number(x509.random_serial_number())
        .public_key(public_key)
    )


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """The key as PKCS #8, without a passphrase."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _constraints(domain: str) -> x509.NameConstraints:
    everywhere = [x509.IPAddress(ip_network("0.0.0.0/0")), x509.IPAddress(ip_network("::/0"))]
    return x509.NameConstraints(permitted_subtrees=[x509.DNSName(domain)], excluded_subtrees=everywhere)


def _make(state: Path, domain: str, now: float) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    today = datetime.fromtimestamp(now, UTC)
    key = ec.generate_private_key(ec.SECP256R1())
    name = f"Ferry local CA for {domain}"[:64]  # ub-common-name, RFC 5280 appendix A.1
    usage = x509.KeyUsage(
        digital_signature=False, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    builder = certificate_builder(
        name, today - BACKDATE, today + timedelta(days=limits.LOCAL_CA_DAYS), key.public_key()
    )
    certificate = (
        builder.issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(_constraints(domain), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    folder = ca_path(state).parent
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _write(
        _key_path(state), key_pem(key), _KEY_MODE
    )  # first: a key without a certificate is not trusted, so the next start replaces it
    _write(ca_path(state), certificate.public_bytes(serialization.Encoding.PEM), 0o644)
    return certificate, key


def _write(path: Path, data: bytes, mode: int) -> None:
    """Write the whole file or nothing, even if the machine stops meanwhile."""
    partial = path.with_suffix(path.suffix + ".new")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    partial.rename(path)


def _load(state: Path) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None:
    path, key_path = ca_path(state), _key_path(state)
    fix = f"restore it, or remove {path.parent} to get a new CA (all who trust the old CA must then trust the new one)"
    if not path.exists():
        return None
    try:
        certificate = x509.load_pem_x509_certificate(read_regular(path, limits.CERTIFICATE_BYTES))
        key = serialization.load_pem_private_key(read_regular(key_path, limits.CERTIFICATE_BYTES), None)
    except OSError as error:
        raise StartupError(f"the local CA's {error.filename} cannot be read ({error.strerror}): {fix}") from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise StartupError(f"the local CA in {path.parent} is broken ({error}): {fix}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise StartupError(f"{key_path} is not the key of {path}: {fix}")
    return certificate, key


def _fits(certificate: x509.Certificate, domain: str, now: float) -> bool:
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.NameConstraints).value
    except x509.ExtensionNotFound:
        return False
    return constraints == _constraints(domain) and certificate.not_valid_after_utc.timestamp() > now


def _put_aside(state: Path, certificate: x509.Certificate) -> None:
    for path in (_key_path(state), ca_path(state)):
        path.rename(path.with_name(f"ca-{certificate.serial_number:x}{path.suffix}"))
