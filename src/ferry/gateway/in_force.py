"""The configuration in force."""

from __future__ import annotations

from ferry.config.model import Config


class ConfigInForce:
    """One for a worker. A reload replaces `config`; the parts that need a field of it read it each time."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.error = ""
        """Why the last reload was refused; empty if it was not."""

    def use(self, config: Config) -> None:
        """Put `config` in force."""
        self.config = config
