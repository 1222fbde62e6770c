"""`[sshd]`: settings with the names and the meaning of sshd_config(5), for all and below `[[sshd.match]]`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from ferry import limits
from ferry.errors import InvalidInput
from ferry.protocol.host_patterns import parse_host_list
from ferry.protocol.key_algorithms import SIGNATURES, parse_algorithms
from ferry.protocol.permits import ANYWHERE, Permit, Services, parse_permit_listen, parse_permit_open
from ferry.this_host import THIS_HOST

from .values import OptionalFile, Seconds, Section, Words, parsed

MOST_SESSIONS: Final = 100
CRITERIA: Final = ("user", "identity", "tag", "address", "local_address", "local_port")


def _yes_no(value: object) -> object:
    """TOML has true and false where sshd has yes and no."""
    return {True: "yes", False: "no"}.get(value, value) if isinstance(value, bool) else value


def _truth(value: object) -> object:
    return {"yes": True, "no": False}.get(value, value) if isinstance(value, str) else value


def permits_of(words: list[str], parse: Callable[[str, Services], Permit]) -> tuple[Permit, ...] | None:
    """The permits of a list; without an entry for `none`. None for a list that is not set. Raises InvalidInput with what to
    write instead."""
    if not words:
        return None
    if words == ["any"]:
        return ANYWHERE
    if words == ["none"]:
        return ()
    for word in ("any", "none"):
        if word in words:
            raise InvalidInput(f'{word} stands alone: write ["{word}"], or hosts with ports')
    return tuple(parse(word, THIS_HOST.port_of) for word in words)


def _listens(words: list[str]) -> list[str]:
    permits_of(words, parse_permit_listen)
    return words


def _opens(words: list[str]) -> list[str]:
    permits_of(words, parse_permit_open)
    return words


def keys_needed(words: list[str]) -> int | None:
    """How many different keys a log-in needs by `authentication_methods`: as many as the shortest of its lists has. 0 for
    `any`, None if it is not set. Raises InvalidInput."""
    if not words:
        return None
    if words == ["any"]:
        return 0
    if words == ["none"]:
        raise InvalidInput("none would let nobody in: remove it, or stop the gateway")
    if {part for word in words for part in word.split(",")} != {"publickey"}:
        raise InvalidInput(
            'Ferry knows no passwords and asks no other program: write ["publickey"], or for two keys ["publickey,publickey"]'
        )
    needed = min(word.count(",") + 1 for word in words)
    if needed > limits.KEYS_OF_LOGIN:
        raise InvalidInput(f"a log-in may need {limits.KEYS_OF_LOGIN} keys at most, and this needs {needed}")
    return needed


def _methods(words: list[str]) -> list[str]:
    keys_needed(words)
    return words


def _algorithms(words: list[str]) -> list[str]:
    if words:
        parse_algorithms(words)
    return words


def _networks(words: list[str]) -> list[str]:
    if words:
        parse_host_list(",".join(words))
    return words


Directions = Annotated[Literal["yes", "all", "no", "local", "remote"] | None, BeforeValidator(_yes_no)]
Gateway = Annotated[Literal["no", "yes", "clientspecified"] | None, BeforeValidator(_yes_no)]
Truth = Annotated[bool | None, BeforeValidator(_truth)]
Listens = Annotated[Words, AfterValidator(parsed(_listens))]
Opens = Annotated[Words, AfterValidator(parsed(_opens))]
Methods = Annotated[Words, AfterValidator(parsed(_methods))]
Algorithms = Annotated[Words, AfterValidator(parsed(_algorithms))]
Networks = Annotated[Words, AfterValidator(parsed(_networks))]


class Keywords(Section):
    """What may stand in `[sshd]` and below `[[sshd.match]]`. What is not set is Ferry's own rule."""

    allow_tcp_forwarding: Directions = Field(
        None,
        description="Who opens connections: `yes` or `all`; `remote`: only `-R`; `local`: only `-L`, `-D`, `-J` and `-W`; `no`. Web names and aliases are `-R` too.",
    )
    gateway_ports: Gateway = Field(
        None,
        description="Where a port of a public range listens. `no`: on loopback addresses. `yes`: on `tcp.public_addresses`. `clientspecified`: where the client asks, within these. Not set: on `tcp.public_addresses`. Ports of loopback ranges stay there.",
    )
    permit_listen: Listens = Field(
        default_factory=list,
        description='Where `-R` may listen: `["localhost:21001", "22022"]`, with `*` as host and port; `["none"]`, `["any"]`. A name needs an entry with a host: `blog:80`. It narrows what a key\'s own `permitlisten=` allows.',
    )
    permit_open: Opens = Field(
        default_factory=list,
        description='Where `-L`, `-D`, `-J` and `-W` may lead: `["laptop:22", "db.example.com:5432"]`; `["none"]`, `["any"]`. It only narrows: what is not a key\'s own needs `permitopen=` in its line, or a rule of the policy.',
    )
    disable_forwarding: Truth = Field(
        None, description="Turn all forwarding off, whatever else is set. Sessions stay: they show names and help."
    )
    max_sessions: int | None = Field(
        None,
        ge=0,
        le=MOST_SESSIONS,
        description="Sessions open at once on one connection: 10 if it is not set. With 0 forwards work with `ssh -N` alone.",
    )
    allow_streamlocal_forwarding: Directions = Field(
        None,
        description="Unix sockets in `sshd.streamlocal_folder`: `remote` for `-R /x.sock:...`, `local` for `-L ...:/x.sock`, `yes` or `all` for both. Not set: `no`. An identity has a folder of its own there.",
    )
    streamlocal_bind_unlink: Truth = Field(
        None,
        description="`-R` to a socket takes the place of one of the gateway's user that nobody listens on. Not set: such a socket is in the way. The gateway removes its own sockets when they close.",
    )
    authentication_methods: Methods = Field(
        default_factory=list,
        description='`["publickey"]`: nobody is let in without a key, with `access.mode = "anyone"` too. `["publickey,publickey"]`: a log-in needs two different keys of one identity; a third word of them three. `["any"]`: as `access.mode` says. Ferry has no other methods.',
    )
    pubkey_accepted_algorithms: Algorithms = Field(
        default_factory=list,
        description='The algorithms with which keys may sign: names and patterns, such as `["sk-*", "*-cert-v01@openssh.com"]` for security keys and certificates alone. `-` before the first word takes them from all that Ferry has; `+` and `^` leave all. Not set: all.',
    )
    client_alive_interval: Seconds | None = Field(
        None,
        description='`ClientAliveInterval`: how long a client is quiet before the gateway asks it, such as `"15s"`; `0` never asks. Not set: `ssh.keepalive_interval`.',
    )
    client_alive_count_max: int | None = Field(
        None,
        ge=1,
        description="`ClientAliveCountMax`: intervals of silence after which a client counts as gone, at least two. Not set: `ssh.keepalive_count`.",
    )


