"""The page at the gateway's own name."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest

from edge.http_rig import running_edge
from ferry import __version__
from ferry.config.file import load
from ferry.edge.http.own_page import OwnPage
from ferry.gateway.wiring import own_page_of
from ferry.protocol.http1.request import RequestHead, parse_request

DATE = "Date: Sun, 06 Nov 1994 08:49:37 GMT"
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
PAGE = OwnPage("gw.example.com", "-p 2222 gw.example.com", keys_only=True, abuse_contact="abuse@example.com")


def asking(target: str = "/", accept: str = BROWSER, method: str = "GET") -> RequestHead:
    head = f"{method} {target} HTTP/1.1\r\nHost: gw.example.com\r\nAccept: {accept}\r\n\r\n"
    return parse_request(head.encode(), most_fields=9)


def parts(page: OwnPage, request: RequestHead) -> tuple[dict[str, str], str]:
    head, _, body = page.answer(request, close=False, date=DATE).partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    assert status == "HTTP/1.1 200 OK"
    fields = dict(line.split(": ", 1) for line in lines)
    assert int(fields["Content-Length"]) == len(body) or request.method == b"HEAD"
    return fields, body.decode()


class Reader(HTMLParser):
    """The texts of a page, and what it loads or links."""

    def __init__(self) -> None:
        super().__init__()
        self.text = ""
        self.links: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [(tag, value) for name, value in attrs if name in ("src", "href", "action")]

    def handle_data(self, data: str) -> None:
        self.text += data


def read(page: OwnPage) -> Reader:
    reader = Reader()
    reader.feed(parts(page, asking())[1])
    return reader


def test_the_page_says_what_this_is_how_to_connect_and_whom_to_tell() -> None:
    page = read(PAGE)
    assert "This is a Ferry gateway" in page.text
    assert "ssh -R 80:localhost:3000 -p 2222 gw.example.com" in page.text
    assert "known SSH keys only: ask for yours to be added" in page.text
    assert "such as phishing or malware? Report it, with the whole address, to abuse@example.com." in page.text
    assert page.links == [("a", "mailto:abuse@example.com")]


def test_a_contact_may_be_a_web_page() -> None:
    page = OwnPage("gw.example.com", "gw.example.com", keys_only=False, abuse_contact="https://example.com/?a=1&b='2'")
    assert read(page).links == [("a", "https://example.com/?a=1&b='2'")]


def test_without_a_contact_the_owner_of_the_domain_is_named() -> None:
    unnamed = OwnPage("gw.example.com", "gw.example.com", keys_only=False, abuse_contact=None)
    assert "Report it, with the whole address, to the owner of the domain gw.example.com." in read(unnamed).text
    local = OwnPage("localhost", "-p 2222 localhost", keys_only=False, abuse_contact=None)
    assert "harm" not in read(local).text, "nobody else can see a gateway for one machine"


def test_the_page_is_small_stands_alone_and_is_readable_everywhere() -> None:
    fields, body = parts(PAGE, asking())
    assert len(body) < 3500
    assert 'name="viewport" content="width=device-width' in body.replace("\n", " ")
    assert "prefers-color-scheme:dark" in body
    assert "url(" not in body
    assert fields["Content-Security-Policy"].startswith("default-src 'none'")


def test_caches_may_keep_the_page_for_five_minutes_by_its_format() -> None:
    """OWN_PAGE_SECONDS."""
    for accept in (BROWSER, "application/json", "*/*"):
        fields, _ = parts(PAGE, asking(accept=accept))
        assert fields["Cache-Control"] == "public, max-age=300"
        assert fields["Vary"] == "Accept"
        assert "Set-Cookie" not in fields


def test_the_page_names_no_tunnel_and_no_version() -> None:
    for accept in (BROWSER, "application/json", "*/*"):
        _, body = parts(PAGE, asking(accept=accept))
        assert __version__ not in body


def test_programs_get_json_or_text() -> None:
    document = json.loads(parts(PAGE, asking(accept="application/json"))[1])
    assert document["connect"] == "ssh -R 80:localhost:3000 -p 2222 gw.example.com"
    assert (document["access"], document["abuse_contact"]) == ("keys", "abuse@example.com")
    text = parts(PAGE, asking(accept="*/*"))[1]
    assert text.startswith("This is a Ferry gateway: gw.example.com\n")
    assert " ".join(text.split()).endswith("Report it, with the whole address, to abuse@example.com")
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize(
    ("target", "method", "asked"),
    [
        ("/", "GET", True),
        ("/", "HEAD", True),
        ("/?from=mail", "GET", True),
        ("/", "POST", False),
        ("/favicon.ico", "GET", False),
        ("//", "GET", False),
        ("*", "OPTIONS", False),
    ],
)
def test_only_the_root_has_the_page(target: str, method: str, *, asked: bool) -> None:
    assert PAGE.is_asked_for(asking(target, method=method)) is asked


@pytest.mark.parametrize(
    ("written", "shown"),
    [("abuse@example.com", "abuse@example.com"), ("mailto:a.b+c@x-y.example", "a.b+c@x-y.example"), ("", None)],
)
def test_the_page_of_a_configuration(tmp_path: Path, written: str, shown: str | None) -> None:
    file = tmp_path / "ferry.toml"
    file.write_text(f'abuse_contact = "{written}"\n[access]\nmode = "keys"\nkeys = ["k"]\n')
    assert own_page_of(load(file, {}, {})) == OwnPage(
        "localhost", "-p 2222 localhost", keys_only=True, abuse_contact=shown
    )


async def test_the_connection_goes_on_and_nothing_is_reported_as_refused() -> None:
    request, last = (b"GET %b HTTP/1.1\r\nHost: localhost\r\n" + end for end in (b"\r\n", b"Connection: close\r\n\r\n"))
    async with running_edge(1) as rig:
        answers = await rig.talk(request % b"/" + request % b"/" + last % b"/x")
        assert answers.count(b"HTTP/1.1 200 OK\r\n") == 2
        assert answers.count(b"HTTP/1.1 404 Not Found\r\n") == 1
        assert [(event, fields["status"]) for event, fields in rig.reports] == [("edge.refused", 404)]
