"""Hints for a tunnel's owner, whose framework refuses the visitor's host, or whose service speaks TLS."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from edge.http_play import played
from edge.http_rig import GET, Handler, answering, running_edge, service
from edge.tcp_tunnel import TcpTunnel
from ferry.edge.http.hints import WORTH_A_LOOK, Hints
from ferry.streams import Direction, ExchangeTap, Tap
from turns import until

# As the frameworks send them, cut where the rest is of no matter.
VITE = (
    b'Blocked request. This host ("a.localhost") is not allowed.\n'
    b'To allow this host, add "a.localhost" to `%b.allowedHosts` in vite.config.js.'
)
RAILS = b"<!DOCTYPE html><html><head><title>Action Controller: Exception caught</title><style>%b</style></head><body>"
DJANGO = b'<!DOCTYPE html>\n<html lang="en">\n<head>\n  <title>DisallowedHost\n          at /</title>\n'
PLAIN = b'\n<!doctype html>\n<html lang="en">\n<head>\n  <title>Bad Request (400)</title>\n</head>\n'
REFUSALS = {
    "vite": (
        403,
        b"/",
        VITE % b"server",
        'server: { allowedHosts: ["a.localhost"] } in vite.config.js, or host-header=',
    ),
    "vite preview": (403, b"/", VITE % b"preview", 'preview: { allowedHosts: ["a.localhost"] } in vite.config.js'),
    "webpack": (403, b"/", b"Invalid Host header", 'devServer: { allowedHosts: ["a.localhost"] }'),
    "rails": (
        403,
        b"/",
        RAILS % (b" " * 7000) + b"<h1>Blocked hosts: a.localhost</h1>",
        'config.hosts += ["a.localhost"] in',
    ),
    "rails text": (403, b"/", b"Blocked hosts: a.localhost\n", 'config.hosts += ["a.localhost"] in'),
    "next": (
        403,
        b"/_next/static/chunks/main.js",
        b"Unauthorized",
        'allowedDevOrigins: ["a.localhost"] in next.config.js',
    ),
    "next overlay": (403, b"/__nextjs_font/x", b"Unauthorized", "allowedDevOrigins"),
    "django": (400, b"/", DJANGO + b"x" * 70_000, 'ALLOWED_HOSTS = ["a.localhost", "localhost"] in settings.py'),
    "django text": (400, b"/", b"DisallowedHost at /\nInvalid HTTP_HOST header", "ALLOWED_HOSTS = ["),
    "django in production": (400, b"/", PLAIN, 'does ALLOWED_HOSTS in settings.py have "a.localhost"?'),
    "go": (400, b"/", b"Client sent an HTTP request to an HTTPS server.\n", "write -R 443:... in place of -R 80:..."),
    "nginx": (400, b"/", b"<title>400 The plain HTTP request was sent to HTTPS port</title>", "speaks TLS"),
    "apache": (400, b"/", b"Reason: You're speaking plain HTTP to an SSL-enabled server port.<br />", "speaks TLS"),
}


def head(status: int, framing: bytes) -> bytes:
    return b"HTTP/1.1 %d No\r\n%b\r\n" % (status, framing)


class InPieces:
    """A service that answers each head with these pieces, and closes. It sends each when the edge has read those before, so
    that each arrives alone."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = pieces
        self.tunnel: TcpTunnel | None = None
        """That leads to it."""

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert self.tunnel is not None
        await reader.readuntil(b"\r\n\r\n")
        sent = self.tunnel.read
        for piece in self._pieces:
            writer.write(piece)
            sent += len(piece)
            await until(partial(self._has_read, self.tunnel, sent))

    @staticmethod
    def _has_read(tunnel: TcpTunnel, count: int) -> bool:
        return tunnel.read >= count


async def told(handler: Handler, target: bytes = b"/", times: int = 1, *, host_header: bytes = b"") -> list[str]:
    """What the owner hears of so many visits, with this word."""
    async with service(handler) as port, running_edge(port) as rig:
        if isinstance(handler, InPieces):
            handler.tunnel = rig.tunnel
        rig.tunnel.host_header = host_header
        for _ in range(times):
            assert await rig.talk(GET.replace(b" / ", b" %b " % target), eof=True)
        return rig.tunnel.told


