"""The steps that every client takes, in the order of the table. Each logs in anew, so one that fails spoils no other."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from subprocess import SubprocessError
from types import MappingProxyType
from typing import Final

from gateway_process import Gateway
from line_service import LineService, ask
from ssh_command import fingerprint, make_key, run

from . import visitors
from .client import CannotDo, Client, Failed, Login
from .rekeying_gateway import EXCHANGED
from .services import TOGETHER, Web

MIB = 1 << 20
ALIAS_PORT = 7
KINDS: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {"ed25519": ("ed25519", ""), "ecdsa": ("ecdsa", "256"), "rsa": ("rsa", "3072")}
)
REKEY_BYTES = MIB
GONE_SECONDS = 20.0
CAPITALS = b"HELLO\nbye\n"
"""What `LineService` answers to hello."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is moved."""

    bulk: int
    many: int
    rekeyed: int


FULL = Sizes(bulk=200 * MIB, many=500, rekeyed=20 * MIB)
SMALL = Sizes(bulk=5 * MIB, many=20, rekeyed=4 * MIB)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a step."""

    state: str
    """`ok`, `n/a` or `failed`."""
    note: str = ""


@dataclass
class Place:
    """Where one client takes its steps."""

    gateway: Gateway
    folder: Path
    """For its keys, and all that it writes."""
    name: str
    """A word of its own: its names begin with it."""
    make: Callable[[Path], Client]
    sizes: Sizes
    web: Web
    lines: LineService
    rekeying: dict[int, Gateway] = field(default_factory=dict)
    """Gateways whose log counts key exchanges, by the bytes after which they start one (0: never)."""
    version: str = ""
    _clients: int = 0

    def key(self, kind: str) -> Path:
        """This client's key of that type."""
        path = self.folder / "keys" / kind
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            make_key(path, *KINDS[kind])
        return path

    @contextmanager
    def client(
        self, gateway: Gateway | None = None, *, kind: str = "ed25519", rekey_bytes: int = 0
    ) -> Iterator[Client]:
        """A client that is logged in, and logs out at the end."""
        gateway = gateway or self.gateway
        self._clients += 1
        folder = self.folder / f"client{self._clients}"
        folder.mkdir()
        client = self.make(folder)
        self.version = client.version
        try:
            host_keys = tuple(line.split()[1] for line in gateway.ask("status")["host_keys"])
            client.login(Login("127.0.0.1", gateway.ports.ssh, self.key(kind), host_keys, rekey_bytes))
            yield client
            client.quit()
        finally:
            client.close()


def _expect(condition: bool, text: str) -> None:
    if not condition:
        raise visitors.Wrong(text)


def _until(condition: Callable[[], bool], text: str) -> None:
    deadline = time.monotonic() + GONE_SECONDS
    while not condition():
        _expect(time.monotonic() < deadline, text)
        time.sleep(0.05)


def _log_in(kind: str) -> Callable[[Place], str]:
    def step(place: Place) -> str:
        with place.client(kind=kind) as client:
            code, output = client.exec("whoami")
            _expect(
                code == 0 and fingerprint(place.key(kind)) in output.decode(),
                f"exit code {code}, {visitors.in_words(output)} came",
            )
        return ""

    return step


def _page_comes(place: Place) -> None:
    status, body = visitors.page(place.gateway, place.name)
    _expect((status, body) == (200, b"web"), f"the page has status {status}, {visitors.in_words(body)} came")


def _where_capitals_were_expected(came: bytes | str) -> str:
    return f"{visitors.in_words(came)} came back, where {visitors.in_words(CAPITALS)} was expected"


def _web(place: Place) -> str:
    with place.client() as client:
        client.forward(place.name, 80, place.web.port)
        for _ in range(3):
            _page_comes(place)
    return ""


def _any_port(place: Place) -> str:
    with place.client() as client:
        port = client.forward("localhost", 0, place.lines.port)
        _expect(port in place.gateway.ports.public, f"port {port} was granted")
        answer = ask(port, b"hello\n")
        _expect(answer == CAPITALS, _where_capitals_were_expected(answer))
    return ""


def _alias(place: Place) -> str:
    with place.client() as client:
        client.forward(place.name, ALIAS_PORT, place.lines.port)
        ssh = place.gateway.ssh(place.folder, place.key("ed25519"))
        visit = run(ssh.command("-W", f"{place.name}:{ALIAS_PORT}"), folder=place.folder, stdin=b"hello\n")
        complaint = f"; ssh says {visitors.in_words(visit.err)}"
        _expect(visit.out.encode() == CAPITALS, _where_capitals_were_expected(visit.out) + complaint)
    return ""


def _direct(place: Place) -> str:
    with place.client() as client, socket.create_server(("127.0.0.1", 0)) as listener:
        client.forward(place.name, ALIAS_PORT, place.lines.port)
        listener.settimeout(20)
        client.direct(place.name, ALIAS_PORT, listener.getsockname()[1])
        local, _ = listener.accept()
        with local:
            local.settimeout(20)
            local.sendall(b"hello\n")
            local.shutdown(socket.SHUT_WR)
            answer = b""
            while data := local.recv(4096):
                answer += data
        _expect(answer == CAPITALS, _where_capitals_were_expected(answer))
    return ""


