"""The composition root: the only place where rooms are wired together.

Read `_serve` from top to bottom for the life of a gateway: provision, start, serve, drain, stop. Every part is an
`async with`, so that whatever has begun ends in the reverse order, also when the next part cannot begin.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import resource
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import cast

import uvloop

from . import __version__, limits, systemd, tasks
from .clock import Clock, Steps, SystemClock, random_token
from .config import Config, needs_restart
from .console.server import serving
from .console.sockets import prepare_state_folder
from .edge.certificates import Certificates
from .edge.connections import Connections
from .edge.descriptors import DescriptorGate
from .edge.http.edge import HttpEdge
from .edge.local_ca import LocalCa
from .edge.tcp import TcpEdge
from .errors import FerryError, InvalidInput, StartupError
from .listening import Listening, TcpPorts
from .memory import Memory, allocator
from .names import Address, Kind, WorkerId
from .observe.lag import LagSampler
from .observe.observer import Observation, observing
from .operator_view import OperatorView
from .policy.crowd import Crowd
from .policy.flapping import FlapGuard
from .policy.handshakes import HandshakeGate
from .policy.penalties import Penalties
from .policy.sources import Exempt
from .registry.contract import StoreUnavailable
from .registry.routes import Routes, Tunnel
from .report import Report, nothing
from .ssh.access import KEYS_POLL_SECONDS, Anyone, KeyFiles
from .ssh.front import SshFront, connection_options
from .ssh.host_keys import describe, load_host_keys
from .ssh.services import Access, Services
from .ssh.tunnel import SshTunnel
from .store.engine import Store
from .store.identities import Identities
from .store.registry import SqlRegistry
from .store.secrets import Secrets
from .store.sessions import Sessions
from .store.start import begin
from .welcome import welcome_lines
from .wiring import client_limits_of, http_bounds_of, log_rates_of, public_is_loopback, rules_of, urls_of, web_of

TICK_SECONDS = 1.0
RENEW_SECONDS = 60.0
PRUNE_SECONDS = 3600.0


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
            counted=Exempt(config.limits.exempt).source_of,
        ) as observation,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        try:
            return runner.run(_serve(config, reload, clock, observation))
        except StoreUnavailable as error:  # only a start asks the database without an answer for its silence
            raise StartupError(f"the database in {config.state} cannot be used: {error}") from error


def _raise_descriptor_limit() -> None:
    """A visitor costs a descriptor, and the soft limit is often 1,024: take what the hard one allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def _serve(config: Config, reload: Callable[[], Config], clock: Clock, observation: Observation) -> int:
    report = observation.report
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as stack:
        # provision: everything that can fail does so before anybody can connect
        prepare_state_folder(config.state)
        stack.enter_context(_only_gateway_in(config.state))
        store = await stack.enter_async_context(await Store.open(config.state / "ferry.db", report=report))
        secrets, registry = Secrets(store), SqlRegistry(store)
        secret = await secrets.secret("names")
        host_keys = await load_host_keys(config.state, secrets)
        sessions = await stack.enter_async_context(_sessions(store, report))
        worker = WorkerId(random_token())
        await begin(store, worker, now=clock.now())  # the only worker on this database: nobody else holds a lease
        routes = Routes()

        async def known(host: str) -> bool:
            address = Address(Kind.HTTP, host)
            return await registry.reservation(address, now=clock.now(), keep=front.services.rules.keep) is not None

        exempt = Exempt(config.limits.exempt)
        crowd = Crowd(config.limits.connections_per_visitor, exempt)
        descriptors = DescriptorGate(report=report)
        stack.callback(descriptors.close)
        connections = Connections(descriptors, exempt, clock)
        edge = HttpEdge(
            routes,
            domain=config.domain,
            clock=clock,
            report=report,
            known=known,
            secret=secret,
            bounds=http_bounds_of(config),
            crowd=crowd,
            connections=connections,
        )
        for reservation in await registry.reservations(None):
            if reservation.address.kind is Kind.HTTP:
                routes.note_host(reservation.address.name)
        certificates = Certificates(
            domain=config.domain,
            local=LocalCa.open(config.state, config.domain, clock=clock),
            allowed=lambda host: host == config.domain or host in routes.seen_hosts,
            report=report,
            clock=clock,
        )
        await certificates.use_folder(config.https.certificates)
        listening = Listening(edge, certificates, report, descriptors)
        options = await connection_options(
            host_keys,
            login_grace=config.ssh.login_grace,
            keepalive_interval=config.ssh.keepalive_interval,
            keepalive_count=config.ssh.keepalive_count,
        )
        flaps, people = FlapGuard(), Identities(store)
        started, steps = clock.now(), Steps(clock)

        async def write_late() -> None:
            if not store.healthy:
                await registry.renew(worker, now=clock.now())  # a small write: it shows whether there is room again
            await front.write_late()

        def open_proxy(tunnel: Tunnel) -> None:
            reason = (
                f"{tunnel.address} was closed: a SOCKS proxy answered there, so anybody could go out through your network. "
                "Write a target (-R 0:localhost:PORT), or ask the operator for tcp.allow_open_proxy"
            )
            front.close_tunnel(cast(SshTunnel, tunnel), reason)

        def services_of(config: Config, access: Access) -> Services:
            return Services(
                worker=worker,
                clock=clock,
                report=report,
                registry=registry,
                routes=routes,
                people=people,
                sessions=sessions,
                access=access,
                ports=TcpPorts(
                    TcpEdge(
                        report=report,
                        clock=clock,
                        open_proxy=open_proxy,
                        allow_open_proxy=config.tcp.allow_open_proxy,
                        visitors=config.limits.visitors_per_tunnel,
                        crowd=crowd,
                        connections=connections,
                    ),
                    config.tcp.public_addresses,
                ),
                rules=rules_of(config),
                web=web_of(config),
                urls=urls_of(config, certificates.covers),
                limits=client_limits_of(config),
                flaps=flaps,
                secret=secret,
                public_is_loopback=public_is_loopback(config),
                banner=config.ssh.banner,
                request_log=config.session.request_log,
            )

        front = SshFront(
            services_of(config, access_of(config, report)),
            HandshakeGate(config.ssh.handshakes, config.ssh.handshakes_per_network, exempt),
            Penalties(exempt, on=config.ssh.penalties),
            options,
            prefer_gcm=config.ssh.prefer_aes_gcm,
        )
        view = OperatorView(
            config=config,
            front=front,
            registry=registry,
            events=observation.events,
            metrics=observation.metrics.registry,
            host_keys=[describe(key) for key in host_keys],
            store_healthy=lambda: store.healthy,
            listening=listening.bound,
            clock=clock,
            started=started,
        )

        # start
        await listening.use(config, front)
        stack.callback(listening.close)
        listening.admin = await stack.enter_async_context(serving(view, config.state, list(config.admin.listen)))
        edge.start()
        stack.callback(edge.close)
        stack.enter_context(observation.summing_up())
        stack.enter_context(LagSampler(clock, report, observation.metrics.lag).running())
        watching = tasks.spawn("certificates", certificates.watch())
        stack.callback(watching.cancel)
        memory = Memory(allocator(), clock=clock, report=report)
        stack.enter_context(_repeating("memory", limits.GIVE_BACK_LOOK_SECONDS, memory.look))
        stack.enter_context(_repeating("tick", TICK_SECONDS, front.tick))
        stack.enter_context(_repeating("write late", TICK_SECONDS, write_late))
        stack.enter_context(_repeating("keys", KEYS_POLL_SECONDS, lambda: _read_keys(front)))
        stack.enter_context(_repeating("renew", RENEW_SECONDS, lambda: registry.renew(worker, now=clock.now())))
        stack.enter_context(
            _repeating("prune", PRUNE_SECONDS, lambda: _prune(front, registry, people, sessions, clock, steps))
        )

        # serve
        stop, again = asyncio.Event(), asyncio.Event()
        loop.add_signal_handler(signal.SIGTERM, stop.set)
        loop.add_signal_handler(signal.SIGINT, stop.set)
        loop.add_signal_handler(signal.SIGHUP, again.set)
        report("gateway.started", version=__version__, domain=config.domain, pid=os.getpid())
        # In a thread: it asks the resolver and ssh-keygen, while visitors are served already.
        for line in await asyncio.to_thread(
            welcome_lines, config, view.host_keys, state=config.state, trusted=certificates.covers
        ):
            print(line, flush=True)
        systemd.notify("READY=1")
        if seconds := systemd.watchdog_seconds():
            stack.enter_context(_repeating("watchdog", seconds / 2, _still_alive))
        reloading = tasks.spawn(
            "reload", _reloads(again, reload, view, front, listening, certificates, services_of, observation)
        )
        await stop.wait()

        # drain, unless a second signal says to go at once
        reloading.cancel()
        systemd.notify("STOPPING=1")
        at_once = asyncio.Event()
        loop.add_signal_handler(signal.SIGTERM, at_once.set)
        loop.add_signal_handler(signal.SIGINT, at_once.set)
        report("gateway.draining", seconds=view.config.drain)
        view.draining = True
        front.start_drain()
        listening.close()
        await _first(_drained(edge, front, view.config.drain), at_once.wait())
        await _first(front.stop(), at_once.wait())

        # stop: what the stack holds, last first
        report("gateway.stopped")
    return 0


