"""How every error is answered: `{"error": …, "fix": …}` with the status that fits."""

from __future__ import annotations

from starlette.responses import JSONResponse

from .models import Problem


def problem(status: int, error: str, fix: str = "") -> JSONResponse:
    """An answer that is not 2xx."""
    return JSONResponse(Problem(error=error, fix=fix).model_dump(), status_code=status)
