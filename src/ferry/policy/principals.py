"""Principals: who asks for a decision."""

from __future__ import annotations

from dataclasses import dataclass

from ferry.names import Identity


@dataclass(frozen=True, slots=True)
class PublicVisitor:
    """Somebody who comes over the network and has not said who they are."""

    host: str
    """The numeric address they come from."""
    edge: str
    """The edge that accepted them: `http`, `https` or `tcp`."""


Principal = Identity | PublicVisitor
"""An identity has logged in over SSH."""
