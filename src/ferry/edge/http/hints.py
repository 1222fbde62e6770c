"""What the failures and refusals of a local service mean, in hints for the tunnel's owner.

A framework that does not know the visitor's host answers with a page of its own, which says what to write only if it
knows that. This module recognises such an answer by its status and its first bytes, and tells the owner the setting.
Each hint is told once for each tunnel.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from string import Template
from types import MappingProxyType
from typing import Final

from ferry import limits
from ferry.errors import RemoteProtocolError
from ferry.protocol.http1.authority import parse_authority
from ferry.protocol.http1.request import RequestHead
from ferry.protocol.http1.response import ResponseHead
from ferry.registry.routes import Tunnel
from ferry.streams import Direction, ExchangeTap

from . import pages

_TLS_RECORDS: Final = (b"\x15", b"\x16")  # an alert and a handshake (RFC 8446 §5.1)
_TLS: Final = "tls"
_TARGET: Final = "target"


class NotTls(RemoteProtocolError):
    """The local service does not speak TLS. The message is the whole reason for the visitor's 502."""


class NoTarget(RemoteProtocolError):
    """The client has closed the whole stream by itself, without a byte from a service.

    Stock ssh does so for `-R 80 gw`, which names no local service: it is a SOCKS proxy there, and reads the head of a
    request as a SOCKS request (channels.c, `rdynamic_close`): end-of-file and close in one packet of TCP. For a service
    that closes, it sends its end-of-file alone, and waits for our close. Other clients may close at once for a service
    too, so the texts say "if".
    """

    def __init__(self) -> None:
        super().__init__(pages.NO_TARGET)


@dataclass(frozen=True, slots=True)
class _Mark:
    """An answer that says more than its status. In `text`, $name stands for the tunnel's hostname, $host for the one that
    the service was asked for, which `host-header=` may have changed, $hosts for both in quotes, and $and_localhost for
    these and localhost."""

    said: bytes
    """Bytes near the beginning of the answer."""
    about: str
    text: str
    paths: tuple[bytes, ...] = ()
    """It counts only if the request's target has one of these; empty: any target."""
    host_header_helps: bool = False
    """The service looks at `Host` alone, and lets localhost in as it is."""


_OR_HOST: Final = ", or host-header=localhost after the gateway's name"
_SPEAKS_TLS: Final = "the service of $name speaks TLS: write -R 443:... in place of -R 80:..."
_CLOSES: Final = (
    "the service of $name closes without an answer: if it speaks TLS, write -R 443:... in place of -R 80:..."
)
_NO_TARGET: Final = (
    "$name closed a visit without an answer: if your -R 80 names no local service, write -R 80:localhost:3000"
)
_ENDS_TLS: Final = (
    "the service of $name ends TLS without a word: if it speaks plain HTTP, write -R 80:... in place of -R 443:...; "
    "if your -R 443 names no local service, write -R 443:localhost:8443"
)
_MARKS: Final[Mapping[int, tuple[_Mark, ...]]] = MappingProxyType(
    {
        # Texts from the sources of each: Vite's hostCheck.ts, webpack-dev-server's Server.js, Rails' blocked_host
        # templates, Next.js's block-cross-site-dev.ts
        403: (
            _Mark(
                b"`preview.allowedHosts`",
                "vite",
                'Vite refuses $host: write preview: { allowedHosts: ["$host"] } in vite.config.js',
                host_header_helps=True,
            ),
            _Mark(
                b"Blocked request. This host",
                "vite",
                'Vite refuses $host: write server: { allowedHosts: ["$host"] } in vite.config.js',
                host_header_helps=True,
            ),
            _Mark(
                b"Invalid Host header",
                "webpack",
                'webpack-dev-server refuses $host: write devServer: { allowedHosts: ["$host"] } in its configuration',
                host_header_helps=True,
            ),
            _Mark(  # it looks at X-Forwarded-Host too
                b"Blocked host",
                "rails",
                "Rails refuses $name: write config.hosts += [$hosts] in config/environments/development.rb",
            ),
            _Mark(  # it looks at Origin and Referer
                b"Unauthorized",
                "next",
                'Next.js refuses $name: write allowedDevOrigins: ["$name"] in next.config.js',
                (b"/_next", b"/__nextjs"),
            ),
        ),
        # Django's technical_500 pages and its defaults.py (with USE_X_FORWARDED_HOST it looks at that field in place of
        # Host); what Go, nginx and Apache say to plain HTTP on a TLS port
        400: (
            _Mark(
                b"DisallowedHost",
                "django",
                "Django refuses $host: write ALLOWED_HOSTS = [$and_localhost] in settings.py",
                host_header_helps=True,
            ),
            _Mark(
                b"<title>Bad Request (400)</title>",
                "django",
                "Django seems to refuse $host: does ALLOWED_HOSTS in settings.py have $hosts?",
            ),
            _Mark(b"Client sent an HTTP request to an HTTPS server", _TLS, _SPEAKS_TLS),
            _Mark(b"The plain HTTP request was sent to HTTPS port", _TLS, _SPEAKS_TLS),
            _Mark(b"speaking plain HTTP to an SSL-enabled server port", _TLS, _SPEAKS_TLS),
        ),
    }
)
WORTH_A_LOOK: Final = frozenset(_MARKS)
"""The statuses of answers that may have a mark."""


