"""The registry's SQL statements. The driver caches prepared statements by their text.

`:keep`, `:unused_keep` (for reservations that were never used) and `:rest` are durations in seconds, `:now` and `:since`
seconds since the epoch.
"""

from __future__ import annotations

from typing import Final

ADDRESS_STATE: Final = """
    SELECT reservations.owner, reservations.owner_name, reservations.derived, reservations.created,
           reservations.last_used, reservations.used, reservations.label,
           leases.owner, leases.worker, leases.generation, leases.claimed, leases.owner_name
    FROM (SELECT CAST(:address AS TEXT) AS address) AS asked
    LEFT JOIN reservations ON reservations.address = asked.address
    LEFT JOIN leases ON leases.address = asked.address"""
"""One row: the seven columns of the reservation, then the five of the lease, each None where there is none."""

ALL_RESERVATIONS: Final = """
    SELECT address, owner, owner_name, derived, created, last_used, used, label FROM reservations
    ORDER BY created, address"""
RESERVATIONS_OF: Final = """
    SELECT address, owner, owner_name, derived, created, last_used, used, label FROM reservations
    WHERE owner = :owner ORDER BY created, address"""
IN_FORCE_OF: Final = """
    SELECT count(*) FROM reservations
    WHERE owner = :owner AND (label IS NOT NULL OR last_used + CASE WHEN used THEN :keep ELSE :unused_keep END >= :now OR EXISTS (
        SELECT 1 FROM leases WHERE leases.address = reservations.address AND leases.owner = reservations.owner))"""
MADE_FROM: Final = "SELECT count(*), min(at) FROM reservations_made WHERE network = :network AND at > :since"

NEXT_GENERATION: Final = "UPDATE counters SET value = value + 1 WHERE name = 'generation' RETURNING value"

NEW_LEASE: Final = """
    INSERT INTO leases (address, owner, owner_name, worker, generation, claimed)
    VALUES (:address, :owner, :owner_name, :worker, :generation, :claimed)"""
CHANGE_LEASE: Final = """
    UPDATE leases SET owner = :owner, owner_name = :owner_name, worker = :worker, generation = :generation,
           claimed = :claimed
    WHERE address = :address"""
END: Final = "DELETE FROM leases WHERE address = :address AND generation = :generation"
END_BY_WORKER: Final = "DELETE FROM leases WHERE worker = :worker"
END_ALL: Final = "DELETE FROM leases"

NEW_RESERVATION: Final = """
    INSERT INTO reservations (address, owner, owner_name, derived, created, last_used, used, label)
    VALUES (:address, :owner, :owner_name, :derived, :created, :last_used, :used, :label)"""
NEW_MADE: Final = "INSERT INTO reservations_made (network, at) VALUES (:network, :at)"
CHANGE_RESERVATION: Final = """
    UPDATE reservations SET owner_name = :owner_name, derived = :derived, last_used = :last_used, used = :used,
           label = :label
    WHERE address = :address"""
FREE: Final = "DELETE FROM reservations WHERE address = :address AND owner = :owner"
FREE_BY_GENERATION: Final = """
    DELETE FROM reservations
    WHERE address = :address AND EXISTS (
        SELECT 1 FROM leases WHERE leases.address = reservations.address AND leases.owner = reservations.owner
        AND leases.generation = :generation)"""

USE_ALL: Final = """
    UPDATE reservations SET last_used = max(last_used, :now), used = (used OR :used)
    WHERE EXISTS (
        SELECT 1 FROM leases WHERE leases.address = reservations.address AND leases.owner = reservations.owner)"""
USE_BY_WORKER: Final = """
    UPDATE reservations SET last_used = max(last_used, :now), used = (used OR :used)
    WHERE EXISTS (
        SELECT 1 FROM leases WHERE leases.address = reservations.address AND leases.owner = reservations.owner
        AND leases.worker = :worker)"""
USE_BY_GENERATION: Final = """
    UPDATE reservations SET last_used = max(last_used, :now), used = (used OR :used)
    WHERE address = :address AND EXISTS (
        SELECT 1 FROM leases WHERE leases.address = reservations.address AND leases.owner = reservations.owner
        AND leases.generation = :generation)"""

PRUNE: Final = """
    DELETE FROM reservations
    WHERE label IS NULL AND NOT last_used + CASE WHEN used THEN :keep ELSE :unused_keep END >= :now
    AND last_used + CASE WHEN used THEN :keep ELSE :unused_keep END + :rest <= :now AND NOT EXISTS (
        SELECT 1 FROM leases WHERE leases.address = reservations.address AND leases.owner = reservations.owner)"""
PRUNE_MADE: Final = "DELETE FROM reservations_made WHERE at <= :since"

HEARTBEAT: Final = "UPDATE workers SET heartbeat = :now WHERE id = :worker"
FIRST_HEARTBEAT: Final = "INSERT INTO workers (id, heartbeat) VALUES (:worker, :now)"
FORGET_WORKERS: Final = "DELETE FROM workers"
FORGET_WORKER: Final = "DELETE FROM workers WHERE id = :worker"
