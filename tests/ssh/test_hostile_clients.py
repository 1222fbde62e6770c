"""Attacks that other SSH servers fell to, each against this one.

`CASES` says where each attack on Go's x/crypto/ssh (its vulnerability list; the bare ones are of 2026) is tried against Ferry.
Most have a place among the tests of what they attack; the rest stand here.
"""

from __future__ import annotations

import ast
import asyncio
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from asyncssh.constants import MSG_CHANNEL_OPEN, MSG_CHANNEL_OPEN_FAILURE, MSG_USERAUTH_FAILURE, MSG_USERAUTH_REQUEST
from asyncssh.packet import Boolean, MPInt, String, UInt32

from gateway_process import Gateway
from inside_gateway import SECONDS, Inside
from ssh.asking_client import logged_in

TESTS = Path(__file__).parents[1]
CASES = {
    "CVE-2024-45337: a key that is asked about and not proven decides": (
        "ssh/test_proven_key.py::test_a_key_without_a_signature_is_not_the_identity",
        "ssh/test_proven_key.py::test_a_listed_key_lets_in_only_its_holder",
        "e2e/test_identity.py::test_an_unproven_key_is_not_the_identity_of_a_keyless_log_in",
        "ssh/test_hostile_clients.py::test_the_options_of_the_key_that_signs_count",
    ),
    "46595: where a key may come from is not checked for another method": (
        "ssh/test_hostile_clients.py::test_no_method_leads_around_from",
        "conformance/test_certificates_beside_sshd.py::test_both_let_the_same_certificates_in_to_the_same_forwards",
    ),
    "39828: a method of several drops what an earlier one restricted": (
        "ssh/test_hostile_clients.py::test_the_options_of_the_key_that_signs_count",
        "policy/test_certificate_decisions.py::test_what_the_line_and_the_certificate_allow_both_is_allowed",
    ),
    "39827: a channel that is refused stays in memory": (
        "ssh/test_hostile_clients.py::test_refused_channels_leave_nothing",
        "ssh/test_caps.py::test_visitors_that_leave_during_channel_open_leave_no_channel",
    ),
    "39830: answers that nobody has asked for stop the connection": (
        "ssh/test_odd_input.py::test_an_unexpected_answer_is_ignored",
    ),
    "39829: an RSA key takes minutes to check": (
        "ssh/test_login.py::test_a_key_that_costs_seconds_to_check_is_refused",
    ),
    "46597, CVE-2021-43565: an empty or malformed packet of AES-GCM ends the process": (
        "ssh/test_wrong_packets.py::test_a_packet_too_short_for_its_fields_ends_the_connection",
        "ssh/test_wrong_packets.py::test_a_packet_with_a_giant_length_ends_the_connection",
        "ssh/test_wrong_packets.py::test_a_truncated_message_ends_the_connection",
    ),
    "CVE-2025-22869: bytes pile up behind a key exchange that does not end": (
        "ssh/test_stuck_ends.py::test_a_client_that_never_ends_a_key_exchange_is_ended_with_a_logged_reason",
        "ssh/test_stuck_ends.py::test_endless_requests_during_a_key_exchange_end_the_connection",
        "ssh/test_key_exchanges.py::test_a_client_that_waits_for_an_exchange_cannot_send_ahead",
    ),
    "CVE-2025-58181: a list of GSSAPI mechanisms without a bound": (
        "ssh/test_hostile_clients.py::test_a_crafted_log_in_request_is_refused_and_the_next_one_counts",
        "ssh/test_login_requests.py::test_endless_authentication_requests_end_the_connection_and_others_log_in",
    ),
    "CVE-2020-9283, CVE-2020-29652: a crafted key, or a request for GSSAPI, ends the process": (
        "ssh/test_hostile_clients.py::test_a_crafted_log_in_request_is_refused_and_the_next_one_counts",
        "ssh/test_hostile_clients.py::test_a_crafted_signature_is_refused_and_the_next_one_counts",
        "ssh/test_messages.py::test_numbers_before_the_log_in_is_over",
    ),
    "42508: a revoked CA is not looked at": (
        "conformance/test_certificates_beside_sshd.py::test_both_let_the_same_certificates_in_to_the_same_forwards",
        "e2e/test_certificates_with_ssh.py::test_a_revoked_key_loses_its_connections_within_two_seconds",
    ),
    "39835: a certificate where there is no CA": (
        "ssh/test_hostile_clients.py::test_a_certificate_where_no_ca_is_trusted_lets_nobody_in",
    ),
    "39831: a security key signs without a touch": (
        "ssh/test_security_keys.py::test_a_signature_needs_the_flags_that_the_line_asks_for",
        "ssh/test_security_keys.py::test_where_every_key_may_log_in_a_security_key_has_to_be_touched_too",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_each_attack_is_tried_in_a_test(case: str) -> None:
    for place in CASES[case]:
        path, _, name = place.partition("::")
        tree = ast.parse((TESTS / path).read_text("utf-8"))
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


# --- crafted requests


def of_key(algorithm: bytes, blob: bytes) -> bytes:
    """A question whether a key would do (RFC 4252 §7)."""
    return String(b"publickey") + Boolean(False) + String(algorithm) + String(blob)


ED25519, RSA, P256 = b"ssh-ed25519", b"ssh-rsa", b"ecdsa-sha2-nistp256"
CRAFTED = {
    "a short key": of_key(ED25519, String(ED25519) + String(b"short")),
    "a long key": of_key(ED25519, String(ED25519) + String(bytes(20_000))),
    "no key": of_key(ED25519, b""),
    "a name alone": of_key(ED25519, String(ED25519)),
    "a length past the end": of_key(ED25519, String(ED25519) + UInt32(0xFFFFFFFF)),
    "RSA of zero": of_key(b"rsa-sha2-512", String(RSA) + MPInt(65537) + MPInt(0)),
    "RSA below zero": of_key(b"rsa-sha2-512", String(RSA) + MPInt(-3) + MPInt(-(1 << 2047))),
    "RSA with an even exponent": of_key(b"rsa-sha2-512", String(RSA) + MPInt(2) + MPInt((1 << 2047) + 1)),
    "a point off its curve": of_key(P256, String(P256) + String(b"nistp256") + String(b"\4" + bytes(range(64)))),
    "a point at infinity": of_key(P256, String(P256) + String(b"nistp256") + String(b"\0")),
    "another curve": of_key(P256, String(P256) + String(b"nistp521") + String(b"\4" + bytes(132))),
    "a security key without an application": of_key(
        b"sk-ssh-ed25519@openssh.com", String(b"sk-ssh-ed25519@openssh.com") + String(bytes(32))
    ),
    "a certificate without its fields": of_key(
        b"ssh-ed25519-cert-v01@openssh.com", String(b"ssh-ed25519-cert-v01@openssh.com") + String(bytes(32))
    ),
    "an empty signature": String(b"publickey") + Boolean(True) + String(ED25519) + String(b"") + String(b""),
    "GSSAPI without mechanisms": String(b"gssapi-with-mic") + UInt32(0),
    "GSSAPI with endless mechanisms": String(b"gssapi-with-mic") + UInt32(1000) + String(b"\6\1\0") * 1000,
    "GSSAPI with a count past the end": String(b"gssapi-with-mic") + UInt32(0xFFFFFFFF),
    "a host's key": String(b"hostbased")
    + String(ED25519)
    + String(b"")
    + String(b"host")
    + String(b"root")
    + String(b""),
    "a method with any name": String(b"\xff\0__init__"),
}


class Crafty(asyncssh.SSHClient):
    """Sends a crafted request of its own before its real one."""

    request = b""
    refused = 0

    def connection_made(self, conn: Any) -> None:
        self._connection = conn

    def public_key_auth_requested(self) -> Any:
        if self.refused:
            return None
        connection = self._connection
        handlers = connection._packet_handlers

        def refused(*_: object) -> None:
            self.refused += 1
            connection._packet_handlers = handlers

        connection._packet_handlers = {**handlers, MSG_USERAUTH_FAILURE: refused}
        connection.send_packet(MSG_USERAUTH_REQUEST, String(b"dev") + String(b"ssh-connection") + self.request)
        (pair,) = asyncssh.load_keypairs([self.key])
        return pair

    key = ""


async def refused_first(inside: Inside, key: Path, request: bytes) -> int:
    """How many requests the gateway refuses to a client that sends `request` and then logs in with its key."""
    made: list[Crafty] = []

    def client() -> Crafty:
        made.append(Crafty())
        made[0].key, made[0].request = str(key), request
        return made[0]

    async with asyncssh.connect(
        "127.0.0.1", inside.ssh_port, username="dev", client_factory=client, client_keys=None, known_hosts=None,
        config=None, agent_path=None, kbdint_auth=False,
    ):  # fmt: skip
        return made[0].refused


@pytest.mark.parametrize("crafted", CRAFTED)
@pytest.mark.usefixtures("nothing_fails")
async def test_a_crafted_log_in_request_is_refused_and_the_next_one_counts(
    inside: Inside, key: Path, crafted: str
) -> None:
    assert await refused_first(inside, key, CRAFTED[crafted]) == 1


SIGNATURES = {
    "zeros": (ED25519, String(ED25519) + String(bytes(64))),
    "short": (ED25519, String(ED25519) + String(b"short")),
    "long": (ED25519, String(ED25519) + String(bytes(10_000))),
    "of another type": (ED25519, String(P256) + String(MPInt(1) + MPInt(1))),
    "of zeros": (P256, String(P256) + String(MPInt(0) + MPInt(0))),
    "of huge numbers": (P256, String(P256) + String(MPInt(1 << 9000) + MPInt(1 << 9000))),
    "below zero": (P256, String(P256) + String(MPInt(-1) + MPInt(-1))),
    "of RSA, empty": (RSA, String(b"rsa-sha2-512") + String(b"")),
    "of RSA, above its modulus": (RSA, String(b"rsa-sha2-512") + String(b"\xff" * 256)),
    "of RSA, too long": (RSA, String(b"rsa-sha2-512") + String(b"\1" * 5000)),
    "with more behind it": (ED25519, String(ED25519) + String(bytes(64)) + bytes(100)),
}


@pytest.mark.parametrize("crafted", SIGNATURES)
@pytest.mark.usefixtures("nothing_fails")
async def test_a_crafted_signature_is_refused_and_the_next_one_counts(inside: Inside, key: Path, crafted: str) -> None:
    """Of a key that the gateway would take."""
    algorithm, signature = SIGNATURES[crafted]
    size: dict[str, Any] = {"key_size": 2048} if algorithm == RSA else {}
    public = asyncssh.generate_private_key(algorithm.decode(), **size).public_data
    used = b"rsa-sha2-512" if algorithm == RSA else algorithm
    request = String(b"publickey") + Boolean(True) + String(used) + String(public) + String(signature)
    assert await refused_first(inside, key, request) == 1


# --- what a key may do


async def may_forward(gateway: Gateway, *, sign: Path, between: Path | None = None) -> bool:
    """Whether a client that has signed with the key `sign`, and asked about `between` just before, may forward."""
    async with logged_in(gateway, ask=[], sign=sign, between=between) as connection:
        try:
            listener = await connection.forward_remote_port("localhost", next(gateway.loopback_ports), "127.0.0.1", 9)
        except asyncssh.ChannelListenError:
            return False
        listener.close()
        return True


async def test_the_options_of_the_key_that_signs_count(
    start_gateway: Callable[..., Gateway], new_key: Callable[[], Path], tmp_path: Path
) -> None:
    """Not those of a key that it has asked about."""
    bound, free = new_key(), new_key()
    file = tmp_path / "keys"
    file.write_text(f"restrict {bound.with_suffix('.pub').read_text()}{free.with_suffix('.pub').read_text()}")
    gateway = start_gateway(access={"mode": "keys", "keys": [file]})
    assert not await may_forward(gateway, sign=bound, between=free)
    assert await may_forward(gateway, sign=free, between=bound)


async def test_no_method_leads_around_from(start_gateway: Callable[..., Gateway], key: Path, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f'from="198.51.100.0/24" {key.with_suffix(".pub").read_text()}')
    gateway = start_gateway(access={"mode": "keys", "keys": [file]})
    orders = ("publickey", "keyboard-interactive,publickey", "publickey,keyboard-interactive", "none,publickey")
    for methods in orders:
        with pytest.raises(asyncssh.PermissionDenied):
            await asyncssh.connect(
                "127.0.0.1", gateway.ports.ssh, username="dev", client_keys=[str(key)], known_hosts=None, config=None,
                agent_path=None, preferred_auth=methods,
            )  # fmt: skip


def test_a_certificate_where_no_ca_is_trusted_lets_nobody_in(
    start_gateway: Callable[..., Gateway], new_key: Callable[[], Path], tmp_path: Path
) -> None:
    """Not even if the file has the plain key of somebody else, or the CA's as a plain key."""
    known, ca, holder = new_key(), new_key(), new_key()
    command = ["ssh-keygen", "-q", "-s", str(ca), "-I", "somebody", "-n", "dev", str(holder.with_suffix(".pub"))]
    subprocess.run(command, check=True, timeout=30)
    file = tmp_path / "keys"
    file.write_text("".join(key.with_suffix(".pub").read_text() for key in (known, ca)))
    gateway = start_gateway(access={"mode": "keys", "keys": [file]})
    certificate = holder.with_name(f"{holder.name}-cert.pub")
    ended = gateway.ssh(tmp_path, holder).run("-o", f"CertificateFile={certificate}", words="whoami")
    assert (ended.code, ended.out) == (255, "")
    assert gateway.ssh(tmp_path, known).run(words="whoami").code == 0


# --- channels


async def test_refused_channels_leave_nothing(inside: Inside, key: Path) -> None:
    kinds = [
        String(b"direct-tcpip") + UInt32(1) + UInt32(1 << 20) + UInt32(1 << 15) + String(b"169.254.169.254") + UInt32(80)
        + String(b"127.0.0.1") + UInt32(1),
        String(b"no-such-channel@test") + UInt32(1) + UInt32(1 << 20) + UInt32(1 << 15),
        String(b"direct-streamlocal@openssh.com") + UInt32(1) + UInt32(1 << 20) + UInt32(1 << 15) + String(b"/run/x")
        + String(b"") + UInt32(0),
        String(b"session") + UInt32(1) + UInt32(1 << 20) + UInt32(1),
    ]  # fmt: skip
    async with inside.client(key) as client:
        answered = asyncio.Semaphore(0)
        client.on(MSG_CHANNEL_OPEN_FAILURE, lambda _packet: answered.release())
        before = inside.kept()
        for _ in range(500):
            for kind in kinds:
                client.send(MSG_CHANNEL_OPEN, kind)
            async with asyncio.timeout(SECONDS):
                for _ in kinds:
                    await answered.acquire()
        (connected,) = inside.clients
        assert len(connected.connection._channels) == 0
        await inside.back_to(before)
