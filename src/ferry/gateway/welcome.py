"""Makes the first lines of `ferry serve`: the commands to type, the URL of each, and hints about likely problems."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from ferry.config.model import Config
from ferry.hostnames import Urls


def welcome_lines(
    config: Config, host_keys: Sequence[str], *, state: Path, trusted: Callable[[str], bool]
) -> list[str]:
    """The lines, in order. Asks `ssh-keygen` whether known_hosts holds another key."""
    urls = config.urls(trusted)
    gateway, web = urls.gateway, bool(urls.http_port or urls.https_port)
    lines = [f"Ferry is ready. State: {state}", "", "In another terminal, with your service on port 3000, type"]
    if web:
        lines += [
            f"  ssh -R 80:localhost:3000 {gateway}",
            f"      gives {urls.best(urls.domain.host('TWO-WORDS'))} (two words of your own, the same every day)",
            f"  ssh -R blog:80:localhost:3000 {gateway}",
            f"      gives {urls.best(urls.domain.host('blog'))}",
        ]
    if (number := config.tcp.range_for_any) is not None:
        span = config.tcp.ranges[number]
        lines += [
            f"  ssh -R 0:localhost:5432 {gateway}",
            f"      gives {urls.domain}:PORT, PORT from {span.first} to {span.last}",
        ]
    lines += [
        f"  ssh -R laptop:22:localhost:22 {gateway}",
        f"      gives ssh -J {urls.jump} you@laptop",
        "",
        "Host keys: " + "\n           ".join(host_keys),
    ]
    lines += _known_hosts_lines(urls, host_keys)
    if web:
        lines += _resolve_lines(urls)
    return lines


def _known_hosts_lines(urls: Urls, host_keys: Sequence[str]) -> list[str]:
    """The command that removes a key from known_hosts, if it has one that this gateway does not have."""
    host = urls.known_hosts
    try:
        found = subprocess.run(
            ["ssh-keygen", "-l", "-F", host], capture_output=True, text=True, timeout=5, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return []
    known = [word for line in found.splitlines() for word in line.split() if word.startswith("SHA256:")]
    ours = " ".join(host_keys)
    if any(fingerprint not in ours for fingerprint in known):
        return ["Your known_hosts has another key for this address: forget it with", f"  ssh-keygen -R '{host}'"]
    return []


def _resolve_lines(urls: Urls) -> list[str]:
    """How to reach a name that does not resolve on this host."""
    name = urls.domain.host("blog")
    try:
        socket.getaddrinfo(name, None)
    except OSError:
        pass
    else:
        return []
    lines = [f"{name} does not resolve on this host; browsers and curl 7.85 or newer find it all the same. Else:"]
    if urls.domain.name != "localhost":
        lines = [f"{name} does not resolve: make a DNS record {urls.domain.wildcard} for this host. Until then:"]
    port = urls.https_port if urls.prefers_https(name) else urls.http_port
    lines.append(f"  curl --resolve {name}:{port}:127.0.0.1 {urls.best(name)}/")
    return lines
