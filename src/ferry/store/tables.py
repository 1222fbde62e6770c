"""The tables. Times are seconds since the epoch; addresses are `Address.key`.

A change here needs a migration beside it (`migrations/versions/`) and its number in `migrate.HEAD`; a test compares.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

metadata: Final = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
    }
)

secrets: Final = Table(
    "secrets",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", LargeBinary, nullable=False),
)

host_keys: Final = Table(
    "host_keys",
    metadata,
    Column("algorithm", Text, primary_key=True),
    Column("fingerprint", Text, nullable=False),
)

identities: Final = Table(
    "identities",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text),
    Column("created", Double, nullable=False),
    UniqueConstraint("name"),
)

keys: Final = Table(
    "keys",
    metadata,
    Column("fingerprint", Text, primary_key=True),
    Column("algorithm", Text, nullable=False),
    Column("identity", Text, ForeignKey("identities.id"), nullable=False),
    Column("first_seen", Double, nullable=False),
    Column("last_seen", Double, nullable=False),
    Index(None, "identity"),
)

# Owners are not always rows of `identities` (an anonymous one holds leases), so there is no foreign key on them.
reservations: Final = Table(
    "reservations",
    metadata,
    Column("address", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("owner_name", Text, nullable=False),
    Column("derived", Boolean, nullable=False),
    Column("created", Double, nullable=False),
    Column("last_used", Double, nullable=False),
    Index(None, "owner"),
)

# One row per new reservation, so that freeing a name does not give back the day's allowance of its network.
reservations_made: Final = Table(
    "reservations_made",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("network", Text, nullable=False),
    Column("at", Double, nullable=False),
    Index(None, "network", "at"),
)

leases: Final = Table(
    "leases",
    metadata,
    Column("address", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("owner_name", Text, nullable=False),
    Column("worker", Text, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("claimed", Double, nullable=False),
    Index(None, "owner"),
    Index(None, "worker"),
)

workers: Final = Table(
    "workers",
    metadata,
    Column("id", Text, primary_key=True),
    Column("heartbeat", Double, nullable=False),
)

counters: Final = Table(
    "counters",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", BigInteger, nullable=False),
)

sessions: Final = Table(
    "sessions",
    metadata,
    Column("id", Text, primary_key=True),
    Column("identity", Text, nullable=False),
    Column("fingerprint", Text),
    Column("address", Text, nullable=False),
    Column("client_version", Text, nullable=False),
    Column("started", Double, nullable=False),
    Column("ended", Double),
    Column("reason", Text),
    Column("up", BigInteger, nullable=False),
    Column("down", BigInteger, nullable=False),
    Index(None, "started"),
    Index(None, "identity"),
)
