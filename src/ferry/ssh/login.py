"""One log-in, from the accepted socket to a client or to a failure, for which its address may get a penalty.

There are no passwords. If the operator allows it, a client without a key is anonymous: it logs in with a
keyboard-interactive exchange without questions, or as the user `nokey`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import asyncssh
from asyncssh.constants import DISC_NO_MORE_AUTH_METHODS_AVAILABLE

from ferry import limits
from ferry.clock import Clock, random_token
from ferry.errors import Refusal
from ferry.hostnames import Urls
from ferry.limiters.handshakes import Progress
from ferry.limiters.origins import Origins
from ferry.limiters.penalties import Offence
from ferry.names import ConnectionId, Endpoint, Fingerprint, Identity, IdentityId, printable
from ferry.policy.keys import ANY_KEY, Caller, KeyLine, needs_name, signature_refusal
from ferry.policy.several_keys import NEEDS_KEY, USED, Proven
from ferry.policy.shut_lines import shut_line_for
from ferry.policy.sshd import SshdOptions, Who, algorithm_refusal
from ferry.protocol.certificates import Certificate
from ferry.protocol.first_bytes import FirstBytes
from ferry.protocol.wrong_port import on_ssh_port
from ferry.registry.contract import StoreUnavailable
from ferry.report import Report

from .access import WatchedAccess, judged, lines_in
from .admission import Admission, LoginSlot
from .host_names import HostNames
from .key_identities import Identities, claimed_identity, identity_of
from .logged_in import LoggedIn
from .offered_keys import OfferedKeys, certified_key, fingerprint_in
from .proven_keys import ProvenKeys
from .refused_keys import RefusedKeys
from .wire.connection import HardenedConnection

KEYLESS_USER: Final = "nokey"

_log = logging.getLogger("ferry.ssh")


@dataclass(frozen=True, slots=True)
class LoginSettings:
    """The settings for log-ins."""

    access: WatchedAccess
    identities: Identities
    host_names: HostNames | None
    """They look up the names of clients' hosts; None: nobody does."""
    banner: bool
    """Whether there is a banner."""
    tries: int
    """The number of keys that one connection may try."""
    key_grace: float
    """The seconds within which a client must offer an acceptable key."""
    connections_per_identity: int


class LoginServer(Protocol):
    """The server, for its log-ins."""

    @property
    def login(self) -> LoginSettings:
        """The settings in force now."""
        ...

    @property
    def urls(self) -> Urls:
        """The gateway's addresses, for people."""
        ...

    @property
    def clock(self) -> Clock: ...

    @property
    def report(self) -> Report: ...

    @property
    def origins(self) -> Origins: ...

    @property
    def signatures(self) -> Sequence[str]:
        """The algorithms with which a key of anybody may sign."""
        ...

    def sshd_of(self, who: Who, /) -> SshdOptions:
        """The operator's settings with sshd's names that count for somebody."""
        ...

    def no_room_for(self, identity: IdentityId, /) -> tuple[str, int] | None:
        """Why an identity gets no further connection now, and the code of the disconnect (RFC 4253 §11.1)."""
        ...

    @property
    def refused_keys(self) -> RefusedKeys: ...

    async def banner(self, identity: IdentityId, /) -> str | None:
        """The banner for an identity, shown before the end of its log-in. Raises StoreUnavailable."""
        ...

    def logged_in(self, attempt: LoginAttempt, who: LoggedIn, /) -> None:
        """The log-in has succeeded: make a client of it."""
        ...

    def lost(self, attempt: LoginAttempt, error: Exception | None, /) -> None:
        """The connection is gone, logged in or not."""
        ...


