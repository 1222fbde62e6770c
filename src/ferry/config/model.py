"""The configuration: one typed object. `ferry.config.file` fills it. Other packages take values and never read it.

`docs/reference/configuration.md` shows every field's description, so descriptions are written for operators.
"""

from __future__ import annotations

import ipaddress
import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final, Literal

from pydantic import Field, PrivateAttr, model_validator

from ferry import limits
from ferry.errors import InvalidInput
from ferry.hostnames import Domain, Urls
from ferry.limiters.sources import LOOPBACK, parse_network
from ferry.names import Endpoint
from ferry.protocol.key_paths import AccessPaths

from .purposes import DEFAULT_PURPOSES, PortSpan, Purposes
from .sshd import Sshd
from .values import (
    Contact,
    DomainName,
    FileName,
    KeyPaths,
    Labels,
    Listen,
    OptionalFile,
    OptionalKeyPath,
    Paths,
    Seconds,
    Section,
    Size,
    Words,
    is_loopback,
)
from .written import Written


class Ssh(Section):
    listen: Listen = Field(
        [Endpoint("127.0.0.1", 2222), Endpoint("::1", 2222)], description="Addresses that serve SSH."
    )
    advertised_port: int | None = Field(
        None,
        ge=1,
        le=65535,
        description="The port to print in commands, if a firewall maps another one to `listen`.",
    )
    banner: bool = Field(
        True,
        description="Show a line in the login banner, if there is one: a refusal that nobody has seen, or names that are nearly used up.",
    )
    prefer_aes_gcm: bool = Field(
        True,
        description="Offer AES-GCM alone to clients that list it among others: a third of the CPU of chacha20 here. Off: the client's own order decides.",
    )
    keepalive_interval: Seconds = Field(
        limits.KEEPALIVE_INTERVAL_SECONDS,
        description="Interval of keepalive requests to a quiet client. `0` turns them off: a client whose network breaks then keeps its names until TCP gives up, up to hours later.",
    )
    keepalive_count: int = Field(
        limits.KEEPALIVE_COUNT,
        ge=1,
        description="Intervals of silence after which a client counts as gone; at least two. The gateway asks it after each.",
    )
    key_grace: Seconds = Field(
        limits.KEY_GRACE_SECONDS, description="Time until a client has offered an acceptable key."
    )
    login_grace: Seconds = Field(
        limits.LOGIN_GRACE_SECONDS, description="Time for the whole log-in (a passphrase, a touch on a token)."
    )
    auth_tries: int = Field(limits.AUTH_TRIES, ge=1, description="Keys a client may try on one connection.")
    handshakes: int = Field(
        limits.HANDSHAKES,
        ge=1,
        description="Log-ins in progress, in all. Past it a newcomer displaces the log-in that is furthest from its end.",
    )
    handshakes_per_network: int = Field(
        limits.HANDSHAKES_PER_NETWORK,
        ge=1,
        description="The same for one IPv4 /24 or IPv6 /64. Only `ssh.handshakes` bounds the networks of `limits.exempt`.",
    )
    penalties: bool = Field(
        True,
        description="Block an address for a while (15 s to 10 min) after too many failed log-ins. `ferry unblock` lists and lifts blocks.",
    )


class Http(Section):
    listen: Listen = Field(
        [Endpoint("127.0.0.1", 8080), Endpoint("::1", 8080)],
        description="Addresses that serve plain HTTP. `[]` turns it off.",
    )
    advertised_port: int | None = Field(
        None,
        ge=1,
        le=65535,
        description="The port to print in URLs, if a firewall or proxy maps another one to `listen`.",
    )
    head_timeout: Seconds = Field(
        limits.HEAD_SECONDS, description="Time for a request head, from its first byte to its end."
    )
    keepalive_timeout: Seconds = Field(
        limits.KEEPALIVE_SECONDS, description="How long an idle visitor connection is kept between two requests."
    )
    head_bytes: Size = Field(limits.HEAD_BYTES, description="Largest request head; past it 431.")
    head_fields: int = Field(limits.HEAD_FIELDS, ge=1, description="Most fields in a request head; past it 431.")
    body_min_rate: Size = Field(
        limits.BODY_MIN_RATE,
        description="Bytes per second at which a request's body must arrive, measured over `pace_window`; a slower one gets 408. Time in which the local service does not read it, or the visitor waits for `100 Continue`, does not count. `0` turns it off.",
    )
    read_min_rate: Size = Field(
        limits.READ_MIN_RATE,
        description="Bytes per second at which a visitor must read an answer that waits for it; a slower one is cut off. Neither rate applies after an upgrade (WebSocket) or to an event stream. `0` turns it off.",
    )
    pace_window: Seconds = Field(
        limits.PACE_SECONDS, gt=0, description="The window over which the two rates are measured."
    )


