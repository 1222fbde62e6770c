"""A host whose services and time zone are known, for options of keys that depend on them."""

from __future__ import annotations

import calendar


class KnownSystem:
    """Its standard time is two hours ahead of UTC."""

    def port_of(self, service: str) -> int | None:
        return {"ssh": 22, "http": 80}.get(service)

    def local_time(self, year: int, month: int, day: int, hour: int, minute: int, second: int) -> float:
        if year > 9000:
            raise OverflowError
        return calendar.timegm((year, month, day, hour, minute, second)) - 7200.0


KNOWN = KnownSystem()
