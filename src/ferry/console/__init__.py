"""The HTTP API of a running gateway, on a Unix socket; `/metrics` and `/health` on loopback addresses."""
