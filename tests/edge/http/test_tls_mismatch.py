"""A service with TLS behind `-R 80`, one without behind `-R 443`: the 502 says which, and what to write."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest

from edge.http.test_secure import make_certificate
from edge.http_rig import GET, Handler, answering, free_port, running_edge, service
from ferry.edge.http import pages
from ferry.streams import OpenFailure

ASKED_BY_A_BROWSER = GET.replace(b"\r\n\r\n", b"\r\nAccept: text/html\r\n\r\n")
ALERT = b"\x15\x03\x03\x00\x02\x02\x0a"  # unexpected_message


def saying(answer: bytes) -> Handler:
    """Reads something, answers the same to everybody, and closes."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(answer)
        await writer.drain()

    return handle


async def refused(handler: Handler, *, tls_upstream: bool) -> tuple[str, str]:
    """The 502 of a service: the note of its visit, and the page."""
    async with service(handler) as port, running_edge(port, tls_upstream=tls_upstream) as rig:
        answer = await rig.talk(ASKED_BY_A_BROWSER, eof=True)
        assert answer.startswith(b"HTTP/1.1 502 ")
        return rig.tunnel.visits[0].note, answer.decode()


async def test_a_hint_about_a_service_that_ends_tls_is_for_no_other_service() -> None:
    for answer, hints in ((b"", 1), (b"no", 0)):
        async with service(saying(answer)) as port, running_edge(port, tls_upstream=True) as rig:
            await rig.talk(ASKED_BY_A_BROWSER, eof=True)
            assert len(rig.tunnel.told) == hints


@pytest.mark.parametrize(
    "record", [ALERT, ALERT[:1], b"\x16\x03\x01\x02\x00\x01"], ids=["alert", "one byte", "handshake"]
)
async def test_tls_in_answer_to_plain_http_is_recognised(record: bytes) -> None:
    note, page = await refused(saying(record), tls_upstream=False)
    assert note == pages.SPEAKS_TLS
    assert "The local service speaks TLS" in page
    assert "<code>-R 443:...</code>" in page


async def test_a_tls_service_that_closes_silently_gets_a_page_that_thinks_of_tls() -> None:
    """OpenSSL does so: Node, Python and many others with it."""
    note, page = await refused(saying(b""), tls_upstream=False)
    assert note == pages.CLOSED
    assert "If it speaks TLS" in page


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"220 mail ESMTP\r\n", b"no"])
async def test_a_plain_answer_to_tls_is_recognised(answer: bytes) -> None:
    note, page = await refused(saying(answer), tls_upstream=True)
    assert note == pages.SPEAKS_NO_TLS
    assert "<code>-R 80:...</code>" in page


async def test_a_plain_service_that_closes_silently_gets_a_page_that_thinks_of_plain_http() -> None:
    note, page = await refused(saying(b""), tls_upstream=True)
    assert note == pages.ENDS_TLS
    assert "if the service speaks plain HTTP" in page


async def test_a_tls_service_that_refuses_the_handshake_is_no_plain_service() -> None:
    note, page = await refused(saying(ALERT), tls_upstream=True)
    assert note.startswith("the local service failed: its TLS handshake ended (")
    assert "does not speak TLS" not in page
    note, page = await refused(saying(ALERT[:3]), tls_upstream=True)
    assert note == "the local service failed: it ended the TLS handshake"


async def test_a_real_tls_service_behind_a_plain_forward(tmp_path: Path) -> None:
    await make_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "crt", tmp_path / "key")
    async with service(answering(b""), ssl=context) as port, running_edge(port) as rig:
        answer = await rig.talk(ASKED_BY_A_BROWSER, eof=True)
        assert answer.startswith(b"HTTP/1.1 502 ")
        assert b"<code>-R 443:...</code>" in answer


async def test_a_tls_service_that_closes_without_an_answer_is_not_taken_for_one_behind_a_plain_forward(
    tmp_path: Path,
) -> None:
    await make_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "crt", tmp_path / "key")
    async with service(saying(b""), ssl=context) as port, running_edge(port, tls_upstream=True) as rig:
        assert (await rig.talk(ASKED_BY_A_BROWSER, eof=True)).startswith(b"HTTP/1.1 502 ")
        assert rig.tunnel.visits[0].note == pages.CLOSED
        assert rig.tunnel.told == []


async def test_a_service_that_cannot_be_reached_gets_what_is_common() -> None:
    async with running_edge(free_port()) as rig:
        rig.tunnel.refuse = OpenFailure.REFUSED
        answer = await rig.talk(ASKED_BY_A_BROWSER, eof=True)
        assert b"<code>[::1]</code> only" in answer
        assert b"<code>-R 80:localhost:3000</code>" in answer
