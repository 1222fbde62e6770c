"""asyncssh's server connection with bounds and manners. With `packets` the only place that overrides its inside.

* **Admission.** A connection that logs in has a place (`admission`), says how far it is, and why it ended.
* **Odd input.** What asyncssh answers by ending the connection with all its tunnels (a cancel for an unknown forward, a
  window adjust for a channel that just closed, an unasked reply) is answered by a failure, or passed over.
* **Counts.** asyncssh caps neither channels, nor sessions, nor queued global requests.
* **Log-in.** asyncssh evaluates its configuration again for each user name; ours cannot change, so that is skipped.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, cast

from asyncssh.constants import (
    DISC_BY_APPLICATION,
    MSG_CHANNEL_OPEN,
    MSG_GLOBAL_REQUEST,
    MSG_KEXINIT,
    MSG_REQUEST_FAILURE,
    MSG_REQUEST_SUCCESS,
    OPEN_ADMINISTRATIVELY_PROHIBITED,
    OPEN_RESOURCE_SHORTAGE,
)
from asyncssh.misc import ChannelOpenError, MACError, ProtocolError, ProtocolNotSupported
from asyncssh.packet import PacketDecodeError, SSHPacket, UInt32

from ferry import limits
from ferry.names import printable
from ferry.policy.handshakes import Progress
from ferry.policy.penalties import Offence

from .packets import PacketConnection

if TYPE_CHECKING:
    from .admission import Place
    from .channel import TunnelChannel
    from .client import Client
    from .front import SshFront

_log = logging.getLogger("ferry.ssh")

KEX_ALGORITHMS: Final = [
    # curve25519 first: Dropbear guesses it, and asyncssh ends the connection when the guess is not its own first
    "curve25519-sha256",
    "curve25519-sha256@libssh.org",
    "mlkem768x25519-sha256",
]
CIPHERS: Final = [
    "aes128-gcm@openssh.com",
    "aes256-gcm@openssh.com",
    "chacha20-poly1305@openssh.com",
    "aes256-ctr",
    "aes128-ctr",
]
MACS: Final = [
    "hmac-sha2-256-etm@openssh.com",
    "hmac-sha2-512-etm@openssh.com",
    "hmac-sha2-256",
    "hmac-sha2-512",
]
SIGNATURES: Final = [
    "ssh-ed25519",
    "sk-ssh-ed25519@openssh.com",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "rsa-sha2-256",
    "rsa-sha2-512",
]

HOST_KEY_ALGORITHMS: Final = frozenset({b"ssh-ed25519", b"rsa-sha2-256", b"rsa-sha2-512"})
"""How our host keys may sign. Of an RSA key asyncssh offers SHA-1 too (`ssh-rsa`), which RFC 8332 §5.1 advises against."""


class _LateChannel:
    """Stands for a channel number that is not open any more, or never was: messages for it are passed over."""

    def process_packet(self, *_args: object) -> bool:
        return True

    def log_received_packet(self, *_args: object) -> None:
        """Nothing to trace."""


class _Channels(dict[int, Any]):
    """asyncssh's channel table, except that a message for an unknown number does not end the connection."""

    _late = _LateChannel()

    def __missing__(self, number: int) -> Any:
        return self._late


