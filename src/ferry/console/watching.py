"""`/health` and `/metrics`, for loopback addresses that every local user reaches.

Plain Starlette, so that a gateway whose API is not used does not load FastAPI (see `server`).
"""

from __future__ import annotations

from prometheus_client.exposition import choose_encoder
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from .answers import problem
from .models import Health
from .state import ConsoleState


def health_of(state: ConsoleState) -> Health:
    """The health of the gateway."""
    status = state.status()
    well, policy = status.store.ok and status.audit.ok and status.access.ok, status.policy
    return Health(
        status="draining" if status.draining else "ok" if well else "degraded",
        store="ok" if status.store.ok else "failed",
        audit="ok" if status.audit.ok else "failed",
        config="ok" if status.config.ok else "rejected",
        access="ok" if status.access.ok else "failed",
        policy="none" if policy is None else "rejected" if policy.error else "ok",
        tunnels=sum(status.counts.tunnels.values()),
    )


def health_status(health: Health) -> int:
    """200 while visitors are served (`degraded`: without the database or the audit log, or while a file of keys cannot be read), 503 while draining."""
    return 503 if health.status == "draining" else 200


def metrics_answer(state: ConsoleState, request: Request) -> Response:
    """The metrics in the format that the request accepts."""
    encode, content_type = choose_encoder(request.headers.get("accept", ""))
    return Response(encode(state.metrics), headers={"content-type": content_type})


def create_admin_app(state: ConsoleState) -> Starlette:
    """The app with these two pages."""

    async def health(_request: Request) -> Response:
        now = health_of(state)
        return JSONResponse(now.model_dump(), status_code=health_status(now))

    async def metrics(request: Request) -> Response:
        return metrics_answer(state, request)

    async def refused(_request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        answer = problem(error.status_code, str(error.detail), "there are /health and /metrics here")
        answer.headers.update(error.headers or {})
        return answer

    routes = [Route("/health", health), Route("/metrics", metrics)]
    return Starlette(routes=routes, exception_handlers={HTTPException: refused})
