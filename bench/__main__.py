"""`python -m bench`: rounds in which every system is measured beside the others, then tables of medians and ratios.

A round goes through all measures; within a measure the systems follow each other directly (A B C, C B A, …), each in a
fresh process. The machine's speed drifts by a factor of two within an hour, so only what ran side by side is compared.
Checkouts of Ferry that are compared take turns within a measure (`bench.turns`).
"""

from __future__ import annotations

import json
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from . import machine
from .attempts import DISTURBED, MOST, PAUSES, attempts, least_disturbed
from .keys import Keys
from .options import Options, parse
from .origin import serving
from .page import publish
from .processes import free_ports
from .results_table import Results, Sample, pair_table, tables
from .rows import Row
from .setting import MIB, Setting
from .systems import System
from .targets import target_table
from .turns import in_turns

KEYS = 1100  # more than any measure has clients
_FOLDER = Path(__file__).with_name("results")


def main() -> int:
    """Run what the command line asks for. Exit code 1 if something could not be measured."""
    options = parse()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends like Ctrl-C: every `with` cleans up
    machine.allow_many_files()
    present = [system for system in options.systems if not system.missing]
    absent = [f"{system.name}: {system.missing}" for system in options.systems if system.missing]
    for line in absent:
        _say(f"left out: {line}")
    facts = machine.facts() | {"systems": "; ".join(dict.fromkeys(system.version() for system in present))}
    folder = _working_folder(options.effort.bulk_bytes)
    results = Results(rounds=options.rounds)
    try:
        _measure_all(folder, options, present, results)
    except KeyboardInterrupt:
        _say("interrupted: what follows is not a whole run")
        results.faults.append("the run was interrupted")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    text = _report(options, facts, absent, results)
    print(text)
    _write(options, facts, results, text)
    return 1 if results.faults else 0


def _measure_all(folder: Path, options: Options, systems: list[System], results: Results) -> None:
    keys = Keys.make(folder / "keys", KEYS)
    with serving(folder, next(free_ports()), bulk_bytes=options.effort.bulk_bytes) as origin:
        setting = Setting(folder, keys, origin, options.effort, results.details)
        for number in range(1, options.rounds + 1):
            for row in options.rows:
                concerned = [system for system in systems if row.concerns(system) and not (row.once and number > 1)]
                for together in _groups(row, options, concerned if number % 2 else concerned[::-1]):
                    names = [system.name for system in together]
                    label = f"round {number}/{options.rounds}  {row.name}  {', '.join(names)}"
                    found = _measure(
                        partial(_samples, row, setting, together), label, results, in_turns=len(together) > 1
                    )
                    for name in names:
                        results.add(row, name, found.get(name))


def _groups(row: Row, options: Options, systems: Sequence[System]) -> list[list[System]]:
    """What is measured together: the checkouts of one kind of Ferry where they take turns, else each alone."""
    if not (options.against and row.turns):
        return [[system] for system in systems]
    kinds = dict.fromkeys(map(type, systems))
    return [[system for system in systems if type(system) is kind] for kind in kinds]


def _samples(row: Row, setting: Setting, systems: list[System]) -> dict[str, Sample]:
    if len(systems) > 1:
        return in_turns(row, setting, systems)
    (alone,) = systems
    return {alone.name: row.measure(setting, alone)}


def _measure(
    measure: Callable[[], dict[str, Sample]], label: str, results: Results, *, in_turns: bool
) -> dict[str, Sample]:
    """By system, what was found; empty where it could not be measured. The host disturbs those `in_turns` alike."""
    began = time.monotonic()
    made = attempts(measure, pauses=() if in_turns else PAUSES)
    results.host_took[label] = [attempt.taken for attempt in made]
    best = least_disturbed(made)
    found = best.found or {}
    shown = best.fault or " | ".join(
        "  ".join(f"{key} {value:,.2f}" for key, value in sample.items()) for sample in found.values()
    )
    taken = ", ".join(f"{attempt.taken:.1%}" for attempt in made)
    _say(f"{label}: {shown}  ({time.monotonic() - began:.0f} s, of which the host took {taken})")
    if best.fault:
        results.faults.append(f"{label}: {best.fault}")
    return found


def _report(options: Options, facts: dict[str, str], absent: list[str], results: Results) -> str:
    about = "\n".join(f"* {name}: {value}" for name, value in facts.items())
    kind = "" if options.whole else " (quick or partial: to see that all works, not to be quoted)"
    made = "One round" if options.rounds == 1 else f"Medians of {options.rounds} interleaved rounds"
    rounds = f"{made}{kind}; everything on loopback of one machine."
    parts = [f"# Ferry beside others, {facts['date'][:10]}", about, rounds, tables(results)]
    if options.against:
        parts.append(f"## After / before, in each round\n\n{pair_table(results)}")
    elif targets := target_table(results):
        parts.append(f"## Ratios and targets\n\nThe ratio is taken within each round.\n\n{targets}")
    if absent:
        parts.append("## Left out\n\n" + "\n".join(f"* {line}" for line in absent))
    if disturbed := [
        f"* {label}: {min(taken):.0%}" for label, taken in results.host_took.items() if min(taken) > DISTURBED
    ]:
        always = f"In {MOST} attempts the host of this machine never took less than {DISTURBED:.0%} of the time:"
        parts.append("\n".join(["## Disturbed\n", f"{always}\n", *disturbed]))
    if results.faults:
        parts.append("## Could not be measured\n\n" + "\n".join(f"* {line.splitlines()[0]}" for line in results.faults))
    return "\n\n".join(part for part in parts if part) + "\n"


def _write(options: Options, facts: dict[str, str], results: Results, text: str) -> None:
    path = options.out
    if path is None:
        if not options.whole or "the run was interrupted" in results.faults:
            return
        path = _FOLDER / f"{datetime.now(UTC):%Y-%m-%d}-{machine.short_name()}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_name(path.name + ".md").write_text(text)
    found = {"facts": facts, "rounds": results.rounds, "faults": results.faults, "samples": results.samples}
    found |= {"details": results.details, "host took": results.host_took}
    path.with_name(path.name + ".json").write_text(json.dumps(found, indent=1) + "\n")
    _say(f"written to {path}.md and .json")
    if options.out is None:
        publish(text, f"{path.name}.md")


def _working_folder(bulk_bytes: int) -> Path:
    """In memory where there is room for what is uploaded, so that no disk is measured."""
    memory = Path("/dev/shm")
    room = memory.is_dir() and shutil.disk_usage(memory).free > 3 * bulk_bytes + 200 * MIB
    return Path(tempfile.mkdtemp(prefix="ferry-bench-", dir=memory if room else None))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
