"""Draws cells at random: an account's settings in sshd_config, the options of a key's line, and a command of ssh.

A cell's texts have fields in braces, which `Place` fills in when it is known where the cell is tried.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar

_Part = TypeVar("_Part")


@dataclass(frozen=True, slots=True)
class Place:
    """What the fields of a cell's texts mean, while it is tried."""

    user: str
    here: str
    """The address of the client."""
    target: int
    """The port of a service on 127.0.0.1."""
    closed: int
    """A port on which nobody listens."""
    ports: Sequence[int]
    """Three, for -R."""
    local: Sequence[int]
    """Three, for -L and -D."""

    def fill(self, text: str) -> str:
        return text.format(
            user=self.user, here=self.here, target=self.target, closed=self.closed, first=self.ports[0],
            second=self.ports[1], third=self.ports[2], one=self.local[0], two=self.local[1], three=self.local[2],
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Request:
    """One forward that ssh asks for."""

    flag: str
    """`-R`, `-L`, `-D` or `-W`."""
    listen: str
    """With the bind address, if it has one. Empty for `-W`."""
    to: str
    """The target. Empty for `-R` without one, which makes ssh a SOCKS proxy."""
    proxy: str = ""
    """The version of SOCKS that the visitor of a proxy speaks, as curl calls it."""

    @property
    def argument(self) -> str:
        return self.listen if self.proxy else ":".join(text for text in (self.listen, self.to) if text)

    @property
    def shown(self) -> str:
        return f"{self.flag} {self.argument}" + (f" (to {self.to} by {self.proxy})" if self.proxy else "")


@dataclass(frozen=True, slots=True)
class Block:
    """A `Match` block for the address of the cell's client, and further criteria."""

    criteria: str
    keywords: tuple[str, ...]

    def lines(self, place: Place) -> str:
        below = "".join(f"    {place.fill(keyword)}\n" for keyword in self.keywords)
        return f"Match Address {place.here} {place.fill(self.criteria)}".rstrip() + f"\n{below}"


@dataclass(frozen=True, slots=True)
class Cell:
    """What is tried at both servers."""

    blocks: tuple[Block, ...]
    options: tuple[str, ...]
    requests: tuple[Request, ...]
    exits: bool
    """ExitOnForwardFailure."""
    session: bool
    """A session with the command `ls`. Without it `-N`, or `-W`."""

    def __str__(self) -> str:
        settings = "; ".join(
            " ".join(("Match Address {here}", block.criteria)).rstrip() + ": " + ", ".join(block.keywords)
            for block in self.blocks
        )
        end = (
            "-o ExitOnForwardFailure=" + ("yes " if self.exits else "no ") + ("HOST ls" if self.session else "-N HOST")
        )
        command = " ".join(["ssh", *(request.shown for request in self.requests), end])
        return f"settings: {settings or '(none)'}\nkey: {','.join(self.options) or '(no options)'}\n{command}"

    @property
    def size(self) -> int:
        """The number of its parts."""
        blocks = sum(1 + len(block.keywords) for block in self.blocks)
        return blocks + len(self.options) + len(self.requests) + self.exits + self.session

    def smaller(self) -> Iterator[Cell]:
        """The cells that lack one part of this one."""
        for number, block in enumerate(self.blocks):
            before, after = self.blocks[:number], self.blocks[number + 1 :]
            yield replace(self, blocks=(*before, *after))
            for keywords in _without_one(block.keywords):
                if keywords:
                    yield replace(self, blocks=(*before, replace(block, keywords=keywords), *after))
        for options in _without_one(self.options):
            yield replace(self, options=options)
        for requests in _without_one(self.requests):
            if requests:
                yield replace(self, requests=requests)
        if self.exits:
            yield replace(self, exits=False)
        if self.session:
            yield replace(self, session=False)


def _without_one(parts: tuple[_Part, ...]) -> Iterator[tuple[_Part, ...]]:
    for number in range(len(parts)):
        yield (*parts[:number], *parts[number + 1 :])


# --- what cells are drawn from

CRITERIA: Final = (
    "", "", "", "User {user}", "User {user}", "User *,!{user}", "User nobody", "User no*,{user}", "LocalAddress 127.0.0.0/8",
    "LocalAddress 192.0.2.1", "LocalPort 1", "User {user} LocalAddress 127.0.0.1,::1",
)  # fmt: skip
KEYWORDS: Final = (
    ("AllowTcpForwarding", ("yes", "yes", "all", "all", "no", "local", "remote")),
    ("GatewayPorts", ("no", "yes", "clientspecified", "clientspecified")),
    (
        "PermitListen",
        (
            "any", "any", "none", "{first}", "{first} {second} {third}", "localhost:{first}", "localhost:*", "*:{first} *:{second}",
            "127.0.0.1:{first} [::1]:{first}", "0.0.0.0:{first} localhost:{second}", "*:*",
        ),
    ),
    (
        "PermitOpen",
        (
            "any", "none", "localhost:{target}", "localhost:{target} 127.0.0.1:{target}", "127.0.0.1:*", "*:{target}",
            "[::1]:{target} localhost:{closed}", "localhost:1",
        ),
    ),
    ("DisableForwarding", ("yes", "no", "no", "no")),
    ("MaxSessions", ("0", "1", "2")),
)  # fmt: skip
RIGHTS: Final = (
    (), (), (), (), (), ("restrict",), ("no-port-forwarding",), ("restrict", "port-forwarding"), ("restrict", "port-forwarding"),
    ("restrict", "pty"), ("no-pty", "no-user-rc"), ("port-forwarding", "no-port-forwarding"), ("No-Port-Forwarding", "port-forwarding"),
)  # fmt: skip
LISTENS: Final = (
    "{first}", "{second}", "localhost:{first}", "localhost:{second}", "*:{first}", "127.0.0.1:{first}", "[::1]:{first}",
    "0.0.0.0:{first}", "localhost:*", "*:*", "LOCALHOST:{first}", "*", "127.0.0.?:{first}",
)  # fmt: skip
OPENS: Final = (
    "localhost:{target}", "127.0.0.1:{target}", "*:*", "*:{target}", "localhost:*", "[::1]:{target}", "localhost:{closed}",
    "localhost:{first}", "LOCALHOST:{target}", "127.0.0.2:{target}",
)  # fmt: skip
COMMANDS: Final = ('command="/bin/false"', 'command="exit 0"', 'command="/sbin/nologin"')
ORIGINS: Final = (
    "{here}", "127.0.0.0/8", "127.*,!{here}", "10.0.0.0/8", "*,!10.0.0.0/8", "*", "!127.0.0.0/8,*", "192.0.2.1,127.?.*",
)  # fmt: skip
EXPIRIES: Final = ("20200101", "20991231", "209912312359Z", "202001010000Z", "20991231235959Z")
BIND: Final = (
    "",
    "",
    "localhost:",
    "127.0.0.1:",
    "[::1]:",
    "*:",
    ":",
    "0.0.0.0:",
    "[::]:",
    "127.0.0.9:",
    "192.0.2.77:",
)
PORTS: Final = ("{first}", "{first}", "{first}", "{second}", "0")
SERVED: Final = (
    "127.0.0.1:{target}",
    "127.0.0.1:{target}",
    "localhost:{target}",
    "127.0.0.1:{target}",
    "localhost:{target}",
    "127.0.0.1:{closed}",
)
DIALLED: Final = (
    "localhost:{target}", "localhost:{target}", "127.0.0.1:{target}", "LOCALHOST:{target}", "[::1]:{target}",
    "127.0.0.2:{target}", "localhost:{closed}", "nowhere.invalid:{target}",
)  # fmt: skip
OWN: Final = ("localhost", "localhost", "127.0.0.1", "[::1]")
PROXIES: Final = ("socks4", "socks4a", "socks5", "socks5h")


def draw(seed: int, count: int) -> list[Cell]:
    """The same cells for the same seed."""
    chance = random.Random(seed)
    return [_cell(chance) for _ in range(count)]


def _cell(chance: random.Random) -> Cell:
    requests = _requests(chance)
    alone = requests[0].flag == "-W"
    return Cell(
        blocks=_blocks(chance),
        options=_options(chance),
        requests=requests,
        exits=chance.random() < 0.4 and not alone,
        session=chance.random() < 0.2 and not alone,
    )


def _blocks(chance: random.Random) -> tuple[Block, ...]:
    found = []
    for _ in range(chance.choices((0, 1, 2, 3), (2, 5, 4, 1))[0]):
        chosen = [each for each in KEYWORDS if chance.random() < (0.6 if each[0] == "GatewayPorts" else 0.3)]
        keywords = tuple(f"{name} {chance.choice(values)}" for name, values in chosen)
        if keywords:
            found.append(Block(chance.choice(CRITERIA), keywords))
    return tuple(found)


def _options(chance: random.Random) -> tuple[str, ...]:
    options = list(chance.choice(RIGHTS))
    for name, values, likely in (("permitlisten", LISTENS, 0.3), ("permitopen", OPENS, 0.3)):
        if chance.random() < likely:
            options += [f'{name}="{value}"' for value in chance.sample(values, chance.choice((1, 1, 2, 3)))]
    for likely, option in (
        (0.15, chance.choice(COMMANDS)),
        (0.15, f'from="{chance.choice(ORIGINS)}"'),
        (0.12, f'expiry-time="{chance.choice(EXPIRIES)}"'),
    ):
        if chance.random() < likely:
            options.append(option)
    return tuple(options)


def _requests(chance: random.Random) -> tuple[Request, ...]:
    if chance.random() < 0.15:
        return (Request("-W", "", chance.choice(DIALLED)),)
    ports = list(PORTS)
    chance.shuffle(ports)
    asked, used, local = list[Request](), set[str](), iter(("{one}", "{two}", "{three}"))
    for flag in chance.choices(("-R", "-L", "-D"), (6, 3, 2), k=chance.choice((1, 1, 1, 2, 3))):
        if flag == "-R":
            port = next(port for port in (*ports, "{third}") if port == "0" or port not in used)
            used.add(port)
            proxy = chance.choice(PROXIES) if chance.random() < 0.15 else ""
            to = "127.0.0.1:{target}" if proxy else chance.choice(SERVED)
            asked.append(Request("-R", chance.choice(BIND) + port, to, proxy))
            ports = ports[1:]
        else:
            port = f"127.0.0.1:{next(local)}"
            dialled = [*DIALLED, *(f"{host}:{taken}" for taken in sorted(used - {"0"}) for host in OWN)]
            asked.append(Request(flag, port, chance.choice(dialled), chance.choice(PROXIES) if flag == "-D" else ""))
    return tuple(asked)
