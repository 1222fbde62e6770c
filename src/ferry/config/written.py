"""Where a configuration was read from."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Written:
    """It says nothing about what is set: configurations with the same settings are equal, wherever they come from."""

    places: dict[str, str] = field(default_factory=dict, compare=False)
    """Of the settings that decide on clients, by the dotted key (`sshd.match.0.permit_open`): the file, the line and the
    key. Empty without a file."""
    sha256: str = field(default="", compare=False)
    """Of the file, in hexadecimal; empty without one."""
