"""The answers to clients that come to a port of another protocol: SSH to HTTP's, HTTP and TLS to SSH's.

Each gets the right port in a form that its own program may show.
"""

from __future__ import annotations

from typing import Final

from ferry.hostnames import Urls

from .first_bytes import FirstBytes
from .ssh_disconnect import SERVICE_NOT_AVAILABLE, ssh_disconnect

TLS_ALERT: Final = bytes((21, 3, 3, 0, 2, 2, 120))
"""A fatal alert `no_application_protocol` (RFC 8446 §6, RFC 7301 §3.2): this port serves nothing over TLS."""


def where_ssh_is(urls: Urls) -> str:
    """For an SSH client: where the gateway serves SSH."""
    return f"this port does not serve SSH. Port {urls.ssh_port} does: ssh {urls.gateway}"


def to_ssh(urls: Urls) -> bytes:
    """The answer to an SSH client: a disconnect with the right port, which stock `ssh` prints."""
    return ssh_disconnect(where_ssh_is(urls), SERVICE_NOT_AVAILABLE)


def on_ssh_port(spoken: FirstBytes, urls: Urls) -> bytes:
    """The answer to a client that speaks HTTP or TLS on the SSH port. It follows our version line."""
    return TLS_ALERT if spoken is FirstBytes.TLS else f"{_where_http_is(urls)}\r\n".encode()


def _where_http_is(urls: Urls) -> str:
    port, name = (urls.http_port, "HTTP") if urls.http_port else (urls.https_port, "HTTPS")
    if not port:
        return "This port serves SSH. HTTP and HTTPS are off on this gateway."
    url = urls.url(urls.domain.name, secure=name == "HTTPS")
    return f"This port serves SSH. {name} is on port {port}: {url}"
