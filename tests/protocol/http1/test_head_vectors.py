"""The table of heads, row by row, through the codec alone."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from ferry.errors import RemoteProtocolError
from ferry.protocol.http1.octets import head_length
from ferry.protocol.http1.request import parse_request
from ferry.protocol.http1.response import parse_response
from ferry.protocol.http1.serialize import request_head

VECTORS = Path(__file__).parents[2] / "vectors" / "http1"


def cases(name: str) -> list[Any]:
    rows = tomllib.loads((VECTORS / name).read_text())["case"]
    assert len({row["name"] for row in rows}) == len(rows)
    return [pytest.param(row, id=row["name"]) for row in rows if not row.get("edge_only")]


def read(data: bytes) -> bytes:
    end = head_length(data, line_limit=8192, head_limit=16384)
    assert end, "the vector holds no whole head"
    return request_head(parse_request(data[:end], most_fields=100), b"")


@pytest.mark.parametrize("case", cases("requests.toml"))
def test_request(case: dict[str, Any]) -> None:
    data = case["send"].encode("latin-1")
    if "status" in case:
        with pytest.raises(RemoteProtocolError) as refused:
            read(data)
        assert refused.value.status == case["status"]
    else:
        assert read(data) == case["sees"].encode("latin-1")


@pytest.mark.parametrize("case", cases("responses.toml"))
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