class Https(Section):
    listen: Listen = Field(
        [Endpoint("127.0.0.1", 8443), Endpoint("::1", 8443)],
        description="Addresses that serve HTTPS, and SSH too (see `ssh`). `[]` turns it off.",
    )
    advertised_port: int | None = Field(
        None, ge=1, le=65535, description="The port to print in URLs, if a firewall maps another one to `listen`."
    )
    ssh: bool = Field(True, description="Serve SSH on this port too: for networks that allow only 443.")
    certificates: OptionalFile = Field(
        None,
        description="Folder with `NAME.crt` + `NAME.key`, or `NAME/fullchain.pem` + `NAME/privkey.pem`, chosen by SNI and reloaded when they change. Without certificates, a local CA signs one per name.",
    )


class Access(Section):
    mode: Literal["anyone", "keys"] = Field(
        "anyone",
        description="Who may connect: `anyone` (any key is accepted and is the identity), or `keys` (the public keys in `keys`). If SSH listens beyond loopback, or if `keys` is set, this must be set too.",
    )
    keys: KeyPaths = Field(
        default_factory=list,
        description="Files of public keys (authorized_keys lines, with the options of sshd) or folders of such files, re-read within a second of a change. `name=web-1` inside a line's comment names the identity; in a folder, the file's name does where its one key has none (`web-1.pub`), and for several keys in `web-1.keys`. Equal names are one identity. `%u` in a path stands for the login name: `/etc/ferry/keys/%u` is one file for each. `%%` is one `%`.",
    )
    policy: OptionalFile = Field(
        None,
        description="The policy file, with rules for who may publish and reach what (`ferry policy check`), read again within two seconds of a change. With it, the line of a key and a rule must both allow. Without it, the line of the key alone decides.",
    )
    trusted_ca_keys: Paths = Field(
        default_factory=list,
        description="Files of the public keys of CAs, one a line, whose user certificates let their holders in: a certificate with the login name among its principals. Re-read within a second of a change. A CA for some keys alone stands in a file of `keys`, behind `cert-authority`.",
    )
    authorized_principals: OptionalKeyPath = Field(
        None,
        description="The principals that certificates of `trusted_ca_keys` need, in place of the login name: a file with one principal a line, with the options of sshd before it, or files for login names (`/etc/ferry/principals/%u`).",
    )
    revoked_keys: OptionalFile = Field(
        None,
        description="A file of keys that may not log in, and of CAs whose certificates may not: public keys, certificates or `SHA256:` fingerprints, one a line, or a KRL of `ssh-keygen -k`. Re-read within a second of a change: connections of a key that is in it end. While the file cannot be read, no key may log in.",
    )
    use_dns: bool = Field(
        False,
        description="Look up the name of a client's host for a key whose line has names or patterns in `from=`, as sshd with `UseDNS yes`. A name counts if it leads back to the client's address.",
    )

    @property
    def paths(self) -> AccessPaths:
        """The files that say who may log in. Where anyone may, those of revoked keys alone."""
        if self.mode == "anyone":
            return AccessPaths(revoked=self.revoked_keys)
        return AccessPaths(tuple(self.keys), tuple(self.trusted_ca_keys), self.authorized_principals, self.revoked_keys)


class Names(Section):
    keep: Seconds = Field(
        limits.NAMES_KEEP_SECONDS,
        description="How long a name, port or alias stays reserved after its last use. One that was up for less than a minute and had no visitor stays for an hour at most.",
    )
    rest: Seconds = Field(
        limits.NAMES_REST_SECONDS,
        description="How long a name rests after its reservation has run out: only its last owner may take it again.",
    )
    per_identity: int = Field(
        limits.NAMES_PER_IDENTITY,
        ge=0,
        description="Names, ports and aliases one identity may have reserved. Where it is not set and SSH listens on loopback addresses only, it is 200.",
    )
    reserve_after: Seconds = Field(
        limits.NAMES_RESERVE_AFTER_SECONDS,
        description="On a gateway that serves SSH beyond loopback with `access.mode = anyone`: time of use before a name is reserved. Elsewhere names are reserved at first use.",
    )
    per_network_per_day: int = Field(
        limits.NAMES_PER_NETWORK_PER_DAY,
        ge=0,
        description="On such a gateway: new reservations a day from one IPv4 /24 or IPv6 /64.",
    )
    reserved: Labels = Field(
        [
            "admin", "administrator", "api-docs", "autoconfig", "autodiscover", "console", "dashboard", "dns", "ferry", "ftp",
            "gateway", "host", "imap", "localhost", "login", "mail", "mx", "ns", "ns1", "ns2", "oauth", "pop", "postmaster",
            "root", "security", "signin", "smtp", "ssh", "ssl", "sso", "status", "support", "webmail", "wpad", "www",
        ],
        description="Names that nobody may have. What you write replaces this list: to add names to it, use `reserved_more`.",
    )  # fmt: skip
    reserved_more: Labels = Field(
        default_factory=list,
        description="More names that nobody may have, beside those of `reserved`. A reload closes the tunnels that have one.",
    )


