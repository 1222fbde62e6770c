"""The types of names, so that the code passes no raw strings around. Each name is parsed once, where it comes in."""

from __future__ import annotations

import enum
import ipaddress
import re
from dataclasses import dataclass
from typing import NewType

from .errors import InvalidInput

IdentityId = NewType("IdentityId", str)
WorkerId = NewType("WorkerId", str)
TunnelId = NewType("TunnelId", str)
ConnectionId = NewType("ConnectionId", str)
Fingerprint = NewType("Fingerprint", str)  # "SHA256:...", as ssh-keygen -l prints it

LABEL_MAX = 63  # octets, RFC 1035 §2.3.4
HOSTNAME_MAX = 253
_WORD = re.compile(r"-{0,2}[a-z][a-z-]{0,31}")
_BEFORE_DOMAIN = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*://)?(?:[^@/]*@)?(?:\*\.)?")
_CERTIFIED = re.compile(r"(.*) \(certificate, serial [0-9]+, CA (SHA256:[A-Za-z0-9+/]+)\)")
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")


class Kind(enum.StrEnum):
    """The kind of a tunnel."""

    HTTP = "http"
    TLS = "tls"
    TCP = "tcp"
    ALIAS = "alias"
    SOCKET = "socket"


@dataclass(frozen=True, slots=True)
class Address:
    """The address of a tunnel: a hostname (`http`, `tls`), a port (`tcp`), an alias with a port (`alias`), or a Unix socket
    (`socket`: the folder of its owner and its name, `web-1/x.sock`).

    `name` is lower-case, but for `socket`; it is empty for `tcp`. `port` is 0 for `http`, `tls` and `socket`.
    """

    kind: Kind
    name: str
    port: int = 0

    def __str__(self) -> str:
        """The address as people write it: `blog.example.com`, `port 30042`, `laptop:22`, `web-1/x.sock`.

        Errors and the log show addresses where no kind can be asked, so the forms stand here and not in `ferry.kinds`.
        """
        match self.kind:
            case Kind.HTTP | Kind.TLS | Kind.SOCKET:
                return self.name
            case Kind.TCP:
                return f"port {self.port}"
            case Kind.ALIAS:
                return f"{self.name}:{self.port}"

    @property
    def key(self) -> str:
        """The address as one word, unique over all kinds, for tables and logs: `http:blog.example.com`."""
        return f"{self.kind}:{self.name}:{self.port}" if self.port else f"{self.kind}:{self.name}"

    @classmethod
    def from_key(cls, key: str) -> Address:
        """The inverse of `key`. Raises ValueError on anything `key` did not make."""
        kind, _, name_and_port = key.partition(":")
        name, _, port = name_and_port.partition(":")
        return cls(Kind(kind), name, int(port) if port else 0)


@dataclass(frozen=True, slots=True)
class CertificateName:
    """Who logs in with a certificate. The CA and the key id are the identity; a renewed certificate has another key and
    another serial number."""

    ca: Fingerprint
    key_id: str
    serial: int

    @property
    def holder(self) -> str:
        """The identity as rules write it. A key id alone is no name: each CA may give it."""
        return f"{self.ca}:{self.key_id}"

    def __str__(self) -> str:
        """For people: `web-1 (certificate, serial 7, CA SHA256:...)`."""
        return f"{printable(self.key_id, 100)} (certificate, serial {self.serial}, CA {self.ca})"


@dataclass(frozen=True, slots=True)
class Identity:
    """The owner of a connection: one person or machine with one or more keys, or anonymous without any."""

    id: IdentityId
    name: str | None
    """The name the operator gave (`name=web-1`), or None."""
    fingerprint: Fingerprint | None
    """The key that signed in this log-in; None for anonymous."""
    anonymous: bool = False
    certificate: CertificateName | None = None
    """If it has logged in with one, and that has a key id."""
    entered: bool = False
    """The operator has entered its key for `name`, which the line of the key need not say (`ferry keys add --user`)."""

    def __str__(self) -> str:
        """For people: `web-1 (SHA256:...)`, `SHA256:...`, `web-1 (certificate, ...)`, or `anonymous`."""
        if self.anonymous:
            return "anonymous"
        if self.certificate is not None:
            return str(self.certificate)
        if self.name:
            return f"{self.name} ({self.fingerprint})"
        return str(self.fingerprint)


