"""The gateway's own answers: errors as HTML for browsers, as JSON or text for programs.

The HTML is one small file that loads nothing else. It must be readable on a phone and in the dark. It says once what
happened, and what the visitor and the tunnel's owner can do.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from http import HTTPStatus
from types import MappingProxyType
from typing import Final

from ferry import limits
from ferry.names import printable
from ferry.protocol.http1.request import ALLOW, RequestHead
from ferry.streams import OpenFailure

# As html.escape has them. Its module comes with a table of all the entities that a browser knows: 0.4 MB.
_ENTITIES: Final = MappingProxyType(
    str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#x27;"})
)

NO_TUNNEL: Final = "no tunnel has this name"
IS_GATEWAY: Final = "this is a Ferry gateway: its tunnels have names below this one"
NOT_CONNECTED: Final = "the name is reserved, but its owner is not connected"
BUSY: Final = "the tunnel has too many requests at once"
DISPLACED: Final = f"{BUSY}, and this one lost its place to another visitor"
FULL: Final = "the gateway has too many connections"
OUR_FAULT: Final = "the gateway has an internal error"
DISCONNECTED: Final = f"{FULL}, and this one lost its place to another visitor"
CROWDED: Final = "there are too many connections from your address"
LOOP: Final = "the request loops: the tunnel's target leads back to this gateway"
WRONG_CERTIFICATE: Final = "the TLS name (SNI) and Host have different certificates"
NOT_VALID: Final = "the local service's answer is not valid HTTP/1.1"
CLOSED: Final = "the local service closed without an answer"
NO_TARGET: Final = "the tunnel closed the connection without an answer, as ssh does for -R 80 without a local service"
SPEAKS_TLS: Final = "the local service speaks TLS, and its forward is for plain HTTP: write -R 443:... instead"
SPEAKS_NO_TLS: Final = "the local service does not speak TLS, which its forward is for: write -R 80:... instead"
ENDS_TLS: Final = "the local service ended the TLS handshake: if it speaks plain HTTP, write -R 80:... instead"

OPEN_FAILURES: Final = MappingProxyType(
    {
        OpenFailure.REFUSED: (502, "the local service cannot be reached"),
        OpenFailure.GONE: (503, "the tunnel closed just now"),
        OpenFailure.LIMIT: (503, "the tunnel has too many open streams"),
        OpenFailure.TIMEOUT: (504, "the client at the other end did not answer in time"),
        OpenFailure.SILENT: (503, "the client at the other end is silent"),
    }
)
"""The visitor's answer after a stream failed to open: status and reason."""


@dataclass(frozen=True, slots=True)
class _Text:
    """The text of a page. Code stands between backticks."""

    title: str
    happened: str
    visitor: str = ""
    """Advice for the visitor."""
    owner: str = ""
    """Advice for the tunnel's owner."""


