"""A program of sshd's shape that is Ferry: OpenSSH's scripts start it wherever they would start sshd.

    python -m conformance.regress.shaped SOCKET

It listens at SOCKET for calls (`stub`), and forks for each: `-t` reads the sshd_config, `-i` serves one client on its standard
input and output, and without either it serves the configured port until SIGTERM, with a file for its process id. Each makes
a gateway of its own, as `ferry serve` would, from what the sshd_config says (`settings`). `-T` prints sshd's own settings, so
sshd answers it.
"""

from __future__ import annotations

import asyncio
import base64
import ctypes
import gc
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import asyncssh
import uvloop

import ferry.gateway.worker
from ferry.clock import SystemClock
from ferry.config.model import Config
from ferry.gateway.kept import kept_in
from ferry.gateway.worker import Worker, build_worker
from ferry.observe.observer import observing
from ferry.protocol.certificates import parse_certificate
from ferry.ssh.host_keys import certificate_of
from ferry.ssh.options import ConnectionOptions, connection_options
from rsa_host_key import put_rsa_key
from sshd_program import SSHD
from whole_gateway import opened

from .settings import Arguments, Wanted, arguments_of, configuration, shell_rules, wanted_of
from .shell import shell_connection

FAILED = 255
UNKNOWN = "192.0.2.1"
"""The address of a client that comes by a pipe. sshd calls it UNKNOWN; this one is nobody's (RFC 5737)."""
_PR_SET_PDEATHSIG = 1
HOST_KEY_TYPES = (b"ssh-ed25519", b"ssh-rsa", b"ecdsa-sha2-nistp256", b"ecdsa-sha2-nistp384", b"ecdsa-sha2-nistp521")

Answer = Callable[[int], None]
"""Ends the call with an exit code. The process may go on."""


# --- calls


def serve_calls(path: Path) -> None:
    """Fork for each call, until the parent ends."""
    _end_with_parent()
    template = _state_template(path.parent)
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(64)
        print("ready", flush=True)
        while True:
            call, _ = listener.accept()
            with call:
                if os.fork() == 0:
                    listener.close()
                    code = _forked(call, template)
                    os._exit(code)  # a thread that reads standard input may wait for ever


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _forked(call: socket.socket, template: Path) -> int:
    """Take a call, in a process of its own. Returns its exit code, which nobody reads."""
    _end_with_parent()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    words = _take_over(call)

    def answer(code: int) -> None:
        with suppress(OSError):  # the caller has gone
            call.sendall(bytes([code]))
        call.close()

    try:
        _run(words, template, answer)
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        answer(FAILED)
        raise
    return 0


def _take_over(call: socket.socket) -> list[str]:
    """Be the caller, by folder, environment and standard files. Returns its arguments."""
    _, files, _, _ = socket.recv_fds(call, 1, 3)
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    told = b""
    while part := call.recv(65536):
        told += part
    folder, count, *rest = told.decode("utf-8", "surrogateescape").split("\0")
    os.chdir(folder)
    os.environ.clear()
    for each in rest[int(count) :]:
        name, _, value = each.partition("=")
        os.environ[name] = value
    return rest[: int(count)]


def _run(words: list[str], template: Path, answer: Answer) -> None:
    """One call of `sshd`."""
    arguments = arguments_of(words)
    if arguments.prints:
        answer(subprocess.run([SSHD, *words], check=False).returncode)
        return
    with _log(arguments) as log:
        wanted = wanted_of(arguments)
        with _folder(template) as folder:
            config = Config.model_validate(configuration(wanted, folder))
            if arguments.test:
                answer(0)
                return
            serving = _serve_pipe if arguments.inetd else _serve_port
            # uvloop asks the system for a client's address, and a pipe has none
            factory = None if arguments.inetd else uvloop.new_event_loop
            with asyncio.Runner(loop_factory=factory) as runner:
                runner.run(serving(config, wanted, log, answer))


