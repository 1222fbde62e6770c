"""Principals: the parties that ask for a decision."""

from __future__ import annotations

from dataclasses import dataclass

from ferry.names import Identity


@dataclass(frozen=True, slots=True)
class PublicVisitor:
    """A visitor without an identity, from the network."""

    host: str
    """The visitor's numeric address."""
    edge: str
    """The edge that accepted the visitor: `http`, `https` or `tcp`."""


Principal = Identity | PublicVisitor
"""An identity has logged in over SSH."""
