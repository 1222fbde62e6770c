"""Pure decisions: who may publish and visit what. A decision ends in a `Grant` or in a `Refusal`. No I/O, no clock, no asyncio."""
