"""`make conformance`: OpenSSH's regression scripts against Ferry, two at a time, and a table of how they ended."""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ThreadPoolExecutor

from .scripts import SCRIPTS, Outcome, run, shaped_sshd

_AT_ONCE = 2


def main() -> int:
    """Exit code 1 if a script failed."""
    parser = argparse.ArgumentParser(prog="scripts/conformance", description=__doc__)
    parser.add_argument("scripts", nargs="*", help="names of scripts, such as connect; all of them if none is named")
    parser.add_argument("--verbose", action="store_true", help="show all that they write")
    options = parser.parse_args()
    names = {script.name for script in SCRIPTS}
    if unknown := set(options.scripts) - names:
        parser.error(f"there is no script {', '.join(sorted(unknown))}: {', '.join(sorted(names))}")
    chosen = [script for script in SCRIPTS if not options.scripts or script.name in options.scripts]
    with shaped_sshd() as place, ThreadPoolExecutor(_AT_ONCE) as pool:
        outcomes = [_told(outcome, options.verbose) for outcome in pool.map(lambda script: run(script, place), chosen)]
    failed = [outcome.script.name for outcome in outcomes if not outcome.passed]
    print(f"{len(outcomes) - len(failed)} of {len(outcomes)} passed" + (f", not {', '.join(failed)}" if failed else ""))
    return int(bool(failed))


def _told(outcome: Outcome, verbose: bool) -> Outcome:
    print(f"{'ok' if outcome.passed else 'FAILED':8}{outcome.seconds:6.1f} s  {outcome.script.name}", flush=True)
    if verbose or not outcome.passed:
        print(outcome.text, flush=True)
    return outcome


sys.exit(main())