class HardenedConnection(PacketConnection):
    """One SSH connection of a client. `client` is what Ferry knows about it."""

    client: Client
    front: SshFront
    place: Place

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._channels = _Channels()
        self._request_second = 0
        self._requests_in_second = 0
        self._kexinit_timer: asyncio.TimerHandle | None = None
        self._kexinit_waited = False
        self._began = False
        self._gave_way = False
        self._lane_timer: asyncio.TimerHandle | None = None
        # by the log-in
        self.proven = False
        """A key has signed that is acceptable, or none is needed."""
        self.garbage = False
        self.timed_out = False

    # --- admission

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if self._gave_way:
            cast(asyncio.Transport, transport).abort()
            return
        self._began = True
        super().connection_made(transport)
        if self.place.slow:
            self._lane_timer = self._loop.call_later(limits.LANE_SECONDS, self._lane_over)

    def data_received(self, data: bytes, datatype: Any = None) -> None:
        if self._transport is not None:
            super().data_received(data, datatype)

    def connection_lost(self, exc: Exception | None = None) -> None:
        if self._began:
            super().connection_lost(exc)
            self._handshake_over("timeout" if self.timed_out else "failed")

    def _login_timer_callback(self) -> None:
        self.timed_out = True
        super()._login_timer_callback()

    def _lane_over(self) -> None:
        """The slow lane is for those who log in at once."""
        if not self._auth_complete:
            self.timed_out = True
            self.end(f"your address is blocked, so a log-in may take {limits.LANE_SECONDS:.0f} s; retry-after=10")

    def _force_close(self, exc: Exception | None) -> None:
        self.garbage = self.garbage or isinstance(exc, ProtocolError | ProtocolNotSupported | MACError)
        super()._force_close(exc)

    def send_newkeys(self, k: bytes, h: bytes) -> None:
        super().send_newkeys(k, h)
        self.front.admission.progressed(self, Progress.EXCHANGED)

    def give_way(self, reason: str) -> None:
        """A newcomer has got the place of this handshake."""
        self._gave_way = True
        self.end(reason)

    def logged_in(self) -> None:
        """The handshake is over: it counts no longer."""
        self._handshake_over("ok")

    def _handshake_over(self, outcome: str) -> None:
        if self._lane_timer is not None:
            self._lane_timer.cancel()
            self._lane_timer = None
        self.front.admission.over(self, outcome)

    def offence(self, *, timed_out: bool) -> Offence | None:
        """What the address is to be penalised for, when this connection has ended without a log-in.

        Whoever has proved an acceptable key is not to blame (the database was away, the identity has too many).
        """
        if self.proven:
            return None
        if self.garbage:
            return Offence.GARBAGE
        if self.client.tries:
            return Offence.KEYS_REFUSED
        return Offence.NEVER_ENDED if timed_out else Offence.NOTHING_OFFERED

    # --- choosing the cipher: our KEXINIT follows the client's

    def _send_kexinit(self) -> None:
        """Send ours at once, except the very first: that one waits for the client's, KEXINIT_WAIT_SECONDS at most.

        The client's first choice among the *server's offer* decides (RFC 4253 §7.1), and stock OpenSSH prefers
        chacha20, which costs this process three times as much as AES-GCM. So AES-GCM alone is offered to a client that
        lists it among others, and the full list to everybody else. It costs half a round trip at log-in.
        """
        if self._session_id or self._client_kexinit or self._kexinit_timer is not None or not self.front.prefer_gcm:
            super()._send_kexinit()
            return
        self._kexinit_timer = self._loop.call_later(limits.KEXINIT_WAIT_SECONDS, self._send_kexinit_now)

    def _send_kexinit_now(self) -> None:
        """The client waits for ours first (allowed by RFC 4253 §7.1, done by a few): offer everything."""
        self._kexinit_waited = True
        if self._transport is not None:
            super()._send_kexinit()

    async def _process_kexinit(self, pkttype: int, pktid: int, packet: SSHPacket) -> None:
        if self._kexinit_timer is not None and not self._kexinit_waited:
            self._kexinit_timer.cancel()
            self._kexinit_waited = True
            self._kexinit_sent = False  # asyncssh believes that ours has gone; with this it sends it now
            self._enc_algs = _ciphers_for(packet.get_full_payload(), self._enc_algs)
        await super()._process_kexinit(pkttype, pktid, packet)

    # --- odd input, counts

    def _process_global_request(self, pkttype: int, pktid: int, packet: SSHPacket) -> None:
        second = int(self._loop.time())
        if second != self._request_second:
            self._request_second, self._requests_in_second = second, 0
        self._requests_in_second += 1
        if self._requests_in_second > self.client.limits.global_requests_per_second:
            raise ProtocolError("Too many global requests in one second")
        super()._process_global_request(pkttype, pktid, packet)

    def _process_global_response(self, pkttype: int, pktid: int, packet: SSHPacket) -> None:
        if self._global_request_waiters:
            super()._process_global_response(pkttype, pktid, packet)

    def _process_channel_open(self, pkttype: int, pktid: int, packet: SSHPacket) -> None:
        if len(self._channels) >= self.client.limits.channels_per_connection:
            packet.get_string()
            self.send_channel_open_failure(packet.get_uint32(), OPEN_RESOURCE_SHORTAGE, "too many channels", "")
            return
        super()._process_channel_open(pkttype, pktid, packet)

    def _process_tcpip_forward_global_request(self, packet: SSHPacket) -> None:
        host, port = packet.get_string(), packet.get_uint32()
        packet.check_end()
        self.client.forward_requested(host, port, self._answer_forward)

    def _answer_forward(self, allowed: bool, port: int | None) -> None:
        """Answer the oldest global request: success (with the allocated port for port 0), or failure."""
        if self._global_request_queue:
            self._report_global_response((UInt32(port) if port is not None else True) if allowed else False)

    def _process_cancel_tcpip_forward_global_request(self, packet: SSHPacket) -> None:
        host, port = packet.get_string(), packet.get_uint32()
        packet.check_end()
        self._report_global_response(self.client.forward_cancelled(host, port))

    def _process_streamlocal_forward_at_openssh_dot_com_global_request(self, packet: SSHPacket) -> None:
        path = packet.get_string().decode("utf-8", "backslashreplace")
        self.client.asked += 1
        why = "a socket path cannot be forwarded: write -R NAME:80:... or -R 0:..."
        self.client.refused_form(f"-R {path}", why, kept="-R PATH")
        self._report_global_response(False)

    def _process_cancel_streamlocal_forward_at_openssh_dot_com_global_request(self, packet: SSHPacket) -> None:
        del packet
        self._report_global_response(False)

    def _process_direct_tcpip_open(self, packet: SSHPacket) -> Any:
        host, port = packet.get_string(), packet.get_uint32()
        packet.get_string()  # the originator that the client claims: not to be believed, not used
        packet.get_uint32()
        packet.check_end()
        return self.client.direct_requested(host, port), None

    def _process_direct_streamlocal_at_openssh_dot_com_open(self, packet: SSHPacket) -> Any:
        del packet
        raise ChannelOpenError(OPEN_ADMINISTRATIVELY_PROHIBITED, "socket paths cannot be reached through this gateway")

    def _process_tun_at_openssh_dot_com_open(self, packet: SSHPacket) -> Any:
        del packet
        self.client.refused_form("-w", NO_VPN)
        raise ChannelOpenError(OPEN_ADMINISTRATIVELY_PROHIBITED, NO_VPN)

    def internal_error(self, exc_info: Any = None, error_logger: Any = None) -> None:
        """Something went wrong inside: it ends this connection, and no other.

        Bytes that are no SSH end up here too (asyncssh decodes before it checks): those are the peer's fault, and worth
        a line, not a traceback that a port scanner could fill the log with.
        """
        error = (exc_info or sys.exc_info())[1]
        if isinstance(error, PacketDecodeError | UnicodeDecodeError):
            self.garbage = True
            _log.info("%s sent what is not SSH: %s", self.place.host, printable(str(error)))
        else:
            _log.error("SSH connection %s failed", self.client.id, exc_info=exc_info or True)
        super().internal_error(exc_info, error_logger)

    # --- asking

    def ping(self) -> asyncio.Future[Any]:
        """Ask whether the client is there (`keepalive@openssh.com`); done when it answers, in whatever way."""
        answer: asyncio.Future[Any] = self._loop.create_future()
        if self._transport is None:
            answer.cancel()
            return answer
        self._global_request_waiters.append(answer)
        self._send_global_request(b"keepalive@openssh.com", want_reply=True)
        return answer

    async def answers_within(self, seconds: float) -> bool:
        """Whether the client answers a keepalive in that time. The question stays asked: its answer comes in order."""
        answer = self.ping()
        done, _ = await asyncio.wait([answer], timeout=seconds)
        return bool(done) and not answer.cancelled()

    def end(self, reason: str, code: int = DISC_BY_APPLICATION) -> None:
        """Disconnect with a reason that the client prints."""
        if self._transport is not None:
            self.disconnect(code, reason)

    def open_channel(self, channel: TunnelChannel, channel_type: bytes, *args: bytes) -> None:
        """Ask the client to open `channel`. Raises ChannelOpenError when the connection is gone or has too many."""
        if len(self._channels) >= self.client.limits.channels_per_connection:
            raise ChannelOpenError(OPEN_RESOURCE_SHORTAGE, "too many channels")
        channel.request_open(channel_type, *args)

    def sink_failed(self, error: Exception) -> None:
        """An error of our own has ended one stream."""
        self.front.faults.note(f"a stream of SSH connection {self.client.id}", error)

    # --- log-in

    async def reload_config(self) -> None:
        """Nothing in our configuration depends on the user: asyncssh would build all options anew (1 to 160 ms)."""

    async def validate_public_key(self, username: str, key_data: bytes, msg: bytes, signature: bytes) -> bool:
        """As asyncssh's; `msg` is empty while the client only asks whether a key would do.

        Identity is bound here and only here, when the signature has been checked: asyncssh's callback of the same
        name is called for keys that nobody has proved to hold (the CVE-2024-45337 trap).
        """
        tries = self.client.tries
        valid = await super().validate_public_key(username, key_data, msg, signature)
        if valid and msg:
            self.proven = True
            return await self.client.key_proven(username, key_data)
        if not valid and self.client.tries == tries:  # a wrong signature, or a key that asyncssh could not read
            self.client.count_try()
        return valid

    # asyncssh looks handlers up in this table, so that an override has to be named in it too
    _packet_handlers = {  # noqa: RUF012 - as in asyncssh, never changed
        **PacketConnection._packet_handlers,
        MSG_KEXINIT: _process_kexinit,
        MSG_GLOBAL_REQUEST: _process_global_request,
        MSG_REQUEST_SUCCESS: _process_global_response,
        MSG_REQUEST_FAILURE: _process_global_response,
        MSG_CHANNEL_OPEN: _process_channel_open,
    }


def _ciphers_for(kexinit: bytes, ours: Sequence[bytes]) -> Sequence[bytes]:
    """What to offer to a client with this KEXINIT (RFC 4253 §7.1): AES-GCM alone if it lists that among others."""
    packet = SSHPacket(kexinit)
    packet.get_bytes(17)  # type and cookie
    packet.get_namelist(), packet.get_namelist()  # key exchange and host key algorithms
    to_us, from_us = packet.get_namelist(), packet.get_namelist()
    for cipher in (b"aes128-gcm@openssh.com", b"aes256-gcm@openssh.com"):
        if cipher in to_us and cipher in from_us and cipher in ours:
            return [cipher]
    return ours


NO_VPN: Final = "Ferry forwards TCP only, it is no VPN (no -w): WireGuard is made for that"
