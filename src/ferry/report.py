"""The interface to report events: one call with an event's name and its fields.

`ferry.observe` turns a report into a log line, a count and an entry for `ferry events`. A reporter never blocks and
never raises, so it may be called from the hot path. The vocabulary (fields are plain values, or objects that never
change and whose `str` is shown; texts from the network are escaped by the observer, not by the caller):

    gateway.started (version, domain, pid, sha256: of the configuration file), gateway.draining, gateway.stopped
    config.reloaded (needs_restart: changed keys that are read at the start alone, or nothing; sha256), config.rejected
        (error)
    handshake.started (peer), handshake.ended (peer, seconds, outcome: ok|failed|timeout|displaced|limit|blocked;
        the last two never began; why: what the client did wrong, if it did; explained: True if keys.refused or
        keys.denied say why its keys may not log in)
    handshakes.crowded (in_progress, limit, blocked, displaced: since the last such report, a minute apart)
    address.blocked (address, seconds, why), address.unblocked (address)
    connection.opened (connection, identity: a `names.Identity`, peer, client_version, rule: the line of a key file, or
        several; keys: the others, where a log-in needs more than one)
    connection.closed (connection, peer, reason, seconds, up, down)
    tunnel.opened (tunnel, connection, address, kind, url; of a port: bound, its numeric hosts, and instead, only where it
        listens on loopback addresses and was asked for another: why; rule: of the policy)
    tunnel.closed (tunnel, connection, address, kind, reason, seconds, up, down, rule: that has allowed it)
    tunnel.refused (connection, identity, asked, code, detail, rule: only where a line of a key file, a setting with
        sshd's name or the policy decided), reach.refused (the same, asked: the target), request.refused (the same, asked: a
        feature that Ferry lacks, such as sftp, -w or -X)
    reach.opened (connection, target, rule: of the policy), reach.failed (the same, reason), reach.closed (the same,
        seconds, up, down): a client's -L, -D, -J or -W to a tunnel
    tunnel.takeover (address, connection, previous)
    host.opened (connection, identity, asked, address, rule: of the policy), host.closed (the same, seconds, up, down,
        note): a client's -L, -D, -W or -J to a host of the network, or to a Unix socket; asked: as the client names it
    channel.opened (tunnel), channel.failed (tunnel, failure)
    visit (visit: a `visits.Visit`, whose parts are shown as the event's fields)
    edge.refused (edge: http|https|tcp, status, peer, reason)
    tls.failed (peer, sni, reason), certificate.loaded (names), certificate.rejected (path, error)
    listener.skipped (address, reason), accept.paused (address, error, seconds)
    port.taken (port, owner: the program, as far as this user can see)
    accept.stopped (open, limit: descriptors), accept.resumed (open, limit, pauses)
    operator.acted (act, by: who, done: whether it was, detail), by the control socket
    records.lost (error), records.file_failed (path, error)
    store.failed (error), store.recovered, store.dropped (rows: about SSH connections, since the last such report)
    name.reserved (address, identity), name.freed (address, identity): a `names.Identity`, or a text
    keys.entered (identity, key, ports), keys.replaced (identity, old, key), keys.forgotten (keys, freed: addresses): by
        the operator
    keys.loaded (keys, files, authorities: CAs, revoked: keys and CAs; sha256: of the file, or of
        what sha256sum(1) prints for several), keys.rejected (path, line, error)
    keys.unclear (path, why: its keys are perhaps not the identities that their author means, or do not count by the
        name of the file)
    keys.refused (peer, keys: fingerprints; certificates: key id, serial and CA of those whose CA is not known, if any;
        certified: True if all are the bare keys of certificates that were refused; denied: True if each of these
        certificates was reported as keys.denied)
    keys.denied (peer, key, code, detail, rule: a key in a file that may not log in: by the options of its line, for a mistake
        in it, or as the line is disabled or the key revoked)
    policy.loaded (path, rules, tests, sha256), policy.rejected (path, error: the earlier policy stays in force)
    loop.lag (seconds), memory.trimmed (free: bytes, of which whole pages went back to the system; seconds)
"""

from __future__ import annotations

from typing import Protocol


class Report(Protocol):
    """The function that every package reports with."""

    def __call__(self, event: str, /, **fields: object) -> None:
        """Report that `event` happened."""
        ...


def by_rule(rule: object) -> dict[str, str]:
    """The field `rule` of a report: a rule of the policy, a line of a key file or a setting. None, or an empty text: it has no
    such field."""
    return {"rule": str(rule)} if rule else {}


def no_report(_event: str, /, **_fields: object) -> None:
    """A reporter that drops all events, for tests of a single part."""
