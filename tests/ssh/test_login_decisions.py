"""Decisions of a log-in that a client sees in little more than its messages. The gateway is in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from asyncssh.constants import MSG_USERAUTH_FAILURE
from asyncssh.packet import SSHPacket

from certificates_made import Shown
from ferry.errors import Refusal
from ferry.names import Fingerprint
from ferry.policy.keys import ANY_KEY, KeyLine
from ferry.policy.sshd import SshdOptions, SshdRules
from ferry.protocol.certificates import Certificate
from ferry.protocol.key_options import parse_options
from ferry.ssh.refusals import RefusedForward
from inside_gateway import SECONDS, inside_gateway
from known_system import KNOWN
from made_certificate import made_blob, text
from ssh.test_revoked import Keys
from ssh_command import fingerprint
from turns import until

HERE = "127.0.0.1"


async def log_in(
    port: int, *keys: Any, user: str = "dev", client: type[asyncssh.SSHClient] = asyncssh.SSHClient
) -> Any:
    return await asyncssh.connect(
        HERE, port, username=user, client_keys=list(keys) or None, known_hosts=None, config=None, agent_path=None,
        client_factory=client, kbdint_auth=False,
    )  # fmt: skip


@pytest.mark.parametrize("options", ['from="*.example.com"', 'from="*.example.com,127.0.0.1"'])
async def test_without_names_of_hosts_a_pattern_for_them_fits_nobody(
    key: Path, options: str, nothing_fails: None
) -> None:
    """As in sshd with UseDNS no: an address in the same list fits."""
    mark = fingerprint(key)
    async with asyncio.timeout(SECONDS), inside_gateway() as gateway:
        gateway.change(access=Keys(mark, options=options), host_names=None)
        if "," in options:
            (await log_in(gateway.ssh_port, key)).abort()
        else:
            with pytest.raises(asyncssh.PermissionDenied):
                await log_in(gateway.ssh_port, key)
            (denied,) = gateway.said("keys.denied")
            assert denied["key"] == mark


async def test_the_user_nokey_is_no_partial_success_where_keys_are_asked_for(key: Path) -> None:
    """Ssh shows that: `Authenticated using "none" with partial success`."""
    partial: list[bool] = []

    class Client(asyncssh.SSHClient):
        def connection_made(self, conn: Any) -> None:
            heard = conn._packet_handlers[MSG_USERAUTH_FAILURE]

            def failed(connection: Any, kind: int, number: int, packet: SSHPacket) -> Any:
                told = SSHPacket(packet.get_full_payload())
                told.get_byte()
                told.get_namelist()
                partial.append(told.get_boolean())
                return heard(connection, kind, number, packet)

            conn._packet_handlers = {**conn._packet_handlers, MSG_USERAUTH_FAILURE: failed}

    async with asyncio.timeout(SECONDS), inside_gateway() as gateway:
        gateway.change(access=Keys("SHA256:other"))
        with pytest.raises(asyncssh.PermissionDenied):
            await log_in(gateway.ssh_port, key, user="nokey", client=Client)
    assert partial
    assert not any(partial)


async def test_a_login_with_two_keys_shows_its_banner_with_the_second(key: Path, new_key: Any) -> None:
    """A banner is shown once: after the first key the client is not in yet."""
    other, shown = new_key(), []

    class Client(asyncssh.SSHClient):
        def auth_banner_received(self, msg: str, lang: str) -> None:
            del lang
            shown.append(msg)

    refused = RefusedForward("-R admin:80", "no", "reserved", 1.0)
    names: dict[str, Any] = {fingerprint(key): "ann", fingerprint(other): "ann"}
    async with asyncio.timeout(SECONDS), inside_gateway() as gateway:
        gateway.change(access=Keys(**names), banner=True, sshd=SshdRules(SshdOptions(keys_needed=2)))
        connection = await log_in(gateway.ssh_port, key, other, client=Client)
        assert not shown
        (client,) = gateway.clients
        connection.abort()
        gateway.worker.ssh.refusals.remember(client.identity.id, refused)
        (await log_in(gateway.ssh_port, key, other, client=Client)).abort()
    assert shown == ["ferry: refused before: -R admin:80: no\r\n"]


class OneCa(Keys):
    """Certificates of one CA, from elsewhere only."""

    def __init__(self, ca: bytes) -> None:
        super().__init__("SHA256:other")
        self._ca = ca

    def lines_for(self, certificate: Certificate, _user: str) -> Sequence[KeyLine]:
        options = parse_options('cert-authority,from="192.0.2.1"', KNOWN)
        return [replace(ANY_KEY, options=options)] if certificate.ca == self._ca else []

    def revocation_of(self, _fingerprint: Fingerprint, _certificate: Certificate | None) -> Refusal | None:
        return None


@pytest.mark.parametrize("signs", [True, False])
async def test_who_has_forged_a_certificate_learns_nothing_about_its_ca(key: Path, *, signs: bool) -> None:
    """Why a certificate may not log in is said once its CA's signature is checked."""
    ca = asyncssh.generate_private_key("ssh-ed25519")
    own = asyncssh.read_private_key(key)
    raw = text(own.public_data[-32:])
    body = made_blob(ca=ca.public_data, key=raw).removesuffix(text(b"signature"))
    signer = ca if signs else own
    blob = body + text(signer.sign(body, b"ssh-ed25519"))
    async with asyncio.timeout(SECONDS), inside_gateway() as gateway:
        gateway.change(access=OneCa(ca.public_data))
        with pytest.raises(asyncssh.PermissionDenied):
            await log_in(gateway.ssh_port, Shown(own, blob))
        await until(lambda: gateway.said("handshake.ended"))
        assert bool(gateway.said("keys.denied")) is signs


class Names:
    """Looks up the names of hosts."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def name_of(self, address: str) -> str:
        self.asked.append(address)
        return "web.example.com"


async def test_one_log_in_is_judged_by_one_name_of_its_host(key: Path, new_key: Any) -> None:
    other = new_key()
    async with asyncio.timeout(SECONDS), inside_gateway() as gateway:
        names = Names()
        gateway.change(
            access=Keys(fingerprint(key), fingerprint(other), options='from="*.example.org"'), host_names=names
        )
        with pytest.raises(asyncssh.PermissionDenied):
            await log_in(gateway.ssh_port, key, other)
        assert len(gateway.said("keys.denied")) == 2
        assert names.asked == [HERE]
        gateway.change(access=Keys(fingerprint(key), options='from="*.example.com"'))
        (await log_in(gateway.ssh_port, key)).abort()


async def test_a_key_that_is_offered_again_in_one_log_in_keeps_its_place_among_those_not_let_in(
    key: Path, new_key: Any
) -> None:
    """Ssh offers all its keys again after a partial success: that makes none of them newer than another."""
    other = new_key()
    async with asyncio.timeout(SECONDS), inside_gateway() as gateway:
        gateway.change(access=Keys("SHA256:other"))
        with pytest.raises(asyncssh.PermissionDenied):
            await log_in(gateway.ssh_port, key, other, key)
        assert [each.fingerprint for each in gateway.worker.ssh.refused_keys] == [fingerprint(key), fingerprint(other)]
