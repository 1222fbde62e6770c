"""The HTTP API, a thin layer over `ConsoleState`. Its OpenAPI document is at `/api/v1/openapi.json`.

Annotations are not postponed here: FastAPI could not resolve a dependency that is local to a function.
"""

import json
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, Query, Response
from fastapi.responses import StreamingResponse
from starlette.requests import Request

from ferry import __version__, limits
from ferry.kinds import kind_of
from ferry.names import Address, ConnectionId, IdentityId, TunnelId, printable
from ferry.observe.events import Event, EventRing, Subscription

from .acts import Acts
from .audit import audit_routes
from .models import (
    BlockedAddress,
    Closed,
    ConnectionInfo,
    EnrolledInfo,
    EnrolRequest,
    ForgetRequest,
    ForgottenInfo,
    Health,
    KeyInfo,
    KeyRules,
    MachineList,
    NameInfo,
    PortInfo,
    Problem,
    RefusedKeyList,
    ReloadedInfo,
    ReplacedInfo,
    ReplaceRequest,
    RulesQuestion,
    Status,
    TunnelInfo,
)
from .problems import install_problems
from .state import ConsoleState
from .targets import NotFound, find_connection, find_name, find_tunnel
from .watching import health_of, health_status, metrics_answer

NDJSON = "application/x-ndjson"
CLOSED_BY_OPERATOR = "closed by the operator"
ALL_EVENTS = 2 * limits.EVENT_RING  # the ring keeps frequent and rare events separately
Follow = Annotated[bool, Query(description="Follow new events until the reader disconnects.")]
Last = Annotated[int, Query(ge=0, le=ALL_EVENTS, description="How many past events to begin with.")]


def create_app(state: ConsoleState) -> FastAPI:
    """The whole API, for the control socket. FastAPI's documentation pages are off: they load scripts from a CDN."""
    app = FastAPI(
        title="Ferry",
        version=__version__,
        description="The API of a running Ferry gateway. Errors are objects with `error` and `fix`.",
        openapi_url="/api/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        responses={"4XX": {"model": Problem}, "5XX": {"model": Problem}},
    )
    install_problems(app)
    app.add_middleware(Acts, report=state.report)
    app.include_router(_reading(state), prefix="/api/v1")
    app.include_router(audit_routes(state.audit), prefix="/api/v1")
    app.include_router(_closing(state), prefix="/api/v1")
    app.include_router(_keys(state), prefix="/api/v1")
    app.include_router(_reloading(state), prefix="/api/v1")
    app.include_router(_watching(state))
    return app


def _reading(state: ConsoleState) -> APIRouter:
    api = APIRouter()

    @api.get("/status")
    async def status() -> Status:
        """The gateway as a whole."""
        return state.status()

    @api.get("/tunnels")
    async def tunnels() -> list[TunnelInfo]:
        """Every open tunnel."""
        return state.tunnels()

    @api.get("/connections")
    async def connections() -> list[ConnectionInfo]:
        """Every SSH connection that is logged in."""
        return state.connections()

    @api.get("/names")
    async def names(identity: str | None = None) -> list[NameInfo]:
        """Reservations of one identity (by its id), or all."""
        return await state.names(None if identity is None else IdentityId(identity))

    @api.get("/ports")
    async def ports() -> list[PortInfo]:
        """The port table: TCP ports that are up, reserved, or named by lines of key files."""
        return await state.ports()

    @api.get("/machines")
    async def machines() -> MachineList:
        """Machines that hold a port for ssh or an alias with port 22, for ssh_config(5)."""
        return await state.reachable()

    @api.get("/blocked")
    async def blocked() -> list[BlockedAddress]:
        """Addresses from which too many logins have failed."""
        return state.blocked()

    @api.get("/refused-keys")
    async def refused_keys() -> RefusedKeyList:
        """Keys that were offered and not let in."""
        return state.refused_keys()

    async def follower(follow: Follow = False) -> AsyncIterator[Subscription | None]:
        """Registered before the answer begins (a refusal needs a status), gone once its last byte is sent."""
        if not follow:
            yield None
            return
        with state.events.subscribe() as subscription:
            yield subscription

    @api.get("/events", response_class=StreamingResponse)
    async def events(
        subscription: Annotated[Subscription | None, Depends(follower)], last: Last = ALL_EVENTS
    ) -> StreamingResponse:
        """Events, oldest first, one JSON object a line."""
        return StreamingResponse(_lines(state.events, subscription, last), media_type=NDJSON)

    return api


