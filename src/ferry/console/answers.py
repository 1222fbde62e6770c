"""Makes the answers for errors: `{"error": …, "fix": …}` with a fitting status."""

from __future__ import annotations

from starlette.responses import JSONResponse

from .models import Problem


def problem(status: int, error: str, fix: str = "") -> JSONResponse:
    """The answer for an error."""
    return JSONResponse(Problem(error=error, fix=fix).model_dump(), status_code=status)
