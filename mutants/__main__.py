"""`make mutants`: takes guards out, one at a time, in a copy of the clone, and lists those that no test noticed."""

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import sys
from collections.abc import Sequence

from . import survivors
from .reach import speakers_of
from .report import show
from .run import FIRST_SECONDS, Run
from .sites import Site, sites_in
from .tree import ROOT, Numbered


def main() -> int:
    """Exit code 1 if a mutant survived that `survivors.md` has no reason for, or not all of them were judged."""
    options = _options()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sites = dict(enumerate(_all_sites(), start=1))
    wanted = _wanted(sites, options)
    if options.list:
        for number in wanted:
            site = sites[number]
            print(f"{site.path}:{site.line}: {site.kind}: {site.source}")
        print(f"{len(wanted)} mutants")
        return 0
    known = survivors.read()
    run = Run(
        sites,
        _files(sites, wanted, everything=options.all_tests or bool(options.sample) or len(wanted) == len(sites)),
        known,
    )
    if not options.again:
        run.recall(wanted)
    if left := [number for number in wanted if number not in run.verdicts]:
        run.judge(left, options.jobs, options.seconds)
    verdicts = [run.verdicts[number] for number in wanted if number in run.verdicts]
    judged = [verdict for verdict in verdicts if verdict.state != "unjudged"]
    survived = {verdict.site.key for verdict in judged if verdict.state != "noticed"}
    if options.write:
        known = survivors.merged(known, [verdict.site for verdict in judged], survived)
        survivors.write(known)
    show(verdicts, known, len(wanted) - len(verdicts))
    if not run.whole or len(judged) < len(wanted):
        return 1
    return int(any(known.get(key, survivors.OPEN).startswith(survivors.OPEN) for key in survived))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/mutants", description=__doc__)
    parser.add_argument("only", nargs="*", help="modules or folders below src/ferry, such as ssh/tunnel; all if none")
    parser.add_argument("--changed-since", metavar="REV", help="only modules that differ from this revision")
    parser.add_argument("--kind", action="append", help="guard, operand, bound, limit, verdict, flag or demand")
    parser.add_argument("--at", action="append", type=int, metavar="LINE", help="only what stands on this line")
    parser.add_argument("--sample", type=int, metavar="N", help="only so many of them, drawn at random")
    parser.add_argument(
        "--all-tests",
        action="store_true",
        help="ask each test that comes to a mutant, as for a sample or for all of them; else those that speak for its module",
    )
    parser.add_argument("--seed", type=int, default=1, help="which ones those are (1)")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="processors to use (1)")
    parser.add_argument(
        "--seconds",
        type=float,
        default=30.0,
        metavar="S",
        help=f"of tests that a mutant survives before it counts as a survivor (30); {FIRST_SECONDS:.0f} if it is argued",
    )
    parser.add_argument("--again", action="store_true", help="try what was noticed before too")
    parser.add_argument("--list", action="store_true", help="say what would be taken out, and end")
    parser.add_argument("--write", action="store_true", help="bring mutants/survivors.md up to date")
    return parser.parse_args()


def _all_sites() -> list[Site]:
    source = ROOT / "src/ferry"
    paths = [str(path.relative_to(source)) for path in sorted(source.rglob("*.py"))]
    return [site for path in paths for site in sites_in(ROOT, path)]


def _wanted(sites: Numbered, options: argparse.Namespace) -> list[int]:
    """Numbers of those that the options ask for."""
    only = [name.removesuffix(".py").strip("/") for name in options.only]
    changed: list[str] = []
    if options.changed_since:
        command = ["git", "diff", "--name-only", options.changed_since, "--", "src/ferry"]
        changed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    wanted = [
        number
        for number, site in sites.items()
        if (not only or any(site.path.startswith((f"{name}.py", f"{name}/")) for name in only))
        and (not options.changed_since or f"src/ferry/{site.path}" in changed)
        and (not options.kind or site.kind in options.kind)
        and (not options.at or site.line in options.at)
    ]
    if options.sample:
        wanted = sorted(random.Random(options.seed).sample(wanted, min(options.sample, len(wanted))))
    return wanted


def _files(sites: Numbered, wanted: Sequence[int], *, everything: bool) -> list[str]:
    """Files of tests to ask: all of them, or those that speak for the mutants that are wanted."""
    if everything:
        files = sorted(str(file.relative_to(ROOT)) for file in (ROOT / "tests").rglob("test_*.py"))
    else:
        files = list(dict.fromkeys(file for number in wanted for file in speakers_of(sites[number])))
    return [file for file in files if file != "tests/test_mutants.py"]  # it turns mutants on and off itself


if __name__ == "__main__":
    sys.exit(main())
