"""The edge's own answers: the form that the visitor accepts, with the visitor's text escaped."""

from __future__ import annotations

import html
import json
from functools import partial
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferry.edge.http import pages
from ferry.protocol.http1.request import RequestHead, parse_request

answer = partial(pages.answer, date="Date: Sun, 06 Nov 1994 08:49:37 GMT")
BROWSER = b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


def asking(accept: bytes = b"*/*", method: bytes = b"GET") -> RequestHead:
    head = b"%b / HTTP/1.1\r\nHost: blog.example.com\r\naccept: %b\r\n\r\n" % (method, accept)
    return parse_request(head, most_fields=9)


def parts(data: bytes) -> tuple[dict[str, str], str]:
    head, _, body = data.partition(b"\r\n\r\n")
    fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
    assert int(fields["Content-Length"]) == len(body)
    return fields, body.decode()


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (BROWSER, "text/html"),
        (b"application/json", "application/json"),
        (b"application/json, text/html", "application/json"),
        (b"application/problem+json", "application/json"),
        (b"text/html, application/json", "text/html"),
        (b"*/*", "text/plain"),
        (b"", "text/plain"),
    ],
)
def test_the_format_follows_accept(accept: bytes, kind: str) -> None:
    fields, body = parts(answer(404, "no tunnel has this name", asking(accept), close=False))
    assert fields["Content-Type"] == f"{kind}; charset=utf-8"
    assert fields["Vary"] == "Accept"
    assert fields["Cache-Control"] == "no-store"
    assert "No tunnel here" in body


def test_json_is_complete() -> None:
    _, body = parts(answer(502, 'nothing "answers"', asking(b"application/json"), close=False))
    assert json.loads(body) == {
        "status": 502,
        "error": "The local service does not answer",
        "detail": 'nothing "answers"',
        "host": "blog.example.com",
    }


class Resources(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [name for name, _ in attrs if name in ("src", "href")]


class Text(HTMLParser):
    """The paragraphs and headings of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self._open = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        del attrs
        if tag in ("p", "h1"):
            self.lines.append("")
            self._open = True

    def handle_endtag(self, tag: str) -> None:
        self._open = self._open and tag not in ("p", "h1")

    def handle_data(self, data: str) -> None:
        if self._open:
            self.lines[-1] += data


@pytest.mark.parametrize("status", [400, 404, 408, 421, 431, 502, 503, 504])
def test_html_stands_alone_and_is_small(status: int) -> None:
    fields, body = parts(answer(status, "<script>\x1b[2J", asking(BROWSER), close=True))
    page = Resources()
    page.feed(body)
    assert "script" not in page.tags
    assert "\\x1b[2J" in body
    assert not page.links
    assert "url(" not in body
    assert len(body) < 3000
    assert 'name="viewport"' in body
    assert fields["Connection"] == "close"
    assert fields["Content-Security-Policy"].startswith("default-src 'none'")


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (404, pages.NO_TUNNEL),
        (503, pages.NOT_CONNECTED),
        (503, pages.BUSY),
        (502, "the local service cannot be reached"),
        (502, "the local service failed: no TLS handshake within 10 s"),
        (502, pages.CLOSED),
        (502, pages.NO_TARGET),
        (502, pages.SPEAKS_TLS),
        (502, pages.SPEAKS_NO_TLS),
        (502, pages.ENDS_TLS),
        (400, "the request line is not valid"),
    ],
)
def test_a_page_explains_the_error_once_with_advice_for_both_sides(status: int, reason: str) -> None:
    _, body = parts(answer(status, reason, asking(BROWSER), close=False))
    text = Text()
    text.feed(body)
    assert len(text.lines) == len(set(text.lines))
    if status in (404, 502, 503):
        assert any(line.startswith(("Try again", "Check the spelling", "The address is right")) for line in text.lines)
        assert sum("Is it yours? Then " in line for line in text.lines) == 1
    ours = reason in pages._BY_REASON
    assert sum(reason.lower()[1:] in line.lower() for line in text.lines) == (not ours)


def test_the_page_of_the_bare_domain_names_no_missing_tunnel() -> None:
    _, body = parts(answer(404, pages.IS_GATEWAY, asking(BROWSER), close=False))
    assert "This is a Ferry gateway" in body
    assert "No tunnel" not in body
    assert "Is it yours" not in body


def test_fields_that_a_status_needs() -> None:
    assert parts(answer(503, "x", asking(), close=False))[0]["Retry-After"] == "5"
    assert "GET" in parts(answer(405, "x", None, close=True))[0]["Allow"]
    assert "Connection" not in parts(answer(404, "x", asking(), close=False))[0]


def test_head_gets_the_length_only() -> None:
    full = answer(404, "x", asking(), close=False)
    assert answer(404, "x", asking(method=b"HEAD"), close=False) == full[: full.index(b"\r\n\r\n") + 4]


@given(st.text(st.sampled_from("&<>\"'`;a\u00e9\0\n") | st.characters()))
def test_texts_are_escaped_as_by_the_standard_library(text: str) -> None:
    assert pages.escaped(text) == html.escape(text)