class TcpRange(Section):
    """A range of TCP ports with a purpose."""

    first: int = Field(ge=1, le=65535, description="First port.")
    last: int = Field(ge=1, le=65535, description="Last port.")
    listen: Literal["loopback", "public"] = Field(
        description="`loopback`: on this host only (127.0.0.1 and ::1). `public`: on `tcp.public_addresses`."
    )

    @model_validator(mode="after")
    def _ordered(self) -> TcpRange:
        if self.first > self.last:
            raise ValueError(f"the range's first port {self.first} is above its last {self.last}: swap them")
        return self


class Tcp(Section):
    ranges: list[TcpRange] = Field(
        [TcpRange(first=21000, last=22999, listen="loopback"), TcpRange(first=30000, last=39999, listen="public")],
        description="The ports that clients may request. The gateway refuses a port outside all ranges. A reload closes open ports that are outside, or more public than their range, by now.",
    )
    allocate_from: int = Field(1, ge=0, description="The range for `-R 0:...`, counted from 0. Not set: 1, or the one.")
    purposes: Purposes = Field(
        default_factory=lambda: dict(DEFAULT_PURPOSES),
        description="Ports of the port table, by their purpose: `ferry keys add NAME KEY --listen ssh` gives one of `ssh`. With `access.mode = keys`, a port of them that a key has asked for stays its own for good, until `ferry release`. Each lies within one of `ranges`; where those are set and this is not, the default ones outside do not count.",
    )
    public_addresses: Words = Field(
        ["127.0.0.1", "::1"],
        description="Numeric addresses that `listen = public` ports bind. `0.0.0.0` and `::` open them to the network. A reload closes open ports that listen on an address which is not among them any more.",
    )
    allow_open_proxy: bool = Field(
        False,
        description="Let a public port speak SOCKS. Off: the gateway closes such a port, because `-R 30042` publishes an open proxy.",
    )

    def has(self, port: int) -> bool:
        """Whether a range has `port`."""
        return any(each.first <= port <= each.last for each in self.ranges)

    @property
    def range_for_any(self) -> int | None:
        """The number of the range for `-R 0:...`; None without ranges."""
        return min(self.allocate_from, len(self.ranges) - 1) if self.ranges else None

    @model_validator(mode="after")
    def _consistent(self) -> Tcp:
        if self.ranges and "allocate_from" in self.model_fields_set and self.allocate_from >= len(self.ranges):
            most = f"{len(self.ranges) - 1} is the last of tcp.ranges, counted from 0: write that"
            raise ValueError(f"tcp.allocate_from = {self.allocate_from}: {most}")
        spans = sorted((r.first, r.last) for r in self.ranges)
        for (_, last), (first, _) in itertools.pairwise(spans):
            if first <= last:
                raise ValueError(f"two port ranges share port {first}: separate them")
        if "purposes" in self.model_fields_set and (stray := self._outside()) is not None:
            span = self.purposes[stray]
            raise ValueError(f"tcp.purposes: {stray} has ports {span}, which lie in no range of tcp.ranges: add one")
        for address in self.public_addresses:
            try:
                ipaddress.ip_address(address)
            except ValueError:
                raise ValueError(
                    f"tcp.public_addresses: {address!r} is not a numeric address: write 0.0.0.0 or ::"
                ) from None
        return self

    def _outside(self) -> str | None:
        return next((name for name in self.purposes if name not in self.purposes_in_ranges), None)

    @property
    def purposes_in_ranges(self) -> dict[str, PortSpan]:
        """The purposes whose ports may be requested."""
        return {
            name: span
            for name, span in self.purposes.items()
            if any(each.first <= span.first and span.last <= each.last for each in self.ranges)
        }


