"""Pure decisions: who may do what. A decision ends in a `Grant` or in `Refused`. No I/O, no clock, no asyncio."""
