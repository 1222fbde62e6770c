"""Admits accepted SSH sockets to a log-in, or refuses them with a reason, and penalises addresses for failed log-ins.

`limiters.handshakes` and `limiters.penalties` make the decisions. A refused connection stays a plain socket: it gets no
asyncssh object.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from ferry import limits, tasks
from ferry.callbacks import call_each
from ferry.clock import Clock
from ferry.limiters.handshakes import Handshake, HandshakeGate, Progress
from ferry.limiters.penalties import Offence, Penalties
from ferry.protocol.ssh_disconnect import SERVICE_NOT_AVAILABLE, TOO_MANY_CONNECTIONS, ssh_disconnect
from ferry.report import Report

_log = logging.getLogger("ferry.ssh")


@dataclass(frozen=True, slots=True)
class LoginSlot:
    """The slot of one log-in."""

    handshake: Handshake
    host: str
    began: float
    """Monotonic seconds."""
    slow: bool
    """It uses the slow lane of a blocked address."""


class Attempt(Protocol):
    """One log-in in progress."""

    @property
    def slot(self) -> LoginSlot:
        """The slot that it was made with."""
        ...

    @property
    def protocol(self) -> asyncio.BaseProtocol:
        """The protocol of its socket."""
        ...

    def give_way(self, reason: str, /) -> None:
        """Its slot has gone to a newcomer: end it with this reason."""
        ...

    def offence(self) -> Offence | None:
        """The offence of its address, after an end without a log-in; None if it has none."""
        ...

    def abort(self) -> None:
        """End it at once."""
        ...


class Admission:
    """All connections that have not logged in yet."""

    def __init__(
        self,
        gate: HandshakeGate,
        penalties: Penalties,
        *,
        clock: Clock,
        report: Report,
        retry_after: Callable[[], int],
    ) -> None:
        self.penalties = penalties
        self.draining = False
        self._gate = gate
        self._clock = clock
        self._report = report
        self._retry_after = retry_after
        self._attempts: dict[Handshake, Attempt] = {}
        self._lingering: deque[tuple[float, socket.socket]] = deque()
        self._unnoted: dict[str, int] = {}
        self._noted = float("-inf")

    def __len__(self) -> int:
        """The number of log-ins in progress."""
        return len(self._gate)

    @property
    def in_progress(self) -> list[Attempt]:
        """All log-ins in progress."""
        return list(self._attempts.values())

    def start_drain(self) -> None:
        """The gateway stops: refuse everybody from now on."""
        self.draining = True

    # --- the beginning

    def take(self, sock: socket.socket, make: Callable[[LoginSlot], Attempt]) -> None:
        """Begin a log-in on an accepted non-blocking socket, or refuse it with a reason."""
        try:
            host = str(sock.getpeername()[0]).removeprefix("::ffff:")
        except OSError:  # the client is gone already
            sock.close()
            return
        slot = self._admit(host)
        if isinstance(slot, str):
            self._refuse(sock, slot, TOO_MANY_CONNECTIONS)
            return
        attempt = self._attempts[slot.handshake] = make(slot)
        tasks.spawn("ssh connection", self._connect(sock, attempt))

    async def _connect(self, sock: socket.socket, attempt: Attempt) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(lambda: attempt.protocol, sock)
        except OSError:
            sock.close()
            self.over(attempt, "failed")

    def _admit(self, host: str) -> LoginSlot | str:
        now = self._clock.monotonic()
        if self.draining:
            return f"the gateway is stopping; retry-after={self._retry_after()}"
        left = self.penalties.blocked(host, now)
        if left and not self.penalties.enter_lane(host, now):
            self._turned_away(host, "blocked")
            return (
                f"your address is blocked for {left:.0f} s: too many log-ins from it failed. Meanwhile a client with a "
                f"valid key can log in, one connection at a time; retry-after={self._retry_after()}"
            )
        handshake, gone = self._gate.admit(host, now)
        if handshake is None:
            if left:
                self.penalties.leave_lane(host)
            self._turned_away(host, "limit")
            return f"too many connections are logging in; retry-after={self._retry_after()}"
        if gone is not None:
            self._displace(gone)
        self._report("handshake.started", peer=host)
        return LoginSlot(handshake, host, now, slow=bool(left))

    def _turned_away(self, host: str, outcome: str) -> None:
        self._unnoted[outcome] = self._unnoted.get(outcome, 0) + 1
        self._report("handshake.ended", peer=host, seconds=0.0, outcome=outcome)

    def _displace(self, handshake: Handshake) -> None:
        attempt = self._attempts[handshake]
        self._unnoted["displaced"] = self._unnoted.get("displaced", 0) + 1
        self.over(attempt, "displaced")
        attempt.give_way(f"login too slow; its slot went to another client; retry-after={self._retry_after()}")

    # --- progress and end

    def progressed(self, attempt: Attempt, progress: Progress) -> None:
        """A log-in has made progress. Ignored after its end."""
        if attempt.slot.handshake in self._attempts:
            self._gate.progressed(attempt.slot.handshake, progress, self._clock.monotonic())

    def over(self, attempt: Attempt, outcome: str, *, explained: bool = False) -> None:
        """A log-in has ended: `ok`, `failed`, `timeout` or `displaced`. Only the first call counts. `explained`: other
        reports say which keys it has offered in vain, and why these may not log in."""
        slot = attempt.slot
        if self._attempts.pop(slot.handshake, None) is None:
            return
        now = self._clock.monotonic()
        self._gate.done(slot.handshake)
        if slot.slow:
            self.penalties.leave_lane(slot.host)
        offence = None if outcome == "ok" else attempt.offence()
        why: dict[str, object] = {"why": offence.value} if offence else {}
        if explained:
            why["explained"] = True
        self._report("handshake.ended", peer=slot.host, seconds=now - slot.began, outcome=outcome, **why)
        if offence is not None and not self.draining:
            self._blame(slot.host, offence, now)

    def _blame(self, host: str, offence: Offence, now: float) -> None:
        if (blocked := self.penalties.add_offence(host, offence, now)) is not None:
            self._report("address.blocked", address=blocked.source, seconds=round(blocked.seconds), why=offence.value)

    # --- the refused

    def turn_away(self, sock: socket.socket, reason: str) -> None:
        """Refuse an accepted non-blocking socket, from which nothing has been read: its port serves no SSH."""
        self._refuse(sock, reason, SERVICE_NOT_AVAILABLE)

    def _refuse(self, sock: socket.socket, reason: str, code: int) -> None:
        """Answer with a version line and an SSH_MSG_DISCONNECT (RFC 4253 §11.1) in clear; the client prints the reason.

        Wait for the client's first line before the close: an earlier close would become a reset, and the client would
        not see the reason. REFUSED_LINGERING bounds the connections that wait so.
        """
        try:
            sock.send(ssh_disconnect(reason, code))
            sock.shutdown(socket.SHUT_WR)
        except OSError:
            sock.close()
            return
        if len(self._lingering) >= limits.REFUSED_LINGERING:
            self._lingering.popleft()[1].close()
        self._lingering.append((self._clock.monotonic() + limits.LINGER_SECONDS, sock))

    def tick(self) -> None:
        """Close refused connections after their time, and report crowds, once a minute at most. Called once a
        second."""
        now = self._clock.monotonic()
        while self._lingering and self._lingering[0][0] <= now:
            self._let_go(self._lingering.popleft()[1])
        if self._unnoted and now - self._noted >= limits.HANDSHAKES_NOTE_SECONDS:
            counts = {outcome: self._unnoted.get(outcome, 0) for outcome in ("limit", "blocked", "displaced")}
            self._report("handshakes.crowded", in_progress=len(self), **counts)
            self._unnoted, self._noted = {}, now

    def close(self) -> None:
        """End all log-ins in progress."""
        call_each(_log, "could not end a log-in", [attempt.abort for attempt in self.in_progress])
        while self._lingering:
            self._let_go(self._lingering.popleft()[1])

    @staticmethod
    def _let_go(sock: socket.socket) -> None:
        with contextlib.suppress(OSError):  # no bytes, or a reset: the bytes do not matter
            sock.recv(limits.HEAD_BYTES)
        sock.close()