class Limits(Section):
    forwards_per_connection: int = Field(
        limits.FORWARDS_PER_CONNECTION, ge=1, description="Forwards one connection may hold."
    )
    forwards_per_identity: int = Field(
        limits.FORWARDS_PER_IDENTITY, ge=1, description="Forwards one identity may hold, over all its connections."
    )
    connections_per_identity: int = Field(
        limits.CONNECTIONS_PER_IDENTITY, ge=1, description="Connections one identity may hold."
    )
    channels_per_connection: int = Field(
        limits.CHANNELS_PER_CONNECTION, ge=1, description="Streams open at once through one connection."
    )
    visitors_per_tunnel: int = Field(
        limits.VISITORS_PER_TUNNEL,
        ge=1,
        description="HTTP requests in progress at once, WebSockets included, through one tunnel; for a port: connections at once. When all places are taken, a newcomer gets the place of a visitor that transfers nothing and whose address holds more; otherwise it gets 503 with `Retry-After`, or a reset on a port. Once more than half are taken, visitors slower than the two rates are cut after 5 seconds instead of `http.pace_window`.",
    )
    connections_per_visitor: int = Field(
        limits.CONNECTIONS_PER_VISITOR,
        ge=1,
        description="Connections at once from one IPv4 address or IPv6 /64, over HTTP and TCP ports together; more get 503, or a reset on a port. It does not apply to `limits.exempt`.",
    )
    exempt: Words = Field(
        list(LOOPBACK),
        description="Networks whose addresses are neither counted nor blocked: for a reverse proxy, which connects for many people.",
    )
    global_requests_per_second: int = Field(
        limits.GLOBAL_REQUESTS_PER_SECOND,
        ge=1,
        description="Global requests (forwards, keepalives) per second and connection; more are refused in order, and the connection goes on.",
    )

    @model_validator(mode="after")
    def _networks(self) -> Limits:
        for text in self.exempt:
            try:
                parse_network(text)
            except InvalidInput as error:
                raise ValueError(f"limits.exempt: {error}") from None
        return self


class Session(Section):
    request_log: bool = Field(True, description="Print a line per request in the owner's terminal.")
    end_refused: bool = Field(
        True,
        description="End a new connection without a session (`ssh -N`) if all its forwards are refused, so that ssh prints the reason. It ends too if it has a `-L` or `-D` for later. A forward that is added to it later (`ssh -O forward`) ends nothing.",
    )


class Admin(Section):
    listen: Listen = Field(
        [Endpoint("127.0.0.1", 9380)],
        description="Addresses that serve `/metrics` and `/health`. Loopback addresses only.",
    )


class Audit(Section):
    keep: Seconds = Field(limits.AUDIT_KEEP_SECONDS, description="How long records are kept.")
    records: int = Field(
        limits.AUDIT_RECORDS,
        ge=limits.AUDIT_RECORDS_LEAST,
        description="Records that are kept at most; one takes some 400 bytes in the database. Past it those of whoever has most are dropped, the oldest first, once an hour, and a record says so.",
    )
    file: OptionalFile = Field(
        None,
        description="File to which the records are written too, as JSON lines, to be carried elsewhere. SIGHUP opens it anew, after a rotation. A new file begins with the next record.",
    )
    required: bool = Field(
        False,
        description="While records cannot be written (a full disk), refuse each log-in, each forward and each connection through the gateway. Off: the gateway goes on, and says so in its log and in `/health`.",
    )


class Log(Section):
    format: Literal["auto", "human", "json"] = Field("auto", description="`auto`: human on a terminal, JSON otherwise.")
    level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="The least severe event that is logged."
    )
    visits_per_second: int = Field(
        limits.LOG_VISITS_PER_SECOND,
        ge=0,
        description="Lines a second about visits, in all; the unused lines of 20 seconds may be used at once. Visits past it are summed up by tunnel, in one line a second.",
    )
    visits_per_tunnel: int = Field(
        limits.LOG_VISITS_PER_TUNNEL, ge=0, description="The same for one tunnel. `0`: sums only."
    )
    lines_per_source: int = Field(
        limits.LOG_LINES_PER_SOURCE,
        ge=0,
        description="Lines a second of each other event that one connection, tunnel, identity or address causes, and at most ten times as many by all of them together. `lines.omitted` gives the number of lines left out. Only the bound for all applies to addresses in `limits.exempt`.",
    )


