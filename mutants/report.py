"""What a run prints at its end: the survivors, and a table of modules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from . import survivors
from .judge import Verdict


def show(verdicts: Iterable[Verdict], known: Mapping[survivors.Key, str], not_run: int) -> None:
    count: dict[str, Counter[str]] = {}
    unjudged: list[Verdict] = []
    print("\nsurvivors:")
    for verdict in verdicts:
        site = verdict.site
        if verdict.state == "unjudged":
            unjudged.append(verdict)
            continue
        why = known.get(site.key, survivors.OPEN)
        state = verdict.state if verdict.state == "noticed" else "open" if why.startswith(survivors.OPEN) else "argued"
        count.setdefault(site.path, Counter())[state] += 1
        count[site.path]["time"] += verdict.state == "time"
        if state != "noticed":
            ended = f" (the tests did not end in time: {verdict.by})" if verdict.state == "time" else ""
            print(f"  {site.path}:{site.line}: {site.kind}: {site.source}{ended}: {why}")
    print(f"\n{'module':32}{'mutants':>8}{'noticed':>8}{'argued':>8}{'open':>8}{'of these by time':>18}")
    for path, row in [*count.items(), ("all", sum(count.values(), Counter[str]()))]:
        made = row["noticed"] + row["argued"] + row["open"]
        print(f"{path:32}{made:8}{row['noticed']:8}{row['argued']:8}{row['open']:8}{row['time']:18}")
    total = sum(count.values(), Counter[str]())
    if ran := total["noticed"] + total["argued"] + total["open"]:
        with_argued = total["noticed"] + total["argued"]
        print(f"{100 * total['noticed'] / ran:.1f} % noticed, {100 * with_argued / ran:.1f} % with those argued")
    for verdict in unjudged:
        site = verdict.site
        print(f"not judged: {site.path}:{site.line}: {site.kind}: {site.source}: {verdict.by}")
    if not_run:
        print(f"{not_run} not run")