@pytest.mark.parametrize("framing", ["length", "close", "chunked"])
@pytest.mark.parametrize("framework", REFUSALS)
async def test_a_refusal_gives_the_owner_the_setting(framework: str, framing: str) -> None:
    status, target, body, setting = REFUSALS[framework]
    if framing == "chunked":
        answer = [head(status, b"Transfer-Encoding: chunked\r\n"), b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)]
    elif framing == "length":
        answer = [head(status, b"Content-Length: %d\r\n" % len(body)) + body]
    else:
        answer = [head(status, b"Connection: close\r\n"), body]
    (line,) = await told(InPieces(*answer), target)
    assert setting in line
    assert line.isprintable()


@pytest.mark.parametrize(
    ("framework", "sent", "says"),
    [
        ("vite", b"app:3000", 'Vite refuses app: write server: { allowedHosts: ["app"] } in vite.config.js'),
        ("webpack", b"app", 'webpack-dev-server refuses app: write devServer: { allowedHosts: ["app"] } in'),
        (
            "rails text",
            b"localhost:3000",
            'Rails refuses a.localhost: write config.hosts += ["a.localhost", "localhost"]',
        ),
        ("next", b"localhost", 'Next.js refuses a.localhost: write allowedDevOrigins: ["a.localhost"] in'),
        (
            "django",
            b"localhost:8000",
            'Django refuses localhost: write ALLOWED_HOSTS = ["a.localhost", "localhost"] in',
        ),
        ("django text", b"app", 'Django refuses app: write ALLOWED_HOSTS = ["a.localhost", "app", "localhost"] in'),
        ("django in production", b"app", 'does ALLOWED_HOSTS in settings.py have "a.localhost", "app"?'),
    ],
)
async def test_a_word_that_is_in_use_is_not_offered_again(framework: str, sent: bytes, says: str) -> None:
    status, target, body, _ = REFUSALS[framework]
    answer = head(status, b"Content-Length: %d\r\n" % len(body)) + body
    (line,) = await told(answering(answer), target, host_header=sent)
    assert says in line
    assert "host-header" not in line


@pytest.mark.parametrize(
    ("framework", "helps"),
    [("vite", True), ("webpack", True), ("django", True), ("rails text", False), ("next", False)],
)
async def test_the_word_is_offered_where_it_helps(framework: str, *, helps: bool) -> None:
    status, target, body, _ = REFUSALS[framework]
    (line,) = await told(answering(head(status, b"Content-Length: %d\r\n" % len(body)) + body), target)
    assert line.endswith("or host-header=localhost after the gateway's name") is helps


async def test_a_hint_is_told_once_for_each_tunnel() -> None:
    status, _, body, _ = REFUSALS["vite"]
    answers = [head(status, b"Content-Length: %d\r\nX: %d\r\n" % (len(body), number)) + body for number in range(3)]
    async with service(answering(*answers)) as port, running_edge(port) as rig:
        for _ in range(5):
            await rig.talk(GET, eof=True)
        assert len(rig.tunnel.told) == 1


async def test_an_answer_gives_one_hint() -> None:
    first, second = REFUSALS["go"][2], DJANGO
    pieces = head(400, b"Content-Length: %d\r\n" % len(first + second)), first, second
    (line,) = await told(InPieces(*pieces))
    assert "speaks TLS" in line


@pytest.mark.parametrize(
    ("status", "target", "body"),
    [
        (200, b"/", VITE % b"server"),
        (404, b"/", DJANGO),
        (400, b"/", VITE % b"server"),
        (403, b"/", b"Unauthorized"),
        (403, b"/", b""),
    ],
)
async def test_another_answer_gives_none(status: int, target: bytes, body: bytes) -> None:
    assert await told(answering(head(status, b"Content-Length: %d\r\n" % len(body)) + body), target) == []


async def test_the_answer_itself_is_unchanged() -> None:
    status, _, body, _ = REFUSALS["rails"]
    answer = head(status, b"Content-Length: %d\r\n" % len(body)) + body
    pieces = InPieces(answer[:40], answer[40:300], answer[300:])
    async with service(pieces) as port, running_edge(port) as rig:
        pieces.tunnel = rig.tunnel
        assert await rig.talk(GET, eof=True) == answer


MARK = b"Blocked request. This host"


