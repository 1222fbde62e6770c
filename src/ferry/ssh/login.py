"""One log-in, from an accepted socket to a client, or to an end for which its address may be blamed.

No passwords. A client without a key answers keyboard-interactive with no question asked, where the operator allows
that, and is anonymous; so is the user `nokey`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

import asyncssh
from asyncssh.constants import DISC_NO_MORE_AUTH_METHODS_AVAILABLE, DISC_TOO_MANY_CONNECTIONS

from ferry import limits
from ferry.clock import Clock, random_token
from ferry.limiters.handshakes import Progress
from ferry.limiters.penalties import Offence
from ferry.names import ConnectionId, Endpoint, Fingerprint, Identity, IdentityId, printable
from ferry.protocol.authorized_keys import fingerprint_of
from ferry.registry.contract import StoreUnavailable
from ferry.report import Report

from .access import KeyAccess
from .admission import LoginSlot
from .wire.connection import HardenedConnection

KEYLESS_USER: Final = "nokey"
RSA_BITS: Final = range(2048, 8193)  # below is weak; above, one signature check costs seconds (CVE-2026-39829)

_log = logging.getLogger("ferry.ssh")


class People(Protocol):
    """Who has which key (`ferry.store`)."""

    async def identity_for_key(
        self, fingerprint: Fingerprint, algorithm: str, name: str | None, *, now: float
    ) -> Identity: ...


@dataclass(frozen=True, slots=True)
class LoginSettings:
    """What log-ins are judged by."""

    access: KeyAccess
    people: People
    banner: bool
    """Whether those who log in are told their web addresses."""
    tries: int
    """Keys that one connection may try."""
    key_grace: float
    """Seconds within which it offers a key that would do."""
    connections_per_identity: int


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """Who has logged in."""

    id: ConnectionId
    identity: Identity
    user: str
    """The login name."""
    peer: Endpoint
    origin: str
    """Where it comes from, as `ferry.limiters.origins` tells it."""
    client_version: str
    began: float
    """When its socket was accepted: seconds since the epoch."""


class LoginHost(Protocol):
    """Where log-ins are made, and clients kept."""

    @property
    def login(self) -> LoginSettings:
        """What is in force now."""
        ...

    @property
    def clock(self) -> Clock: ...

    @property
    def report(self) -> Report: ...

    def origin_of(self, peer: str, own: str, /) -> str:
        """The origin of a connection from the address `peer` to our address `own`."""
        ...

    def progressed(self, attempt: LoginAttempt, progress: Progress, /) -> None:
        """It has come further."""
        ...

    def over(self, attempt: LoginAttempt, outcome: str, /) -> None:
        """It has ended: `ok`, `failed` or `timeout`. Only the first call counts."""
        ...

    def connections_of(self, identity: IdentityId, /) -> int:
        """Connections that an identity holds."""
        ...

    async def own_address_banner(self, identity: Identity, /) -> str | None:
        """What an identity is told before its log-in ends. Raises StoreUnavailable."""
        ...

    def logged_in(self, attempt: LoginAttempt, who: LoggedIn, /) -> None:
        """It has become a client."""
        ...

    def lost(self, attempt: LoginAttempt, error: Exception | None, /) -> None:
        """Its connection is gone, logged in or not."""
        ...


class LoginAttempt(asyncssh.SSHServer):
    """What asyncssh asks (its `SSHServer`), what the connection tells (`LoginEvents`), and what admission knows of a log-in
    (`Attempt`). After the log-in it hears of nothing but the end."""

    __slots__ = (
        "_began",
        "_garbage",
        "_gave_way",
        "_grace",
        "_host",
        "_identity",
        "_key_acceptable",
        "_lane",
        "_origin",
        "_peer",
        "_proven",
        "_requests",
        "_timed_out",
        "_user",
        "connection",
        "id",
        "slot",
        "tries",
    )

    def __init__(
        self, host: LoginHost, slot: LoginSlot, connect: Callable[[LoginAttempt], HardenedConnection], /
    ) -> None:
        self._host = host
        self.slot = slot
        self.id = ConnectionId(random_token())
        self._began = host.clock.now()
        self._peer = Endpoint("", 0)
        self._origin = ""
        self._user = ""
        self._identity = Identity(IdentityId(f"anonymous:{self.id}"), None, None, anonymous=True)
        """Somebody's from the moment when a key has signed, and may log in."""
        self.tries = 0
        self._requests = 0
        self._key_acceptable = False
        """A key would do. Nobody has proved to hold it."""
        self._proven = False
        """A key has signed that is acceptable."""
        self._garbage = False
        self._timed_out = False
        self._gave_way = False
        self._grace: asyncio.TimerHandle | None = None
        self._lane: asyncio.TimerHandle | None = None
        self.connection = connect(self)

    # --- what admission knows

    @property
    def protocol(self) -> HardenedConnection:
        return self.connection

    def give_way(self, reason: str) -> None:
        self._gave_way = True
        self.connection.end(reason)

    def abort(self) -> None:
        self.connection.abort()

    def offence(self, *, timed_out: bool) -> Offence | None:
        """What the address is to be penalised for, when this has ended without a log-in.

        Whoever has proved an acceptable key is not to blame (the database was away, the identity has too many).
        """
        if self._proven:
            return None
        if self._garbage:
            return Offence.GARBAGE
        if self.tries:
            return Offence.KEYS_REFUSED
        return Offence.NEVER_ENDED if timed_out else Offence.NOTHING_OFFERED

    # --- what the connection tells

    @property
    def host(self) -> str:
        return self.slot.host

    def transport_made(self) -> bool:
        return not self._gave_way

    def keys_exchanged(self) -> None:
        self._host.progressed(self, Progress.EXCHANGED)

    def method_asked(self) -> bool:
        self._requests += 1
        if self._requests <= limits.AUTH_REQUESTS:
            return True
        self.tries += 1
        self.connection.end("too much was asked without a log-in", DISC_NO_MORE_AUTH_METHODS_AVAILABLE)
        return False

    def key_refused(self) -> None:
        self.tries += 1
        if self.tries >= self._host.login.tries:
            self.connection.end(
                f"{self.tries} keys were tried and none is known here: name the right one with "
                "-o IdentitiesOnly=yes -i KEYFILE",
                DISC_NO_MORE_AUTH_METHODS_AVAILABLE,
            )

    async def key_proven(self, user: str, key_data: bytes) -> bool:
        """Find out whose the key is that has signed, and bind the identity: here, and nowhere else.

        False when that cannot be told now, or the key may not log in any more.
        """
        self._proven = True
        host, login, fingerprint = self._host, self._host.login, fingerprint_of(key_data)
        _, name = login.access.key_name(fingerprint)
        algorithm = key_data[4 : 4 + int.from_bytes(key_data[:4], "big")].decode("ascii", "replace")
        try:
            identity = await login.people.identity_for_key(fingerprint, algorithm, name, now=host.clock.now())
            banner = await host.own_address_banner(identity) if login.banner else None
        except StoreUnavailable as error:
            host.report("store.failed", error=str(error))
            self.connection.end(f"{error.public}; retry-after=30")
            return False
        # the database was waited for, and by now the access rules may be others
        if host.login.access.key_name(fingerprint) != (True, name):
            return False
        self._identity, self._user = identity, user
        if banner:
            self.connection.send_auth_banner(banner)
        return True

    def broke_protocol(self) -> None:
        self._garbage = True

    def took_too_long(self) -> None:
        self._timed_out = True

    def lost(self) -> None:
        self._stop_timers()
        self._host.over(self, "timeout" if self._timed_out else "failed")

    # --- what asyncssh asks

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        host, port = conn.get_extra_info("peername", ("", 0))[:2]
        own = conn.get_extra_info("sockname", ("", 0))[0]
        self._peer = Endpoint(host.removeprefix("::ffff:"), port)
        self._origin = self._host.origin_of(self._peer.host, own.removeprefix("::ffff:"))
        loop = asyncio.get_running_loop()
        self._grace = loop.call_later(self._host.login.key_grace, self._grace_over)
        if self.slot.slow:
            self._lane = loop.call_later(limits.LANE_SECONDS, self._lane_over)

    def begin_auth(self, username: str) -> bool:
        """False lets the client in without a key: `nokey@`, where the operator allows that."""
        self._user = username
        return not (username == KEYLESS_USER and self._host.login.access.keyless)

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        """Whether `key` would do. Nobody has proved to hold it yet: nothing may be bound to it here."""
        del username
        bits = getattr(getattr(key, "pyca_key", None), "key_size", None)
        known, _ = self._host.login.access.key_name(Fingerprint(key.get_fingerprint()))
        if known and not (key.algorithm == b"ssh-rsa" and bits not in RSA_BITS):
            self._key_acceptable = True
            self._host.progressed(self, Progress.PROMISING)
            return True
        self.key_refused()
        return False

    def kbdint_auth_supported(self) -> bool:
        return self._host.login.access.keyless

    def get_kbdint_challenge(self, username: str, lang: str, submethods: str) -> Any:
        """No question at all (RFC 4256 §3.2 allows zero prompts)."""
        del username, lang, submethods
        return "", "", "", ()

    def validate_kbdint_response(self, username: str, responses: Any) -> bool:
        del username, responses
        return self._host.login.access.keyless

    def auth_completed(self) -> None:
        self._stop_timers()
        most = self._host.login.connections_per_identity
        if self._host.connections_of(self._identity.id) >= most:
            self.connection.end(
                f"you have {most} connections open, which is the limit; retry-after=60", DISC_TOO_MANY_CONNECTIONS
            )
            return
        version = self.connection.get_extra_info("client_version", "")
        who = LoggedIn(
            self.id,
            self._identity,
            self._user,
            self._peer,
            self._origin,
            printable(version.removeprefix("SSH-2.0-"), 100),
            self._began,
        )
        self._host.over(self, "ok")
        self._host.logged_in(self, who)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing may be raised from here: asyncssh would swallow it."""
        self._stop_timers()
        try:
            self._host.lost(self, exc)
        except Exception:
            _log.exception("the end of SSH connection %s failed", self.id)

    # --- time

    def _grace_over(self) -> None:
        if not self._key_acceptable:
            self._timed_out = True
            self.connection.end("no acceptable key was offered in time")

    def _lane_over(self) -> None:
        """The slow lane is for those who log in at once."""
        self._timed_out = True
        self.connection.end(
            f"your address is blocked, so a log-in may take {limits.LANE_SECONDS:.0f} s; retry-after=10"
        )

    def _stop_timers(self) -> None:
        for timer in (self._grace, self._lane):
            if timer is not None:
                timer.cancel()
        self._grace = self._lane = None
