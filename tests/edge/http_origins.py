"""Six services that parse HTTP/1.1 differently, and print the requests that they saw.

nginx (with a second server behind it, so that it reads bodies), haproxy, Node's `http` as it comes and with its
lenient parser, and uvicorn with h11 and with httptools. Each answers 200 with the request's target as the body.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from edge.http_rig import free_port

NGINX: Final = """
daemon off; master_process off; pid {root}/nginx.pid; error_log /dev/null;
events {{ worker_connections 256; }}
http {{
  client_body_temp_path {root}/body; proxy_temp_path {root}/p; fastcgi_temp_path {root}/f;
  uwsgi_temp_path {root}/u; scgi_temp_path {root}/s;
  log_format seen escape=json '{{"port":$remote_port,"status":$status,"method":"$request_method",'
    '"target":"$request_uri","host":"$http_host","for":"$http_x_forwarded_for","body":"$request_body"}}';
  access_log off; client_body_in_single_buffer on; client_body_buffer_size 64k; keepalive_requests 100000;
  server {{
    listen 127.0.0.1:{port}; access_log /dev/stdout seen;
    location / {{ proxy_pass http://127.0.0.1:{behind}; }}
  }}
  server {{ listen 127.0.0.1:{behind}; return 200 $request_uri; }}
}}
"""

HAPROXY: Final = """
global
  log stdout format raw local0
  nbthread 1
defaults
  mode http
  timeout client 30s
  timeout server 30s
  timeout connect 5s
  option http-buffer-request
frontend seen
  bind 127.0.0.1:{port}
  log global
  http-request set-var(txn.target) url,hex
  http-request set-var(txn.head) req.hdrs,hex
  http-request set-var(txn.body) req.body,hex
  log-format '{{"port":%cp,"status":%ST,"method":"%HM","target_hex":"%[var(txn.target)]","head_hex":"%[var(txn.head)]","body_hex":"%[var(txn.body)]"}}'
  http-request return status 200 content-type text/plain lf-string "%[url]"
"""

NODE: Final = """
const http = require('http');
const ascii = (text) => text.replace(/[\\x7f-\\uffff]/g, (c) => '\\\\u' + c.charCodeAt(0).toString(16).padStart(4, '0'));
const tell = (record) => process.stdout.write(ascii(JSON.stringify(record)) + '\\n');
const server = http.createServer({ insecureHTTPParser: process.argv[1] === 'lenient' }, (request, response) => {
  const port = request.socket.remotePort, pieces = [];
  request.on('data', (piece) => pieces.push(piece));
  request.on('close', () => { if (!request.complete) tell({ port, status: 0 }); });
  request.on('end', () => {
    tell({ port, status: 200, method: request.method, target: request.url,
           fields: request.rawHeaders, body: Buffer.concat(pieces).toString('latin1') });
    response.end(request.url);
  });
});
server.on('clientError', (error, socket) => { tell({ port: socket.remotePort, status: 400 }); socket.destroy(); });
server.listen(0, '127.0.0.1', () => tell({ listening: server.address().port }));
"""

UVICORN: Final = """
import asyncio, json, socket, sys
import uvicorn

def tell(record):
    sys.stdout.write(json.dumps(record) + "\\n")
    sys.stdout.flush()

async def app(scope, receive, send):
    port, body = scope["client"][1], b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            tell({"port": port, "status": 0})
            return
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    target = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
    fields = [text.decode("latin-1") for pair in scope["headers"] for text in pair]
    tell({"port": port, "status": 200, "method": scope["method"], "target": target.decode("latin-1"),
          "fields": fields, "body": body.decode("latin-1")})
    await send({"type": "http.response.start", "status": 200,
                "headers": [(b"content-length", str(len(target)).encode())]})
    await send({"type": "http.response.body", "body": target})

listening = socket.create_server(("127.0.0.1", 0))
listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # asyncio leaves it off here, and each answer takes 40 ms
tell({"listening": listening.getsockname()[1]})
config = uvicorn.Config(app, http=sys.argv[1], ws="none", lifespan="off", log_level="critical", timeout_keep_alive=60,
                        proxy_headers=False)
asyncio.run(uvicorn.Server(config).serve(sockets=[listening]))
"""


@dataclass(frozen=True)
class Sight:
    """One request, or a part of one, as a service saw it."""

    port: int
    """The other end of the connection it came on."""
    whole: bool
    method: str = ""
    target: str = ""
    host: str = ""
    body: bytes = b""
    fields: tuple[tuple[str, str], ...] | None = None
    """All of them, names in lower case; None from a service that tells only some."""
    visitor: str = ""
    """X-Forwarded-For, every one of them."""


@dataclass
class Origin:
    """One running service."""

    name: str
    port: int
    process: asyncio.subprocess.Process

    async def greet(self) -> None:
        """Send one plain request, to skip earlier sights."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(b"GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert (await reader.read()).endswith(b"/hello")
        writer.close()
        await writer.wait_closed()
        await self.sights("/hello")

    async def sights(self, last: str) -> list[Sight]:
        """The sights since the last call, up to the whole request for `last`."""
        seen: list[Sight] = []
        while not seen or seen[-1].target != last or not seen[-1].whole:
            seen.append(_sight(await _record(self.process)))
        return seen


async def _record(process: asyncio.subprocess.Process) -> dict[str, Any]:
    assert process.stdout is not None
    async with asyncio.timeout(20):
        line = await process.stdout.readline()
    assert line, "the service has ended"
    record: dict[str, Any] = json.loads(line.decode("latin-1"))
    return record


def _sight(record: dict[str, Any]) -> Sight:
    if record["status"] != 200:
        return Sight(record["port"], whole=False)
    for key in ("target", "head", "body"):
        if (octets := record.get(f"{key}_hex")) is not None:
            record[key] = bytes.fromhex(octets.strip("-")).decode("latin-1")  # haproxy writes - for nothing
    if "head" in record:
        lines = [line.partition(":") for line in record["head"].split("\r\n") if line]
        fields = [(name, value.strip()) for name, _, value in lines]
    else:
        flat = record.get("fields") or ["host", record["host"], "x-forwarded-for", record["for"]]
        fields = list(zip(flat[::2], flat[1::2], strict=True))
    lower = tuple((name.lower(), value) for name, value in fields)
    return Sight(
        record["port"],
        True,
        record["method"],
        record["target"],
        ", ".join(value for name, value in lower if name == "host"),
        record["body"].encode("latin-1"),
        None if "for" in record else lower,
        ", ".join(value for name, value in lower if name == "x-forwarded-for"),
    )


async def accepting(port: int) -> None:
    """Wait until the service listens."""
    async with asyncio.timeout(20):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.01)
            else:
                writer.close()
                return


@contextlib.asynccontextmanager
async def running(*command: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL, limit=2**20
    )
    try:
        yield process
    finally:
        process.kill()
        await process.wait()


@contextlib.asynccontextmanager
async def origins(folder: Path) -> AsyncIterator[list[Origin]]:
    """All services, started."""
    nginx, behind, haproxy = free_port(), free_port(), free_port()
    (folder / "nginx.conf").write_text(NGINX.format(root=folder, port=nginx, behind=behind))
    (folder / "haproxy.cfg").write_text(HAPROXY.format(port=haproxy))
    commands = {
        "nginx": ["/usr/sbin/nginx", "-c", str(folder / "nginx.conf"), "-p", str(folder)],
        "haproxy": ["/usr/sbin/haproxy", "-db", "-f", str(folder / "haproxy.cfg")],
        "node": ["node", "-e", NODE, "strict"],
        "node, lenient": ["node", "-e", NODE, "lenient"],
        "uvicorn, h11": [sys.executable, "-c", UVICORN, "h11"],
        "uvicorn, httptools": [sys.executable, "-c", UVICORN, "httptools"],
    }
    ports = {"nginx": nginx, "haproxy": haproxy}
    async with contextlib.AsyncExitStack() as stack:
        processes = {name: await stack.enter_async_context(running(*words)) for name, words in commands.items()}
        started = []
        for name, process in processes.items():
            if name in ports:
                await accepting(ports[name])
            port = ports.get(name) or (await _record(process))["listening"]
            origin = Origin(name, port, process)
            await origin.greet()
            started.append(origin)
        yield started
