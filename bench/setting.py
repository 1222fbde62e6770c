"""What every measure is given: how much to do, where, and a tunnel to do it through."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from .keys import Keys
from .origin import Origin
from .processes import BenchError, Program, cpu_seconds, wait_until
from .systems import Direct, Place, System
from .web import answers

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Effort:
    """How long and how much. Every number here is a bound too."""

    load_seconds: float = 4.0
    warm_seconds: float = 1.0
    log_blocks: int = 5  # of four turns each
    open_loop_seconds: float = 20.0  # long, because the machine's own stalls make most of a p99
    bulk_bytes: int = 1024 * MIB
    idle_clients: int = 1000
    idle_sshd_clients: int = 150  # two processes each
    starts: int = 7
    storm_clients: int = 150
    comeback_clients: int = 1000
    leavers: int = 10_000
    attack_seconds: float = 20.0
    attack_warm_seconds: float = 3.0
    attack_calm_seconds: float = 3.0


QUICK = Effort(
    load_seconds=1.5,
    warm_seconds=0.3,
    log_blocks=1,
    open_loop_seconds=2.0,
    bulk_bytes=256 * MIB,
    idle_clients=150,
    idle_sshd_clients=30,
    starts=3,
    storm_clients=30,
    comeback_clients=150,
    leavers=1000,
    attack_seconds=6.0,
    attack_warm_seconds=2.0,
    attack_calm_seconds=2.0,
)


@dataclass(frozen=True, slots=True)
class Site:
    """The origin, as visitors reach it through one system."""

    system: System
    port: int
    host: str
    gateway: Program | None
    """None without a tunnel."""
    place: Place | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def cpu(self) -> float:
        """CPU seconds of the gateway's own processes so far."""
        return cpu_seconds(self.gateway.pid) if self.gateway else 0.0


@dataclass
class Setting:
    """The folder, keys and origin of one run of the bench."""

    folder: Path
    keys: Keys
    origin: Origin
    effort: Effort
    details: dict[str, object] = field(default_factory=dict)
    """What a row wants in the JSON beside its figures, by the row's name and the system's."""
    _numbers: Iterator[int] = field(default_factory=count)

    def place(self) -> Place:
        """A new place for a system."""
        return Place.make(self.folder / f"place{next(self._numbers)}", self.keys, self.origin.port)

    def new_folder(self, name: str) -> Path:
        """A folder that nothing else has."""
        path = self.folder / f"{name}{next(self._numbers)}"
        path.mkdir()
        return path

    @contextmanager
    def site(self, system: System, name: str = "foo") -> Iterator[Site]:
        """A fresh gateway and one client of it, with `name` answering."""
        host = system.host(name)
        if isinstance(system, Direct):
            yield Site(system, self.origin.port, host, None)
            return
        place = self.place()
        with system.started(place) as gateway, Program(system.client(place, name), place.folder) as client:
            port = system.visited_at(place)
            wait_until(lambda: client.runs() and answers(port, host), f"a tunnel through {system.name}", every=0.05)
            yield Site(system, port, host, gateway, place)
            gateway.runs()
            client.runs()


def per(amount: float, number: float) -> float:
    """`amount` for each of `number`. Raises BenchError where there was none at all."""
    if number <= 0:
        raise BenchError("nothing succeeded")
    return amount / number
