"""Who gets how much while others want it too: counts, places, penalties, rates. Pure tables: no I/O, no clock, no asyncio."""
