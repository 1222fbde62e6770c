"""The interface of every kind of tunnel, and the values that it takes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, NamedTuple, Protocol

from ferry.errors import Refusal
from ferry.hostnames import Urls
from ferry.names import Address, IdentityId, Kind
from ferry.protocol.forward_spec import BindRequest

from .rules import ForwardRules, GatewayPorts, Web

# what becomes of an address whose owner came without a key
NEW_EACH_TIME: Final = "is new each time; with a key it stays yours"
WHILE_CONNECTED: Final = "stays yours only while you are connected"


@dataclass(frozen=True, slots=True)
class ForwardRequest:
    """A client's request for one forward, parsed."""

    kind: Kind
    name: str | None
    """The label asked for (`http`, `alias`); None if the gateway chooses."""
    port: int
    """The TCP port (0: the gateway chooses) or the alias's port; 0 for `http`."""
    tls_upstream: bool = False
    by_login_name: bool = False
    """The login name has named `name`; the request itself names a bind address."""
    host: str = ""
    """The bind address of a port, in lower case: `localhost` if the client's ssh was given none, empty for all."""


class ListenPort(NamedTuple):
    """A TCP port that the gateway opens for one tunnel."""

    port: int
    hosts: tuple[str, ...]
    """The numeric addresses to listen on."""
    public: bool
    """The port is in a public range, and nothing keeps it on loopback addresses."""
    ipv4_too: bool = True
    """`::` means IPv4 too."""
    instead: str = ""
    """Why it listens on loopback addresses only, although another one was asked for; empty if it was not."""

    def kept_local(self, host: str) -> str:
        """The same for people, with the bind address that was asked for (`ForwardRequest.host`)."""
        return f"local, not on {host or '*'}: {self.instead}" if self.instead else ""


class ListenSocket(NamedTuple):
    """A Unix socket that the gateway opens for one tunnel: at `root/folder/name`."""

    root: str
    folder: str
    name: str
    unlink: bool
    """A socket at this path that nobody listens on gives way."""


Opening = ListenPort | ListenSocket


class Listening(NamedTuple):
    """The operator's settings about listening, as they count for the client."""

    gateway_ports: GatewayPorts | None = None
    unlink: bool = False
    """StreamLocalBindUnlink."""


class NoticeContext(Protocol):
    """The settings that notices about tunnels depend on."""

    @property
    def urls(self) -> Urls: ...
    @property
    def rules(self) -> ForwardRules: ...
    @property
    def public_is_loopback(self) -> bool:
        """Ports of public ranges listen on loopback addresses only."""
        ...


class ForwardShown(Protocol):
    """A granted forward, with the facts that its owner's notice shows."""

    @property
    def address(self) -> Address: ...
    @property
    def bind(self) -> tuple[bytes, int]:
        """The host and the port of the request."""
        ...

    @property
    def tls_upstream(self) -> bool: ...
    @property
    def host_header(self) -> bytes:
        """The Host for the local service, if the owner's words have one."""
        ...

    @property
    def derived(self) -> bool:
        """The gateway chose its address."""
        ...

    @property
    def port(self) -> ListenPort | None:
        """Where it listens, if it has a port of its own."""
        ...

    @property
    def anonymous(self) -> bool:
        """Its owner came without a key."""
        ...


