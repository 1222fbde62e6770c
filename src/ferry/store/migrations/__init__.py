"""Alembic's folder: how a database of any age becomes one of today."""
