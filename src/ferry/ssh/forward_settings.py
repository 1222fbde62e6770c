"""The settings that decide about forwards. A reload replaces all of them at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ferry.hostnames import Urls
from ferry.kinds.rules import ForwardRules, Web
from ferry.policy.machine_names import PlaceOf, nowhere
from ferry.policy.port_lines import NO_PORT_LINES, PortLines
from ferry.policy.rulebook import Rulebook
from ferry.registry.routes import Ports


@dataclass(frozen=True, slots=True)
class ForwardSettings:
    """The settings for one decision: it keeps this object, also if a reload replaces it meanwhile."""

    rules: ForwardRules
    web: Web
    ports: Ports
    urls: Urls
    port_lines: PortLines = NO_PORT_LINES
    """The lines of key files that keep ports for their keys."""
    place_of_name: PlaceOf = nowhere
    """Where a name is given to a key."""
    book: Rulebook | None = None
    """The operator's policy; None: there is no policy file."""


class ForwardsInForce(Protocol):
    """The settings that are in force now."""

    @property
    def forwards(self) -> ForwardSettings: ...