_LATER = "Try again in a few seconds."
_TELL = "Try again later, or tell the person who gave you this address."
_AWAY = _Text(
    "Not connected right now",
    "This name is reserved, but its owner's computer is not connected at the moment.",
    "The address is right: try again in a while.",
    "run your `ssh -R` command again, with the same key. The name is kept for you.",
)
_FULL = _Text(
    "Too busy right now",
    "This service has too many requests at once.",
    _LATER,
    "check why the service answers slowly, or not at all.",
)
_BROKEN = _Text(
    "The local service does not answer",
    "The tunnel is up, but the service behind it gave no valid answer.",
    _TELL,
    "check that the service runs on the port in your `-R`, and that it speaks HTTP there.",
)
_SILENT = _Text(
    "No answer in time",
    "The computer at the other end of the tunnel did not respond.",
    _TELL,
    "check that the computer is awake and its network works.",
)
_NO_TLS = _Text(
    "The local service does not speak TLS",
    "The tunnel is up and made for a service with TLS, but the service behind it gave no answer in TLS.",
    _TELL,
    "write `-R 80:...` in place of `-R 443:...` if the service speaks plain HTTP. Visitors may use `https://` all the "
    "same.",
)
_BY_REASON: Final = MappingProxyType(
    {
        NO_TUNNEL: _Text(
            "No tunnel here",
            "Nobody has published anything under this name.",
            "Check the spelling of the address, or ask the person who gave it to you.",
            "start the tunnel again, and compare the name with the line that `ssh` printed.",
        ),
        IS_GATEWAY: _Text(
            "This is a Ferry gateway",
            "It gives services behind NAT a web address. Such an address has one more name before this one.",
            "Were you given an address? Check that it is complete.",
        ),
        NOT_CONNECTED: _AWAY,
        OPEN_FAILURES[OpenFailure.GONE][1]: _AWAY,
        BUSY: _FULL,
        DISPLACED: _FULL,
        OPEN_FAILURES[OpenFailure.LIMIT][1]: _FULL,
        LOOP: _Text(
            "The request goes round in a circle",
            "The service behind this address sent the request back to the gateway that it came from.",
            "Tell the person who gave you this address.",
            "check the target in your `-R`: it must be your service, not this gateway.",
        ),
        FULL: _Text("Too busy right now", "The gateway has too many connections.", _LATER),
        CROWDED: _Text("Too many connections", "Your address has too many connections to this gateway.", _LATER),
        WRONG_CERTIFICATE: _Text(
            "Wrong certificate", "This connection was opened for another name.", "Open the address again."
        ),
        OPEN_FAILURES[OpenFailure.REFUSED][1]: _Text(
            "The local service does not answer",
            "The tunnel is up, but the service behind it does not answer.",
            _TELL,
            "check that the service runs, and on the port in your `-R`. If it listens on `[::1]` only, write `localhost` "
            "as its host: `-R 80:localhost:3000`.",
        ),
        CLOSED: _Text(
            "The local service gave no answer",
            "The tunnel is up, but the service behind it closed the connection without an answer.",
            _TELL,
            "look at the service's log. If it speaks TLS (`https://`), write `-R 443:...` instead.",
        ),
        NO_TARGET: _Text(
            "The tunnel gave no answer",
            "The tunnel is up, but it closed the connection without an answer.",
            _TELL,
            "does your command name the local service? `-R 80` alone leads nowhere: write `-R 80:localhost:3000`, with "
            "the service's port. If it does, look at the service's log. If that speaks TLS, write `-R 443:...`.",
        ),
        SPEAKS_TLS: _Text(
            "The local service speaks TLS",
            "The tunnel is up and carries plain HTTP, but the service behind it expects TLS.",
            _TELL,
            "write `-R 443:...` in place of `-R 80:...`, and the gateway speaks TLS to the service.",
        ),
        SPEAKS_NO_TLS: _NO_TLS,
        ENDS_TLS: replace(
            _NO_TLS,
            owner=f"{_NO_TLS.owner} If your `-R 443` names no local service, write `-R 443:localhost:8443`.",
        ),
        OPEN_FAILURES[OpenFailure.TIMEOUT][1]: _SILENT,
        OPEN_FAILURES[OpenFailure.SILENT][1]: _SILENT,
    }
)
"""The texts for our own reasons. The page shows them instead of the reason."""
_BY_STATUS: Final = MappingProxyType({502: _BROKEN, 503: _FULL, 504: _SILENT})

_PAGE: Final = """<!doctype html> <html lang="en"><head><meta charset="utf-8"><meta name="viewport"
content="width=device-width,initial-scale=1"> <meta name="robots" content="noindex"><title>{tab}</title>
<style> :root{{color-scheme:light
dark;--ink:#16202c;--dim:#5b6878;--paper:#f6f8fa;--card:#fff;--line:#dfe5eb;--mark:#0b6bcb}}
@media(prefers-color-scheme:dark){{:root{{--ink:#e8edf3;--dim:#93a1b1;--paper:#0f151c;--card:#18212b;--line:#2a3542;--mark:#6cb2ff}}}}
*{{box-sizing:border-box}}body{{margin:0;min-height:100vh;display:grid;place-items:center;padding:1.5rem;background:var(--paper);color:var(--ink);font:1.0625rem/1.55
system-ui,sans-serif}} main{{width:100%;max-width:34rem;background:var(--card);border:1px solid
var(--line);border-radius:1rem;padding:clamp(1.5rem,6vw,2.75rem)}} p{{margin:.75rem 0 0}}h1{{margin:.25rem 0
0;font-size:clamp(1.5rem,5vw,2rem);line-height:1.2;letter-spacing:-.01em}} .status{{margin:0;font:600 .9375rem/1
ui-monospace,monospace;color:var(--mark)}}
.host{{margin-top:.5rem;font-family:ui-monospace,monospace;overflow-wrap:anywhere;color:var(--dim)}}.dim{{color:var(--dim);font-size:.9375rem;overflow-wrap:anywhere}}
.owner{{margin-top:1.5rem;padding-top:1.25rem;border-top:1px solid var(--line)}}code{{font-size:.92em}}{style}
</style></head><body><main> <p class="status">{mark}</p><h1>{title}</h1> {content} </main></body></html>
"""


