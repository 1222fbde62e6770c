"""Limits that many share: counts, places, penalties, rates. Pure tables: no I/O, no clock, no asyncio."""