async def forget_host_key(state: Path, algorithm: str) -> str:
    """Forget the remembered host key of a stopped gateway. Returns its fingerprint. Raises InvalidInput, StartupError."""
    if not (state / "ferry.db").exists():
        raise InvalidInput(f"{state} holds no gateway's state: name the right folder with --state")
    with _only_gateway_in(state):
        async with await Store.open(state / "ferry.db", report=nothing) as store:
            secrets = Secrets(store)
            known = await secrets.host_key_fingerprint(algorithm)
            if known is None:
                raise InvalidInput(f"no {algorithm} key is remembered in {state}: it is ssh-ed25519 or ssh-rsa")
            await secrets.forget_host_key(algorithm)
            return known


@asynccontextmanager
async def _sessions(store: Store, report: Report) -> AsyncIterator[Sessions]:
    """The session log: rows that wait are written at the end."""
    sessions = Sessions(store, report)
    try:
        yield sessions
    finally:
        with suppress(StoreUnavailable):  # the store has reported it
            await sessions.flush()


@contextmanager
def _only_gateway_in(state: Path) -> Iterator[None]:
    """Hold the state folder's lock. Raises StartupError when another gateway has it, or none can be made."""
    path = state / "lock"
    try:
        file = path.open("a")
    except OSError as error:
        if error.errno != errno.EROFS or not path.exists():
            raise StartupError(f"{path} cannot be made: {error.strerror}") from None
        file = path.open()  # a lock needs no writing
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StartupError(
                f"another gateway runs with the state folder {state}: stop it, or name another with --state"
            ) from None
        yield


