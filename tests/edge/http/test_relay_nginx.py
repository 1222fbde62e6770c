"""Files, ranges, uploads and keep-alive against nginx, driven by curl."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from curl_command import curl
from edge.http_origins import accepting
from edge.http_rig import Rig, free_port, running_edge

CONFIG = """
user {user} {group}; daemon off; worker_processes 1; pid {root}/nginx.pid; error_log stderr warn;
events {{ worker_connections 64; }}
http {{
  access_log off; client_body_temp_path {root}/body; proxy_temp_path {root}/p; fastcgi_temp_path {root}/f;
  uwsgi_temp_path {root}/u; scgi_temp_path {root}/s; client_max_body_size 0; types {{ text/plain txt; }}
  server {{
    listen 127.0.0.1:{port}; root {root}/www;
    location /put/ {{ dav_methods PUT; create_full_put_path on; }}
    location /gzip/ {{ gzip on; gzip_types text/plain; gzip_min_length 1; gzip_proxied any; }}
    location = /moved {{ return 302 /hello.txt; }}
    location = /empty {{ return 204; }}
    location = /seen {{ return 200 "$http_host $http_x_forwarded_for $http_x_forwarded_proto $http_forwarded"; }}
  }}
}}
"""


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    port = free_port()
    (tmp_path / "www" / "gzip").mkdir(parents=True)
    (tmp_path / "www" / "hello.txt").write_text("hello\n")
    (tmp_path / "www" / "gzip" / "long.txt").write_text("hello " * 10000)
    (tmp_path / "www" / "big").write_bytes(os.urandom(8 * 2**20))
    config = tmp_path / "nginx.conf"
    config.write_text(CONFIG.format(root=tmp_path, port=port, user=tmp_path.owner(), group=tmp_path.group()))
    nginx = await asyncio.create_subprocess_exec(
        "/usr/sbin/nginx", "-c", str(config), "-p", str(tmp_path), stderr=asyncio.subprocess.DEVNULL
    )
    try:
        await accepting(port)
        async with running_edge(port) as rig:
            yield rig
    finally:
        nginx.terminate()
        await nginx.wait()


async def ask(rig: Rig, *arguments: str) -> str:
    """Curl's answer, with the edge's own address for `URL`."""
    return await curl(*rig.resolve, *(a.replace("URL", f"http://a.localhost:{rig.port}") for a in arguments))


async def test_files_keep_alive_and_conditions(rig: Rig) -> None:
    out = await ask(rig, "-i", "URL/hello.txt", "URL/hello.txt", "URL/missing", "-H", "X-Forwarded-For: 1.2.3.4")
    assert out.count("HTTP/1.1 200 OK\r\n") == 2
    assert out.count("HTTP/1.1 404 Not Found\r\n") == 1
    assert out.count("\r\n\r\nhello\n") == 2
    assert len({visit.peer for visit in rig.tunnel.visits}) == 1  # one connection
    assert len(rig.tunnel.dialled) == 1  # one stream for the three
    assert str(rig.tunnel.dialled[0]) == "127.0.0.1:80"  # pooled: the gateway's own address
    etag = next(line.split(" ")[1] for line in out.splitlines() if line.startswith("ETag"))
    out = await ask(rig, "-i", "URL/hello.txt", "-H", f"If-None-Match: {etag}")
    assert out.startswith("HTTP/1.1 304 Not Modified\r\n")
    assert "Connection: close" not in out
    assert len(rig.tunnel.dialled) == 1


async def test_head_range_redirect_empty(rig: Rig) -> None:
    assert "Content-Length: 6\r\n" in await ask(rig, "-I", "URL/hello.txt")
    out = await ask(rig, "-i", "URL/hello.txt", "-H", "Range: bytes=1-2")
    assert out.startswith("HTTP/1.1 206 ")
    assert out.endswith("\r\n\r\nel")
    assert await ask(rig, "-L", "URL/moved") == "hello\n"
    out = await ask(rig, "-i", "URL/empty", "URL/hello.txt")
    assert out.startswith("HTTP/1.1 204 No Content\r\n")
    assert out.endswith("hello\n")
    assert len(rig.tunnel.dialled) == 2  # another after HEAD: a service might have sent the body it announces


async def test_download_is_whole(rig: Rig, tmp_path: Path) -> None:
    await ask(rig, "-o", str(tmp_path / "got"), "URL/big")
    assert digest(tmp_path / "got") == digest(tmp_path / "www" / "big")
    assert rig.tunnel.traffic.down == 8 * 2**20


@pytest.mark.parametrize("coding", ["length", "chunked"])
async def test_upload_is_whole(rig: Rig, tmp_path: Path, coding: str) -> None:
    chunked = ["-H", "Transfer-Encoding: chunked"] if coding == "chunked" else []
    # curl asks for 100 Continue with bodies of this size, and waits for nginx's
    out = await ask(
        rig, "-i", "-T", str(tmp_path / "www" / "big"), "URL/put/new", *chunked, "--expect100-timeout", "15"
    )
    assert out.startswith("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\n")
    assert digest(tmp_path / "www" / "put" / "new") == digest(tmp_path / "www" / "big")
    assert rig.tunnel.traffic.up == 8 * 2**20
    assert rig.tunnel.visits[0].up == 8 * 2**20
    assert rig.tunnel.visits[0].seconds < 10  # the 100 came at once


async def test_chunked_answer_to_1_1_and_to_1_0(rig: Rig) -> None:
    assert await ask(rig, "--compressed", "URL/gzip/long.txt") == "hello " * 10000
    out = await ask(
        rig, "-i", "--raw", "-H", "Accept-Encoding: gzip", "-o", "/dev/null", "-D", "-", "URL/gzip/long.txt"
    )
    assert "Transfer-Encoding: chunked\r\n" in out
    out = await ask(rig, "-0", "-o", "/dev/null", "-D", "-", "-H", "Accept-Encoding: gzip", "URL/gzip/long.txt")
    assert "chunked" not in out
    assert "Connection: close\r\n" in out
    assert await ask(rig, "-0", "--compressed", "URL/gzip/long.txt") == "hello " * 10000


async def test_the_service_gets_the_visitors_address_in_forwarding_fields(rig: Rig) -> None:
    out = await ask(rig, "URL/seen", "-H", "X-Forwarded-For: 6.6.6.6", "-H", "Forwarded: for=6.6.6.6")
    host = f"a.localhost:{rig.port}"
    assert out == f'{host} 127.0.0.1 http for=127.0.0.1;host="{host}";proto=http'


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
