"""A gateway in the test's own process, built as `ferry serve` builds it. It closes all that it opens."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from ferry.clock import Clock, SystemClock
from ferry.config.model import Config
from ferry.edge.http.shared import Bounds
from ferry.gateway.auditing import audited
from ferry.gateway.kept import kept_in
from ferry.gateway.worker import Worker, build_worker
from ferry.observe.observer import Observation, observing
from rsa_host_key import put_rsa_key

LOOPBACK_FREE = "127.0.0.1:0"
NOWHERE_ELSE: dict[str, dict[str, Any]] = {
    "ssh": {"listen": LOOPBACK_FREE}, "http": {"listen": LOOPBACK_FREE}, "https": {"listen": []},
}  # fmt: skip


def config_of(folder: Path, **tables: dict[str, Any]) -> Config:
    """`tables` over free ports on 127.0.0.1 for SSH and HTTP."""
    return Config.model_validate({"state": folder / "state", **NOWHERE_ELSE, **tables})


@contextmanager
def observed() -> Iterator[Observation]:
    """The observation of a gateway, without its log."""
    log = os.open(os.devnull, os.O_WRONLY)
    try:
        with observing(SystemClock(), version="0", fd=log) as observation:
            yield observation
    finally:
        os.close(log)


@asynccontextmanager
async def opened(worker: Worker) -> AsyncIterator[Worker]:
    """A gateway that serves while the context lasts."""
    try:
        await worker.open()
        yield worker
    finally:
        worker.close()
        await worker.ssh.stop()


@asynccontextmanager
async def whole_gateway(
    config: Config, observation: Observation | None = None, bounds: Bounds | None = None, clock: Clock | None = None
) -> AsyncIterator[Worker]:
    """A gateway that listens, with `observation`, the edge's `bounds` and `clock` if they are given."""
    clock = clock or SystemClock()
    put_rsa_key(config.state)
    with observed() if observation is None else nullcontext(observation) as told:
        async with (
            kept_in(config.state, clock=clock, report=told.report) as kept,
            audited(config, kept.audit, told.report, clock),
            build_worker(
                config,
                kept,
                clock=clock,
                report=told.report,
                events=told.events,
                metrics=told.metrics,
                http_bounds=bounds,
            ) as worker,
            opened(worker),
        ):
            yield worker