class Hints:
    """The hints of one tunnel."""

    __slots__ = ("_left", "_told", "_tunnel")

    def __init__(self, tunnel: Tunnel) -> None:
        self._tunnel = tunnel
        self._told: set[str] = set()
        self._left = limits.HINT_ANSWERS

    def watch(self, tap: ExchangeTap | None, request: RequestHead, response: ResponseHead) -> ExchangeTap | None:
        """A tap that looks for a mark in the answer, in front of `tap`. `tap` itself after HINT_ANSWERS answers."""
        if not self._left:
            return tap
        self._left -= 1
        marks = [
            mark
            for mark in _MARKS[response.status]
            if not mark.paths or any(path in request.target for path in mark.paths)
        ]
        return _HintTap(tap, marks, self._recognised)

    @property
    def may_lack_target(self) -> bool:
        """Whether no service may be behind the tunnel: nothing has come from one yet. `tunnel_tls` sees that of its
        own."""
        return not self._tunnel.traffic.down and not self._tunnel.tls_upstream

    def why_none(self, error: Exception | None) -> str:
        """The reason for a 502 after the end of a stream without an answer."""
        if error is None:
            if not self._tunnel.tls_upstream and not self._tunnel.traffic.down:
                self._tell(_TLS, _CLOSES)  # OpenSSL closes so, after plain HTTP
            return pages.CLOSED
        if isinstance(error, NoTarget):
            self._tell(_TARGET, _NO_TARGET)
            return pages.NO_TARGET
        if not isinstance(error, NotTls):
            return f"the local service failed: {error}"
        if str(error) == pages.ENDS_TLS:
            self._tell(_TLS, _ENDS_TLS)
        return str(error)

    def why_invalid(self, beginning: bytes, error: RemoteProtocolError) -> str:
        """The reason for a 502 after an answer that begins like this."""
        if beginning[:1] in _TLS_RECORDS:
            self._tell(_TLS, _SPEAKS_TLS)
            return pages.SPEAKS_TLS
        return f"{pages.NOT_VALID}: {error}"

    def _recognised(self, mark: _Mark) -> None:
        in_use = self._tunnel.host_header
        self._tell(mark.about, mark.text + (_OR_HOST if mark.host_header_helps and not in_use else ""))

    def _tell(self, about: str, text: str) -> None:
        if about in self._told:
            return
        self._told.add(about)
        name, sent = self._tunnel.address.name, self._tunnel.host_header
        host = parse_authority(sent).host if sent else name
        hosts = [f'"{each}"' for each in dict.fromkeys((name, host, "localhost"))]
        both = ", ".join(hosts[: len({name, host})])
        line = Template(text).substitute(name=name, host=host, hosts=both, and_localhost=", ".join(hosts))
        self._tunnel.tell(line, event="hint", about=about)


class _HintTap:
    """Looks at the first bytes of one answer, HINT_BYTES in HINT_PIECES pieces at most."""

    __slots__ = ("_found", "_inner", "_marks", "_pieces", "_seen")

    def __init__(self, inner: ExchangeTap | None, marks: list[_Mark], found: Callable[[_Mark], None]) -> None:
        self._inner = inner
        self._marks = marks
        self._found = found
        self._pieces = limits.HINT_PIECES
        self._seen = b""

    def seen(self, direction: Direction, data: bytes) -> None:
        if self._inner is not None:
            self._inner.seen(direction, data)
        if self._pieces and direction is Direction.DOWN:
            self._look(data)

    def _look(self, data: bytes) -> None:
        self._seen += data[: limits.HINT_BYTES - len(self._seen)]
        self._pieces -= 1
        mark = next((mark for mark in self._marks if mark.said in self._seen), None)
        if mark is not None:  # an answer means one thing
            self._pieces = 0
            self._found(mark)
        if not self._pieces:
            self._seen = b""

    def ended(self, error: Exception | None) -> None:
        if self._inner is not None:
            self._inner.ended(error)
