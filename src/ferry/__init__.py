"""Ferry: a self-hosted reverse-SSH tunnel gateway. docs/architecture.md describes its packages."""

__version__ = "0.1.0"