class SshdMatch(Keywords):
    """What counts for those who meet all of its criteria."""

    user: Words = Field(
        default_factory=list,
        description="Login names: patterns with `*` and `?`, and `!` before one that is left out. A client chooses its login name, unless `%u` in `access.keys` binds keys to it.",
    )
    identity: Words = Field(
        default_factory=list,
        description="Names of identities (`name=web-1`), or fingerprints of keys without a name; `SHA256:...:web-1` is the key id `web-1` of that CA's certificates. Patterns, likewise.",
    )
    tag: Words = Field(
        default_factory=list,
        description="Tags of the policy file (`access.policy`): those who have one of them. Patterns, likewise. A change of the file counts within two seconds, for those who are connected too.",
    )
    address: Networks = Field(
        default_factory=list, description="Addresses of clients: networks and patterns, as in `from=` of a key."
    )
    local_address: Networks = Field(default_factory=list, description="The gateway's address that a client uses.")
    local_port: list[int] = Field(default_factory=list, description="The gateway's port that a client uses.")

    @model_validator(mode="after")
    def _whom(self) -> SshdMatch:
        if not any(getattr(self, criterion) for criterion in CRITERIA):
            raise ValueError('it is for nobody in particular: write user = ["*"] for all, or another criterion')
        return self


class Sshd(Keywords):
    @field_validator("pubkey_accepted_algorithms")
    @classmethod
    def _some_algorithm(cls, words: list[str]) -> list[str]:
        if words and not parse_algorithms(words):
            raise ValueError(f"Ferry has none of these, so nobody could log in: write some of {', '.join(SIGNATURES)}")
        return words

    streamlocal_folder: OptionalFile = Field(
        None,
        description="Folder of Unix sockets, in which each identity has a folder: `/run/ferry/sockets/web-1/x.sock`. It is there already, belongs to the gateway's user, and is not the state folder; one below /run is made by the unit of `ferry install-service`.",
    )
    strict_modes: Truth = Field(
        True,
        description="Files of keys, CAs and principals count only if nobody but root, the gateway's user and, with `%u`, the account of the login name may write them and the folders on the way to them.",
    )
    match: list[SshdMatch] = Field(
        default_factory=list,
        description="Blocks `[[sshd.match]]`. A keyword has the value of the first block that the client meets and that sets it; else the one above.",
    )

    @property
    def tables(self) -> tuple[Keywords, ...]:
        """The settings for all, then those of each block."""
        return (self, *self.match)