def certified(identity: str) -> tuple[str, Fingerprint] | None:
    """The key id and the CA in the `str` of an Identity; None if it is not that of a certificate. The holder of a CA chooses
    key ids, so what stands before the last bracket proves nothing."""
    found = _CERTIFIED.fullmatch(identity)
    return None if found is None else (found[1], Fingerprint(found[2]))


def given_name(identity: str) -> str | None:
    """The name that the operator gave, in the `str` of an Identity; None if there is none."""
    if certified(identity) is not None:
        return None
    name, _, _ = identity.partition(" (SHA256:")
    return None if name.startswith("SHA256:") or name == "anonymous" else name


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A numeric host and port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_label(text: str, what: str = "name") -> str:
    """A DNS label in lower case (RFC 1035 §2.3.1, digits allowed first by RFC 1123 §2.1).

    Raises InvalidInput naming the first character that is wrong and what is allowed. Punycode (`xn--`) is refused:
    it lets one name pass for another.
    """
    label = _lower(text)
    if not label:
        raise InvalidInput(f"the {what} is empty: use letters, digits and hyphens")
    if len(label) > LABEL_MAX:
        raise InvalidInput(f"the {what} has {len(label)} characters: {LABEL_MAX} are allowed")
    if label.startswith("xn--"):
        raise InvalidInput(
            f"{what} '{printable(text)}' is punycode, which can imitate another name: use plain letters",
            detail=f"the {what} is punycode: use plain letters",
        )
    if not _LABEL.fullmatch(label):
        bad = next((c for c in label if not (c.isascii() and (c.isalnum() or c == "-"))), "-")
        where = "at its start or end" if bad == "-" else "in it"
        fix = "use letters, digits and hyphens, with a letter or digit first and last"
        raise InvalidInput(
            f"{what} '{printable(text)}' has '{printable(bad)}' {where}: {fix}",
            detail=f"the {what} has '{printable(bad)}' {where}: {fix}",
        )
    return label


def _lower(text: str) -> str:
    """Lower case, for ASCII only: elsewhere letters turn into others (U+212A, the Kelvin sign, into `k`)."""
    return text.lower() if text.isascii() else text


def parse_hostname(text: str) -> str:
    """A dotted hostname in lower case, without a final dot. Raises InvalidInput as `parse_label` does."""
    host = _lower(text).removesuffix(".")
    if len(host) > HOSTNAME_MAX:
        raise InvalidInput(f"the hostname has {len(host)} characters: {HOSTNAME_MAX} are allowed")
    for label in host.split("."):
        parse_label(label, "hostname label")
    return host


def parse_domain(text: str) -> str:
    """The gateway's own domain, a hostname. Raises InvalidInput, which finds the domain in a URL, in a wildcard and before
    a port."""
    bare = _BEFORE_DOMAIN.sub("", text.strip(), count=1).partition("/")[0].partition(":")[0]
    if bare != text:
        try:
            meant = parse_hostname(bare)
        except InvalidInput:
            return parse_hostname(text)
        raise InvalidInput(f"'{printable(text)}' is more than a domain: write {meant}")
    return parse_hostname(text)


def printable(text: str, limit: int = 200) -> str:
    """`text` made safe for a terminal or a log: control, invisible and non-ASCII characters escaped, cut at `limit`.

    All text from the network passes through here before it is shown: an escape sequence in a request path must not move
    the operator's cursor (as in uvicorn PYSEC-2020-150).
    """
    if len(text) <= limit and text.isascii() and text.isprintable():
        return text  # nearly always, and thirty times quicker: each visit's log line passes here eight times
    cut = text if len(text) <= limit else text[: limit - 1] + "…"
    return "".join(c if " " <= c <= "~" or c == "…" else c.encode("unicode_escape").decode("ascii") for c in cut)


def typed_name(text: str) -> str:
    """The part of an unknown word that may be logged: `auth=…` of `auth=ann:secret`.

    People type passwords and tokens anywhere, by mistake or because another service takes them there. A word without `=`,
    or the part before it, is shown if it consists of lower-case letters and hyphens. Otherwise only the length is.
    """
    name, equals, _ = text.partition("=")
    if _WORD.fullmatch(name):
        return f"{name}=…" if equals else name
    return f"({len(text)} characters)"


def network_of(host: str) -> str:
    """The network that limits count by: an IPv4 /24 or IPv6 /64, as `203.0.113.0/24`. Empty if `host` is not numeric.

    An IPv4 address inside IPv6 (`::ffff:203.0.113.7`) counts as IPv4.
    """
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return ""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return str(ipaddress.ip_network((address, 24 if address.version == 4 else 64), strict=False))
