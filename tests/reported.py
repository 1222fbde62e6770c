"""What a gateway has reported, as tests keep it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def said(reports: Iterable[tuple[str, dict[str, Any]]], event: str) -> list[dict[str, Any]]:
    """The fields of every report of `event`."""
    return [fields for name, fields in reports if name == event]