class LoginAttempt(asyncssh.SSHServer):
    """One log-in: asyncssh's `SSHServer`, the connection's `LoginEvents` and admission's `Attempt` in one object. After
    the log-in it gets the end of the connection only."""

    __slots__ = (
        "_admission",
        "_began",
        "_broke",
        "_gave_way",
        "_grace",
        "_host",
        "_identity",
        "_key_acceptable",
        "_key_line",
        "_keys",
        "_lane",
        "_offered",
        "_origin",
        "_peer",
        "_proven",
        "_requests",
        "_server",
        "_timed_out",
        "_user",
        "connection",
        "id",
        "slot",
        "tries",
    )

    def __init__(
        self,
        server: LoginServer,
        admission: Admission,
        slot: LoginSlot,
        connect: Callable[[LoginAttempt], HardenedConnection],
        /,
    ) -> None:
        self._server = server
        self._admission = admission
        self.slot = slot
        self.id = ConnectionId(random_token())
        self._began = server.clock.now()
        self._peer = Endpoint("", 0)
        self._origin = ""
        self._user = ""
        self._identity = Identity(IdentityId(f"anonymous:{self.id}"), None, None, anonymous=True)
        """Anonymous until an acceptable key has signed."""
        self._key_line = ANY_KEY
        self._host: str | None = ""
        """The name of its host; empty until it is needed. None: too many others were looked up, and the log-in ends."""
        self.tries = 0
        self._offered = OfferedKeys(self._send)
        self._keys = ProvenKeys()
        self._requests = 0
        self._key_acceptable = False
        """The client has offered an acceptable key. It has not proved that it holds it."""
        self._proven = False
        """The last key has signed that the log-in needs, or one is looked up now."""
        self._broke: Offence | None = None
        """What the client has sent in place of SSH."""
        self._timed_out = False
        self._gave_way = False
        self._grace: asyncio.TimerHandle | None = None
        self._lane: asyncio.TimerHandle | None = None
        self.connection = connect(self)

    # --- for admission (`Attempt`)

    @property
    def protocol(self) -> HardenedConnection:
        return self.connection

    def give_way(self, reason: str) -> None:
        self._gave_way = True
        self.connection.end(reason)

    def abort(self) -> None:
        self.connection.abort()

    def offence(self) -> Offence | None:
        """The offence of the address, after an end without a log-in.

        A client that has proved an acceptable key has none: the database was unavailable, or the identity has too many
        connections. Nor has one whose host could not be looked up.
        """
        if self._proven or self._host is None:
            return None
        if self._broke is not None:
            return self._broke
        if self.tries:
            return Offence.KEYS_REFUSED
        return Offence.NEVER_ENDED if self._timed_out else Offence.NOTHING_OFFERED

    # --- for the connection (`LoginEvents`)

    @property
    def host(self) -> str:
        return self.slot.host

    @property
    def signatures(self) -> Sequence[str]:
        return self._server.signatures

    def transport_made(self) -> bool:
        return not self._gave_way

    def keys_exchanged(self) -> None:
        self._admission.progressed(self, Progress.EXCHANGED)

    def method_asked(self, algorithm: str) -> bool:
        self._requests += 1
        self._offered.asked = algorithm
        if self._requests <= limits.AUTH_REQUESTS:
            return True
        self.tries += 1
        self.connection.end("too many authentication requests", DISC_NO_MORE_AUTH_METHODS_AVAILABLE)
        return False

    def key_refused(self) -> None:
        self.tries += 1
        if self.tries >= self._server.login.tries:
            self.connection.end(
                f"you tried {self.tries} keys, and this gateway knows none of them: name the right one with "
                "-o IdentitiesOnly=yes -i KEYFILE",
                DISC_NO_MORE_AUTH_METHODS_AVAILABLE,
            )

    def key_offered(self, key_data: bytes, algorithm: str) -> bool:
        self._offered.signed_with(algorithm)
        return self._offered.may_be_read(key_data)

    async def key_proven(self, user: str, key_data: bytes, flags: int | None) -> bool:
        """Look up the identity of the key that has signed. With the last key that is needed, bind the first one's: here, and
        nowhere else. False if the look-up fails, or if one of the keys may not log in any more."""
        self._proven, self._offered.explained = True, False
        server, login = self._server, self._server.login
        certificate = self._offered.certificate_in(key_data)
        fingerprint = fingerprint_in(key_data, certificate)
        line = self._judge(fingerprint, certificate, user)
        if not isinstance(line, KeyLine):
            return False
        if (refusal := signature_refusal(line, flags)) is not None:
            return self._turn_down(fingerprint, refusal)
        try:
            owner = self._keys.owner or await identity_of(
                login.identities, key_data, fingerprint, certificate, line, now=server.clock.now()
            )
            last = len(self._keys.signed) + 1 >= self._keys_needed(owner)
            banner = await server.banner(owner.id) if login.banner and last else None
        except StoreUnavailable as error:
            server.report("store.failed", error=str(error))
            self.connection.end(f"{error.public}; retry-after=30")
            return False
        key = Proven(user, fingerprint, certificate, line, self._offered.algorithms)
        # the access rules may have changed while we waited for the database, or for this key
        stand = [self._judge(one.fingerprint, one.certificate, user) == one.line for one in (*self._keys.signed, key)]
        if user != self._user or not all(stand):
            return False
        if (refusal := self._refusal_of(key, owner)) is not None:
            return self._turn_down(fingerprint, refusal)
        self._keys.add(key, owner, self._keys_needed(owner))
        self._proven = self._keys.complete
        if self._proven:
            self._identity, self._key_line = owner, self._keys.line
            if banner:
                self.connection.send_auth_banner(banner)
        return True

    def may_enter(self) -> bool:
        """Whether the log-in has all that it needs: every way in leads through here."""
        return self._keys.complete if self._keys.signed else self._takes_keyless(self._user)

    def _sshd_of(self, identity: Identity) -> SshdOptions:
        return self._server.sshd_of(Who(self._user, identity, self._peer.host, self._own_end()))

    def _keys_needed(self, identity: Identity) -> int:
        """The different keys that an identity needs for a log-in. 0: none, where the gateway lets anybody in."""
        return self._sshd_of(identity).keys_needed or 0

    def _refusal_of(self, key: Proven, owner: Identity) -> Refusal | None:
        """The refusal by the operator's settings of a key that has signed in a log-in of `owner`, or will."""
        refused = algorithm_refusal(self._sshd_of(owner), key.algorithms)
        return refused or self._keys.refusal_of(key, self._keys_needed(owner))

    def _judge(self, fingerprint: Fingerprint, certificate: Certificate | None, user: str) -> KeyLine | Refusal | None:
        """The line that lets a key in now; None if it is in no file."""
        server, address = self._server, self._peer.host
        caller = Caller(user, address, self._host or address, server.clock.now())
        return judged(server.login.access, fingerprint, certificate, caller)

    async def _find_host(self, fingerprint: Fingerprint, certificate: Certificate | None, user: str) -> bool:
        """Look up the name of the client's host, if that may decide on the key. False if it cannot be looked up now: the
        connection ends, without an offence of the client."""
        server, login, address = self._server, self._server.login, self._peer.host
        if self._host or login.host_names is None:
            return True
        lines = lines_in(login.access, fingerprint, certificate, user)
        if not needs_name(lines, Caller(user, address, address, server.clock.now())):
            return True
        self._host = await login.host_names.name_of(address)
        if self._host is None:
            self.connection.end("the gateway looks up too many names of hosts now, yours too; retry-after=10")
            return False
        return True

    def _own_end(self) -> Endpoint:
        host, port = self.connection.get_extra_info("sockname", ("", 0))[:2]
        return Endpoint(host.removeprefix("::ffff:"), port)

    def _deny(self, fingerprint: Fingerprint, why: Refusal) -> None:
        """Report a key that is in a file and may not log in, and tell the client."""
        if self._offered.deny(fingerprint, why.public):
            self._server.report(
                "keys.denied", peer=self.host, key=fingerprint, code=why.code, detail=why.detail, rule=why.rule
            )

    def _turn_down(self, fingerprint: Fingerprint, why: Refusal) -> bool:
        self._deny(fingerprint, why)
        self.key_refused()
        return False

    def _send(self, text: str) -> None:
        self.connection.send_auth_banner(text)

    def broke_protocol(self) -> None:
        self._broke = self._broke or Offence.GARBAGE

    def wrong_port(self, spoken: FirstBytes) -> bytes:
        self._broke = Offence.OTHER_PROTOCOL
        return on_ssh_port(spoken, self._server.urls)

    def took_too_long(self) -> None:
        self._timed_out = True

    def lost(self) -> None:
        self._stop_timers()
        if not self._proven and (refused := self._offered.take_refused()):
            self._server.report("keys.refused", peer=self.host, **refused)
        explained = self._offered.explained and self._host is not None
        self._admission.over(self, "timeout" if self._timed_out else "failed", explained=explained)

    # --- for asyncssh (`SSHServer`)

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        host, port = conn.get_extra_info("peername", ("", 0))[:2]
        self._peer = Endpoint(host.removeprefix("::ffff:"), port)
        self._origin = self._server.origins.of(self._peer.host, self._own_end().host)
        loop = asyncio.get_running_loop()
        self._grace = loop.call_later(self._server.login.key_grace, self._grace_over)
        if self.slot.slow:
            self._lane = loop.call_later(limits.LANE_SECONDS, self._lane_over)

    def begin_auth(self, username: str) -> bool:
        """Whether authentication is needed. `nokey@` needs none, if the operator allows that."""
        self._user, self._keys = username, ProvenKeys()  # another user begins anew (RFC 4252 §5)
        return not (username == KEYLESS_USER and self._takes_keyless(username))

    def public_key_auth_supported(self) -> bool:
        return True

    async def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        """Whether `key` is acceptable. The client has not proved that it holds it: bind nothing to it here."""
        fingerprint = Fingerprint(key.get_fingerprint())
        known = await self._is_acceptable(fingerprint, None, username)
        lines = self._server.login.access.shut_lines_of(fingerprint) if known is None else ()
        shut = shut_line_for(lines, username) if lines else None
        if known is None and self._offered.refuse(fingerprint, is_shut=shut is not None):
            now = self._server.clock.now()
            self._server.refused_keys.offered(
                fingerprint, key.algorithm, key.public_data, host=self.host, user=self._user, now=now
            )
            if shut is not None:
                self._deny(fingerprint, shut.refusal)
        if not known:
            self.key_refused()
        return known is True

    async def certificate_offered(self, user: str, key_data: bytes) -> asyncssh.SSHKey | None:
        """The key of an acceptable certificate. The CA's signature is checked before anything else that a client may
        learn about: only of a known CA, because a check costs as much as a log-in."""
        certificate = self._offered.certificate_in(key_data)
        if certificate is None:
            return None
        if not self._server.login.access.lines_for(certificate, user):
            self._offered.refuse_certificate(certificate)
            return None
        key = certified_key(certificate)
        if key is None or not await self._is_acceptable(certificate.fingerprint, certificate, user):
            return None
        return key

    async def _is_acceptable(self, fingerprint: Fingerprint, certificate: Certificate | None, user: str) -> bool | None:
        """Whether a key may log in, or the certificate of it; None if it is in no file."""
        if not await self._find_host(fingerprint, certificate, user):
            return False
        judged_now = self._judge(fingerprint, certificate, user)
        if isinstance(judged_now, KeyLine):
            key = Proven(user, fingerprint, certificate, judged_now, self._offered.algorithms)
            judged_now = self._refusal_of(key, self._keys.owner or claimed_identity(key)) or judged_now
        if judged_now is USED:  # ssh offers all its keys again after a partial success
            return False
        if isinstance(judged_now, KeyLine):
            self._key_acceptable = True
            self._admission.progressed(self, Progress.PROMISING)
            return True
        if judged_now is not None:
            self._deny(fingerprint, judged_now)
        return None if judged_now is None else False

    def kbdint_auth_supported(self) -> bool:
        """With key files too, once: a client requests it after its last key, and then reads what to do."""
        return self._offered.may_tell_refused or self._takes_keyless(self._user)

    def get_kbdint_challenge(self, username: str, lang: str, submethods: str) -> Any:
        """Ask no question (RFC 4256 §3.2 allows zero prompts); with key files, refuse."""
        del lang, submethods
        if self._takes_keyless(username):
            return "", "", "", ()
        why = self._keys.missing or (NEEDS_KEY if self._server.login.access.allows_keyless else "")
        self._offered.tell_refused(self._server.urls.jump, why)
        return False

    def validate_kbdint_response(self, username: str, responses: Any) -> bool:
        del responses
        return self._takes_keyless(username)

    def _takes_keyless(self, user: str) -> bool:
        """Whether somebody may log in without a key."""
        if user != self._user or self._keys.signed or not self._server.login.access.allows_keyless:
            return False
        return not self._keys_needed(Identity(self._identity.id, None, None, anonymous=True))

    def auth_completed(self) -> None:
        self._stop_timers()
        if (full := self._server.no_room_for(self._identity.id)) is not None:
            self._proven = True  # without a key, too, it is no offence of the client
            self.connection.end(*full)
            return
        version = self.connection.get_extra_info("client_version", "").removeprefix("SSH-2.0-")
        who = LoggedIn(
            self.id,
            self._identity,
            self._user,
            self._peer,
            self._origin,
            printable(version, 100),
            self._began,
            self._key_line,
            self._host or self._peer.host,
            self._own_end(),
            tuple(name for key in self._keys.signed for name in key.algorithms),
        )
        self._admission.over(self, "ok")
        self._server.logged_in(self, who)

    def connection_lost(self, exc: Exception | None) -> None:
        """Raise nothing from here: asyncssh would swallow it."""
        self._stop_timers()
        try:
            self._server.lost(self, exc)
        except Exception:
            _log.exception("the end of SSH connection %s failed", self.id)

    # --- time

    def _grace_over(self) -> None:
        if not self._key_acceptable:
            self._timed_out = True
            self.connection.end("your client offered no acceptable key in time")

    def _lane_over(self) -> None:
        """End the log-in: the slow lane is for clients that log in at once."""
        self._timed_out = True
        most = f"a log-in may take {limits.LANE_SECONDS:.0f} s"
        self.connection.end(f"your address is blocked, so {most}; retry-after=10")

    def _stop_timers(self) -> None:
        for timer in (self._grace, self._lane):
            if timer is not None:
                timer.cancel()
        self._grace = self._lane = None
