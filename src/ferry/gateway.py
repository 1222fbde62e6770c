"""The life of a gateway. Read `_serve`: open what is kept, make the parts, open to everybody, serve, drain, stop.

Every step is a context, so that whatever has begun ends in the reverse order, also when the next one cannot begin.
"""

from __future__ import annotations

import asyncio
import os
import resource
import signal
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager

import uvloop

from . import __version__, systemd, tasks
from .clock import Clock, SystemClock
from .config.model import Config
from .console.server import serving
from .errors import StartupError
from .kept import kept_in
from .limiters.sources import ExemptNetworks
from .observe.observer import Observation, observing
from .parts import Parts, parts_of
from .registry.contract import StoreUnavailable
from .reloading import reloads
from .upkeep import kept_up, watchdog_fed
from .welcome import welcome_lines
from .wiring import log_rates_of


def run(config: Config, *, reload: Callable[[], Config]) -> int:
    """Serve until SIGTERM or SIGINT. Returns the exit code: 0 after a drain. Raises StartupError."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until it can be obeyed: unhandled it would end the start
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
            runner.run(_serve(config, reload, clock, observation))
        except StoreUnavailable as error:  # only a start asks the database without an answer for its silence
            raise StartupError(f"the database in {config.state} cannot be used: {error}") from error
    return 0


def _raise_descriptor_limit() -> None:
    """A visitor costs a descriptor, and the soft limit is often 1,024: take what the hard one allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def _serve(config: Config, reload: Callable[[], Config], clock: Clock, observation: Observation) -> None:
    report = observation.report
    async with (
        kept_in(config.state, clock=clock, report=report) as kept,
        parts_of(config, kept, clock=clock, observation=observation) as parts,
        _open_to_everybody(config, parts),
    ):
        with kept_up(parts):
            stop, again = asyncio.Event(), asyncio.Event()
            _on_signals(stop, signal.SIGTERM, signal.SIGINT)
            _on_signals(again, signal.SIGHUP)
            report("gateway.started", version=__version__, domain=config.domain, pid=os.getpid())
            await _welcome(config, parts)
            systemd.notify("READY=1")
            with watchdog_fed():
                reloading = tasks.spawn("reload", reloads(again, reload, parts))
                await stop.wait()
                reloading.cancel()
                await _drain(parts)
                report("gateway.stopped")


@asynccontextmanager
async def _open_to_everybody(config: Config, parts: Parts) -> AsyncIterator[None]:
    """Listen: for clients and visitors, then for the operator. Raises StartupError."""
    async with AsyncExitStack() as stack:
        await parts.listening.use(config, parts.front)
        stack.callback(parts.listening.close)
        admin = await stack.enter_async_context(serving(parts.view, config.state, list(config.admin.listen)))
        parts.listening.admin = admin
        parts.edge.start()
        stack.callback(parts.edge.close)
        yield


def _on_signals(event: asyncio.Event, *signals: signal.Signals) -> None:
    """Set `event` at each of `signals`, in the place of whatever they did."""
    for number in signals:
        asyncio.get_running_loop().add_signal_handler(number, event.set)


async def _welcome(config: Config, parts: Parts) -> None:
    """Print the first lines. In a thread: they ask the resolver and ssh-keygen, while visitors are served already."""
    lines = await asyncio.to_thread(
        welcome_lines, config, parts.view.host_keys, state=config.state, trusted=parts.certificates.covers
    )
    for line in lines:
        print(line, flush=True)


async def _drain(parts: Parts) -> None:
    """Take nobody new, and let end what has begun, unless a second signal says to go at once."""
    systemd.notify("STOPPING=1")
    at_once = asyncio.Event()
    _on_signals(at_once, signal.SIGTERM, signal.SIGINT)
    seconds = parts.view.config.drain
    parts.observation.report("gateway.draining", seconds=seconds)
    parts.view.draining = True
    parts.front.start_drain()
    parts.listening.close()
    await _first(_drained(parts, seconds), at_once.wait())
    await _first(parts.front.stop(), at_once.wait())


async def _drained(parts: Parts, seconds: float) -> None:
    """Give what visitors have begun `seconds` to end: requests, connections to ports, and through aliases."""
    await asyncio.gather(parts.edge.drain(seconds), parts.front.drain(seconds))


async def _first(*waits: Coroutine[object, object, object]) -> None:
    """Wait for whichever ends first, and give up the others."""
    started = [tasks.spawn("stopping", wait) for wait in waits]
    await asyncio.wait(started, return_when=asyncio.FIRST_COMPLETED)
    for task in started:
        task.cancel()
