"""The keys that one client offers: what it reads about them, and what the log gets."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import asyncssh
import pytest

from ferry.names import Fingerprint
from ferry.ssh.offered_keys import OfferedKeys, certified_key
from made_certificate import CA, KEY, made, made_blob, text

ONE, TWO = Fingerprint("SHA256:one"), Fingerprint("SHA256:two")
WEB = made()
OTHER_CA = made(ca=text("ssh-ed25519") + text(b"d" * 32))
UNKNOWN_CA = "ferry: your certificate is from a CA that this gateway does not know:"
NO_KEY = "ferry: this gateway lets in known keys only, and your client offered none."
UNKNOWN_KEY = "ferry: this gateway does not know your key:"


class Client:
    """What it offers, and what it reads."""

    def __init__(self) -> None:
        self.read: list[str] = []
        self.keys = OfferedKeys(self.read.append)

    def first_lines(self) -> list[str]:
        return [each.partition("\r\n")[0] for each in self.read]


def rsa(bits: int) -> bytes:
    modulus = ((1 << bits) - 159).to_bytes(bits // 8, "big")
    return text("ssh-rsa") + text(b"\1\0\1") + text(b"\0" + modulus)


@pytest.mark.parametrize(
    ("blob", "read"),
    [
        (KEY, None), (made_blob(), None), (rsa(2048), None),
        (rsa(1024), "ferry: an RSA key of 1024 bits may not log in"),
        (text("ssh-rsa") + text(b"\0\1\0\1") + text(rsa(2048)[-257:]), "ferry: the key is written in a form that is not"),
        (made_blob(ca=rsa(1024)), "ferry: the CA of your certificate: an RSA key of 1024 bits may not log in"),
        (made_blob(key_id="x" * 70_000), "ferry: the certificate has 70,"),
        (text("ssh-ed25519") + text(b"short"), ""), (text("no-such") + text(b"k" * 32), ""), (b"", ""),
    ],
    ids=["key", "certificate", "rsa", "weak", "odd form", "weak ca", "large", "short", "unknown", "empty"],
)  # fmt: skip
def test_a_key_may_be_read_if_it_is_small_and_strong(blob: bytes, read: str | None) -> None:
    """None: it may. Empty: it may not, and there is nothing to say."""
    client = Client()
    assert client.keys.may_be_read(blob) is (read is None)
    assert len(client.read) == bool(read)
    assert "".join(client.read).startswith(read or "")


def test_a_certificate_is_read_anew_if_another_is_offered() -> None:
    keys = Client().keys
    first, second = made_blob(serial=1), made_blob(serial=2)
    found = [keys.certificate_in(each) for each in (first, first, second, KEY, first)]
    assert [each and each.serial for each in found] == [1, 1, 2, None, 1]
    assert found[0] is found[1], "one that is signed with is not read again"


def test_a_key_that_is_offered_again_is_not_refused_again() -> None:
    """Stock ssh offers all its keys again after a partial success; the log gets each once."""
    keys = Client().keys
    assert [keys.refuse(each, is_shut=False) for each in (ONE, ONE, TWO, ONE)] == [True, False, True, False]
    assert keys.take_refused() == {"keys": [ONE, TWO]}


def test_a_key_in_a_line_that_is_refused_or_disabled_is_not_told_as_an_unknown_one() -> None:
    keys = Client().keys
    assert [keys.refuse(ONE, is_shut=True), keys.refuse(ONE, is_shut=True)] == [True, False]
    assert (keys.take_refused(), keys.explained) == ({}, False)


OF_WEB = f"web-1 serial 7 CA {WEB.ca_fingerprint}"


@pytest.mark.parametrize(
    ("certified", "keys", "strange", "denied", "told"),
    [
        (False, [], False, [], {}),
        (False, [ONE], False, [], {"keys": [ONE]}),
        (False, [ONE], True, [], {"keys": [ONE], "certificates": [OF_WEB]}),
        (False, [], True, [], {"keys": [WEB.fingerprint], "certificates": [OF_WEB]}),
        (True, [WEB.fingerprint], False, [], {"keys": [WEB.fingerprint], "certified": True}),
        (True, [WEB.fingerprint, ONE], False, [], {"keys": [WEB.fingerprint, ONE]}),
        (True, [WEB.fingerprint], True, [], {"keys": [WEB.fingerprint], "certificates": [OF_WEB]}),
        (True, [WEB.fingerprint], False, [WEB.fingerprint], {"keys": [WEB.fingerprint], "certified": True, "denied": True}),
        (True, [WEB.fingerprint], False, [TWO], {"keys": [WEB.fingerprint], "certified": True}),
        (False, [ONE], False, [ONE], {"keys": [ONE]}),
    ],
)  # fmt: skip
def test_what_the_log_gets_about_refused_keys(
    certified: bool, keys: list[Fingerprint], strange: bool, denied: list[Fingerprint], told: dict[str, Any]
) -> None:
    offered = Client().keys
    if certified:
        offered.certificate_in(made_blob())
    for key in keys:
        offered.refuse(key, is_shut=False)
    for _ in range(2 * strange):
        offered.refuse_certificate(WEB)
    for key in denied:
        assert offered.deny(key, "why")
    offered.explained = False
    assert offered.take_refused() == told
    assert offered.explained is bool(told)
    assert offered.take_refused() == {}, "once"


def test_a_reason_is_read_once_and_reported_once_for_each_key() -> None:
    client = Client()
    assert not client.keys.explained
    asked = [(ONE, "no"), (ONE, "no"), (TWO, "no"), (ONE, "never"), (ONE, "never")]
    assert [client.keys.deny(key, why) for key, why in asked] == [True, False, True, True, False]
    assert client.read == ["ferry: no\r\n", "ferry: never\r\n"]
    assert client.keys.explained


@pytest.mark.parametrize(
    ("refused", "strange", "denied", "why", "read"),
    [
        (False, False, False, "", [NO_KEY]),
        (True, False, False, "", [UNKNOWN_KEY]),
        (False, True, False, "", [UNKNOWN_CA]),
        (True, True, False, "", [UNKNOWN_CA, UNKNOWN_KEY]),
        (False, False, True, "", ["ferry: denied"]),
        (True, False, True, "", ["ferry: denied", UNKNOWN_KEY]),
        (True, True, False, "one of 2 keys", ["ferry: one of 2 keys"]),
    ],
)
def test_what_a_client_reads_after_its_last_key(
    refused: bool, strange: bool, denied: bool, why: str, read: list[str]
) -> None:
    client = Client()
    if refused:
        client.keys.refuse(ONE, is_shut=False)
    if strange:
        client.keys.refuse_certificate(WEB)
        client.keys.refuse_certificate(replace(WEB, serial=8))  # of the same CA, which is told once
    if denied:
        client.keys.deny(TWO, "denied")
    assert client.keys.may_tell_refused
    client.keys.tell_refused("gw.example.com", why)
    assert not client.keys.may_tell_refused
    assert len(client.read) == len(read)
    assert all(line.startswith(begin) for line, begin in zip(client.first_lines(), read, strict=True)), client.read


def test_each_ca_that_is_not_known_is_told() -> None:
    client = Client()
    for each in (WEB, OTHER_CA, WEB):
        client.keys.refuse_certificate(each)
    client.keys.tell_refused("gw")
    assert [each.split()[-1] for each in client.read] == [WEB.ca_fingerprint, OTHER_CA.ca_fingerprint]


@pytest.mark.parametrize(
    ("asked", "signed", "algorithms"),
    [("rsa-sha2-256", "", {"rsa-sha2-256"}), ("ssh-rsa", "rsa-sha2-512", {"ssh-rsa", "rsa-sha2-512"})],
)
def test_the_algorithms_of_a_key(asked: str, signed: str, algorithms: set[str]) -> None:
    keys = Client().keys
    keys.asked = asked
    keys.signed_with(signed)
    assert keys.algorithms == algorithms


@pytest.mark.parametrize(
    ("change", "counts"),
    [
        ({}, True),
        ({"signed": b"something else"}, False),
        ({"ca": CA}, False),
        ({"ca": text("no-such") + text(b"k")}, False),
        ({"signature": text("ssh-rsa") + text(b"x")}, False),
        ({"signature": b""}, False),
    ],
    ids=["right", "changed", "other ca", "unknown ca", "other algorithm", "none"],
)
def test_a_certificate_counts_if_its_ca_has_signed_it(change: dict[str, Any], counts: bool) -> None:
    ca = asyncssh.generate_private_key("ssh-ed25519")
    signed = made_blob(ca=ca.public_data)
    certificate = replace(made(ca=ca.public_data), signed=signed, signature=ca.sign(signed, b"ssh-ed25519"))
    key = certified_key(replace(certificate, **change))
    assert (key is not None) is counts
    assert key is None or key.public_data == KEY


def test_a_certificate_signed_with_sha1_does_not_count() -> None:
    """As in sshd: CASignatureAlgorithms."""
    ca = asyncssh.generate_private_key("ssh-rsa", key_size=2048)
    signed = made_blob(ca=ca.public_data)
    found = [
        certified_key(replace(made(ca=ca.public_data), signed=signed, signature=ca.sign(signed, algorithm)))
        for algorithm in (b"rsa-sha2-256", b"ssh-rsa")
    ]
    assert [each is not None for each in found] == [True, False]
