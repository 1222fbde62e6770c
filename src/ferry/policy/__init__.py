"""Pure decisions on forwards and visits. Each decision is a `Grant` or a `Refusal`. No I/O, no clock, no asyncio."""
