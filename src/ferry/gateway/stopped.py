"""The state folder of a gateway that has stopped, for commands that work on its data."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from ferry.clock import SystemClock
from ferry.config.model import Config
from ferry.console.models import EnrolRequest, ForgetRequest, PortInfo, ReplaceRequest, RulesQuestion
from ferry.errors import FerryError, InvalidInput
from ferry.protocol.audit import described
from ferry.registry.contract import StoreUnavailable
from ferry.report import no_report
from ferry.ssh.host_keys import KINDS_SHOWN
from ferry.store.engine import Store
from ferry.store.machines import MachineStore
from ferry.store.registry import SqlRegistry
from ferry.store.secrets import SecretStore

from .auditing import audited_act
from .fleet import Fleet, FleetSettings, PolicyInForce
from .kept import database_in, locked
from .port_table import PortTable
from .wiring import rules_of
from .worker import access_of


@asynccontextmanager
async def stopped_fleet(config: Config, act: str = "", policy: PolicyInForce | None = None) -> AsyncIterator[Fleet]:
    """The keys of a gateway that does not run, whose state folder stays locked meanwhile. The audit log has a record of
    `act`, which changes them. Raises InvalidInput, StartupError."""
    database = database_in(config.state)
    access = access_of(config, no_report)
    settings = FleetSettings(rules_of(config), access, config.urls(lambda _host: False), policy)
    with locked(config.state):
        async with await Store.open(database, report=no_report) as store:
            clock, machines, registry = SystemClock(), MachineStore(store), SqlRegistry(store)
            if not act:
                yield Fleet(machines, registry, lambda: settings, clock, no_report)
                return
            async with audited_act(store, act, clock) as report:
                yield Fleet(machines, registry, lambda: settings, clock, report)


async def forget_host_key(state: Path, algorithm: str) -> str:
    """Forget the remembered host key. Returns its fingerprint. Raises InvalidInput, StartupError."""
    database = database_in(state)
    with locked(state):
        async with await Store.open(database, report=no_report) as store:
            secrets = SecretStore(store)
            known = await secrets.host_key_fingerprint(algorithm)
            if known is None:
                raise InvalidInput(f"no {algorithm} key is remembered in {state}: it is {KINDS_SHOWN}")
            async with audited_act(store, f"forget-host-key {algorithm}", SystemClock(), detail=known):
                await secrets.forget_host_key(algorithm)
            return known


def _policy_of(config: Config) -> PolicyInForce | None:
    """The policy that counts from the next start on; None without a policy file. Blocks."""
    path = config.access.policy
    if path is None:
        return None
    from ferry.config.policy_file import load_policy

    try:
        return PolicyInForce(str(path), load_policy(config, SystemClock().now(), access_of(config, no_report).place_of))
    except InvalidInput as error:
        return PolicyInForce(str(path), None, str(error))


async def port_table(fleet: Fleet) -> list[PortInfo]:
    """The port table of a gateway that does not run."""
    settings, reservations, known = fleet.in_force(), await fleet.registry.reservations(None), await fleet.store.known()
    book = None if settings.policy is None else settings.policy.book
    return PortTable(reservations, settings.lines, {}, known, settings.rules, fleet.clock.now(), book).rows()


async def answer(config: Config, action: str, wanted: Mapping[str, object] | None) -> Any:
    """What the API of a running gateway answers to `ports`, `keys`, `keys/rules`, `keys/enrol`, `keys/replace` and
    `keys/forget`, as a document. Raises FerryError."""
    act = f"keys {action} {described(wanted)}" if wanted and action != "rules" else ""
    policy = _policy_of(config) if action in ("rules", "ports", "replace") else None
    try:
        async with stopped_fleet(config, act, policy) as fleet:
            match action:
                case "enrol":
                    done: BaseModel = await fleet.enrol(EnrolRequest.model_validate(wanted))
                case "replace":
                    done = await fleet.replace(ReplaceRequest.model_validate(wanted))
                case "forget":
                    done = await fleet.forget(ForgetRequest.model_validate(wanted))
                case "rules":
                    standing = await fleet.rules(RulesQuestion.model_validate(wanted))
                    return None if standing is None else standing.model_dump(mode="json")
                case "ports":
                    found = await port_table(fleet)
                    return [one.model_dump(mode="json") for one in found]
                case _:
                    return [one.model_dump(mode="json") for one in await fleet.keys()]
            return done.model_dump(mode="json")
    except StoreUnavailable as error:
        raise FerryError(f"the database in {config.state} cannot be used: {error}") from None
