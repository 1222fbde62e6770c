"""A run: what the tests come to, then each mutant with the tests nearest to it, then survivors with all that reach them."""

from __future__ import annotations

import queue
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from . import survivors
from .judge import Judge, Verdict
from .noticed import Noticed
from .reach import Reach
from .tree import ROOT, Numbered

T = TypeVar("T")
KEPT = ROOT / ".mutants"
"""What tests come to, and what was noticed: a second run goes on where the first ended."""
_COPIES = 3
"""For each processor: most tests that notice a mutant wait for what does not come."""
FIRST_SECONDS = 6.0
"""Of the tests that a mutant is tried with at first."""
_TELL_SECONDS = 60.0
"""After so many each the run says how far it is."""


class Run:
    """Judges the wanted ones of all mutants."""

    def __init__(self, sites: Numbered, files: Sequence[str], known: Mapping[survivors.Key, str]) -> None:
        KEPT.mkdir(exist_ok=True)
        self.verdicts: dict[int, Verdict] = {}
        self._sites = sites
        self._files = files
        self._known = known
        self._noticed = Noticed(KEPT)
        self._reach = Reach(KEPT, sites)
        self._began = time.monotonic()
        self.whole = True
        """It was neither stopped nor ended by a failure."""

    def recall(self, wanted: Iterable[int]) -> None:
        """Take over what was noticed before."""
        for number in wanted:
            if by := self._noticed.by(self._sites[number]):
                self.verdicts[number] = Verdict(self._sites[number], "noticed", by)

    def judge(self, wanted: Sequence[int], jobs: int, seconds: float) -> None:
        """Ctrl-C or a failure ends it early, with the verdicts that there are. `seconds`: of tests, for each survivor."""
        with tempfile.TemporaryDirectory(prefix="fm", ignore_cleanup_errors=True) as folder:
            judges = [Judge(Path(folder, str(number)), self._sites, self._files) for number in range(_COPIES * jobs)]
            try:
                self._judge(judges, jobs, wanted, seconds)
            except (KeyboardInterrupt, Exception) as why:
                for stopping in (signal.SIGINT, signal.SIGTERM):
                    signal.signal(stopping, signal.SIG_IGN)
                if not isinstance(why, KeyboardInterrupt):
                    traceback.print_exc()
                print("stopped: what follows is what was run", file=sys.stderr)
                self.whole = False
            finally:
                for judge in judges:
                    judge.stop()

    def _judge(self, judges: list[Judge], jobs: int, wanted: Sequence[int], seconds: float) -> None:
        share(judges, lambda _, judge: judge.start(), judges)
        judges = [judge for judge in judges if judge.running]
        self._reach.early = judges[0].early
        for file in judges[0].broken:
            self._reach.failed[file] = "cannot be collected"
        unknown = [file for file in self._files if file not in self._reach.failed and not self._reach.known(file)]
        self._say(f"{len(unknown)} files of tests, to see what they come to")
        self._share(judges[:jobs], self._learn, unknown)  # as long as they take, undisturbed
        for test, why in sorted(self._reach.failed.items()):
            print(f"not asked, for it fails as it is: {test}: {why}", flush=True)
        self._say(f"{len(wanted)} mutants, each with {FIRST_SECONDS:.0f} seconds of tests")
        self._share(judges, lambda judge, number: self._ask(judge, number, 0, FIRST_SECONDS), wanted)
        left = [number for number in wanted if number not in self.verdicts]
        self._say(f"{len(left)} survivors of these, each with {seconds:.0f} seconds")
        busy = judges[: 2 * jobs]  # few tests wait where nothing fails
        self._share(busy, lambda judge, number: self._ask(judge, number, FIRST_SECONDS, seconds), left)

    def _say(self, what: str) -> None:
        print(f"{time.monotonic() - self._began:.0f} s: {what}", flush=True)

    def _share(self, judges: list[Judge], work: Callable[[Judge, T], None], things: Sequence[T]) -> None:
        def tell(done: int) -> None:
            states = Counter(verdict.state for verdict in list(self.verdicts.values()))  # they become more meanwhile
            so_far = "".join(f", {count} {state}" for state, count in sorted(states.items()))
            self._say(f"{done} of {len(things)} done{so_far}")

        share([judge for judge in judges if judge.running], work, things, tell, _TELL_SECONDS)

    def _learn(self, judge: Judge, file: str) -> None:
        try:
            answer = judge.learn(file)
        except Exception as failure:
            self._reach.failed[file] = f"asking failed: {failure!r}"
            judge.restart()
        else:
            self._reach.learn(file, answer)

    def _ask(self, judge: Judge, number: int, after: float, seconds: float) -> None:
        """Ask the tests from `after` seconds on up to `seconds`; what passes them all has survived if they are all that
        are asked."""
        site = self._sites[number]
        try:
            tests = self._reach.tests(number, site)
            asked = self._reach.up_to(tests, after), self._reach.up_to(tests, seconds)
            verdict = judge.judge(number, tests[asked[0] : asked[1]], self._reach)
        except Exception as failure:
            if judge.stopped:
                raise
            verdict = Verdict(site, "unjudged", repr(failure))
        if verdict.state == "survived":
            argued = not self._known.get(site.key, survivors.OPEN).startswith(survivors.OPEN)
            if not after and asked[1] < len(tests) and not argued:
                return
            verdict.by = f"{asked[1]} of {len(tests)} tests that come here" if tests else "no test comes here"
        self.verdicts[number] = verdict
        print(f"{verdict.state:9}{site.path}:{site.line}: {site.kind}: {site.source}  [{verdict.by}]", flush=True)
        if verdict.state == "noticed":
            self._noticed.add(site, verdict.by)
        if verdict.state == "unjudged":
            judge.restart()


def share(
    judges: list[Judge],
    work: Callable[[Judge, T], None],
    things: Sequence[T],
    tell: Callable[[int], None] = lambda _: None,
    every: float = _TELL_SECONDS,
) -> None:
    """Each judge takes the next thing when it is done with one. A failure ends one judge; the others go on, and it is
    raised if nobody is left. `tell` learns each so many seconds how many things are done."""
    waiting: queue.SimpleQueue[T] = queue.SimpleQueue()
    for thing in things:
        waiting.put(thing)
    failures: list[BaseException] = []
    done: list[T] = []
    over = threading.Event()

    def until_empty(judge: Judge) -> None:
        try:
            while not over.is_set():
                try:
                    thing = waiting.get_nowait()
                except queue.Empty:
                    return
                work(judge, thing)
                done.append(thing)
        except BaseException as failure:
            failures.append(failure)
            if not over.is_set():
                print(f"one judge less: {failure!r}", file=sys.stderr, flush=True)

    threads = [threading.Thread(target=until_empty, args=(judge,), daemon=True) for judge in judges]
    for thread in threads:
        thread.start()
    telling = time.monotonic() + every
    try:
        for thread in threads:
            while thread.is_alive():
                thread.join(max(0.0, telling - time.monotonic()))
                if time.monotonic() >= telling:
                    tell(len(done))
                    telling += every
    finally:
        over.set()
    if len(failures) == len(threads):
        raise failures[0] if failures else RuntimeError("no judge is left")
