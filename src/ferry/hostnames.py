"""Makes and parses hostnames below the gateway's domain, and the URLs and commands for people. No other module does so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

SSH_PORT: Final = 22
"""The port to which ssh(1) connects where none is written."""


def normal(host: str) -> str:
    """`host` for comparisons: lower-case, without a final dot."""
    return host.lower().removesuffix(".")


def first_label(host: str) -> str:
    """The leftmost label: `blog` of `blog.example.com`."""
    return host.partition(".")[0]


def wildcard_above(host: str) -> str:
    """The one wildcard that stands for `host`: `*.example.com` of `blog.example.com`. It stands for exactly one label,
    the leftmost (RFC 9525 §6.3)."""
    return f"*.{host.partition('.')[2]}"


@dataclass(frozen=True, slots=True)
class Domain:
    """The gateway's domain, whose subdomains are tunnels' names. `name` is lower-case and has no final dot."""

    name: str

    def __str__(self) -> str:
        """The name itself."""
        return self.name

    def host(self, label: str) -> str:
        """The hostname of a label: `blog.example.com`."""
        return f"{label}.{self.name}"

    @property
    def wildcard(self) -> str:
        """The DNS wildcard for all hostnames: `*.example.com`."""
        return self.host("*")

    def relative(self, text: str) -> str:
        """The name relative to this domain: `blog` of `blog.example.com`. Any other text stays as it is.

        `text` is spelled as `name` is, which `normal` does.
        """
        return text.removesuffix(f".{self.name}")

    def has(self, host: str) -> bool:
        """Whether `host` is the domain itself or below it, however many labels deep."""
        return host == self.name or host.endswith(f".{self.name}")


@dataclass(frozen=True, slots=True)
class Urls:
    """Writes addresses for people. A port is shown unless it is the protocol's default."""

    domain: Domain
    ssh_port: int
    http_port: int | None
    """None where HTTP is off."""
    https_port: int | None
    trusted: Callable[[str], bool]
    """Whether browsers will trust the certificate for this hostname."""

    def http(self, host: str) -> str | None:
        """The `http://` URL of `host`; None where HTTP is off."""
        return self.url(host, secure=False) if self.http_port else None

    def https(self, host: str) -> str | None:
        """The `https://` URL of `host`; None where HTTPS is off."""
        return self.url(host, secure=True) if self.https_port else None

    def url(self, host: str, *, secure: bool) -> str:
        """The URL of `host` with this scheme, even if the gateway does not serve it."""
        port, own = (self.https_port, 443) if secure else (self.http_port, 80)
        return f"http{'s' if secure else ''}://{host}" + ("" if port in (own, None) else f":{port}")

    def prefers_https(self, host: str) -> bool:
        """Whether `https://` is the scheme to share: browsers will trust it, or there is no other."""
        return bool(self.https_port) and (not self.http_port or self.trusted(host))

    def best(self, host: str) -> str:
        """The URL to share; `host` alone if HTTP and HTTPS are off."""
        if not self.http_port and not self.https_port:
            return host
        return self.url(host, secure=self.prefers_https(host))

    def host_port(self, port: int) -> str:
        """A TCP port of the gateway: `example.com:30042`."""
        return f"{self.domain}:{port}"

    def tcp(self, port: int) -> str:
        """A TCP port of the gateway as a URL: `tcp://example.com:30042`."""
        return f"tcp://{self.host_port(port)}"

    @property
    def gateway(self) -> str:
        """The gateway's arguments for `ssh`: `-p 2222 localhost`, `gw.example.com`."""
        return self.domain.name if self.ssh_port == SSH_PORT else f"-p {self.ssh_port} {self.domain}"

    @property
    def jump(self) -> str:
        """The gateway's argument for `ssh -J`: `localhost:2222`, `gw.example.com`."""
        return self.domain.name if self.ssh_port == SSH_PORT else self.host_port(self.ssh_port)

    @property
    def known_hosts(self) -> str:
        """The gateway's entry in `known_hosts` (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT): `[localhost]:2222`, `gw.example.com`."""
        return self.domain.name if self.ssh_port == SSH_PORT else f"[{self.domain}]:{self.ssh_port}"