@pytest.mark.parametrize(("pieces", "hints"), [(4, 1), (5, 0)])
async def test_few_pieces_of_an_answer_are_looked_at(pieces: int, hints: int) -> None:
    """HINT_PIECES, the head among them: the mark is whole with the last one."""
    cut = pieces - 2
    answer = head(403, b"Content-Length: %d\r\n" % len(MARK)), *(MARK[at : at + 1] for at in range(cut)), MARK[cut:]
    assert len(await told(InPieces(*answer))) == hints


@pytest.mark.parametrize(("past", "hints"), [(0, 1), (1, 0)])
async def test_the_beginning_of_an_answer_is_looked_at(past: int, hints: int) -> None:
    """HINT_BYTES, the head among them: the mark ends there, or past it."""
    body = MARK.rjust(16 * 1024 + past - len(head(403, b"Content-Length: 16000\r\n")))
    assert len(await told(answering(head(403, b"Content-Length: %d\r\n" % len(body)) + body))) == hints


@pytest.mark.parametrize(("others", "hints"), [(99, 1), (100, 0)])
async def test_few_answers_of_a_tunnel_are_looked_at(others: int, hints: int) -> None:
    """HINT_ANSWERS: so many come first."""
    answers = [head(403, b"X: %d\r\nContent-Length: 5\r\n" % number) + b"other" for number in range(others)]
    answers.append(head(403, b"Content-Length: %d\r\n" % len(MARK)) + MARK)
    async with service(answering(*answers)) as port, running_edge(port) as rig:
        assert await rig.talk(GET * len(answers), eof=True) == b"".join(answers)
        assert len(rig.tunnel.told) == hints


async def test_a_service_that_closes_without_an_answer_may_speak_tls() -> None:
    (line,) = await told(InPieces(), times=3)
    assert "if it speaks TLS, write -R 443:..." in line


async def test_a_service_that_has_answered_before_does_not_speak_tls() -> None:
    count = 0

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        count += 1
        await reader.readuntil(b"\r\n\r\n")
        if count == 1:
            writer.write(head(200, b"Content-Length: 2\r\nConnection: close\r\n") + b"ok")

    assert await told(handle, times=3) == []


@pytest.mark.parametrize(("down", "tls", "may"), [(0, False, True), (1, False, False), (0, True, False)])
def test_a_tunnel_may_lack_a_service_while_nothing_has_come_from_one(*, down: int, tls: bool, may: bool) -> None:
    tunnel = TcpTunnel("a.localhost", ("127.0.0.1", 1), tls_upstream=tls)
    tunnel.traffic.down = down
    assert Hints(tunnel).may_lack_target is may


async def test_what_a_visitor_sends_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service may refuse an upload before it has read all of it."""
    said = VITE % b"server"
    async with played(monkeypatch) as (rig, visitor, _, streams):
        visitor.data_received(GET.replace(b"\r\n\r\n", b"\r\nContent-Length: %d\r\n\r\n" % len(said)))
        streams[0].sink.data_received(head(403, b"Content-Length: 2\r\n") + b"n")
        visitor.data_received(said)
        streams[0].sink.data_received(b"o")
        assert rig.tunnel.visits[0].status == 403
        assert rig.tunnel.told == []


async def test_a_tap_sees_all_of_a_watched_answer() -> None:
    class Watching(Tap):
        def __init__(self) -> None:
            self.data = b""
            self.ends: list[Exception | None] = []

        def begin(self, request: object) -> ExchangeTap:
            del request
            return self

        def seen(self, direction: Direction, data: bytes) -> None:
            self.data += data if direction is Direction.DOWN else b""

        def ended(self, error: Exception | None) -> None:
            self.ends.append(error)

    status, _, body, _ = REFUSALS["vite"]
    answer = head(status, b"Content-Length: %d\r\n" % len(body)) + body
    async with service(answering(answer)) as port, running_edge(port) as rig:
        tap = Watching()
        rig.tunnel.tap = tap
        assert await rig.talk(GET, eof=True) == answer
        assert (tap.data, tap.ends) == (answer, [None])
        assert len(rig.tunnel.told) == 1


def test_only_refusals_are_looked_at() -> None:
    assert frozenset((400, 403)) == WORTH_A_LOOK
