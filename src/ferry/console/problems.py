"""Handles all errors of the API: they become `{"error": …, "fix": …}` with a fitting status."""

from __future__ import annotations

import logging
from typing import Final

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

from ferry.errors import InvalidInput
from ferry.observe.events import TooManySubscribers
from ferry.registry.contract import StoreUnavailable

from .answers import problem
from .state import NotReloaded
from .targets import Ambiguous, NotFound

UNCHANGED: Final = "nothing has changed, and the configuration before stays in force"
DOCUMENT: Final = "the paths and their parameters are in /api/v1/openapi.json"
_log = logging.getLogger(__name__)


def install_problems(app: FastAPI) -> None:
    """Register the handlers on `app`."""

    @app.exception_handler(NotFound)
    async def not_found(_request: Request, error: NotFound) -> JSONResponse:
        return problem(409 if isinstance(error, Ambiguous) else 404, str(error), error.fix)

    @app.exception_handler(TooManySubscribers)
    async def too_many(_request: Request, error: TooManySubscribers) -> JSONResponse:
        return problem(403, str(error))

    @app.exception_handler(NotReloaded)
    async def not_reloaded(_request: Request, error: NotReloaded) -> JSONResponse:
        return problem(422, str(error), UNCHANGED)

    @app.exception_handler(InvalidInput)
    async def invalid(_request: Request, error: InvalidInput) -> JSONResponse:
        return problem(400, str(error))

    @app.exception_handler(RequestValidationError)
    async def unfit(_request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        return problem(422, f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}", DOCUMENT)

    @app.exception_handler(StoreUnavailable)
    async def no_store(_request: Request, _error: StoreUnavailable) -> JSONResponse:
        return problem(503, "the database cannot be used at the moment", "`ferry status` says why; tunnels go on")

    @app.exception_handler(HTTPException)
    async def http(_request: Request, error: HTTPException) -> JSONResponse:
        answer = problem(error.status_code, str(error.detail), DOCUMENT if error.status_code in (404, 405) else "")
        answer.headers.update(error.headers or {})
        return answer

    @app.exception_handler(Exception)
    async def broken(request: Request, error: Exception) -> JSONResponse:
        # Starlette raises it again, and uvicorn logs the traceback.
        return problem(500, "the gateway failed to answer: this is a bug", "its log has the details")
