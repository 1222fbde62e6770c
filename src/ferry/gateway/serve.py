"""The life of a gateway. Read `_serve`: open the state folder, build the worker, listen, serve, drain, stop.

Every step is a context manager, so that the steps end in reverse order, also if the next one fails to begin.
"""

from __future__ import annotations

import asyncio
import os
import resource
import signal
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, closing
from typing import TypeAlias

import uvloop

from ferry import __version__, tasks
from ferry.clock import Clock, SystemClock
from ferry.config.model import Config
from ferry.console.server import serving
from ferry.errors import StartupError
from ferry.limiters.sources import ExemptNetworks
from ferry.observe.observer import Observation, observing
from ferry.registry.contract import StoreUnavailable

from . import systemd
from .auditing import audited
from .kept import kept_in
from .memory import give_back
from .reloading import Reloader
from .upkeep import kept_up, watchdog_fed
from .welcome import welcome_lines
from .wiring import log_rates_of
from .worker import Worker, build_worker

Print: TypeAlias = Callable[[Sequence[str]], None]
"""It shows lines to a person, and raises nothing."""


def run(config: Config, *, reload: Callable[[], Config], welcome: Print | None) -> int:
    """Serve until SIGTERM or SIGINT. `welcome` gets the first lines, for people. Returns the exit code: 0 after a drain.
    Raises StartupError."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until a handler is installed: by default it ends the process
    _raise_descriptor_limit()
    clock = SystemClock()
    with (
        observing(
            clock,
            version=__version__,
            log_format=config.log.format,
            level=config.log.level,
            rates=log_rates_of(config),
            counted=ExemptNetworks(config.limits.exempt).source_of,
        ) as observation,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        try:
            runner.run(_serve(config, reload, clock, observation, welcome=welcome))
        except StoreUnavailable as error:  # all other users of the database handle this error themselves
            raise StartupError(f"the database in {config.state} cannot be used: {error}") from error
    return 0


def _raise_descriptor_limit() -> None:
    """Raise the soft limit of descriptors, often 1,024, to the hard one: each visitor costs a descriptor."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def _serve(
    config: Config, reload: Callable[[], Config], clock: Clock, observation: Observation, *, welcome: Print | None
) -> None:
    """Start, serve until a signal, drain, stop."""
    report = observation.report
    async with (
        kept_in(config.state, clock=clock, report=report) as kept,
        audited(config, kept.audit, report, clock) as auditor,
        build_worker(
            config,
            kept,
            clock=clock,
            report=report,
            events=observation.events,
            metrics=observation.metrics,
        ) as worker,
        _open_to_everybody(config, worker),
    ):
        reloader = Reloader(reload, worker, observation)
        worker.view.reloader = reloader.reload
        with kept_up(worker, observation, auditor):
            stop, again = asyncio.Event(), asyncio.Event()
            _on_signals(stop, signal.SIGTERM, signal.SIGINT)
            _on_signals(again, signal.SIGHUP)
            report(
                "gateway.started",
                version=__version__,
                domain=config.domain,
                pid=os.getpid(),
                sha256=config.written.sha256,
            )
            if welcome is not None:
                await _welcome(config, worker, welcome)
            systemd.notify("READY=1")
            with watchdog_fed():
                reloading = tasks.spawn("reload", reloader.at_each(again))
                await stop.wait()
                reloading.cancel()
                at_once = asyncio.Event()
                _on_signals(at_once, signal.SIGTERM, signal.SIGINT)
                await _first(_drain(worker), at_once.wait())
                await _first(worker.ssh.stop(), at_once.wait())
                report("gateway.stopped")


@asynccontextmanager
async def _open_to_everybody(config: Config, worker: Worker) -> AsyncIterator[None]:
    """Listen: for clients and visitors, then for the operator. Raises StartupError."""
    with closing(worker):
        give_back()
        await worker.open()
        async with serving(worker.view, config.state, list(config.admin.listen)) as admin:
            worker.listening.note_admin(admin)
            yield


def _on_signals(event: asyncio.Event, *signals: signal.Signals) -> None:
    """Set `event` at each of `signals`, in place of their earlier handlers."""
    for number in signals:
        asyncio.get_running_loop().add_signal_handler(number, event.set)


async def _welcome(config: Config, worker: Worker, show: Print) -> None:
    """Print the first lines. A thread makes them, because they need the resolver and ssh-keygen; the loop serves visitors
    meanwhile."""
    lines = await asyncio.to_thread(
        welcome_lines, config, worker.view.host_keys, state=config.state, trusted=worker.certificates.covers
    )
    show(lines)


async def _drain(worker: Worker) -> None:
    """Stop accepting, and give requests and connections through ports and aliases time to end."""
    systemd.notify("STOPPING=1")
    seconds = worker.in_force.config.drain
    worker.report("gateway.draining", seconds=seconds)
    worker.view.start_drain()
    worker.ssh.start_drain()
    worker.listening.close()
    await asyncio.gather(worker.http.drain(seconds), worker.ssh.drain(seconds))


async def _first(*waits: Coroutine[object, object, object]) -> None:
    """Wait for the first of `waits` to end, and cancel the others."""
    started = [tasks.spawn("stopping", wait) for wait in waits]
    await asyncio.wait(started, return_when=asyncio.FIRST_COMPLETED)
    for task in started:
        task.cancel()