@contextmanager
def _log(arguments: Arguments) -> Iterator[int]:
    """The descriptor to log to."""
    if arguments.log is None:
        yield 2
        return
    file = os.open(arguments.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        yield file
    finally:
        os.close(file)


def _state_template(folder: Path) -> Path:
    """A state folder that has been used once: making one takes longer than a short connection."""
    template = folder / "state"
    put_rsa_key(template)

    async def use() -> None:
        tables = configuration(Wanted(), folder)
        with Path(os.devnull).open("wb") as log:
            async with _worker(Config.model_validate(tables), Wanted(), log.fileno()):
                pass

    asyncio.run(use())
    return template


@contextmanager
def _folder(template: Path) -> Iterator[Path]:
    """A folder for one gateway, with its state folder."""
    with tempfile.TemporaryDirectory(prefix="ferry-shaped-") as folder:
        shutil.copytree(template, Path(folder) / "state")
        yield Path(folder)


# --- gateways


@asynccontextmanager
async def _worker(config: Config, wanted: Wanted, log: int) -> AsyncIterator[tuple[Worker, set[str]]]:
    """A worker that does not listen yet, and the names of the events that it has reported."""
    clock, reported = SystemClock(), set[str]()
    with (
        observing(clock, version="0", log_format="human", level="debug", fd=log) as observation,
        patch.object(ferry.gateway.worker, "connection_options", _options_of(wanted)),
    ):

        def report(event: str, /, **fields: object) -> None:
            reported.add(event)
            observation.report(event, **fields)

        async with kept_in(config.state, clock=clock, report=report) as kept:
            certified = {_put_certificate(path, config.state) for path in wanted.host_certificates}
            given = [key for path in wanted.host_keys if (key := _host_key(path)) is not None]
            keys, later = _by_use(sorted(given, key=lambda key: key.public_data not in certified))
            async with build_worker(
                config,
                replace(kept, host_keys=keys or kept.host_keys, next_host_keys=later),
                clock=clock,
                report=report,
                events=observation.events,
                metrics=observation.metrics,
                make_connection=shell_connection(shell_rules(wanted)),
            ) as worker:
                yield worker, reported


def _host_key(path: Path) -> asyncssh.SSHKey | None:
    """A key of a kind that Ferry has; the scripts give one of each kind of OpenSSH's."""
    try:
        key = asyncssh.read_private_key(path)
    except (asyncssh.KeyImportError, ValueError):
        return None
    return key if key.algorithm in HOST_KEY_TYPES else None


def _by_use(keys: list[asyncssh.SSHKey]) -> tuple[list[asyncssh.SSHKey], list[asyncssh.SSHKey]]:
    """The first key of each kind, which is used, and the others, which are announced alone: as sshd does it."""
    used: dict[bytes, asyncssh.SSHKey] = {}
    later = [key for key in keys if used.setdefault(key.algorithm, key) is not key]
    return list(used.values()), later


def _put_certificate(path: Path, state: Path) -> bytes:
    """Put the certificate of a host key where a gateway looks for it. Returns the key, which has to be the used one."""
    line = path.read_bytes()
    certificate = parse_certificate(base64.b64decode(line.split()[1]))
    certificate_of(state, line.partition(b"-cert-v01@")[0].decode()).write_bytes(line)
    return certificate.key


def _options_of(wanted: Wanted) -> Callable[..., Any]:
    """The product's own options. It has no setting for `RekeyLimit`, so that is put into them."""
    size, time = wanted.rekey

    async def made(*host_keys: Any, **settings: Any) -> ConnectionOptions:
        options = await connection_options(*host_keys, **settings)
        options.rekey_bytes = size or options.rekey_bytes
        options.rekey_seconds = time or options.rekey_seconds
        return options

    return made


async def _serve_port(config: Config, wanted: Wanted, log: int, answer: Answer) -> None:
    """Serve until SIGTERM. The call ends when the file with the process id is there."""
    stop = asyncio.Event()
    async with _worker(config, wanted, log) as (worker, _):
        with patch.object(worker.ssh, "take", _reading_keys(worker)):
            async with opened(worker):
                asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
                nowhere = os.open(os.devnull, os.O_RDWR)
                for number in range(3):
                    os.dup2(nowhere, number)
                file = wanted.pid_file
                if file is not None:
                    file.write_text(f"{os.getpid()}\n")
                answer(0)
                await stop.wait()
                worker.close()
                if file is not None:
                    file.unlink(missing_ok=True)


def _reading_keys(worker: Worker) -> Callable[[socket.socket], None]:
    """The server's `take`, after a look at the files of keys: sshd reads them for each client, Ferry twice a second, and the
    scripts do not wait."""
    take = worker.ssh.take

    def taking(sock: socket.socket) -> None:
        access = worker.settings.login.access
        access.use(access.read())
        take(sock)

    return taking


class _Pipe(socket.socket):
    """One end of a pipe with both directions, which hides its address."""

    def getpeername(self) -> Any:
        return UNKNOWN, 65535

    getsockname = getpeername


def _pair() -> tuple[_Pipe, socket.socket]:
    """Two connected sockets of TCP, whose options a gateway sets. The first does not block."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        far = socket.create_connection(listener.getsockname())
        near, _ = listener.accept()
    near.setblocking(False)
    return _Pipe(fileno=near.detach()), far


async def _serve_pipe(config: Config, wanted: Wanted, log: int, answer: Answer) -> None:
    """Serve one client on standard input and output."""
    near, far = _pair()
    with far:
        async with _worker(config, wanted, log) as (worker, reported):
            worker.ssh.take(near)
            gone = asyncio.Event()
            loop = asyncio.get_running_loop()
            threading.Thread(target=_copy_in, args=(far,), daemon=True).start()
            threading.Thread(
                target=_copy_out, args=(far, lambda: loop.call_soon_threadsafe(gone.set)), daemon=True
            ).start()
            await gone.wait()
            answer(0 if "connection.opened" in reported else FAILED)


def _copy_in(far: socket.socket) -> None:
    with suppress(OSError):
        while data := os.read(0, 65536):
            far.sendall(data)
        far.shutdown(socket.SHUT_WR)


def _copy_out(far: socket.socket, over: Callable[[], None]) -> None:
    with suppress(OSError):
        while data := far.recv(65536):
            left = memoryview(data)
            while left:
                left = left[os.write(1, left) :]
    over()


if __name__ == "__main__":
    serve_calls(Path(sys.argv[1]))
