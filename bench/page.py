"""Puts the tables of a run into docs/performance.md, so that the page and the results are never different.

A whole run does it by itself; `python -m bench.page bench/results/NAME.md` does it for an earlier one.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

PAGE = Path(__file__).resolve().parent.parent / "docs" / "performance.md"
BEGIN, END = "<!-- figures: written by make bench -->", "<!-- end of figures -->"


def publish(report: str, name: str) -> None:
    """Replace the page's figures by those of `report` (the Markdown of a run), which lies in bench/results/`name`."""
    _, _, rest = report.partition("\n")  # without its title: the page has one
    figures = re.sub(r"^## ", "### ", rest.strip(), flags=re.MULTILINE)
    before, begin, others = PAGE.read_text().partition(BEGIN)
    _, end, after = others.partition(END)
    if not begin or not end:
        raise ValueError(f"{PAGE} has lost its marks {BEGIN} and {END}")
    source = f"From [`bench/results/{name}`](../bench/results/{name}), where a `.json` beside it has every round."
    PAGE.write_text(f"{before}{begin}\n\n{source}\n\n{figures}\n\n{end}{after}")


if __name__ == "__main__":
    path = Path(sys.argv[1])
    publish(path.read_text(), path.name)
