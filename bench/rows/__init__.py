"""The measures, one module each. `ROWS` has them in the order in which a round makes them."""

from __future__ import annotations

from . import attacked, bulk, comeback, idle, judged, leavers, logged, requests, slow, start, storm
from .row import Figure, Row

ROWS: tuple[Row, ...] = (
    *requests.ROWS,
    logged.ROW,
    bulk.ROW,
    idle.ROW,
    start.ROW,
    storm.ROW,
    comeback.ROW,
    *requests.TCP_ROWS,
    bulk.TCP_ROW,
    *attacked.ROWS,
    leavers.ROW,
    judged.ROW,
    *slow.ROWS,
)

__all__ = ["ROWS", "Figure", "Row"]
