"""`make mutants`: takes guards out, one at a time, in a copy of the clone, and says what no test missed."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import queue
import random
import signal
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from . import survivors
from .sites import Site, sites_in
from .speakers import is_own, tests_of, tests_of_bound
from .tree import ROOT, make_tree

T = TypeVar("T")
_KEPT = ROOT / ".mutants"  # what tests reach, and what was noticed: a second run goes on where the first ended
_FILE_SECONDS = 240.0  # for one file of tests, traced
_LEAST_SECONDS = 25.0  # for the tests of one mutant
_MOST_LINES = 2000  # of a module


@dataclass
class Verdict:
    """What the tests made of one mutant."""

    site: Site
    state: str
    """`noticed`, `survived` or `time` (they did not end)."""
    by: str = ""


@dataclass
class Worker:
    """A copy of the clone with a process that runs tests in it."""

    tree: Path
    other_seconds: float | None = None
    """Of tests that reach the mutant and do not speak for its module; None: all."""
    near: bool = False
    """Without tests that start gateways in processes of their own."""
    process: subprocess.Popen[str] = field(init=False)
    modules: dict[str, str] = field(default_factory=dict)
    """A digest of each of the gateway's modules as it is without a mutant."""
    reached: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        make_tree(self.tree)
        source = self.tree / "src/ferry"
        self.modules = {str(path.relative_to(source)): _digest(path.read_bytes()) for path in source.rglob("*.py")}
        python = self.tree / ".venv/bin/python"
        self.process = subprocess.Popen(
            [python, "-m", "mutants.worker"], cwd=self.tree, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, **what: object) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(what) + "\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer

    def reached_by(self, file: str) -> dict[str, Any]:
        """Which lines each test of a file reaches, and in which state of each module: kept until the file changes."""
        if file in self.reached:
            return self.reached[file]
        kept = _KEPT / f"{_digest((self.tree / file).read_bytes())}.json"
        if not kept.exists():
            kept.write_text(json.dumps(self.ask(do="lines", file=file, seconds=_FILE_SECONDS) | {"of": self.modules}))
        self.reached[file] = json.loads(kept.read_text())
        return self.reached[file]

    def _lines(self, site: Site, reached: dict[str, Any]) -> set[str]:
        """Those of the mutant; all of its module where that has changed since the tests were traced."""
        traced = reached["of"].get(site.path) == self.modules[site.path]
        numbers = range(site.line, site.last_line + 1) if traced else range(_MOST_LINES)
        return {f"{site.path}:{number}" for number in numbers}

    def judge(self, site: Site) -> Verdict:
        """Take it out, run what reaches it, put it back."""
        files, chosen, seconds = self._chosen(site)
        if not chosen:
            return Verdict(site, "survived", "no test comes here")
        target = self.tree / "src/ferry" / site.path
        text = target.read_bytes()
        try:
            target.write_bytes(site.applied(text))
            limit = _LEAST_SECONDS + 3 * seconds
            answer = self.ask(do="test", files=files, chosen=chosen, seconds=limit)
            if answer["failed"] and "::" in answer["failed"]:  # once more: a test that fails by chance proves nothing
                again = self.ask(
                    do="test", files=[answer["failed"].split("::")[0]], chosen=[answer["failed"]], seconds=limit
                )
                if not again["failed"] and not again.get("timed_out"):
                    rest = [test for test in chosen if test != answer["failed"]]
                    answer = self.ask(do="test", files=files, chosen=rest, seconds=limit)
        finally:
            target.write_bytes(text)
        if answer.get("timed_out"):
            return Verdict(site, "time")
        return Verdict(site, "noticed", answer["failed"]) if answer["failed"] else Verdict(site, "survived")

    def _chosen(self, site: Site) -> tuple[list[str], list[str], float]:
        """Files of tests, the tests in the order to run them in, and their seconds: those that speak for the module go
        first, without gateways in processes of their own before with, quick before slow."""
        everything = site.path == "limits.py" or site.imported
        ranked: list[tuple[bool, bool, float, str]] = []
        for file in _speakers(self.tree, site):
            reached = self.reached_by(file)
            wanted = self._lines(site, reached)
            for test, (seconds, near, far) in reached["tests"].items():
                is_far = not (everything and not far) and wanted.isdisjoint(near)
                if is_far and self.near:
                    continue
                if test not in reached["failed"] and (everything or not is_far or not wanted.isdisjoint(far)):
                    ranked.append((not (everything or is_own(site.path, test)), is_far, seconds, test))
        spent, others, chosen = 0.0, 0.0, []
        for is_other, _, seconds, test in sorted(ranked):
            others += seconds if is_other else 0
            if not is_other or self.other_seconds is None or others < self.other_seconds:
                chosen.append(test)
                spent += seconds
        return list(dict.fromkeys(test.split("::")[0] for test in chosen)), chosen, spent