class TunnelKind(ABC):
    """One kind of tunnel. It has no state. The methods with a body here suit most kinds."""

    __slots__ = ()

    kind: ClassVar[Kind]
    public: ClassVar[bool] = True
    """Anybody may visit; if False, only the owner."""
    has_host: ClassVar[bool] = False
    """Its addresses are hostnames, and the edge routes by them."""
    is_port: ClassVar[bool] = False
    """Its addresses are ports of the gateway, which the port table has."""
    in_rules: ClassVar[str] = "names"
    """The key for its addresses below `publish` and `reach` of the operator's rules (`policy.aims.What`)."""
    has_status: ClassVar[bool] = False
    """Each visit ends in an HTTP status."""
    holds_idle_streams: ClassVar[bool] = False
    """Streams stay open between visits, so that an open stream need not mean a visitor."""

    @property
    def visit_word(self) -> str:
        """What its owner reads for a visit."""
        return "request" if self.has_status else "connection"

    # --- which addresses it has

    @abstractmethod
    def parse(self, bind: BindRequest, web: Web) -> ForwardRequest | None:
        """The request's meaning for this kind; None if it is for another one."""

    def off(self, port: int, web: Web, rules: ForwardRules) -> Refusal | None:
        """The refusal of all requests with this port, because the gateway does not serve what they mean; else None."""
        del port, web, rules
        return None

    def form(self, label: str, rules: ForwardRules) -> str | None:
        """What to write for a forward of this kind: `-R NAME:80:... for a web address`. `label` stands for NAME. None
        if the gateway serves none."""
        del label, rules
        return None

    @abstractmethod
    def requested(self, request: ForwardRequest, rules: ForwardRules) -> Address | Refusal | None:
        """The address that a request names; None if the gateway chooses, a refusal if it does not choose any."""

    def candidate_addresses(
        self, identity: IdentityId, secret: bytes, rules: ForwardRules, had: Sequence[Address]
    ) -> Iterator[Address]:
        """Addresses that the gateway may choose, in order. `had` are those that it gave to this identity before."""
        del identity, secret, rules, had
        return iter(())

    def of_login_name(self, label: str, rules: ForwardRules) -> Address | None:
        """The address that a login name stands for, if this kind has such addresses."""
        del label, rules
        return None

    def without_key(self) -> Refusal | None:
        """The refusal for a client without a key; None if such a tunnel needs no key."""
        return None

    def label_of(self, address: Address, rules: ForwardRules) -> str | None:
        """The label in an address, for the operator's list of reserved names; None if the address has none."""
        del address, rules
        return None

    def name_in_rules(self, address: Address, rules: ForwardRules) -> str:
        """The name in an address, as the operator's rules have it; empty if it has none."""
        return self.label_of(address, rules) or ""

    def refuse_address(self, address: Address, rules: ForwardRules) -> Refusal | None:
        """The refusal of an address that the rules allow to no identity; else None."""
        del address, rules
        return None

    def opening(
        self, address: Address, request: ForwardRequest, rules: ForwardRules, how: Listening
    ) -> Opening | Refusal | None:
        """The port or the socket to open for this address alone; None if its visitors come through a shared port."""
        del address, request, rules, how
        return None

    # --- how it is shown

    @abstractmethod
    def duplicate_hint(self, request: ForwardRequest, port: int) -> str:
        """What to write instead of two equal requests. `port` is the request's."""

    def again(self, address: Address) -> str:
        """The refusal of an address that another forward of the connection has."""
        return f"this connection holds {address} already: ask for another"

    @abstractmethod
    def forward_lines(self, shown: ForwardShown, context: NoticeContext) -> list[str]:
        """The notice for the owner of a new forward, of one line or more. Tools parse the first."""

    def lone_lines(self, shown: ForwardShown, context: NoticeContext) -> list[str]:
        """More lines of the notice for the only forward of its command: what its owner may have meant."""
        del shown, context
        return []

    def host_line(self, host: str) -> str:
        """The line of the notice for a forward whose owner has asked for this Host."""
        del host
        return "  host-header= changes nothing here: it is for web addresses"

    def forward_fields(self, shown: ForwardShown, context: NoticeContext) -> dict[str, object]:
        """The fields of a new forward's JSON object that only this kind has."""
        del shown, context
        return {}

    def example(self, rules: ForwardRules) -> str | None:
        """A forward to type after `-R` as a first one; None if there is none."""
        del rules
        return None

    @abstractmethod
    def help_lines(self, context: NoticeContext) -> list[str]:
        """The lines of `help` about this kind; none where the gateway does not serve it."""

    def url(self, address: Address, urls: Urls) -> str | None:
        """The URL to share for an address; None if it has none."""
        del address, urls
        return None

    def plain_url(self, address: Address, urls: Urls) -> str | None:
        """The `http://` URL of an address; None if it has none or HTTP is off."""
        del address, urls
        return None

    def for_people(self, address: Address, urls: Urls) -> str:
        """An address for people, in its shortest usable form."""
        del urls
        return str(address)

    def for_programs(self, address: Address, urls: Urls) -> str:
        """An address for programs, the same in all JSON objects: a hostname, `HOST:PORT`, or `ALIAS:PORT`."""
        del urls
        return str(address)

    def in_full(self, address: Address) -> str:
        """The unambiguous form of an address for `release`: a bare number is a TCP port."""
        return str(address)

    @abstractmethod
    def short(self, text: str) -> str:
        """The shortest form of an address for the operator's commands; `text` is its `str`."""
