"""Tries one cell with stock ssh at one server."""

from __future__ import annotations

import hashlib
import re
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from child_process import SECONDS, Child
from ferry_command import clean_environment
from kernel_sockets import listening_on
from ssh_command import StockSsh, environment

from .drawing import Cell, Place, Request

BY_SSH: Final = 255  # the exit code of ssh itself, in place of the command's
_REPLY: Final = re.compile(r"remote forward (success|failure) for: listen ")
_ALLOCATED: Final = re.compile(r"Allocated port (\d+) for remote forward")
_FAILED: Final = re.compile(r"open failed: ([\w ]+)")
_STARTED: Final = "Entering interactive session"
_CAME: Final = re.compile(r"Connection to port (\d+) forwarding to")
STREAMS, SESSION = "-W", "session"
_SENT: Final = bytes(range(256)) * 500
CAME: Final = hashlib.sha256(_SENT).hexdigest().encode()
"""What comes through a forward whose other end has all that was sent."""
_HTTP: Final = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


@dataclass(slots=True)
class Outcome:
    """What a server has made of a cell."""

    logs_in: bool = True
    ends: int | None = None
    """The exit code of ssh. None: it stays."""
    bound: dict[str, tuple[str, ...] | None] = field(default_factory=dict)
    """Of each -R the addresses on which its port listens; None: refused."""
    got: dict[str, bytes] = field(default_factory=dict)
    """What came through each forward, for -R with the address."""
    failures: dict[str, str] = field(default_factory=dict)
    """Of each -L, -D and -W, and of the session (SESSION), what ssh says if it was not opened."""


def ask(ssh: StockSsh, cell: Cell, place: Place, *, patience: float) -> Outcome:
    """Its forwards are gone when this returns. `patience`: the seconds in which a server may end a connection of its own accord,
    whose forwards it has all refused."""
    words = [f"-o{name}={value}" for name, value in (("ExitOnForwardFailure", "yes" if cell.exits else "no"),)]
    for request in cell.requests:
        words += [request.flag, place.fill(request.argument)]
    command = ["-v", "-b", place.here, "-o", "BatchMode=yes", *words]
    if cell.requests[0].flag == "-W":
        return _standard_streams(ssh, command, place)
    with ssh.start(
        *command, *([] if cell.session else ["-N"]), user=place.user, words="ls" if cell.session else ""
    ) as child:
        outcome = _Asked(child, cell, place, patience).outcome()
    if not (cell.exits and outcome.ends == BY_SSH):  # else ssh may end before it hears of a session's failure
        outcome.failures = _failures(child.err.lines, cell, place)
    deadline = time.monotonic() + SECONDS
    while any(listening_on(port) for port in place.ports):  # the server closes them when it sees that ssh is gone
        assert time.monotonic() < deadline, f"a port of {list(place.ports)} still listens: {cell}"
        time.sleep(0.005)
    return outcome


def _standard_streams(ssh: StockSsh, command: list[str], place: Place) -> Outcome:
    done = subprocess.run(
        ssh.command(*command, user=place.user), cwd=ssh.folder, env=environment(ssh.folder), input=_HTTP,
        capture_output=True, timeout=SECONDS, check=False,
    )  # fmt: skip
    said = done.stderr.decode("utf-8", "replace")
    failed = _FAILED.search(said)
    if "Permission denied" in said:
        return Outcome(logs_in=False, ends=done.returncode)
    return Outcome(
        ends=done.returncode,
        got={STREAMS: _body(done.stdout)},
        failures={STREAMS: failed[1]} if failed else {},
    )


def _body(answer: bytes) -> bytes:
    return answer.partition(b"\r\n\r\n")[2]


def _failures(lines: Sequence[str], cell: Cell, place: Place) -> dict[str, str]:
    """Visitors come one after another: a failure is that of the last one."""
    shown = {place.fill(each.listen).rpartition(":")[2]: each.shown for each in cell.requests if each.flag != "-R"}
    found, visited = dict[str, str](), SESSION
    for line in lines:
        if came := _CAME.search(line):
            visited = shown[came[1]]
        if failed := _FAILED.search(line):
            found[visited] = failed[1]
    return found


