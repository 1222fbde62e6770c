"""asyncssh's server connection, with bounds. Only this module and `packets` override its internals.

* **Log-in.** `LoginEvents` gets each step of a log-in, and its end.
* **Odd input.** Some messages make asyncssh end the connection with all its tunnels: a cancel for an unknown forward, a
  window adjust for a channel that has just closed, an unexpected reply. We answer a failure, or ignore them.
* **Counts.** asyncssh has no bound for channels, sessions and queued global requests.
* **Configuration.** asyncssh evaluates its configuration again for each user name. Ours cannot change, so we skip that.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, Protocol, cast

import asyncssh
from asyncssh.constants import (
    DISC_BY_APPLICATION,
    MSG_CHANNEL_OPEN,
    MSG_CHANNEL_OPEN_CONFIRMATION,
    MSG_CHANNEL_OPEN_FAILURE,
    MSG_DEBUG,
    MSG_DISCONNECT,
    MSG_EXT_INFO,
    MSG_GLOBAL_REQUEST,
    MSG_IGNORE,
    MSG_KEXINIT,
    MSG_NEWKEYS,
    MSG_REQUEST_FAILURE,
    MSG_REQUEST_SUCCESS,
    MSG_SERVICE_REQUEST,
    MSG_UNIMPLEMENTED,
    MSG_USERAUTH_REQUEST,
    OPEN_CONNECT_FAILED,
    OPEN_RESOURCE_SHORTAGE,
    OPEN_UNKNOWN_CHANNEL_TYPE,
)
from asyncssh.misc import ChannelOpenError, MACError, ProtocolError, ProtocolNotSupported
from asyncssh.packet import PacketDecodeError, SSHPacket, UInt32

from ferry import limits
from ferry.limiters.rate import PerSecond, Spacing
from ferry.names import ConnectionId, printable
from ferry.protocol.first_bytes import LOOK_BYTES, FirstBytes, classify

from . import hostbound
from .algorithms import algorithm_asked, algorithm_used, ciphers_for, security_key_flags, signed_with
from .channel_state import OwnedChannel
from .endings import Endings
from .host_key_proofs import ANNOUNCE, HostKeyProofs, ProofsOfConnection
from .key_exchanges import KeyExchanges
from .login_events import LoginEvents
from .packets import KEYS, SILENT, PacketConnection
from .pieces import Pieces
from .requests import CHANNELS, DIRECT_TCPIP, GLOBAL_REQUESTS, NOBODY, ConnectionHandler
from .turns import Reply, Turns

NO_PROOFS: Final = HostKeyProofs()
_log = logging.getLogger("ferry.ssh")


class _LateChannel:
    """Stands for the number of a channel that has closed, or never existed. It ignores all messages."""

    def process_packet(self, *_args: object) -> bool:
        return True

    def log_received_packet(self, *_args: object) -> None:
        """There is nothing to trace."""


class _Channels(dict[int, Any]):
    """asyncssh's channel table, but a message for an unknown number does not end the connection."""

    _late = _LateChannel()

    def __missing__(self, number: int) -> Any:
        return self._late


@dataclass(frozen=True, slots=True)
class ConnectionBounds:
    """Bounds of one connection."""

    channels: int
    global_requests_per_second: int


class BoundsInForce(Protocol):
    """The bounds in force now: one object for all connections, so that a reload is one assignment."""

    @property
    def bounds(self) -> ConnectionBounds: ...