def answer(status: int, reason: str, request: RequestHead | None, *, close: bool, date: str) -> bytes:
    """A whole response. `request` is None if the head is invalid; `date` is the whole field."""
    kind, body = _body(status, reason, request)
    return response(status, kind, body, request, cache="no-store", close=close, date=date)


def response(
    status: int, kind: str, body: bytes, request: RequestHead | None, *, cache: str, close: bool, date: str
) -> bytes:
    """A whole response around `body`, whose media type is `kind`. `cache` is the value of Cache-Control."""
    lines = [
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
        date,
        f"Content-Type: {kind}; charset=utf-8",
        f"Content-Length: {len(body)}",
        f"Cache-Control: {cache}",
        "X-Content-Type-Options: nosniff",
    ]
    if kind == "text/html":
        lines.append("Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'")
    if status == 503:
        lines.append(f"Retry-After: {limits.RETRY_AFTER_SECONDS}")  # RFC 9110 §10.2.3
    if status == 405:
        lines.append(f"Allow: {ALLOW}")  # RFC 9110 §15.5.6
    if request is not None:
        lines.append("Vary: Accept")
    if close:
        lines.append("Connection: close")
    else:
        assert request is not None  # without one, the start of the next request is unknown
        if request.http10:
            lines.append("Connection: keep-alive")
    head = "\r\n".join(lines).encode("ascii") + b"\r\n\r\n"
    return head if request is not None and request.method == b"HEAD" else head + body


def _body(status: int, reason: str, request: RequestHead | None) -> tuple[str, bytes]:
    kind = kind_for(request)
    sentence = printable(reason[:1].upper() + reason[1:]) + "."
    known = _BY_REASON.get(reason)
    text = known or _BY_STATUS.get(status) or _Text(HTTPStatus(status).phrase, sentence)
    host = "" if request is None else request.host
    owner = f"Is it yours? Then {text.owner}" if text.owner else ""
    if kind == "application/json":
        document = {"status": status, "error": text.title, "detail": printable(reason), "host": host or None}
        return kind, json.dumps(document).encode() + b"\n"
    if kind == "text/plain":
        lines = [f"{status} {text.title}", sentence, owner.replace("`", "")]
        return kind, "".join(f"{line}\n" for line in lines if line).encode()
    detail = "" if known or text.happened == sentence else sentence
    shown = [("", text.happened), ("", text.visitor), ("owner", owner), ("dim", detail)]
    content = "".join(paragraph(line, style) for style, line in shown if line)
    if host:
        content = f'<p class="host">{escaped(printable(host))}</p>{content}'
    return "text/html", html_page(f"{status} {text.title}", str(status), text.title, content)


def escaped(text: str) -> str:
    """A text for HTML, between tags or in the value of an attribute."""
    return text.translate(_ENTITIES)


def html_page(tab: str, mark: str, title: str, content: str, *, style: str = "") -> bytes:
    """A page that stands alone. `content` and `style` are HTML and CSS; the others are texts: the title of the tab, the
    small line above the heading, and the heading."""
    page = _PAGE.format(tab=escaped(tab), mark=escaped(mark), title=escaped(title), content=content, style=style)
    return page.encode()


def paragraph(line: str, style: str = "") -> str:
    """A text as HTML, with code between backticks. `style` is a class of the page."""
    marked = re.sub("`([^`]*)`", r"<code>\1</code>", escaped(line))
    return f"<p{f' class={style!r}' if style else ''}>{marked}</p>"


def kind_for(request: RequestHead | None) -> str:
    """JSON if `Accept` names it before any HTML, HTML if it names HTML, text otherwise (RFC 9110 §12.5.1).

    This ignores quality values: browsers name text/html, and programs name one type or `*/*`.
    """
    if request is None:
        return "text/plain"
    accept = b",".join(value for name, value in request.fields if name.lower() == b"accept").lower()
    at_html, at_json = accept.find(b"text/html"), accept.find(b"json")
    if at_json >= 0 and (at_html < 0 or at_json < at_html):
        return "application/json"
    return "text/html" if at_html >= 0 else "text/plain"