class Config(Section):
    """All settings of `ferry serve`."""

    domain: DomainName = Field(
        "localhost", description="Tunnels get names below this domain: `name.DOMAIN`. Point `*.DOMAIN` at this host."
    )
    state: FileName = Field(
        Path("ferry-data"),
        description="Folder for all data that survives a restart: database, host keys, local CA; and for the control socket. Default: `ferry-data` beside the configuration file, or in the working directory of `ferry serve`.",
    )
    drain: Seconds = Field(
        limits.DRAIN_SECONDS,
        description="How long requests in flight, and connections through ports and aliases, may take to finish after SIGTERM.",
    )
    abuse_contact: Contact = Field(
        None,
        description="Where people report abuse of the tunnels: an e-mail address or a URL. The page at the gateway's own name, `https://DOMAIN/`, shows it.",
    )
    ssh: Ssh = Field(default_factory=Ssh, description="The SSH server.")
    http: Http = Field(default_factory=Http, description="Plain HTTP.")
    https: Https = Field(default_factory=Https, description="HTTPS, and SSH on the same port.")
    access: Access = Field(default_factory=Access, description="Who may connect.")
    sshd: Sshd = Field(
        default_factory=Sshd,
        description="Settings with the names and the meaning of sshd_config(5), for all and below `[[sshd.match]]`. What is not set is Ferry's own rule. A reload closes what they no longer allow.",
    )
    names: Names = Field(default_factory=Names, description="Names and their lifetime.")
    tcp: Tcp = Field(default_factory=Tcp, description="TCP ports.")
    limits: Limits = Field(default_factory=Limits, description="Bounds per connection and identity.")
    session: Session = Field(default_factory=Session, description="What clients see.")
    admin: Admin = Field(default_factory=Admin, description="The admin address.")
    log: Log = Field(default_factory=Log, description="Logging.")
    audit: Audit = Field(default_factory=Audit, description="The audit log: who has done what (`ferry audit`).")

    @property
    def listens_beyond_loopback(self) -> bool:
        """Whether SSH can be reached from another host."""
        ssh_on = self.ssh.listen + (self.https.listen if self.https.ssh else [])
        return any(not is_loopback(endpoint.host) for endpoint in ssh_on)

    @property
    def names_per_identity(self) -> int:
        """`names.per_identity`; where it is not set and SSH listens on loopback addresses only, a larger one."""
        if self.listens_beyond_loopback or "per_identity" in self.names.model_fields_set:
            return self.names.per_identity
        return limits.NAMES_PER_IDENTITY_ON_LOOPBACK

    _written: Written = PrivateAttr(default_factory=Written)

    @property
    def written(self) -> Written:
        """Where it was read from."""
        return self._written

    @property
    def services(self) -> frozenset[int]:
        """The ports on which the gateway itself listens, for the operator, visitors and SSH."""
        listening = (self.admin.listen, self.http.listen, self.https.listen, self.ssh.listen)
        return frozenset(endpoint.port for endpoints in listening for endpoint in endpoints)

    @property
    def ssh_port(self) -> int:
        """The port to print in commands."""
        return self.ssh.advertised_port or (self.ssh.listen or self.https.listen or [Endpoint("", 22)])[0].port

    @property
    def http_port(self) -> int | None:
        """The port to print in http:// URLs; None where HTTP is off."""
        return self.http.advertised_port or (self.http.listen[0].port if self.http.listen else None)

    @property
    def https_port(self) -> int | None:
        """The port to print in https:// URLs; None where HTTPS is off."""
        return self.https.advertised_port or (self.https.listen[0].port if self.https.listen else None)

    @property
    def access_paths(self) -> AccessPaths:
        """The files that say who may log in."""
        return replace(self.access.paths, strict_beside=self.state if self.sshd.strict_modes else None)

    def urls(self, trusted: Callable[[str], bool]) -> Urls:
        """The writer of addresses for people. `trusted` tells whether browsers trust the certificate of a hostname."""
        return Urls(Domain(self.domain), self.ssh_port, self.http_port, self.https_port, trusted)


_RELOADED_OF_HTTP: Final = frozenset({"listen", "advertised_port"})
AT_START: Final = frozenset(
    {f"http.{key}" for key in Http.model_fields if key not in _RELOADED_OF_HTTP}
    | {f"ssh.handshakes{which}" for which in ("", "_per_network")}
    | {f"ssh.{key}" for key in ("penalties", "login_grace", "keepalive_interval", "keepalive_count", "prefer_aes_gcm")}
    | {"limits.exempt", "limits.connections_per_visitor", "limits.visitors_per_tunnel"}
    | {"admin.listen", "log.format"}
)
"""Keys that are read only at the start: the objects that use them also hold counts (`limits.visitors_per_tunnel`)."""


def needs_restart(started_with: Config, read: Config) -> list[str]:
    """The keys of AT_START that have changed since the start."""
    return sorted(key for key in AT_START if _value(started_with, key) != _value(read, key))


def _value(config: Config, key: str) -> object:
    section, _, field = key.partition(".")
    return getattr(getattr(config, section), field)
