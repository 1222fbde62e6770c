"""Any script of an SSH connection, cut anywhere, through our packet path and through asyncssh's own: the same is seen."""

from __future__ import annotations

import asyncio
import functools
import random
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import uvloop
from hypothesis import strategies as st

from ferry.ssh.wire.connection import HardenedConnection
from ssh.wire.lean_script import AsyncsshsOwn, Step, play
from ssh.wire.lean_steps import OPEN, SIZES, steps
from ssh_command import make_key

from .target import Target, Value, grown

GCM = "aes128-gcm@openssh.com"
CIPHERS = (GCM, "aes256-gcm@openssh.com")


@functools.cache
def key_pair() -> Path:
    """One for all connections of this process."""
    return make_key(Path(tempfile.mkdtemp(prefix="ferry-fuzz-")) / "key")


def chopped(most: int, number: int) -> type[HardenedConnection]:
    """A connection to which the bytes come in pieces of at most `most`, as the seed `number` has it."""
    sizes = random.Random(number)

    class Chopped(HardenedConnection):
        def data_received(self, data: bytes, datatype: Any = None) -> None:
            at = 0
            while at < len(data):
                size = sizes.randint(1, most)
                super().data_received(data[at : at + size], datatype)
                at += size

    return Chopped


def run(coroutine: Coroutine[Any, Any, list[object]]) -> list[object]:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(coroutine)


def check(value: Value) -> None:
    (cipher, most, number), script = value[0], value[1:]
    moved = sum(step[2] for step in script if step[0] in ("write", "data"))
    kind = chopped(max(most, moved // 2000), number) if most else HardenedConnection
    lean = run(play(script, key_pair(), kind, cipher))
    assert lean == run(play(script, key_pair(), AsyncsshsOwn, cipher))


_STEPS = steps(SIZES | st.integers(1, 40_000))
_CUTS = st.tuples(st.sampled_from(CIPHERS), st.sampled_from([0, 1, 7, 60, 5000]), st.integers(0, 1000))


@st.composite
def _scripts(draw: st.DrawFn) -> list[Step]:
    opens = draw(st.lists(OPEN, min_size=1, max_size=3))
    return [draw(_CUTS), *opens, *draw(st.lists(_STEPS, max_size=40))]


TARGET = Target(
    "packets",
    grown("packets", _scripts(), st.lists(_STEPS, max_size=3), head=2),
    check,
    ("ferry.ssh.wire.packets", "ferry.ssh.wire.channel"),
    in_tests=6,
)
