"""`make interop`: builds the clients, takes them through the steps, and writes docs/reference/clients.md."""

from __future__ import annotations

import argparse
import resource
import secrets
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from gateway_process import Gateway
from line_service import LineService

from .page import Row, page
from .services import Web
from .stacks import STACKS, BuildFailed, Stack
from .steps import FULL, REKEY_BYTES, SMALL, STEPS, Place, Sizes, Verdict, take

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "reference" / "clients.md"
_DESCRIPTORS = 8192  # 500 visitors, and as many connections of the client, and of the service


def main() -> int:
    """Exit code 1 if a step failed, or a program was not built."""
    parser = argparse.ArgumentParser(prog="scripts/interop", description=__doc__)
    parser.add_argument(
        "stacks", nargs="*", help="names of stacks, as the table has them; all of them if none is named"
    )
    parser.add_argument("--step", action="append", choices=STEPS, help="only this step; may be given again")
    parser.add_argument("--small", action="store_true", help="move little")
    options = parser.parse_args()
    stacks = [stack for stack in STACKS if not options.stacks or stack.name in options.stacks]
    steps = options.step or list(STEPS)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(_DESCRIPTORS, hard), hard))
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="ferry-interop-") as folder, _gateways(Path(folder)) as gateways:
        rows = [_row(stack, steps, gateways, Path(folder), SMALL if options.small else FULL) for stack in stacks]
    if len(rows) == len(STACKS) and steps == list(STEPS) and not options.small:
        PAGE.write_text(page(rows, minutes=(time.monotonic() - began) / 60))
        print(f"written: {PAGE.relative_to(ROOT)}")
    return int(any(verdict.state == "failed" for row in rows for verdict in row.verdicts.values()))


@contextmanager
def _gateways(folder: Path) -> Iterator[dict[int | None, Gateway]]:
    """The one as it is, and by the bytes after which they exchange keys, those whose log counts exchanges."""
    program = str(Path(__file__).with_name("rekeying_gateway.py"))
    running: dict[int | None, Gateway] = {}
    with ExitStack() as stack:
        for after in (None, 0, REKEY_BYTES):
            home = folder / f"gateway-{after}"
            home.mkdir()
            gateway = running[after] = Gateway(home)
            if after is not None:
                gateway.program = (sys.executable, program, str(after))
            stack.callback(gateway.close)
            gateway.start()
        yield running


def _row(stack: Stack, steps: list[str], gateways: dict[int | None, Gateway], folder: Path, sizes: Sizes) -> Row:
    if stack.missing:
        print(f"{stack.name}: not run, {stack.missing} is missing")
        return Row(stack, "", {}, f"`{stack.missing}` is missing")
    try:
        make = stack.prepared()
    except BuildFailed as failure:
        print(f"{stack.name}: not built: {failure}")
        return Row(stack, "", {"build": Verdict("failed", str(failure))}, "it was not built")
    home = folder / stack.name.replace("/", "-").replace(" ", "-")
    home.mkdir()
    gateway = gateways[None]
    assert gateway is not None
    verdicts: dict[str, Verdict] = {}
    with Web() as web, LineService() as lines:
        rekeying = {after: gateway for after, gateway in gateways.items() if after is not None}
        place = Place(gateway, home, f"i{secrets.token_hex(4)}", make, sizes, web, lines, rekeying)
        for step in steps:
            began = time.monotonic()
            verdict = verdicts[step] = take(step, place)
            took = time.monotonic() - began
            print(f"{stack.name:20} {step:16} {verdict.state:7} {took:5.1f} s  {verdict.note}", flush=True)
    return Row(stack, place.version, verdicts)


if __name__ == "__main__":
    sys.exit(main())