def main() -> int:
    """Exit code 1 if a mutant survived that `survivors.md` has no reason for."""
    options = _options()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sites = [site for path in _modules(options) for site in sites_in(ROOT, path)]
    if options.sample:
        drawn = random.Random(options.seed).sample(range(len(sites)), min(options.sample, len(sites)))
        sites = [sites[number] for number in sorted(drawn)]
    if options.list:
        for site in sites:
            print(f"{site.path}:{site.line}: {site.kind}: {site.source}")
        print(f"{len(sites)} mutants")
        return 0
    known = survivors.read()
    if options.trace:
        _trace(sites, options)
        return 0
    verdicts = _judged(sites, options)
    left = {verdict.site.key for verdict in verdicts if verdict.state != "noticed"}
    if options.write:
        known = survivors.merged(known, [verdict.site for verdict in verdicts], left)
        survivors.write(known)
    _show(verdicts, known, len(sites) - len(verdicts))
    return int(any(known.get(key, survivors.OPEN).startswith(survivors.OPEN) for key in left))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/mutants", description=__doc__)
    parser.add_argument("only", nargs="*", help="modules or folders below src/ferry, such as ssh/tunnel; all if none")
    parser.add_argument("--changed-since", metavar="REV", help="only modules that differ from this revision")
    parser.add_argument("--kind", action="append", help="guard, operand, bound, limit, verdict, flag or demand")
    parser.add_argument("--at", action="append", type=int, metavar="LINE", help="only what stands on this line")
    parser.add_argument("--sample", type=int, metavar="N", help="only so many of them, drawn at random")
    parser.add_argument("--seed", type=int, default=1, help="which ones those are (1)")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="copies that are tried at once (1)")
    parser.add_argument(
        "--seconds",
        type=float,
        metavar="S",
        help="of tests that reach a mutant and are another module's; all if not said",
    )
    parser.add_argument("--near", action="store_true", help="leave out tests with gateways in processes of their own")
    parser.add_argument("--again", action="store_true", help="try what was noticed before too")
    parser.add_argument("--trace", action="store_true", help="only note which lines each test reaches, for later runs")
    parser.add_argument("--list", action="store_true", help="say what would be taken out, and end")
    parser.add_argument("--write", action="store_true", help="bring mutants/survivors.md up to date")
    return parser.parse_args()


def _modules(options: argparse.Namespace) -> list[str]:
    source = ROOT / "src/ferry"
    paths = [str(path.relative_to(source)) for path in sorted(source.rglob("*.py"))]
    only = [name.removesuffix(".py").strip("/") for name in options.only]
    if only:
        paths = [path for name in only for path in paths if path.startswith((f"{name}.py", f"{name}/"))]
    if options.changed_since:
        command = ["git", "diff", "--name-only", options.changed_since, "--", "src/ferry"]
        changed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
        paths = [path for path in paths if f"src/ferry/{path}" in changed]
    return paths


def _judged(sites: list[Site], options: argparse.Namespace) -> list[Verdict]:
    """A verdict of each, in the order of `sites`; what is there so far when somebody presses Ctrl-C."""
    noticed = _Noticed()
    verdicts: dict[int, Verdict] = {}
    waiting: dict[str, list[tuple[int, Site]]] = {}
    for number, site in enumerate(sites):
        if (options.kind and site.kind not in options.kind) or (options.at and site.line not in options.at):
            continue
        if not options.again and (by := noticed.by(site)):
            verdicts[number] = Verdict(site, "noticed", by)
        else:
            waiting.setdefault(site.path, []).append((number, site))

    def judge(worker: Worker, numbered: tuple[int, Site]) -> None:
        number, site = numbered
        verdict = verdicts[number] = worker.judge(site)
        print(f"{verdict.state:9}{site.path}:{site.line}: {site.kind}: {site.source}  [{verdict.by}]", flush=True)
        if verdict.state == "noticed":
            noticed.add(site, verdict.by)

    with _workers(options, 0 if not waiting else options.jobs) as workers:
        for module in waiting.values():
            _share(workers, _read, _speakers_of(workers, (site for _, site in module)))
            _share(workers, judge, module)
    return [verdicts[number] for number in sorted(verdicts)]


