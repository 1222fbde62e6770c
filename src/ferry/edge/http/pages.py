"""The answers that are ours: an error as HTML for browsers, JSON or text for those who ask for it.

The HTML is one small file without anything from elsewhere; it must be readable on a phone and in the dark, and say
to a visitor what happened and to the tunnel's owner what to do.
"""

from __future__ import annotations

import html
import json
from http import HTTPStatus
from types import MappingProxyType
from typing import Final

from ferry import limits
from ferry.names import printable
from ferry.protocol.http1.request import ALLOW, RequestHead
from ferry.streams import OpenFailure

OPEN_FAILURES: Final = MappingProxyType(
    {
        OpenFailure.REFUSED: (502, "nothing answers at the local target"),
        OpenFailure.GONE: (503, "the tunnel closed just now"),
        OpenFailure.LIMIT: (503, "the tunnel has as many streams as it may have"),
        OpenFailure.TIMEOUT: (504, "the client at the other end did not answer in time"),
    }
)
"""What the visitor is told when a stream could not be opened."""

_TITLES: Final = MappingProxyType(
    {
        404: ("No tunnel here", "Nobody has published anything under this name."),
        502: ("The local service does not answer", "The tunnel is up, but what is behind it gave no proper answer."),
        503: ("Not connected right now", "This name has an owner, but the tunnel cannot be used at the moment."),
        504: ("No answer in time", "The computer at the other end of the tunnel did not respond."),
        421: ("Wrong certificate", "This connection was opened for another name. Open the address again."),
        408: ("Request timed out", "The request did not arrive in time."),
    }
)
_OWNER: Final = MappingProxyType(
    {
        404: "Is it your name? Start the tunnel again, and compare the name with the line that <code>ssh</code> printed.",
        502: "Is it your tunnel? See that the local service runs, and on the port that your <code>-R</code> names.",
        503: "Is it your tunnel? Run your <code>ssh -R</code> command again; the name is kept for you.",
        504: "Is it your tunnel? See that the computer is awake and its network works.",
    }
)

_PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<meta name="robots" content="noindex"><title>{status} {title}</title>
<style>
:root{{color-scheme:light dark;--ink:#16202c;--dim:#5b6878;--paper:#f6f8fa;--card:#fff;--line:#dfe5eb;--mark:#0b6bcb}}
@media(prefers-color-scheme:dark){{:root{{--ink:#e8edf3;--dim:#93a1b1;--paper:#0f151c;--card:#18212b;--line:#2a3542;--mark:#6cb2ff}}}}
*{{box-sizing:border-box}}body{{margin:0;min-height:100vh;display:grid;place-items:center;padding:1.5rem;background:var(--paper);color:var(--ink);font:1.0625rem/1.55 system-ui,sans-serif}}
main{{width:100%;max-width:34rem;background:var(--card);border:1px solid var(--line);border-radius:1rem;padding:clamp(1.5rem,6vw,2.75rem)}}
p{{margin:.75rem 0 0}}h1{{margin:.25rem 0 0;font-size:clamp(1.5rem,5vw,2rem);line-height:1.2;letter-spacing:-.01em}}
.status{{margin:0;font:600 .9375rem/1 ui-monospace,monospace;color:var(--mark)}}
.host{{font-family:ui-monospace,monospace;overflow-wrap:anywhere}}.dim{{color:var(--dim);font-size:.9375rem}}
.owner{{margin-top:1.5rem;padding-top:1.25rem;border-top:1px solid var(--line)}}code{{font-size:.92em}}
</style></head><body><main>
<p class="status">{status}</p><h1>{title}</h1>
<p>{text}</p>{host}{owner}
<p class="dim">{reason}</p>
</main></body></html>
"""


def answer(status: int, reason: str, request: RequestHead | None, *, close: bool) -> bytes:
    """A whole response. `request` is None where the head could not be understood."""
    kind, body = _body(status, reason, request)
    lines = [
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
        f"Content-Type: {kind}; charset=utf-8",
        f"Content-Length: {len(body)}",
        "Cache-Control: no-store",
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
    elif request is not None and request.http10:
        lines.append("Connection: keep-alive")
    head = "\r\n".join(lines).encode("ascii") + b"\r\n\r\n"
    return head if request is not None and request.method == b"HEAD" else head + body


def _body(status: int, reason: str, request: RequestHead | None) -> tuple[str, bytes]:
    kind = _kind(request)
    sentence = reason[:1].upper() + reason[1:]
    title, text = _TITLES.get(status, (HTTPStatus(status).phrase, "The request could not be served."))
    host = "" if request is None else request.host
    if kind == "application/json":
        document = {"status": status, "error": title, "detail": printable(reason), "host": host or None}
        return kind, json.dumps(document).encode() + b"\n"
    if kind == "text/plain":
        return kind, f"{status} {title}\n{printable(sentence)}.\n".encode()
    owner = _OWNER.get(status)
    page = _PAGE.format(
        status=status,
        title=html.escape(title),
        text=html.escape(text),
        host=f'<p class="host">{html.escape(printable(host))}</p>' if host else "",
        owner=f'<p class="owner">{owner}</p>' if owner else "",
        reason=html.escape(printable(sentence)) + ".",
    )
    return kind, page.encode()


def _kind(request: RequestHead | None) -> str:
    """HTML where `Accept` names it, JSON where it names that first, text otherwise (RFC 9110 §12.5.1).

    Quality values are not weighed: browsers name text/html outright, programs name what they want or `*/*`.
    """
    if request is None:
        return "text/plain"
    accept = b",".join(value for name, value in request.fields if name.lower() == b"accept").lower()
    at_html, at_json = accept.find(b"text/html"), accept.find(b"json")
    if at_json >= 0 and (at_html < 0 or at_json < at_html):
        return "application/json"
    return "text/html" if at_html >= 0 else "text/plain"
