"""`scripts/conformance cells`: settings, options of keys and commands drawn at random, at sshd and at Ferry alike."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path
from typing import Final

from .comparing import compared, smallest, told
from .drawing import draw

_COUNT: Final = 400
_SHOWN: Final = 10


def main() -> int:
    """Exit code 1 if a cell differs."""
    parser = argparse.ArgumentParser(prog="scripts/conformance cells", description=__doc__)
    parser.add_argument(
        "--seed", type=int, help="of an earlier run, to draw its cells again; else another one each time"
    )
    parser.add_argument("--count", type=int, default=_COUNT, help=f"how many cells; {_COUNT} if not given")
    options = parser.parse_args()
    seed = random.SystemRandom().randrange(1 << 32) if options.seed is None else options.seed
    print(
        f"{options.count} cells beside sshd: scripts/conformance cells --seed {seed} --count {options.count}",
        flush=True,
    )
    with tempfile.TemporaryDirectory() as folder:
        found = compared(draw(seed, options.count), Path(folder))
    wanted = ", ".join(f"{count} × {name}" for name, count in sorted(found.wanted.items()))
    print(f"{len(found.differ)} of {len(found.all)} differ. Wanted differences: {wanted or 'none'}")
    if not found.differ:
        return 0
    for each in found.differ[:_SHOWN]:
        print(f"\n{told(each)}")
    print(f"\nthe smallest:\n{told(smallest(found.differ))}")
    return 1


sys.exit(main())
