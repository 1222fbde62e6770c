"""Asks the registry about a request for a name that no tunnel serves."""

from __future__ import annotations

from collections.abc import Callable

from ferry.registry.contract import StoreUnavailable

from .shared import IsReserved


async def look_up(is_reserved: IsReserved, host: str, tell: Callable[[bool], None]) -> None:
    """Tell whether `host` is reserved. If the look-up fails it may be, because "try again" is never wrong."""
    reserved = True
    try:
        reserved = await is_reserved(host)
    except StoreUnavailable:
        pass  # the store has reported it
    finally:
        tell(reserved)