class HardenedConnection(PacketConnection):
    """One SSH connection of a client. asyncssh asks `owner` about a log-in; `login` gets its events."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        options: asyncssh.SSHServerConnectionOptions,
        *,
        connection: ConnectionId,
        login: LoginEvents,
        owner: asyncssh.SSHServer,
        bounds: BoundsInForce,
        host_keys: HostKeyProofs = NO_PROOFS,
        prefer_gcm: bool = True,
    ) -> None:
        super().__init__(loop, options, None, None, None)
        self._protocol_factory = lambda: owner
        self._extensions_to_send.update([hostbound.EXTENSION])
        self.id = connection
        self.handler = NOBODY
        """It carries out the client's requests, from the log-in on."""
        self._login = login
        self._sig_algs = [name.encode() for name in login.signatures]
        self._bounds = bounds
        self._exchanges = KeyExchanges(waits=prefer_gcm)
        self._channels = _Channels()
        self._turns = Turns(self._reply, self._request_failed)
        self._endings = Endings()
        self._channel_rate = PerSecond()
        self._host_keys = ProofsOfConnection(host_keys)
        self._silence: asyncio.TimerHandle | None = None

    # --- the beginning and the end

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if self._login.transport_made():
            super().connection_made(transport)
        else:
            cast(asyncio.Transport, transport).abort()

    def data_received(self, data: bytes, datatype: Any = None) -> None:
        if self._transport is not None:
            if self._silence is not None:
                self._end_silence()
            super().data_received(data, datatype)

    def _recv_version(self) -> bool:
        """As asyncssh's, but a client that speaks HTTP or TLS gets an answer of its protocol."""
        spoken = classify(self._inpbuf[:LOOK_BYTES])
        if spoken is not FirstBytes.HTTP and spoken is not FirstBytes.TLS:
            return super()._recv_version()
        self._send(self._login.wrong_port(spoken))
        self._force_close(ProtocolNotSupported(f"the client speaks {spoken.name}"))
        return False

    def connection_lost(self, exc: Exception | None = None) -> None:
        self._turns.close()
        super().connection_lost(exc)
        self._login.lost()

    def _login_timer_callback(self) -> None:
        self._login.took_too_long()
        super()._login_timer_callback()

    def _force_close(self, exc: Exception | None) -> None:
        if isinstance(exc, ProtocolError | ProtocolNotSupported | MACError):
            self._login.broke_protocol()
        super()._force_close(exc)

    def send_newkeys(self, k: bytes, h: bytes) -> None:
        # `h` is made of both KEXINITs, and the next exchange has its own: asyncssh would keep 2.7 KB a connection
        self._client_kexinit = self._server_kexinit = b""
        super().send_newkeys(k, h)
        self._login.keys_exchanged()

    def serve(self, handler: ConnectionHandler, keys: Spacing) -> None:
        """The client has logged in; `handler` carries out its requests. `keys` spaces the key exchanges of all
        connections of its identity."""
        self.handler = handler
        self._exchanges.space(keys)

    # --- key exchanges: our first KEXINIT follows the client's

    def _send_kexinit(self) -> None:
        if not self._exchanges.await_theirs(self._loop.call_later, self._send_first_kexinit):
            super()._send_kexinit()

    def _send_first_kexinit(self) -> None:
        """The client's has not come: offer the full list."""
        if self._transport is not None:
            super()._send_kexinit()

    async def _process_kexinit(self, pkttype: int, pktid: int, packet: SSHPacket) -> None:
        if self._session_id and not self._auth_complete:
            raise ProtocolError("a second key exchange before the log-in")
        if wait := self._wait_before_exchange():
            await self._delay_exchange(wait)
        if self._exchanges.received():
            self._kexinit_sent = False  # asyncssh believes that it has sent ours; now it sends it
            self._enc_algs = ciphers_for(packet.get_full_payload(), self._enc_algs)
        await super()._process_kexinit(pkttype, pktid, packet)

    def _wait_before_exchange(self) -> float:
        """The seconds to wait before a key exchange. One that we have begun goes on at once, because the connection
        ends if it takes too long."""
        if self._kexinit_sent and self._auth_complete:
            return 0.0
        return self._exchanges.wait(self._loop.time())

    async def _delay_exchange(self, seconds: float) -> None:
        """Delay the exchange, and do not read from the client meanwhile. Our data goes on (RFC 4253 §9)."""
        if self._transport is not None:
            self._read_paused |= KEYS
            self._transport.pause_reading()
            await asyncio.sleep(seconds)
            self._read_paused &= ~KEYS
            self._listen()

    # --- odd input, counts

    def may_request(self) -> bool:
        """Count a request on a channel, or the open of a session. False past CHANNEL_REQUESTS_PER_SECOND."""
        return self._channel_rate.allows(self._loop.time(), limits.CHANNEL_REQUESTS_PER_SECOND)

    def _process_global_request(self, _message: int, _sequence: int, packet: SSHPacket) -> None:
        kind, wants_reply = packet.get_string(), packet.get_boolean()
        # The rate has no exception for keepalives: a refusal answers a keepalive too.
        may = self._turns.may_take(self._loop.time(), self._bounds.bounds.global_requests_per_second)
        if may and (read := GLOBAL_REQUESTS.get(kind)) is not None:
            self._turns.take(read(self, packet), wants_reply=wants_reply)
        else:
            self._turns.refuse(wants_reply=wants_reply)

    def _process_global_response(self, pkttype: int, pktid: int, packet: SSHPacket) -> None:
        if self._global_request_waiters:
            super()._process_global_response(pkttype, pktid, packet)

    def _reply(self, answer: Reply) -> None:
        if answer is False:
            self.send_packet(MSG_REQUEST_FAILURE)
        else:
            self.send_packet(MSG_REQUEST_SUCCESS, b"" if answer is True else answer)

    def forward_decided(
        self, port: int, bound: int | None, *, sent: Callable[[float], None] | None = None, held: bool = False
    ) -> None:
        """Answer a forward of `port`, as in `requests.Answered`."""
        carries_port = bound is not None and port == 0

        def answered() -> None:
            if carries_port:
                self._begin_silence()
            if sent is not None:
                sent(limits.ANSWER_PAUSE_SECONDS if carries_port else 0.0)

        answer = UInt32(bound) if bound is not None and carries_port else bound is not None
        self._turns.answer(answer, sent=answered, held=held)

    def send_server_host_keys(self) -> None:
        """Announce all host keys. asyncssh calls it after the log-in."""
        if self._transport is not None and self._host_keys.announced:
            self._send_global_request(ANNOUNCE, self._host_keys.announced)

    def prove_host_keys(self, wanted: Sequence[bytes]) -> Reply:
        """As in `requests.RequestingConnection`."""
        used = self.get_server_host_key()
        return self._host_keys.prove(wanted, self._session_id, used.sig_algorithm if used is not None else b"") or False

    def release_answers(self) -> None:
        """Send the answers that are held, and those behind them."""
        self._turns.release()

    def _process_channel_open(self, _message: int, _sequence: int, packet: SSHPacket) -> None:
        kind = packet.get_string()
        number, window, packet_bytes = packet.get_uint32(), packet.get_uint32(), packet.get_uint32()
        rest = packet.get_remaining_payload()
        if kind == DIRECT_TCPIP and self._turns.deciding and len(rest) <= limits.DIRECT_OPEN_BYTES:
            # `-L 5000:localhost:22022 -R 22022:...`: a port that was asked for before is there first
            self._turns.take(lambda: self._opened_in_turn(kind, number, window, packet_bytes, rest), wants_reply=False)
        else:
            self._open_channel(kind, number, window, packet_bytes, rest)

    def _opened_in_turn(self, kind: bytes, number: int, window: int, packet_bytes: int, rest: bytes) -> bool:
        try:
            self._open_channel(kind, number, window, packet_bytes, rest)
        except Exception:  # asyncssh, which has called the others, does the same
            self.internal_error()
        return True

    def _open_channel(self, kind: bytes, number: int, window: int, packet_bytes: int, rest: bytes) -> None:
        try:
            if (open_channel := CHANNELS.get(kind)) is None:
                raise ChannelOpenError(OPEN_UNKNOWN_CHANNEL_TYPE, "this gateway has no channels of that type")
            if packet_bytes < limits.LEAST_PACKET_BYTES:
                raise ChannelOpenError(OPEN_CONNECT_FAILED, _TINY_PACKETS)
            if len(self._channels) >= self._bounds.bounds.channels:
                raise ChannelOpenError(OPEN_RESOURCE_SHORTAGE, "too many channels")
            channel, session = open_channel(self, SSHPacket(rest))
            channel.process_open(number, window, packet_bytes, session)
        except ChannelOpenError as error:
            self.send_channel_open_failure(number, error.code, error.reason, error.lang)

    def internal_error(self, exc_info: Any = None, error_logger: Any = None) -> None:
        """An unexpected error ends this connection, and no other.

        Bytes that are not SSH come here too, because asyncssh decodes before it checks. That is the peer's error, and
        gets one line: with a traceback, a port scanner could fill the log.
        """
        error = (exc_info or sys.exc_info())[1]
        if isinstance(error, PacketDecodeError | UnicodeDecodeError):
            self._login.broke_protocol()
            _log.info("%s sent bytes that are not SSH: %s", self._login.host, printable(str(error)))
        else:
            _log.error("SSH connection %s failed", self.id, exc_info=exc_info or True)
        super().internal_error(exc_info, error_logger)

    # --- silence after an answer that carries a port

    def _begin_silence(self) -> None:
        """Send nothing more until the client has sent something, or for ANSWER_PAUSE_SECONDS.

        libssh 0.10 and 0.11 read the allocated port from the last packet that they received. So any packet that arrives
        with the answer makes `-R 0` fail. Data channels stop as for a full socket.
        """
        self._write_out()
        if self._silence is None:
            self._write_paused |= SILENT
            self._silence = self._loop.call_later(limits.ANSWER_PAUSE_SECONDS, self._end_silence)

    def _end_silence(self) -> None:
        if self._silence is not None:
            self._silence.cancel()
            self._silence = None
            self._write_paused &= ~SILENT
            self._write_out_soon()
            self._run_round()

    def _write_out_soon(self) -> None:
        if not self._write_paused & SILENT:
            super()._write_out_soon()

    # --- asking

    def ping(self) -> asyncio.Future[Any]:
        """Ask whether the client is there (`keepalive@openssh.com`). Any answer completes the future."""
        answer: asyncio.Future[Any] = self._loop.create_future()
        if self._transport is None:
            answer.cancel()
            return answer
        self._global_request_waiters.append(answer)
        self._send_global_request(b"keepalive@openssh.com", want_reply=True)
        return answer

    async def alive_within(self, seconds: float) -> bool:
        """Whether the client answers a keepalive within `seconds`, or shows in another way that it is there. The
        keepalive waits behind bytes that the client has not read, and its answer behind bytes that it sends.

        In the first half of the time only the answer counts, because bytes already on their way also come from a dead
        client.
        """
        answer = self.ping()
        done, _ = await asyncio.wait([answer], timeout=seconds / 2)
        before = self.life
        if not done:
            done, _ = await asyncio.wait([answer], timeout=seconds / 2)
        # The end of a connection completes all keepalives.
        return self._transport is not None and (bool(done) or self.life != before)

    def end(self, reason: str, code: int = DISC_BY_APPLICATION) -> None:
        """Disconnect. The client prints `reason`."""
        if self._transport is not None:
            self.disconnect(code, reason)

    def open_channel(self, channel: OwnedChannel, channel_type: bytes, *args: bytes) -> None:
        """Ask the client to open `channel`. Raises ChannelOpenError if the connection is gone or has too many
        channels."""
        if len(self._channels) >= self._bounds.bounds.channels:
            raise ChannelOpenError(OPEN_RESOURCE_SHORTAGE, "too many channels")
        channel.request_open(channel_type, *args)

    def await_end(self, channel: OwnedChannel, unsent: Pieces) -> None:
        """Remember a channel that closes once the peer has taken `unsent`."""
        self._endings.add(channel, unsent)

    def remove_channel(self, recv_chan: int) -> None:
        self._endings.discard(self._channels.get(recv_chan))
        super().remove_channel(recv_chan)

    def stuck(self, now: float) -> str | None:
        """As in `PacketConnection`. A channel that is stuck alone ends alone."""
        self._endings.look(now)
        return super().stuck(now)

    def _request_failed(self, error: Exception) -> None:
        """An error of our own code came instead of the answer to a global request."""
        _log.error("refused a request of SSH connection %s because of an error", self.id, exc_info=error)

    def call_soon(self, callback: Callable[..., None], *args: object) -> None:
        """Call back in the loop's next turn."""
        self._loop.call_soon(callback, *args)

    def sink_failed(self, error: Exception) -> None:
        """An error of our own code has ended one stream."""
        _log.error("an error ended a stream of SSH connection %s", self.id, exc_info=error)

    # --- log-in

    def _process_userauth_request(self, message: int, sequence: int, packet: SSHPacket) -> Any:
        """As asyncssh's, with a count. Each request supersedes the one before (RFC 4252 §5.1), so asyncssh takes them
        without end."""
        if not self._auth_complete and not self._login.method_asked(algorithm_asked(packet.get_full_payload())):
            return None
        return super()._process_userauth_request(message, sequence, packet)

    async def send_userauth_success(self) -> None:
        """As asyncssh's, which comes here on each way in, but a log-in that needs more keys has a partial success (RFC 4252
        §5.1)."""
        if self._login.may_enter():
            await super().send_userauth_success()
        else:
            self.send_userauth_failure(partial_success=True)

    async def reload_config(self) -> None:
        """Do nothing: our configuration does not depend on the user. asyncssh would rebuild all options (1 to 160
        ms)."""

    async def validate_public_key(self, username: str, key_data: bytes, msg: bytes, signature: bytes) -> bool:
        """As asyncssh's. `msg` is empty while the client only asks whether a key is acceptable.

        Only here an identity is bound, after the check of the signature. asyncssh also calls its callback of the same
        name for keys whose private half the client has not proved to hold (the CVE-2024-45337 trap).
        """
        tries = self._login.tries
        if not self._login.key_offered(key_data, algorithm_used(key_data, signature) if msg else ""):
            self._login.key_refused()
            return False
        if msg and (algorithm := signed_with(signature)) not in self._sig_algs:
            # asyncssh verifies with any algorithm of the key, offered or not: for an RSA key with SHA-1 too
            if algorithm == b"ssh-rsa":
                self.send_auth_banner(f"{_NO_SHA1}\n")
            self._login.key_refused()
            return False
        valid = await super().validate_public_key(username, key_data, msg, signature)
        if valid and msg:
            return await self._login.key_proven(username, key_data, security_key_flags(signature))
        if not valid and self._login.tries == tries:  # a wrong signature, or a key that asyncssh could not read
            self._login.key_refused()
        return valid

    async def _validate_client_certificate(self, username: str, key_data: bytes) -> asyncssh.SSHKey | None:
        """Asyncssh would read certificates by rules of its own, which differ from those of sshd."""
        return await self._login.certificate_offered(username, key_data)

    async def _validate_client_public_key(self, username: str, key_data: bytes) -> asyncssh.SSHKey | None:
        """As asyncssh's. `key_proven` alone decides on the flags of a security key: asyncssh looks at one of them."""
        key = await super()._validate_client_public_key(username, key_data)
        if key is not None:
            key.set_touch_required(False)
        return key

    _packet_handlers: Any = MappingProxyType(
        {
            MSG_DISCONNECT: PacketConnection._process_disconnect,
            MSG_IGNORE: PacketConnection._process_ignore,
            MSG_UNIMPLEMENTED: PacketConnection._process_unimplemented,
            MSG_DEBUG: PacketConnection._process_debug,
            MSG_SERVICE_REQUEST: PacketConnection._process_service_request,
            MSG_EXT_INFO: PacketConnection._process_ext_info,
            MSG_KEXINIT: _process_kexinit,
            MSG_NEWKEYS: PacketConnection._process_newkeys,
            MSG_USERAUTH_REQUEST: _process_userauth_request,
            MSG_GLOBAL_REQUEST: _process_global_request,
            MSG_REQUEST_SUCCESS: _process_global_response,
            MSG_REQUEST_FAILURE: _process_global_response,
            MSG_CHANNEL_OPEN: _process_channel_open,
            MSG_CHANNEL_OPEN_CONFIRMATION: PacketConnection._process_channel_open_confirmation,
            MSG_CHANNEL_OPEN_FAILURE: PacketConnection._process_channel_open_failure,
        }
    )
    """All messages that a client may send. A message of a server (`SSH_MSG_SERVICE_ACCEPT`, `SSH_MSG_USERAUTH_SUCCESS`)
    gets the answer to an unknown one (RFC 4253 §11.4). The messages of a key exchange and of an authentication method,
    30 to 49 and 60 to 79, are in the tables of the asyncssh objects for them; a channel's messages are in its own
    table."""


_TINY_PACKETS: Final = f"packets must hold {limits.LEAST_PACKET_BYTES} bytes at least"
_NO_SHA1: Final = "your client signs with SHA-1 (ssh-rsa), which this gateway refuses: update it, or use an Ed25519 key"