def _bulk(place: Place) -> str:
    with place.client() as client:
        client.forward(place.name, 80, place.web.port)
        began = time.monotonic()
        visitors.both_ways(place.gateway, place.name, place.web, place.sizes.bulk)
        return f"{2 * place.sizes.bulk / MIB / (time.monotonic() - began):.0f} MB/s"


def _many(place: Place) -> str:
    place.web.here = 0
    with place.client() as client:
        client.forward(place.name, 80, place.web.port)
        answers = visitors.at_once(place.gateway, place.name, place.sizes.many)
        right = answers.get(b"HTTP/1.1 200 OK " + TOGETHER, 0)
        _expect(right == place.sizes.many, f"{right} of {place.sizes.many} were answered; {_counted(answers)}")
    return ""


def _counted(answers: dict[bytes, int]) -> str:
    return ", ".join(f"{count} times {visitors.in_words(answer)}" for answer, count in answers.items())


def _cancel(place: Place) -> str:
    with place.client() as client:
        for _ in range(2):
            client.forward(place.name, 80, place.web.port)
            _page_comes(place)
            how = client.cancel(place.name, 80)
            _until(lambda: visitors.page(place.gateway, place.name)[0] != 200, "it is still there after the cancel")
            _expect((status := visitors.page(place.gateway, place.name)[0]) == 503, f"after the cancel: {status}")
    return how


def _rekey(by_gateway: int, by_client: int) -> Callable[[Place], str]:
    def step(place: Place) -> str:
        gateway, size = place.rekeying[by_gateway], place.sizes.rekeyed
        with place.client(gateway, rekey_bytes=by_client) as client, ThreadPoolExecutor(1) as pool:
            client.forward(place.name, 80, place.web.port)
            before = gateway.running.err.text.count(EXCHANGED)
            moved = pool.submit(visitors.both_ways, gateway, place.name, place.web, size)
            while by_client and not moved.done():
                client.rekey()
                time.sleep(0.1)
            moved.result()
            exchanges = gateway.running.err.text.count(EXCHANGED) - before
        least = min(5, size // REKEY_BYTES // 2)
        _expect(exchanges >= least, f"{exchanges} key exchanges, where {least} or more were expected")
        return f"{exchanges} exchanges"

    return step


def _commands(place: Place) -> str:
    with place.client() as client:
        client.forward(place.name, 80, place.web.port)
        code, output = client.exec("ls --output json")
        tunnels = [json.loads(line) for line in output.splitlines()]
        addresses = [tunnel.get("address") for tunnel in tunnels]
        _expect(
            (code, addresses) == (0, [f"{place.name}.localhost"]), f"exit code {code}, {visitors.in_words(output)} came"
        )
        code, output = client.exec("no-such-word")
        _expect(code not in (0, None), f"an unknown command gave exit code {code} and {visitors.in_words(output)}")
    return ""


def _end(place: Place) -> str:
    gateway = place.gateway
    folder = Path(f"/proc/{gateway.running.process.pid}/fd")
    _until(lambda: not gateway.ask("connections"), "connections of earlier steps are still there")
    before, logged = len(list(folder.iterdir())), gateway.log_lines
    with place.client() as client:
        client.forward(place.name, 80, place.web.port)
        visitors.page(gateway, place.name)
    _until(lambda: not gateway.ask("connections"), "the connection is still there")
    _until(lambda: len(list(folder.iterdir())) <= before, "the gateway keeps descriptors")
    _until(lambda: visitors.page(gateway, place.name)[0] == 503, "the name is still served")
    bad = [line for line in gateway.running.err.lines[logged:] if '"level": "error"' in line or "Traceback" in line]
    _expect(not bad, "\n".join(bad))
    return ""


STEPS: Final[Mapping[str, Callable[[Place], str]]] = MappingProxyType(
    {
        "ed25519": _log_in("ed25519"),
        "ecdsa": _log_in("ecdsa"),
        "rsa": _log_in("rsa"),
        "web": _web,
        "-R 0": _any_port,
        "alias": _alias,
        "direct": _direct,
        "commands": _commands,
        "bulk": _bulk,
        "at once": _many,
        "cancel": _cancel,
        "rekey, client": _rekey(0, REKEY_BYTES),
        "rekey, gateway": _rekey(REKEY_BYTES, 0),
        "end": _end,
    }
)


def take(name: str, place: Place) -> Verdict:
    """Take one step. Whatever goes wrong in it is its verdict."""
    try:
        return Verdict("ok", STEPS[name](place))
    except CannotDo as reason:
        return Verdict("n/a", str(reason))
    except Failed as failure:
        return Verdict("failed", f"the client says: {failure}")
    except (visitors.Wrong, AssertionError, OSError, ValueError, HTTPException, SubprocessError) as failure:
        return Verdict("failed", str(failure) or type(failure).__name__)
