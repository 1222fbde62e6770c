"""Bytes, times and counts for people."""

from __future__ import annotations


def size(count: int) -> str:
    """Bytes: `13 B`, `4.2 MB`."""
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000 or unit == "GB":
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    raise AssertionError("unreachable")


def took(seconds: float) -> str:
    """A duration in five columns at most: `13ms`, `1.2s`, `42s`, `12m`, `3h`, `40d`."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f}ms"
    if seconds < 9.95:
        return f"{seconds:.1f}s"
    for unit, length in (("s", 1), ("m", 60), ("h", 3600)):
        if seconds < 99.5 * length:
            return f"{seconds / length:.0f}{unit}"
    return f"{seconds / 86400:.0f}d"


def number(count: int, one: str) -> str:
    """`1 request`, `1,234 requests`."""
    return f"{count:,} {one}" if count == 1 else f"{count:,} {one}s"