def _trace(sites: list[Site], options: argparse.Namespace) -> None:
    with _workers(options, options.jobs) as workers:
        _share(workers, _read, _speakers_of(workers, sites))


@contextlib.contextmanager
def _workers(options: argparse.Namespace, jobs: int) -> Generator[list[Worker]]:
    """As many copies as `jobs`; Ctrl-C ends what is done with them, not the report of it."""
    _KEPT.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="fm", ignore_cleanup_errors=True) as folder:
        workers = [Worker(Path(folder, str(number)), options.seconds, options.near) for number in range(jobs)]
        try:
            yield workers
        except KeyboardInterrupt:
            print("stopped: what follows is what was run", file=sys.stderr)
        for worker in workers:
            worker.process.terminate()
            worker.process.wait()


def _speakers_of(workers: list[Worker], sites: Iterable[Site]) -> Iterable[str]:
    """Files of tests that speak for any of the sites, each once."""
    return dict.fromkeys(file for site in sites for file in _speakers(workers[0].tree, site))


def _read(worker: Worker, file: str) -> None:
    if failed := worker.reached_by(file)["failed"]:
        print(f"not asked, for they fail as it is, or traced: {failed}", flush=True)


def _share(workers: list[Worker], work: Callable[[Worker, T], None], things: Iterable[T]) -> None:
    """Each worker takes the next thing when it is done with one."""
    waiting: queue.SimpleQueue[T] = queue.SimpleQueue()
    for thing in things:
        waiting.put(thing)

    def until_empty(worker: Worker) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                work(worker, waiting.get_nowait())

    threads = [threading.Thread(target=until_empty, args=(worker,), daemon=True) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _speakers(tree: Path, site: Site) -> list[str]:
    return tests_of_bound(tree, site.source) if site.path == "limits.py" else tests_of(tree, site.path)


class _Noticed:
    """What a test noticed before, while its module stays as it is."""

    def __init__(self) -> None:
        self._file = _KEPT / "noticed.json"
        self._texts: dict[str, bytes] = {}
        self._rows: dict[str, str] = json.loads(self._file.read_text()) if self._file.exists() else {}

    def by(self, site: Site) -> str:
        test = self._rows.get(self._name(site), "")
        return test if test and (ROOT / test.split("::")[0]).exists() else ""

    def add(self, site: Site, test: str) -> None:
        self._rows[self._name(site)] = test
        self._file.write_text(json.dumps(self._rows))

    def _name(self, site: Site) -> str:
        if site.path == "limits.py":  # each bound by itself: the others may change
            return hashlib.sha256(repr((site.key, site.becomes)).encode()).hexdigest()
        text = self._texts.setdefault(site.path, (ROOT / "src/ferry" / site.path).read_bytes())
        return hashlib.sha256(repr((site, text)).encode()).hexdigest()


def _digest(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()[:24]


def _show(verdicts: list[Verdict], known: dict[survivors.Key, str], not_run: int) -> None:
    count: dict[str, Counter[str]] = {}
    print("\nsurvivors:")
    for verdict in verdicts:
        site = verdict.site
        why = known.get(site.key, survivors.OPEN)
        state = verdict.state if verdict.state == "noticed" else "open" if why.startswith(survivors.OPEN) else "argued"
        count.setdefault(site.path, Counter())[state] += 1
        count[site.path]["time"] += verdict.state == "time"
        if state != "noticed":
            ended = " (the tests did not end in time)" if verdict.state == "time" else ""
            print(f"  {site.path}:{site.line}: {site.kind}: {site.source}{ended}: {why}")
    print(f"\n{'module':32}{'mutants':>8}{'noticed':>8}{'argued':>8}{'open':>8}{'of these by time':>18}")
    for path, row in [*count.items(), ("all", sum(count.values(), Counter[str]()))]:
        made = row["noticed"] + row["argued"] + row["open"]
        print(f"{path:32}{made:8}{row['noticed']:8}{row['argued']:8}{row['open']:8}{row['time']:18}")
    total = sum(count.values(), Counter[str]())
    if ran := total["noticed"] + total["argued"] + total["open"]:
        print(
            f"{100 * total['noticed'] / ran:.1f} % noticed, {100 * (total['noticed'] + total['argued']) / ran:.1f} % with those argued"
        )
    if not_run:
        print(f"{not_run} not run")


if __name__ == "__main__":
    sys.exit(main())
