"""The service behind every tunnel: nginx with one worker, a 13-byte answer, a large file, uploads, and silence."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .processes import HOME, Program, listens, wait_until

ANSWER = b"hello, world\n"

_CONFIG = """
{user}
daemon off;
worker_processes 1;
worker_rlimit_nofile 16384;
pid {folder}/nginx.pid;
error_log {folder}/nginx-error.log crit;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    sendfile on;
    tcp_nodelay on;
    keepalive_requests 1000000000;
    client_max_body_size 0;
    client_body_temp_path {folder}/uploading;
    fastcgi_temp_path {folder}/tmp1; proxy_temp_path {folder}/tmp2; scgi_temp_path {folder}/tmp3; uwsgi_temp_path {folder}/tmp4;
    types {{ text/plain txt; }}
    default_type application/octet-stream;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        root {folder}/www;
        location = / {{ default_type text/plain; return 200 "hello, world\\n"; }}
        location = /served {{ stub_status; }}
        location /silent/ {{
            proxy_pass http://unix:{folder}/silent.sock:;
            proxy_http_version 1.1;
            proxy_read_timeout 600s;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $http_connection;
        }}
        location /uploads/ {{ dav_methods PUT DELETE; create_full_put_path on; }}
    }}
}}
"""


@dataclass(frozen=True, slots=True)
class Origin:
    """A running origin. `/` answers ANSWER, `/bulk` is `bulk` (a file of zeros), `/served` counts requests, `PUT /uploads/NAME` takes a body, and
    `/silent/…` goes to `bench.silent`."""

    port: int
    bulk: Path
    www: Path

    def forget_uploads(self) -> None:
        for path in (self.www / "uploads").glob("*"):
            path.unlink()


@contextlib.contextmanager
def serving(folder: Path, port: int, *, bulk_bytes: int) -> Iterator[Origin]:
    """An origin in `folder`, until the context ends."""
    www = folder / "www"
    (www / "uploads").mkdir(parents=True)
    origin = Origin(port, www / "bulk", www)
    with origin.bulk.open("wb") as file:
        file.truncate(bulk_bytes)  # sparse: what is measured is the way, not the disk
    config = folder / "nginx.conf"
    user = "user root;" if os.geteuid() == 0 else ""
    config.write_text(_CONFIG.format(folder=folder, port=port, user=user))
    silent: list[str | Path] = [sys.executable, "-m", "bench.silent", folder / "silent.sock"]
    with (
        Program(silent, HOME, log_folder=folder) as quiet,
        Program(["nginx", "-c", config, "-e", folder / "nginx-error.log"], folder) as nginx,
    ):
        wait_until(lambda: nginx.runs() and listens(port), "nginx")
        wait_until(lambda: quiet.runs() and (folder / "silent.sock").exists(), "the silent service")
        yield origin
