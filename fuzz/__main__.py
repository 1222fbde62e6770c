"""`make fuzz`: draws values at random for every target, and writes what it finds into the corpus."""

from __future__ import annotations

import argparse
import secrets
import sys
import traceback

from .drawing import draw_for
from .target import CORPUS, keep, name_case
from .targets import TARGETS

MINUTES = 10.0
ROOT = CORPUS.parents[1]


def main() -> int:
    """Exit code 1 if something failed."""
    parser = argparse.ArgumentParser(prog="scripts/fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", help=f"of {', '.join(TARGETS)}; all of them if none is named")
    parser.add_argument("--seconds", type=float, help="for each target; by default ten minutes in all")
    parser.add_argument("--seed", type=int, help="the first seed, to draw the same values again")
    options = parser.parse_args()
    names = options.targets or list(TARGETS)
    if unknown := [name for name in names if name not in TARGETS]:
        parser.error(f"no such target: {', '.join(unknown)}; there are {', '.join(TARGETS)}")
    seconds = options.seconds if options.seconds is not None else MINUTES * 60 / len(names)
    first = options.seed if options.seed is not None else secrets.randbits(32)
    print(f"seed {first}, {seconds:.0f} s for each of {len(names)} targets", flush=True)
    failed = False
    for name in names:
        drawn = draw_for(TARGETS[name], first, seconds)
        kept = sum(keep(name, value) for value in drawn.new)
        print(f"{name:<14} {drawn.count:>8} values in {drawn.seconds:5.0f} s, {kept} of them new ways", flush=True)
        if drawn.failure is None:
            continue
        failed = True
        error = drawn.failure.error
        traceback.print_exception(error, limit=-6, file=sys.stderr)
        path = name_case(name, f"{type(error).__name__}: {error}", drawn.failure.value)
        print(
            f"  FAILED: the value is kept in {path.relative_to(ROOT)}: give it a name that says why. It is replayed by"
        )
        print(f"  .venv/bin/pytest tests/test_fuzz.py -k {name}-{path.stem}", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
