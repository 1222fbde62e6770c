"""What is asked of every kind of tunnel, and the values that it is asked with."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol

from ferry.errors import Refusal
from ferry.hostnames import Urls
from ferry.names import Address, IdentityId, Kind
from ferry.protocol.forward_spec import AskedForward

from .rules import ForwardRules, Web


@dataclass(frozen=True, slots=True)
class ForwardRequest:
    """One forward as asked for."""

    kind: Kind
    name: str | None
    """The label asked for (`http`, `alias`); None when the choice is ours."""
    port: int
    """The TCP port (0: of our choice) or the alias's port; 0 for `http`."""
    tls_upstream: bool = False
    wide: bool = False
    """An address beyond loopback was written out (`*`, `0.0.0.0`, …)."""


class Opening(NamedTuple):
    """A TCP port that is listened on for one tunnel."""

    port: int
    loopback: bool


class Telling(Protocol):
    """What the texts about tunnels are made from."""

    @property
    def urls(self) -> Urls: ...
    @property
    def rules(self) -> ForwardRules: ...
    @property
    def public_is_loopback(self) -> bool:
        """Ports of public ranges listen on loopback addresses only."""
        ...


class ForwardShown(Protocol):
    """A forward that was granted, as its owner is told of it."""

    @property
    def address(self) -> Address: ...
    @property
    def bind(self) -> tuple[bytes, int]:
        """The host and the port of the request."""
        ...

    @property
    def tls_upstream(self) -> bool: ...
    @property
    def derived(self) -> bool:
        """Its address is of our choice."""
        ...

    @property
    def asked_wide(self) -> bool:
        """A listen address beyond loopback was written in the request."""
        ...

    @property
    def anonymous(self) -> bool:
        """Its owner came without a key."""
        ...


class TunnelKind(ABC):
    """One kind of tunnel. It has no state. What most kinds have in common is said here, the rest by each."""

    __slots__ = ()

    kind: ClassVar[Kind]
    public: ClassVar[bool] = True
    """The internet may visit; what is not public its owner alone."""
    has_host: ClassVar[bool] = False
    """Its addresses are hostnames, and found by them."""
    has_status: ClassVar[bool] = False
    """Each visit ends in an HTTP status."""
    holds_idle_streams: ClassVar[bool] = False
    """Streams stay open between visits, so that an open one is no visitor."""

    # --- what may be asked for

    @abstractmethod
    def parse(self, asked: AskedForward, web: Web) -> ForwardRequest | None:
        """What a request means, if it is for this kind."""

    @abstractmethod
    def requested(self, request: ForwardRequest, rules: ForwardRules) -> Address | Refusal | None:
        """The address that a request names; None when the choice is ours, a refusal where we choose nothing."""

    def candidate_addresses(
        self, identity: IdentityId, secret: bytes, rules: ForwardRules, had: Sequence[Address]
    ) -> Iterator[Address]:
        """Addresses of our choice, in order; `had` are those of this kind that the identity was given before."""
        del identity, secret, rules, had
        return iter(())

    def of_login_name(self, label: str, rules: ForwardRules) -> Address | None:
        """The address that a login name stands for, where this kind has that."""
        del label, rules
        return None

    def without_key(self) -> Refusal | None:
        """The refusal for somebody who came without a key; None where it takes none to have such a tunnel."""
        return None

    def label_of(self, address: Address, rules: ForwardRules) -> str | None:
        """The label in an address, which the operator may have reserved; None for numbers."""
        del address, rules
        return None

    def outside(self, address: Address, rules: ForwardRules) -> Refusal | None:
        """The refusal of an address that nobody may have under these rules."""
        del address, rules
        return None

    def opening(self, address: Address, rules: ForwardRules) -> Opening | None:
        """The port that is opened for this address alone; None where visitors come through a port for many."""
        del address, rules
        return None

    # --- what is told

    @abstractmethod
    def duplicate_hint(self, request: ForwardRequest, port: int) -> str:
        """What to write in the place of two requests that are equal. `port` is the request's."""

    @abstractmethod
    def forward_lines(self, shown: ForwardShown, told: Telling) -> list[str]:
        """What the owner of a new forward is told; the first line is the one that tools parse."""

    def forward_fields(self, shown: ForwardShown, told: Telling) -> dict[str, object]:
        """What the object of a new forward has for this kind alone."""
        del shown, told
        return {}

    @abstractmethod
    def help_lines(self, told: Telling) -> list[str]:
        """What help says of this kind."""

    def url(self, address: Address, urls: Urls) -> str | None:
        """The URL of an address to give to somebody; None where none leads there."""
        del address, urls
        return None

    def plain_url(self, address: Address, urls: Urls) -> str | None:
        """The `http://` URL of an address; None where it has none, or HTTP is off."""
        del address, urls
        return None

    def where(self, address: Address, urls: Urls) -> str:
        """An address for people, as short as it can be used."""
        del urls
        return str(address)

    def spelled(self, address: Address, urls: Urls) -> str:
        """An address for programs, the same in every object: a hostname, `HOST:PORT`, or `ALIAS:PORT`."""
        del urls
        return str(address)

    def in_full(self, address: Address) -> str:
        """As `release` takes it for this address alone: a number is a port, and no web address has one."""
        return str(address)

    @abstractmethod
    def short(self, text: str) -> str:
        """The shortest form in which an operator may write the address whose `str` is `text`."""
