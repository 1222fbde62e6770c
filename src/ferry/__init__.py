"""Ferry: a self-hosted reverse-SSH tunnel gateway. docs/architecture.md tells how the rooms fit together."""

__version__ = "0.1.0"
