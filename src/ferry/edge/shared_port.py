"""SSH, TLS and plain HTTP on one port. The first bytes of a connection tell which protocol it speaks.

This module peeks at the bytes (MSG_PEEK) and does not read them, so that the protocol's own code finds all of them:
asyncio's `start_tls` on a stream that has been read from loses those bytes, and hangs. Peeking alone would spin,
because a socket with one unread byte stays readable. With SO_RCVLOWAT the kernel wakes us only for more bytes than we
have seen.

A connection belongs to this module, and counts against a bound, until its protocol is known and its TLS handshake is
done. At the bound the oldest one closes: a real client sends its first bytes within a round trip.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Sequence

from ferry import limits, tasks
from ferry.protocol.first_bytes import LOOK_BYTES, FirstBytes, classify
from ferry.report import Report

from .acceptor import Acceptor
from .descriptors import DescriptorGate
from .listeners import endpoint_of
from .tls.context import TlsHandshake, current_handshake

ProtocolFactory = Callable[[], asyncio.Protocol]


class _Newcomer:
    """A connection whose protocol is unknown, or that is in its TLS handshake."""

    __slots__ = ("handed_on", "peer", "seen", "sock", "task", "timer")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.peer = ""
        self.seen = 0
        """The number of bytes at the last peek."""
        self.timer: asyncio.TimerHandle | None = None
        self.task: asyncio.Task[None] | None = None
        self.handed_on = False
        """A transport owns the socket now."""


class SharedPort:
    """Owns the listening sockets, and each connection until it hands it on.

    `ssh` gets a non-blocking socket with all bytes still unread; None means that this port does not serve SSH.
    `tls_protocol` makes the protocol of a TLS connection after its handshake, `redirect` the one that answers plain
    HTTP. A client that sends nothing for `silence` seconds is an SSH client that waits for the server's version first
    (by RFC 4253 §4.2 neither side has to wait).
    """

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        *,
        ssh: Callable[[socket.socket], None] | None,
        tls_protocol: ProtocolFactory,
        redirect: ProtocolFactory,
        context: ssl.SSLContext,
        report: Report,
        silence: float = limits.FIRST_BYTES_SECONDS,
        identify: float = limits.IDENTIFY_SECONDS,
        handshake: float = limits.TLS_HANDSHAKE_SECONDS,
        unidentified: int = limits.UNIDENTIFIED,
        gate: DescriptorGate | None = None,
    ) -> None:
        self._acceptor = Acceptor(sockets, self._accepted, report=report, gate=gate)
        self._ssh = ssh
        self._tls_protocol = tls_protocol
        self._redirect = redirect
        self._context = context
        self._report = report
        self._silence = silence
        self._identify = identify
        self._handshake = handshake
        self._bound = unidentified
        self._newcomers: dict[_Newcomer, None] = {}  # in the order of their arrival

    def start(self) -> None:
        """Begin to accept, on the running loop."""
        self._acceptor.start()

    def close(self) -> None:
        """Close the listening sockets and the connections that this port still owns. Those handed on stay."""
        self._acceptor.close()
        for newcomer in list(self._newcomers):
            self._drop(newcomer)

    def __len__(self) -> int:
        """The number of connections that this port still owns."""
        return len(self._newcomers)

    # --- looking

    def _accepted(self, sock: socket.socket) -> None:
        if len(self._newcomers) >= self._bound:
            oldest = next(iter(self._newcomers))
            self._refuse(oldest, "too many connections without first bytes")
        newcomer = _Newcomer(sock)
        self._newcomers[newcomer] = None
        try:
            newcomer.peer = str(endpoint_of(sock.getpeername()))
        except OSError:
            self._drop(newcomer)  # the peer has reset it already
            return
        loop = asyncio.get_running_loop()
        if self._ssh is None:
            newcomer.timer = loop.call_later(self._identify, self._too_late, newcomer)
        else:
            newcomer.timer = loop.call_later(self._silence, self._silent, newcomer)
        loop.add_reader(sock, self._look, newcomer)
        self._look(newcomer)  # often the first bytes are here already

    def _look(self, newcomer: _Newcomer) -> None:
        sock = newcomer.sock
        try:
            head = sock.recv(LOOK_BYTES, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self._drop(newcomer)
            return
        kind = classify(head)
        if kind is FirstBytes.MORE:
            if len(head) <= newcomer.seen:
                self._drop(newcomer)  # readable without a new byte: the client has closed
                return
            newcomer.seen = len(head)
            _wake_at(sock, len(head) + 1)
            return
        if newcomer.seen:
            _wake_at(sock, 1)
        self._settle(newcomer, kind)

    def _silent(self, newcomer: _Newcomer) -> None:
        if newcomer.seen == 0:
            self._settle(newcomer, FirstBytes.SSH)
        else:
            remaining = max(0.0, self._identify - self._silence)
            newcomer.timer = asyncio.get_running_loop().call_later(remaining, self._too_late, newcomer)

    def _too_late(self, newcomer: _Newcomer) -> None:
        self._refuse(newcomer, "first bytes took too long")

    def _settle(self, newcomer: _Newcomer, kind: FirstBytes) -> None:
        self._stop_looking(newcomer)
        if kind is FirstBytes.TLS:
            newcomer.task = tasks.spawn("tls-handshake", self._hand_on(newcomer, self._tls_protocol, self._context))
        elif kind is FirstBytes.HTTP:
            newcomer.task = tasks.spawn("http-redirect", self._hand_on(newcomer, self._redirect))
        elif kind is FirstBytes.SSH and self._ssh is not None:
            del self._newcomers[newcomer]
            self._ssh(newcomer.sock)
        else:
            self._refuse(newcomer, "neither TLS nor HTTP" if self._ssh is None else "neither SSH, TLS nor HTTP")

    # --- handing on

    async def _hand_on(
        self, newcomer: _Newcomer, factory: ProtocolFactory, context: ssl.SSLContext | None = None
    ) -> None:
        newcomer.handed_on = True
        record = TlsHandshake()
        current_handshake.set(record)
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                factory,
                newcomer.sock,
                ssl=context,
                ssl_handshake_timeout=None if context is None else self._handshake,
            )
        except OSError as error:  # ssl.SSLError and the time-out's ConnectionAbortedError are OSErrors too
            reason = record.refused or _reason(record.error or error)
            self._report("tls.failed", peer=newcomer.peer, sni=record.sni, reason=reason)
        finally:
            self._newcomers.pop(newcomer, None)

    # --- ending

    def _stop_looking(self, newcomer: _Newcomer) -> None:
        if newcomer.timer is not None:
            newcomer.timer.cancel()
            newcomer.timer = None
            asyncio.get_running_loop().remove_reader(newcomer.sock)

    def _refuse(self, newcomer: _Newcomer, reason: str) -> None:
        self._report("edge.refused", edge="https", status=0, peer=newcomer.peer, reason=reason)
        self._drop(newcomer)

    def _drop(self, newcomer: _Newcomer) -> None:
        self._stop_looking(newcomer)
        self._newcomers.pop(newcomer, None)
        if newcomer.task is not None:
            newcomer.task.cancel()
        if not newcomer.handed_on:
            newcomer.sock.close()


def _wake_at(sock: socket.socket, count: int) -> None:
    """Make the socket readable at `count` bytes, an end-of-file or an error."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, count)


def _reason(error: OSError) -> str:
    reason: str | None = getattr(error, "reason", None)  # of an ssl.SSLError
    return reason.lower().replace("_", " ") if reason else str(error) or type(error).__name__