async def _lines(ring: EventRing, subscription: Subscription | None, last: int) -> AsyncIterator[str]:
    past = ring.last(last)
    yield "".join(_line(event) for event in past)
    if subscription is not None:
        newest = past[-1].seq if past else 0
        async for event in subscription:
            if event.seq > newest or not event.seq:  # `past` has the events since the subscription began already
                yield _line(event)


def _line(event: Event) -> str:
    return json.dumps(event.document()) + "\n"


def _closing(state: ConsoleState) -> APIRouter:
    api = APIRouter()

    @api.delete("/tunnels/{target:path}")
    async def close_tunnel(target: str) -> Closed:
        """Close a tunnel by id, address, name, port or URL. Its owner is told."""
        tunnel = find_tunnel(target, state.tunnels())
        if not await state.close_tunnel(TunnelId(tunnel.id), CLOSED_BY_OPERATOR):
            raise NotFound(f"{tunnel.address} closed by itself a moment ago", "")
        return Closed(what="tunnel", id=tunnel.id, address=tunnel.address, identity=tunnel.identity)

    @api.delete("/connections/{target}")
    async def close_connection(target: str) -> Closed:
        """Close an SSH connection by its id, with all its tunnels. Its owner is told."""
        connection = find_connection(target, state.connections())
        if not await state.close_connection(ConnectionId(connection.id), CLOSED_BY_OPERATOR):
            raise NotFound(f"connection {connection.id} ended by itself a moment ago", "")
        return Closed(what="connection", id=connection.id, address=connection.peer, identity=connection.identity)

    @api.delete("/names/{target:path}")
    async def free(target: str) -> Closed:
        """Drop a reservation at once. It does not rest: anybody may claim the name next."""
        name = find_name(target, await state.names(None))
        if not await state.free(Address.from_key(name.key), IdentityId(name.owner)):
            raise NotFound(f"{name.address} was freed a moment ago", "")
        address = Address.from_key(name.key)
        rows = await state.ports() if kind_of(address.kind).is_port else []
        lines = [line for row in rows if row.port == address.port and row.kept_for_good for line in row.lines]
        return Closed(
            what="name", id=name.key, address=name.address, identity=name.owner_name, live=name.live, lines=lines
        )

    @api.delete("/blocked/{address:path}")
    async def unblock(address: str) -> Closed:
        """Let an address connect again at once."""
        if not state.unblock(address):
            raise NotFound(f"{printable(address)!r} is not blocked", "`ferry unblock` lists those that are")
        return Closed(what="address", id=address, address=address, identity="")

    return api


def _reloading(state: ConsoleState) -> APIRouter:
    api = APIRouter()

    @api.post("/reload")
    async def reload() -> ReloadedInfo:
        """Read the configuration again, as SIGHUP does. With an error in it nothing changes, and the answer is 422."""
        return await state.reload()

    return api


def _keys(state: ConsoleState) -> APIRouter:
    api = APIRouter(prefix="/keys")

    @api.get("")
    async def keys() -> list[KeyInfo]:
        """The keys that have logged in or were entered, with their names and ports."""
        return await state.fleet.keys()

    @api.post("/enrol")
    async def enrol(wanted: EnrolRequest) -> EnrolledInfo:
        """Enter a key before it logs in, and allocate ports for it. What it has already it keeps."""
        return await state.fleet.enrol(wanted)

    @api.get("/rules")
    async def rules(asked: Annotated[RulesQuestion, Query()]) -> KeyRules | None:
        """How a key stands with the operator's policy, and which rules to write; null without a policy file."""
        return await state.fleet.rules(asked)

    @api.post("/replace")
    async def replace(wanted: ReplaceRequest) -> ReplacedInfo:
        """Give the names, ports and history of a key to a new one. Its line in a key file is not changed."""
        return await state.fleet.replace(wanted)

    @api.post("/forget")
    async def forget(wanted: ForgetRequest) -> ForgottenInfo:
        """Forget keys, and give their names and ports back. Their lines in key files are not changed."""
        return await state.fleet.forget(wanted)

    return api


def _watching(state: ConsoleState) -> APIRouter:
    api = APIRouter()

    @api.get("/health", responses={503: {"model": Health}})
    async def health(response: Response) -> Health:
        """200 while visitors are served (`degraded`: without the database), 503 while draining."""
        now = health_of(state)
        response.status_code = health_status(now)
        return now

    @api.get("/metrics", include_in_schema=False)
    async def metrics(request: Request) -> Response:
        return metrics_answer(state, request)

    return api
