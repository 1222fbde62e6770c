"""The table of heads, row by row, through the codec alone."""

from __future__ import annotations

from typing import Any

import httptools
import pytest

from ferry.errors import RemoteProtocolError
from ferry.protocol.http1.octets import head_length
from ferry.protocol.http1.request import parse_request
from ferry.protocol.http1.response import parse_response
from ferry.protocol.http1.serialize import request_head
from vectors.http1.table import Request, requests, rows_of


def read(data: bytes) -> bytes:
    end = head_length(data, line_limit=8192, head_limit=16384)
    assert end, "the vector holds no whole head"
    return request_head(parse_request(data[:end], most_fields=100), b"")


class Gullible:
    """Takes every head for a good one."""

    def __init__(self, check: Any) -> None:
        self.check = check

    def feed_data(self, _: bytes) -> None:
        self.check.on_headers_complete()


CODINGS = {"Transfer-Encoding chunked, chunked": 501, "Transfer-Encoding xchunked": 501}
"""What our own rules say where it is not what both say."""


@pytest.fixture(params=[False, True], ids=["both parsers", "our own rules alone"])
def alone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Neither of the two leaves anything to the other."""
    if request.param:
        monkeypatch.setattr(httptools, "HttpRequestParser", Gullible)
        monkeypatch.setattr(httptools, "HttpResponseParser", Gullible)
    return bool(request.param)


@pytest.mark.parametrize("case", [case for case in requests() if not case.edge_only], ids=str)
def test_request(case: Request, alone: bool) -> None:
    if case.status:
        with pytest.raises(RemoteProtocolError) as refused:
            read(case.send)
        assert refused.value.status == (CODINGS.get(case.name, case.status) if alone else case.status)
    else:
        assert read(case.send) == case.sees


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("case", rows_of("responses.toml"), ids=lambda case: case["name"])
def test_response(case: dict[str, Any]) -> None:
    data, method = case["send"].encode("latin-1"), case.get("method", "GET").encode()
    if case.get("refused"):
        with pytest.raises(RemoteProtocolError) as refused:
            parse_response(data, method=method, most_fields=200)
        assert refused.value.status == 502
    else:
        response = parse_response(data, method=method, most_fields=200)
        got = (response.status, response.framing.value, response.length, response.keep_alive)
        assert got == (case["status"], case["framing"], case["length"], case["keep_alive"])