class _Asked:
    """A running ssh, with or without a session."""

    def __init__(self, child: Child, cell: Cell, place: Place, patience: float) -> None:
        self._child, self._cell, self._place, self._patience = child, cell, place, patience
        self._remote = [request for request in cell.requests if request.flag == "-R"]

    def outcome(self) -> Outcome:
        found, said = Outcome(), self._child.err
        try:
            said.wait(_STARTED)
            after = 0
            for request in self._remote:
                reply = said.wait(_REPLY.pattern, after=after)
                after = said.lines.index(reply.string, after) + 1
                if self._place.fill(request.listen).split(":")[-1] == "0" and reply[1] == "success":
                    said.wait(_ALLOCATED.pattern, after=after)
        except AssertionError:
            if self._child.running and not said.ended:
                raise
            found.ends = self._child.exit_code()
        found.logs_in = "Permission denied" not in said.text
        if found.logs_in:
            self._look(found)
        return found

    def _look(self, found: Outcome) -> None:
        replies = [granted == "success" for granted in _REPLY.findall(self._child.err.text)]
        asked = list(zip(self._remote, replies, strict=False))
        if self._cell.exits and not all(replies):
            found.ends = self._child.exit_code()
            return
        if self._cell.session:
            found.ends = self._child.exit_code()
            if found.ends != BY_SSH:  # else it had no session, and waited for no answer
                found.bound = {request.shown: () if granted else None for request, granted in asked}
            return
        for (request, granted), port in zip(asked, self._ports(asked), strict=True):
            found.bound[request.shown] = tuple(sorted(listening_on(port))) if granted else None
        if found.ends is not None or (asked and not any(replies) and self._ended()):
            found.bound.clear()
            found.ends = self._child.exit_code()
            return
        for (request, granted), port in zip(asked, self._ports(asked), strict=True):
            if granted:
                self._visit(found, request, port)
        silent = found.got and not any(found.got.values())
        if silent and all(request.proxy for request, granted in asked if granted) and self._ended():
            found.ends = self._child.exit_code()  # as the gateway has closed each open proxy
            return
        for request in self._cell.requests:
            if request.flag in ("-L", "-D"):
                found.got[request.shown] = self._through(request)
        if not self._child.running:
            found.ends = self._child.exit_code()

    def _ports(self, asked: list[tuple[Request, bool]]) -> Iterator[int]:
        """Of each -R the port that it has, or has asked for."""
        allocated = iter(_ALLOCATED.findall(self._child.err.text))
        for request, granted in asked:
            port = self._place.fill(request.listen).rpartition(":")[2]
            yield int(next(allocated) if port == "0" and granted else port)

    def _ended(self) -> bool:
        try:
            self._child.process.wait(self._patience)
        except subprocess.TimeoutExpired:
            return False
        return True

    def _visit(self, found: Outcome, request: Request, port: int) -> None:
        for address in found.bound[request.shown] or ():
            host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(address, f"[{address}]" if ":" in address else address)
            proxied = f"{host}:{port}" if request.proxy else ""
            url = self._place.fill(request.to) if request.proxy else f"{host}:{port}"
            found.got[f"{request.shown} at {address}"] = _fetched(url, request.proxy, proxied)

    def _through(self, request: Request) -> bytes:
        local = self._place.fill(request.listen)
        if not request.proxy:
            return _fetched(local, "", "")
        return _fetched(self._place.fill(request.to), request.proxy, local)


def _fetched(host: str, version: str, proxy: str) -> bytes:
    """The service's SHA-256 of what curl sends; nothing if it fails."""
    proxied = ["--proxy", f"{version}://{proxy}"] if version else []
    family = [] if "[" in host + proxy else ["-4"]  # that of `localhost`, where curl looks it up
    sends = ["-X", "PUT", "--data-binary", "@-"]
    command = [
        *("curl", "-q", "-s", *family, "--noproxy", "", "--max-time", str(SECONDS), *proxied, *sends),
        f"http://{host}/",
    ]
    done = subprocess.run(
        command, env=clean_environment(), input=_SENT, capture_output=True, timeout=2 * SECONDS, check=False
    )
    return done.stdout
