"""Logging in: which keys are acceptable, and the binding of an identity to a key that has signed.

No passwords. A client without a key answers keyboard-interactive with no question asked, where the operator allows
that, and is anonymous; so is the user `nokey`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import asyncssh
from asyncssh.constants import DISC_TOO_MANY_CONNECTIONS

from ferry.kinds import kind_of
from ferry.kinds.web import HTTP
from ferry.limiters.handshakes import Progress
from ferry.names import Endpoint, Fingerprint, printable
from ferry.protocol.authorized_keys import fingerprint_of
from ferry.registry.contract import StoreUnavailable

from .notices import banner_for, first_banner_for

if TYPE_CHECKING:
    from .client import Client
    from .front import SshFront

KEYLESS_USER: Final = "nokey"
RSA_BITS: Final = range(2048, 8193)  # below is weak; above, one signature check costs seconds (CVE-2026-39829)


class Login(asyncssh.SSHServer):
    """asyncssh's callbacks for one connection (its `SSHServer`)."""

    def __init__(self, front: SshFront, client: Client) -> None:
        self.client = client
        self._front = front
        self._grace: asyncio.TimerHandle | None = None

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        host, port = conn.get_extra_info("peername", ("", 0))[:2]
        own = conn.get_extra_info("sockname", ("", 0))[0]
        self.client.peer = Endpoint(host.removeprefix("::ffff:"), port)
        self.client.origin = self._front.origins.of(self.client.peer.host, own.removeprefix("::ffff:"))
        grace = self.client.limits.key_grace
        self._grace = asyncio.get_running_loop().call_later(grace, self._grace_over)

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_grace()
        self._front.client_closed(self.client, exc)

    def _grace_over(self) -> None:
        if not self.client.key_acceptable:
            self.client.connection.timed_out = True
            self.client.close("no acceptable key was offered in time")

    def _cancel_grace(self) -> None:
        if self._grace is not None:
            self._grace.cancel()
            self._grace = None

    # --- methods

    def begin_auth(self, username: str) -> bool:
        """False lets the client in without a key: `nokey@`, where the operator allows that."""
        self.client.user = username
        return not (username == KEYLESS_USER and self.client.services.access.keyless)

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        """Whether `key` would do. Nobody has proved to hold it yet: nothing may be bound to it here."""
        del username
        bits = getattr(getattr(key, "pyca_key", None), "key_size", None)
        known, _ = self.client.services.access.key_name(Fingerprint(key.get_fingerprint()))
        if known and not (key.algorithm == b"ssh-rsa" and bits not in RSA_BITS):
            self.client.key_acceptable = True
            self._front.admission.progressed(self.client, Progress.PROMISING)
            return True
        self.client.key_refused()
        return False

    def kbdint_auth_supported(self) -> bool:
        return self.client.services.access.keyless

    def get_kbdint_challenge(self, username: str, lang: str, submethods: str) -> Any:
        """No question at all (RFC 4256 §3.2 allows zero prompts)."""
        del username, lang, submethods
        return "", "", "", ()

    def validate_kbdint_response(self, username: str, responses: Any) -> bool:
        del username, responses
        return self.client.services.access.keyless

    def auth_completed(self) -> None:
        self._cancel_grace()
        client = self.client
        if client.front.connections_of(client.identity.id) >= client.limits.connections_per_identity:
            client.end_reason = "too many connections of this identity"
            client.connection.end(
                f"you have {client.limits.connections_per_identity} connections open, which is the limit; retry-after=60",
                DISC_TOO_MANY_CONNECTIONS,
            )
            return
        version = client.connection.get_extra_info("client_version", "")
        client.client_version = printable(version.removeprefix("SSH-2.0-"), 100)
        self._front.client_opened(client)


async def bind_identity(client: Client, user: str, key_data: bytes) -> bool:
    """A key has signed: find out whose it is. False when that cannot be told now, or the key may not log in any more."""
    services = client.services
    fingerprint = fingerprint_of(key_data)
    _, name = services.access.key_name(fingerprint)
    algorithm = key_data[4 : 4 + int.from_bytes(key_data[:4], "big")].decode("ascii", "replace")
    try:
        identity = await services.people.identity_for_key(fingerprint, algorithm, name, now=services.clock.now())
        client.identity, client.user = identity, user
        if services.banner and (text := await _own_address(client)):
            client.connection.send_auth_banner(text)
    except StoreUnavailable as error:
        services.report("store.failed", error=str(error))
        client.end_reason = error.public
        client.connection.end(f"{error.public}; retry-after=30")
        return False
    # the database was waited for, and by now the access rules may be others
    return client.services.access.key_name(fingerprint) == (True, name)


async def _own_address(client: Client) -> str | None:
    """The banner for identities that publish http: they learn their address even under `ssh -N`.

    An identity that has nothing yet is told what `-R 80:...` will give it; one that only has ports is told nothing.
    """
    services = client.services
    reservations = await services.registry.reservations(client.identity.id)
    hosts = [r.address.name for r in reservations if kind_of(r.address.kind).has_host]
    if hosts:
        return banner_for(hosts, services.urls)
    if reservations:
        return None
    address = next(HTTP.candidate_addresses(client.identity.id, services.secret, services.rules, ()))
    taken = await services.registry.reservation(address, now=services.clock.now(), keep=services.rules.keep)
    return None if taken else first_banner_for(address.name, services.urls)
