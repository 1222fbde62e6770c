"""Certificates: their wire form, and what their options mean."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certificates_made import blob_in, certify
from ferry.errors import InvalidInput
from ferry.protocol.authorized_keys import fingerprint_of
from ferry.protocol.certificates import (
    FOREVER,
    CertificateKind,
    Permissions,
    is_certificate,
    parse_certificate,
    read_permissions,
)
from made_certificate import CA, KEY, PERMIT, made, made_blob, options, text
from ssh_command import fingerprint, make_key


@pytest.mark.parametrize("kind", ["ed25519", "rsa", "ecdsa"])
def test_a_certificate_of_ssh_keygen_is_read(tmp_path: Path, kind: str) -> None:
    ca, key = make_key(tmp_path / "ca"), make_key(tmp_path / "key", kind)
    path = certify(ca, key, "-n", "dev,ops", "-z", "18446744073709551615", "-V", "20200101000000Z:20300101000000Z")
    found = parse_certificate(blob_in(path))
    assert (found.fingerprint, found.ca_fingerprint) == (fingerprint(key), fingerprint(ca))
    assert (found.kind, found.key_id, found.serial) == (CertificateKind.USER, "web-1", 2**64 - 1)
    assert (found.principals, found.valid_after, found.valid_before) == (("dev", "ops"), 1_577_836_800, 1_893_456_000)
    assert read_permissions(found) == Permissions(forwards=True)


def test_its_parts_are_told_apart() -> None:
    found = made(kind=2, principals=(), critical=options(("a", b"1"), ("b", b"")))
    assert (found.kind, found.principals, found.valid_before) == (CertificateKind.HOST, (), FOREVER)
    assert (found.critical, found.extensions) == ((("a", b"1"), ("b", b"")), (("permit-port-forwarding", b""),))
    assert (found.key, found.ca, found.fingerprint) == (KEY, CA, fingerprint_of(KEY))
    assert found.signed + text(found.signature) == made_blob(
        kind=2, principals=(), critical=options(("a", b"1"), ("b", b""))
    )


def test_a_plain_key_is_no_certificate() -> None:
    assert not is_certificate(KEY)
    assert not is_certificate(b"")
    assert is_certificate(made_blob())


@pytest.mark.parametrize("end", range(0, 300, 7))
def test_one_that_is_cut_short_is_refused(end: int) -> None:
    whole = made_blob()
    with pytest.raises(InvalidInput):
        parse_certificate(whole[: min(end, len(whole) - 1)])


@pytest.mark.parametrize(
    ("blob", "why"),
    [
        (made_blob() + b"\0", "cut short or damaged"),
        (made_blob(kind=3), "cut short or damaged"),
        (made_blob(key_id=b"\xff"), "a key id of the certificate is not UTF-8"),
        (made_blob(principals=(b"a\0b",)), "a principal of the certificate has a NUL byte"),
        (made_blob(principals=("p",) * 257), "a certificate may have 256 principals"),  # SSH_CERTIFICATE_PRINCIPALS
        (made_blob(key_id="i" * 1025), "has more than 1024 bytes"),  # SSH_CERTIFICATE_NAME_BYTES
        (made_blob(critical=text("odd")), "cut short or damaged"),
        (made_blob(extensions=options(("x", b"x" * 65536))), "64 KiB are allowed"),  # SSH_CERTIFICATE_BYTES
        (KEY, "no certificate of OpenSSH"),
    ],
)
def test_one_that_is_wrong_is_refused_with_the_reason(blob: bytes, why: str) -> None:
    with pytest.raises(InvalidInput, match=why):
        parse_certificate(blob)


@given(st.binary(max_size=400))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for blob in (data, made_blob()[: len(data)] + data):
        try:
            parse_certificate(blob)
        except InvalidInput:
            continue


@pytest.mark.parametrize(
    ("critical", "extensions", "means"),
    [
        (b"", b"", Permissions()),
        (b"", options(("permit-pty", b""), ("unknown@example.com", b"x")), Permissions()),
        (b"", PERMIT + options(("no-touch-required", b"")), Permissions(forwards=True, touch_required=False)),
        (options(("verify-required", b"")), b"", Permissions(verify_required=True)),
        (options(("force-command", text("/bin/false"))), b"", Permissions(command="/bin/false")),
        (
            options(("source-address", text("192.0.2.0/24,2001:db8::1"))),
            b"",
            Permissions(sources=(IPv4Network("192.0.2.0/24"), IPv6Network("2001:db8::1/128"))),
        ),
    ],
)
def test_options(critical: bytes, extensions: bytes, means: Permissions) -> None:
    assert read_permissions(made(critical=critical, extensions=extensions)) == means


@pytest.mark.parametrize(
    ("critical", "extensions", "why"),
    [
        (options(("x@example.com", b"")), b"", "critical option x@example.com, which is not known here"),
        (options(("no-touch-required", b"")), b"", "critical option no-touch-required"),
        (options(("force-command", text("a")), ("force-command", text("a"))), b"", "force-command twice"),
        (options(("force-command", text("a") + b"x")), b"", "force-command has data that does not belong there"),
        (options(("force-command", b"")), b"", "cut short"),
        (options(("verify-required", b"x")), b"", "verify-required has data"),
        (b"", options(("permit-pty", b"x")), "permit-pty has data"),
        (options(("source-address", text("localhost"))), b"", "'localhost', which is neither an address nor a network"),
        (options(("source-address", text("192.0.2.1/24"))), b"", "192.0.2.1/24"),
        (options(("source-address", text(""))), b"", "neither an address nor a network"),
        (options(("source-address", text(",".join(["192.0.2.1"] * 257)))), b"", "257 entries"),
    ],
)
def test_options_by_which_it_is_refused(critical: bytes, extensions: bytes, why: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        read_permissions(made(critical=critical, extensions=extensions))
    assert why in str(refused.value)


def test_the_second_before_its_end_counts_and_the_end_does_not() -> None:
    found = made(after=100, before=200)
    assert [found.in_time(now) for now in (99.9, 100, 199.9, 200)] == [False, True, True, False]
