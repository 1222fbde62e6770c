"""The bench's end of `bench.farm`: start it, ask for clients, hear when they are there."""

from __future__ import annotations

import getpass
import json
import os
import select
import subprocess
import sys
from dataclasses import asdict
from typing import Any, Self

from .farm import Spec
from .processes import HOME, BenchError
from .systems import Place, System


class Farmhand:
    """A process full of clients. Leaving the context ends it."""

    def __init__(self, system: System, place: Place, *, stay: bool = False) -> None:
        spec = Spec(
            ssh_port=place.ssh_port,
            origin_port=place.origin_port,
            keys=str(place.keys.folder),
            names=system.http,
            user=getpass.getuser(),
            stay=stay,
        )
        self._log = (place.folder / "farm.log").open("wb")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.farm", json.dumps(asdict(spec))],
            cwd=HOME,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        os.set_blocking(self._process.stdout.fileno(), False)
        self._text = b""

    def grow(self, clients: int, *, seconds: float) -> float:
        """Have so many clients in all. Returns the seconds it took; BenchError where some failed."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"%d\n" % clients)
        self._process.stdin.flush()
        said = self.hear(seconds)
        if said["connected"] != clients:
            raise BenchError(f"{said['connected']} of {clients} clients connected: {said['failed']}")
        return float(said["seconds"])

    def hear(self, seconds: float) -> dict[str, Any]:
        """The next thing it says."""
        assert self._process.stdout is not None
        while b"\n" not in self._text:
            if not select.select([self._process.stdout], [], [], seconds)[0]:
                raise BenchError(f"the clients said nothing for {seconds:.0f} s")
            data = self._process.stdout.read()
            if not data:
                raise BenchError("the clients' process ended")
            self._text += data
        line, _, self._text = self._text.partition(b"\n")
        said: dict[str, Any] = json.loads(line)
        return said

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._log.close()
