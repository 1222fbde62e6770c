"""Calls callbacks that have nothing to do with one another."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import TypeVarTuple

_Arguments = TypeVarTuple("_Arguments")


def call_each(
    log: logging.Logger, failed: str, callbacks: Iterable[Callable[[*_Arguments], object]], *args: *_Arguments
) -> None:
    """Call all of `callbacks`. An error in one is logged as `failed`, and the others are called all the same.

    The line has the place of the caller, whose budget in the log bounds it (`observe.stdlib`).
    """
    for callback in list(callbacks):
        try:
            callback(*args)
        except Exception:
            log.exception("%s", failed, stacklevel=2)
