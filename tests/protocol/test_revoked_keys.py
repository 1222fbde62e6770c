"""Lists of revoked keys."""

from __future__ import annotations

import base64
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certificates_made import blob_in, certify
from ferry.errors import InvalidInput
from ferry.protocol.authorized_keys import fingerprint_of
from ferry.protocol.certificates import parse_certificate
from ferry.protocol.revoked_keys import parse_revoked
from made_certificate import CA, KEY, made, made_blob, text
from ssh_command import fingerprint, make_key

DSA = text("ssh-dss") + text(b"p")


HEADER = b"SSHKRL\n\0" + (1).to_bytes(4, "big") + bytes(24) + text(b"") + text(b"")


def encoded(blob: bytes) -> str:
    return base64.b64encode(blob).decode()


@pytest.mark.parametrize(
    "line",
    [
        f"ssh-ed25519 {encoded(KEY)} lost",
        f"  ssh-ed25519\t{encoded(KEY)}\r",
        f"ssh-ed25519-cert-v01@openssh.com {encoded(made_blob())} any serial",
        str(fingerprint_of(KEY)),
        f"256 {fingerprint_of(KEY)} lost (ED25519)",
    ],
)
def test_a_key_a_certificate_of_it_and_its_fingerprint_are_the_same(line: str) -> None:
    assert parse_revoked(f"# lost\n\n{line}\n".encode()).keys == {fingerprint_of(KEY)}


def test_a_key_that_may_not_log_in_anyway_is_no_mistake() -> None:
    assert parse_revoked(f"ssh-dss {encoded(DSA)}".encode()).keys == {fingerprint_of(DSA)}


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"SSHKRL\n\0\1\2", "the list is cut short or damaged"),
        (b"SSHKRL\n\0\0\0\0\2", "its format is newer"),
        (HEADER + b"\3" + text(text(b"s" * 20)), "it has SHA-1 fingerprints"),
        (HEADER + b"\7" + text(b""), "a section that this gateway does not know"),
        (
            HEADER + b"\1" + text(text(CA) + text(b"") + b"\x39" + text(b"")),
            "a section that this gateway does not know",
        ),
        (HEADER + (b"\2" + text(b"")) * 10_001, "more than 10,000 sections"),  # KRL_SECTIONS
        (b"\nSHA256:short", "line 2: the fingerprint is cut short"),
        (b"ssh-ed25519 !!!", "line 1: the key is not base64"),
        (f"ssh-rsa {encoded(KEY)}".encode(), "line 1: the key is cut short, or of another type"),
        (b"restrict ssh-ed25519 AAAA", "line 1: restrict is neither a key type nor a fingerprint"),
        (b"ssh-ed25519-cert-v01@openssh.com AAAA", "line 1: "),
    ],
)
def test_one_wrong_line_makes_the_whole_list_wrong(data: bytes, why: str) -> None:
    """The key in that line would count as good."""
    with pytest.raises(InvalidInput) as refused:
        parse_revoked(data)
    assert why in str(refused.value)


def test_a_binary_list_of_ssh_keygen_is_read(tmp_path: Path) -> None:
    ca, other = make_key(tmp_path / "ca"), make_key(tmp_path / "other")
    keys = {number: make_key(tmp_path / f"key{number}") for number in (1, 5, 6, 7, 64, 900, 1000)}
    certificates = {
        number: parse_certificate(blob_in(certify(ca, key, "-z", str(number), key_id=f"id {number}")))
        for number, key in keys.items()
    }
    spec = tmp_path / "spec"
    fingerprint_line = f"hash: {fingerprint(other)}"
    spec.write_text(f"serial: 1\nserial: 5-6\nserial: 64\nserial: 60\nserial: 62\nid: id 1000\n{fingerprint_line}\n")
    krl = tmp_path / "krl"
    run = ["ssh-keygen", "-q", "-k", "-f", str(krl), "-s", str(ca.with_suffix(".pub")), "-z", "3"]
    subprocess.run([*run, str(spec), str(keys[7].with_suffix(".pub"))], check=True, timeout=30)
    found = parse_revoked(krl.read_bytes())
    assert found.keys == {fingerprint(other), fingerprint(keys[7])}
    assert [number for number, one in certificates.items() if found.has_certificate(one)] == [1, 5, 6, 64, 1000]
    strange = parse_certificate(blob_in(certify(other, keys[1], "-z", "1")))
    assert not found.has_certificate(strange)


def part(kind: int, data: bytes) -> bytes:
    return bytes([kind]) + text(data)


def number(value: int) -> bytes:
    return value.to_bytes(8, "big")


@pytest.mark.parametrize(
    ("parts", "revoked"),
    [
        (part(0x21, number(10) + number(20)) + part(0x21, number(15) + number(24)), [10, 11, 17, 18, 20, 24]),
        (part(0x21, number(10) + number(30)) + part(0x21, number(15) + number(20)), [10, 11, 17, 18, 20, 24, 25, 30]),
        (part(0x21, number(10) + number(11)) + part(0x21, number(20) + number(24)), [10, 11, 20, 24]),
        (part(0x22, number(9) + text(b"\0\x81\x02")), [10, 17, 24]),
        (part(0x20, number(0) + number(11)), [11]),
        (part(0x21, number(0) + number(2**64 - 1)), [9, 10, 11, 17, 18, 20, 24, 25, 30, 31]),
        (b"", []),
    ],
)
def test_serial_numbers_of_every_ca(parts: bytes, revoked: list[int]) -> None:
    """As in sshd, 0 is no serial number."""
    found = parse_revoked(HEADER + part(1, text(b"") + text(b"") + parts))
    serials = (0, 9, 10, 11, 17, 18, 20, 24, 25, 30, 31)
    assert [serial for serial in serials if found.has_certificate(made(serial=serial))] == revoked


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for whole in (HEADER + data, HEADER + part(1, text(CA) + text(b"") + data)):
        try:
            parse_revoked(whole)
        except InvalidInput:
            continue