@contextmanager
def _repeating(name: str, seconds: float, action: Callable[[], Awaitable[object]]) -> Iterator[None]:
    """Do `action` every `seconds` while the context lasts. One that fails is logged by its task, and done again."""

    async def repeat() -> None:
        while True:
            await asyncio.sleep(seconds)
            with suppress(StoreUnavailable):  # the store has reported it; the next round tries again
                await action()

    task = tasks.spawn(name, repeat())
    try:
        yield
    finally:
        task.cancel()


def access_of(config: Config, report: Report) -> Access:
    """Who may connect. Reads files, and so blocks. Raises StartupError."""
    return Anyone() if config.access.mode == "anyone" else KeyFiles(config.access.keys, report)


async def _read_keys(front: SshFront) -> None:
    access = front.services.access
    access.use(await asyncio.to_thread(access.read))


async def _prune(
    front: SshFront, registry: SqlRegistry, people: Identities, sessions: Sessions, clock: Clock, steps: Steps
) -> None:
    """Forget what nobody can ask for any more. Not by a clock that was just set by years: it may be set back."""
    if steps.stepped(limits.CLOCK_STEP_SECONDS):
        return
    rules = front.services.rules
    await sessions.prune(clock.now() - limits.SESSIONS_KEEP_SECONDS)
    await registry.prune(now=clock.now(), keep=rules.keep, rest=rules.rest)
    await people.prune(clock.now() - max(rules.keep, 86400.0))


async def _still_alive() -> None:
    systemd.notify("WATCHDOG=1")


async def _drained(edge: HttpEdge, front: SshFront, seconds: float) -> None:
    """Give what visitors have begun `seconds` to end: requests, connections to ports, and through aliases."""
    await asyncio.gather(edge.drain(seconds), front.drain(seconds))


async def _first(*waits: Coroutine[object, object, object]) -> None:
    """Wait for whichever ends first, and give up the others."""
    started = [tasks.spawn("stopping", wait) for wait in waits]
    await asyncio.wait(started, return_when=asyncio.FIRST_COMPLETED)
    for task in started:
        task.cancel()


async def _reloads(
    again: asyncio.Event,
    reload: Callable[[], Config],
    view: OperatorView,
    front: SshFront,
    listening: Listening,
    certificates: Certificates,
    services_of: Callable[[Config, Access], Services],
    observation: Observation,
) -> None:
    """At each SIGHUP: build the new beside the old, then swap. Whatever is wrong with the new leaves the old running."""
    report, started_with = observation.report, view.config
    while True:
        await again.wait()
        again.clear()
        systemd.notify("RELOADING=1")
        try:
            config = await asyncio.to_thread(reload)
            for field in ("domain", "state"):
                if getattr(config, field) != getattr(view.config, field):
                    raise StartupError(f"{field} cannot change while the gateway runs: restart it")
            services = services_of(config, await asyncio.to_thread(access_of, config, report))
            await certificates.use_folder(config.https.certificates)
            try:
                await listening.use(config, front)
            except FerryError:
                await certificates.use_folder(view.config.https.certificates)
                raise
        except FerryError as error:
            report("config.rejected", error=str(error))
        else:
            front.use(services)
            view.config = config
            observation.set_level(config.log.level)
            observation.set_rates(log_rates_of(config))
            report("config.reloaded", needs_restart=" ".join(needs_restart(started_with, config)))
        systemd.notify("READY=1")
