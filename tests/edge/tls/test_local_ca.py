"""The local CA, judged by openssl."""

from __future__ import annotations

import ssl
import subprocess
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ferry.clock import SystemClock
from ferry.edge.tls.ca_files import ca_path, certificate_builder, open_ca
from ferry.edge.tls.ca_trust import describe_ca
from ferry.edge.tls.local_ca import LocalCa
from ferry.errors import InvalidInput, StartupError

LEAF_DAYS = 397
LEAF_RENEW_DAYS = 30
LEAF_CACHE = 1024
DAY = 86400


class At:
    """A clock that shows what it is told to."""

    def __init__(self, now: float) -> None:
        self.time = now

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time


def make(state: Path, domain: str = "gw.example.com", *, at: float | None = None) -> LocalCa:
    return LocalCa.open(state, domain, clock=SystemClock() if at is None else At(at))


def openssl(*arguments: str | Path, stdin: str = "") -> tuple[int, str]:
    done = subprocess.run(["openssl", *map(str, arguments)], input=stdin, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


Signer = tuple[x509.Certificate, ec.EllipticCurvePrivateKey]


def sign_anything(by: Signer, path: Path, name: x509.GeneralName, *, ca: bool = False) -> Signer:
    """Sign a certificate with a stolen key of the CA. Writes it to `path`."""
    issuer, key = by
    now = datetime.now(UTC)
    own = ec.generate_private_key(ec.SECP256R1())
    made = (
        certificate_builder(path.stem, now - timedelta(days=1), now + timedelta(days=9), own.public_key())
        .issuer_name(issuer.subject)
        .add_extension(x509.SubjectAlternativeName([name]), critical=False)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return made, own


def stolen(state: Path) -> Signer:
    return open_ca(state, "gw.example.com", now=SystemClock().now())


def test_the_fields_of_the_cas_certificate(tmp_path: Path) -> None:
    make(tmp_path)
    code, text = openssl("x509", "-in", ca_path(tmp_path), "-noout", "-text")
    assert code == 0
    for expected in (
        "CA:TRUE, pathlen:0",
        "X509v3 Name Constraints: critical",
        "DNS:gw.example.com",
        "IP:0.0.0.0/0.0.0.0",
        "TLS Web Server Authentication",
    ):
        assert expected in text
    key = tmp_path / "ca" / "ca.key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert key.parent.stat().st_mode & 0o777 == 0o700
    certificate = make(tmp_path).certificate
    assert certificate.not_valid_before_utc.timestamp() < SystemClock().now() - DAY + 60
    assert 3640 < (certificate.not_valid_after_utc - datetime.now(UTC)).days <= 3650  # LOCAL_CA_DAYS


@pytest.mark.parametrize(
    ("name", "verdict"),
    [
        (x509.DNSName("a.gw.example.com"), "OK"),
        (x509.DNSName("gw.example.com"), "OK"),
        (x509.DNSName("example.com"), "permitted subtree violation"),
        (x509.DNSName("evilgw.example.com"), "permitted subtree violation"),
        (x509.IPAddress(ip_address("192.0.2.1")), "excluded subtree violation"),
    ],
)
def test_its_key_is_of_no_use_outside_the_domain(tmp_path: Path, name: x509.GeneralName, verdict: str) -> None:
    leaf = tmp_path / "leaf.crt"
    sign_anything(stolen(tmp_path), leaf, name)
    assert verdict in openssl("verify", "-CAfile", ca_path(tmp_path), leaf)[1]


def test_it_signs_no_other_ca(tmp_path: Path) -> None:
    name, below, leaf = x509.DNSName("a.gw.example.com"), tmp_path / "below.crt", tmp_path / "leaf.crt"
    sign_anything(sign_anything(stolen(tmp_path), below, name, ca=True), leaf, name)
    text = openssl("verify", "-CAfile", ca_path(tmp_path), "-untrusted", below, leaf)[1]
    assert "path length constraint exceeded" in text


def test_it_refuses_names_outside_the_domain(tmp_path: Path) -> None:
    ca = make(tmp_path)
    for host in ("example.com", "notgw.example.com", "gw.example.com.evil.org", ""):
        assert not ca.may_sign(host)
        with pytest.raises(InvalidInput, match=r"gw\.example\.com and names below it"):
            ca.leaf(host)


def test_leaves_are_cached_bounded_and_renewed(tmp_path: Path) -> None:
    clock = At(SystemClock().now())
    ca = LocalCa.open(tmp_path, "localhost", clock=clock, cache=2)
    first = ca.leaf("a.localhost")
    assert ca.leaf("a.localhost") is first
    assert first.names == {"a.localhost"}
    assert (LEAF_DAYS - 2) * DAY < first.not_after - clock.time <= LEAF_DAYS * DAY
    ca.leaf("b.localhost")
    ca.leaf("a.localhost")
    ca.leaf("c.localhost")  # b is the one that was not asked for longest
    assert len(ca) == 2
    assert ca.leaf("a.localhost") is first
    clock.time = first.not_after - LEAF_RENEW_DAYS * DAY + 1
    renewed = ca.leaf("a.localhost")
    assert renewed is not first
    assert renewed.not_after > first.not_after


def test_a_leaf_made_by_a_fast_clock_is_replaced_once_the_clock_is_right(tmp_path: Path) -> None:
    clock = At(SystemClock().now())
    ca = LocalCa.open(tmp_path, "localhost", clock=clock)
    clock.time += 3 * 365 * DAY
    ahead = ca.leaf("a.localhost")
    clock.time -= 3 * 365 * DAY
    right = ca.leaf("a.localhost")
    assert right is not ahead
    assert right.not_after - clock.time <= LEAF_DAYS * DAY
    assert ca.leaf("a.localhost") is right


def test_as_shipped_the_number_of_cached_leaves(tmp_path: Path) -> None:
    ca = make(tmp_path, "localhost")
    for n in range(1_030):
        ca.leaf(f"n{n}.localhost")
    assert len(ca) == LEAF_CACHE < 1_030


def test_a_client_a_day_behind_accepts_a_new_leaf(tmp_path: Path) -> None:
    """BACKDATE_SECONDS, of the CA and of what it signs: neither begins now, nor long before."""
    clock = At(float(int(SystemClock().now())))
    ca = LocalCa.open(tmp_path, "localhost", clock=clock)
    assert ca.certificate.not_valid_before_utc.timestamp() == clock.time - DAY
    clock.time += 100 * DAY
    assert presented(ca, "a.localhost").not_valid_before_utc.timestamp() == clock.time - DAY


def presented(ca: LocalCa, host: str) -> x509.Certificate:
    """The certificate with which a server answers for `host`."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    client = trusting.wrap_bio(to_client, to_server, server_hostname=host)
    server = ca.leaf(host).context.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(3):
        for side in (client, server):
            with suppress(ssl.SSLWantReadError):
                side.do_handshake()
    der = client.getpeercert(binary_form=True)
    assert der is not None
    return x509.load_der_x509_certificate(der)


def test_the_ca_is_the_same_after_a_restart(tmp_path: Path) -> None:
    assert make(tmp_path).certificate == make(tmp_path).certificate


def test_another_domain_or_an_expired_ca_puts_the_old_one_aside(tmp_path: Path) -> None:
    old = make(tmp_path).certificate
    new = make(tmp_path, "other.example.com").certificate
    assert new != old
    aside = tmp_path / "ca" / f"ca-{old.serial_number:x}.crt"
    assert x509.load_pem_x509_certificate(aside.read_bytes()) == old
    later = make(tmp_path, "other.example.com", at=SystemClock().now() + 3651 * DAY).certificate
    assert later.serial_number != new.serial_number


@pytest.mark.parametrize("damage", ["no key", "other key", "cut certificate", "cut key", "a kind we do not make"])
def test_half_a_ca_is_never_replaced_silently(tmp_path: Path, damage: str) -> None:
    make(tmp_path)
    certificate, key = ca_path(tmp_path), tmp_path / "ca" / "ca.key"
    match damage:
        case "no key":
            key.unlink()
        case "other key":
            make(tmp_path / "other")
            key.write_bytes((tmp_path / "other" / "ca" / "ca.key").read_bytes())
        case "cut certificate":
            certificate.write_bytes(certificate.read_bytes()[:200])
        case "cut key":
            key.write_bytes(key.read_bytes()[:100])
        case "a kind we do not make":
            openssl(
                "req", "-x509", "-newkey", "ed25519", "-nodes", "-subj", "/CN=x", "-keyout", key, "-out", certificate
            )
    before = certificate.read_bytes()
    with pytest.raises(StartupError, match="restore it, or remove"):
        make(tmp_path)
    assert certificate.read_bytes() == before


def test_the_text_of_ferry_ca(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="the first start of `ferry serve` makes it"):
        describe_ca(tmp_path)
    make(tmp_path)
    description = describe_ca(tmp_path)
    _, text = openssl("x509", "-in", description.path, "-noout", "-fingerprint", "-sha256")
    assert text.strip().endswith(description.fingerprint)
    assert description.domain == "gw.example.com"
    for word in (
        str(ca_path(tmp_path)),
        "update-ca-certificates",
        "add-trusted-cert",
        "nssdb",
        "Firefox",
        "curl --cacert",
    ):
        assert word in description.text()
    ca_path(tmp_path).write_text("nonsense")
    with pytest.raises(InvalidInput, match="restore it"):
        describe_ca(tmp_path)
