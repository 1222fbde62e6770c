"""Makes records of the audit log of what is reported. The tables at the end say which events have one.

A flood must not push what others have done out of a log of bounded size. So what strangers cause has a budget by source,
and one for all of them. What an identity does has a larger one, and what it is refused has one beside that: with refusals
alone nobody uses up the budget for what is done. Who has no line in a key file has the budget of its source, since it may
draw keys at will. Past a budget one record a minute has the number.

A record has no value of a word and no query: no event that it is made of has one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from ferry import limits
from ferry.amounts import number
from ferry.clock import Clock, timestamp
from ferry.limiters.budgets import Budget, Budgets
from ferry.limiters.penalties import Offence
from ferry.names import Identity
from ferry.protocol.audit import AuditRecord, Kind, Outcome, bounded

from .sources import host_of
from .sums import Omissions

Fields = Mapping[str, object]


class Who(NamedTuple):
    """The client of a connection, as its records show it."""

    identity: str = ""
    key: str = ""
    peer: str = ""
    rule: str = ""
    """The line of the key file that has let it in."""


NOBODY: Final = Who()


class Said(NamedTuple):
    """An event, and the client of the connection that it names."""

    fields: Fields
    who: Who
    time: str

    def text(self, field: str) -> str:
        """A field, escaped and bounded; empty if it is missing."""
        return bounded(self.fields.get(field), limits.AUDIT_FIELD_CHARS)

    def listed(self, field: str) -> str:
        """A field that may have several texts."""
        value = self.fields.get(field)
        text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else value
        return bounded(text, limits.AUDIT_FIELD_CHARS)

    def number(self, field: str) -> int | None:
        """A field with a whole number; None if it is missing."""
        value = self.fields.get(field)
        return value if isinstance(value, int) else None

    def milliseconds(self) -> int | None:
        """The field `seconds`."""
        value = self.fields.get("seconds")
        return round(value * 1000) if isinstance(value, int | float) else None

    def record(self, kind: Kind, outcome: Outcome, *, what: str = "", detail: str = "") -> AuditRecord:
        """A record of it, by its client."""
        return AuditRecord(
            self.time,
            kind,
            outcome,
            identity=self.who.identity,
            key=self.who.key,
            peer=self.who.peer,
            connection=self.text("connection"),
            what=what,
            rule=self.text("rule") or self.who.rule,
            detail=detail,
        )

    def ended(self, kind: Kind, *, what: str = "") -> AuditRecord:
        """A record of the end of something that has carried bytes."""
        return self.record(kind, Outcome.ENDED, what=what, detail=self.text("reason"))._replace(
            up=self.number("up"), down=self.number("down"), milliseconds=self.milliseconds()
        )


Make = Callable[[Said], AuditRecord | None]


class _Payer(NamedTuple):
    """Whose budget a record takes a unit of: one of the two, or none."""

    identity: str = ""
    source: str = ""


class Auditor:
    """Call `note` for each event of EVENTS, on the event loop. `add` gets the records."""

    def __init__(self, add: Callable[[AuditRecord], None], clock: Clock, counted: Callable[[str], str]) -> None:
        """`counted` maps an address to its source; empty for one that is not counted."""
        self._add = add
        self._clock = clock
        self._counted = counted
        self._clients: dict[str, Who] = {}
        """The clients of the connections that are open."""
        self._strangers = Budgets(
            Budget(limits.AUDIT_STRANGERS_PER_SOURCE, limits.AUDIT_STRANGERS_SECONDS),
            Budget(limits.AUDIT_STRANGERS, limits.AUDIT_STRANGERS_SECONDS),
            limits.LOG_SOURCES,
        )
        self._done = Budgets(
            Budget(limits.AUDIT_PER_IDENTITY, limits.AUDIT_PER_IDENTITY_SECONDS),
            Budget(limits.AUDIT_IDENTITIES, limits.AUDIT_IDENTITIES_SECONDS),
            limits.LOG_SOURCES,
        )
        self._refusals = Budgets(
            Budget(limits.AUDIT_REFUSALS_PER_IDENTITY, limits.AUDIT_REFUSALS_SECONDS),
            Budget(limits.AUDIT_REFUSALS, limits.AUDIT_REFUSALS_SECONDS),
            limits.LOG_SOURCES,
        )
        self._omitted = Omissions()
        """What strangers have caused past their budget."""
        self._over: Counter[tuple[str, _Payer]] = Counter()
        """What clients have caused past theirs: the number of each sort, by who pays."""

    def note(self, event: str, fields: Fields) -> None:
        """Make a record of an event, or count it."""
        connection = str(fields.get("connection", ""))
        if event == "connection.opened":
            self._clients[connection] = _client(fields)
        who = self._clients.get(connection, NOBODY)
        if event == "connection.closed":
            self._clients.pop(connection, None)
        record = _MAKERS[event](Said(fields, who, timestamp(self._clock.now())))
        if record is not None and self._has_room(event, record, who):
            self._add(record)

    def _has_room(self, event: str, record: AuditRecord, who: Who) -> bool:
        """Take a unit of the budget that pays for it. If that is used up, count the event."""
        if event in OF_OPERATOR:
            return True
        now, sort = self._clock.monotonic(), f"{record.kind} {record.outcome}"
        if event in OF_STRANGERS:
            source = self._counted(host_of(record.peer))
            if not (room := self._strangers.take(source, now)):
                self._omitted.add(sort, source)
            return room
        budgets, payer = self._refusals if record.outcome == Outcome.REFUSED else self._done, self._payer(record, who)
        if not (room := budgets.take(payer.identity or payer.source, now)):
            known = (sort, payer) in self._over or len(self._over) < limits.LOG_SOURCES_SHOWN
            self._over[sort, payer if known else _Payer()] += 1
        return room

    def _payer(self, record: AuditRecord, who: Who) -> _Payer:
        if not who.rule and (source := self._counted(host_of(who.peer))):
            return _Payer(source=source)
        return _Payer(record.identity)

    async def sum_up(self) -> None:
        """Add records for the events that have none of their own, if there are any. Called once a minute."""
        now = timestamp(self._clock.now())
        for sort, count, fields in self._omitted.take():
            detail = _OMITTED
            if "most" in fields:
                detail += f": {fields['of_it']} by {fields['most']}"
            self._add(_sum(now, sort, count, detail=detail))
        over, self._over = self._over, Counter()
        others: Counter[str] = Counter()
        named = 0
        for (sort, payer), count in over.most_common():
            if any(payer) and named < limits.AUDIT_SUMS:
                named += 1
                self._add(_sum(now, sort, count, detail=_OMITTED, identity=payer.identity, peer=payer.source))
            else:
                others[sort] += count
        for sort, count in others.items():
            self._add(_sum(now, sort, count, detail=f"{_OMITTED}, by others than those above"))


_OMITTED: Final = "more than have a record of their own"


def _sum(time: str, sort: str, count: int, *, detail: str, identity: str = "", peer: str = "") -> AuditRecord:
    kind, _, outcome = sort.partition(" ")
    return AuditRecord(time, kind, outcome, identity=identity, peer=peer, detail=detail, events=count)


def _client(fields: Fields) -> Who:
    identity, peer = fields.get("identity"), bounded(fields.get("peer"), limits.AUDIT_FIELD_CHARS)
    rule = bounded(fields.get("rule"), limits.AUDIT_FIELD_CHARS)
    if not isinstance(identity, Identity):
        return Who(bounded(identity, limits.AUDIT_FIELD_CHARS), "", peer, rule)
    return Who(identity_name(identity), str(identity.fingerprint or ""), peer, rule)


def identity_name(identity: Identity) -> str:
    """What records call an identity: its name, its key if it has none, or the key id and the CA of its certificate."""
    if identity.anonymous:
        return "anonymous"
    if (certificate := identity.certificate) is not None:  # a renewed one has another serial number
        return bounded(f"{certificate.key_id} (CA {certificate.ca})", limits.AUDIT_FIELD_CHARS)
    return bounded(identity.name or identity.fingerprint, limits.AUDIT_FIELD_CHARS)


# --- what each event becomes


def _opened(said: Said) -> AuditRecord:
    identity, detail = said.fields.get("identity"), said.text("client_version")
    if isinstance(identity, Identity) and identity.certificate is not None:
        detail = f"certificate with serial number {identity.certificate.serial}, {detail}"
    if keys := said.listed("keys"):
        detail = f"with {keys}, {detail}"
    return said.record(Kind.LOGIN, Outcome.OK, detail=detail)


def _handshake(said: Said) -> AuditRecord | None:
    """A log-in that did not succeed. Its keys, where they were refused, have the record."""
    outcome, why = said.text("outcome"), said.text("why")
    by_keys = outcome in ("failed", "timeout") and why in ("", Offence.KEYS_REFUSED.value)
    if outcome == "ok" or (by_keys and said.fields.get("explained")):
        return None
    if outcome == "failed" and not why:
        why = "refused after its key was proven"
    elif outcome not in ("failed", "timeout"):
        why = f"turned away: {outcome}"
    return said.record(Kind.LOGIN, Outcome.REFUSED, detail=why)._replace(
        peer=said.text("peer"), milliseconds=said.milliseconds()
    )


def _unknown_keys(said: Said) -> AuditRecord | None:
    if said.fields.get("denied"):
        return None  # the records of their certificates have the reason: ssh offers the key of each by itself, too
    keys = said.fields.get("keys")
    assert isinstance(keys, list)
    first = bounded(keys[0], limits.AUDIT_FIELD_CHARS)
    detail = f"{len(keys)} keys that are in no file" if len(keys) > 1 else "a key that is in no file"
    if certificates := said.listed("certificates"):
        detail = f"no file has the CA of its certificate: {certificates}"
    elif said.fields.get("certified"):
        detail = "the bare key of a refused certificate is in no file"
    return said.record(Kind.LOGIN, Outcome.REFUSED, detail=detail)._replace(peer=said.text("peer"), key=first)


def _denied_key(said: Said) -> AuditRecord:
    record = said.record(Kind.LOGIN, Outcome.REFUSED, detail=said.text("detail"))
    return record._replace(peer=said.text("peer"), key=said.text("key"))


def _refused(kind: Kind) -> Make:
    def make(said: Said) -> AuditRecord:
        detail = f"{said.text('code')}: {said.text('detail')}"
        return said.record(kind, Outcome.REFUSED, what=said.text("asked"), detail=detail)

    return make


def _takeover(said: Said) -> AuditRecord:
    detail = f"from connection {said.text('previous')}"
    return said.record(Kind.TAKEOVER, Outcome.OK, what=said.text("address"), detail=detail)


def _of_name(outcome: Outcome) -> Make:
    def make(said: Said) -> AuditRecord:
        who = _client(said.fields)
        record = said.record(Kind.NAME, outcome, what=said.text("address"))
        return record._replace(identity=who.identity, key=who.key)

    return make


def _host(said: Said) -> str:
    """A host or a socket as the client has named it, and where it was found, if that is not the same text."""
    asked, address = said.text("asked"), said.text("address")
    return asked if asked == address else f"{asked} at {address}"


def _content(said: Said, *more: str) -> str:
    """What is told of files that were read, and their SHA-256, which shows what was in them."""
    digest = said.text("sha256")
    return ", ".join(filter(None, [*more, f"SHA-256 {digest}" if digest else ""]))


def _started(said: Said) -> AuditRecord:
    configured = _content(said)
    detail = f"configuration: {configured}" if configured else ""
    return said.record(Kind.GATEWAY, Outcome.OK, what=f"ferry {said.text('version')}", detail=detail)


def _reload(said: Said) -> AuditRecord:
    waits = said.text("needs_restart")
    return said.record(Kind.CONFIG, Outcome.OK, detail=_content(said, f"waits for a restart: {waits}" if waits else ""))


def _keys(said: Said) -> AuditRecord:
    keys, files = said.number("keys") or 0, said.number("files") or 0
    return said.record(
        Kind.KEYS, Outcome.OK, detail=_content(said, f"{number(keys, 'key')} in {number(files, 'file')}")
    )


def _rejected_key(said: Said) -> AuditRecord:
    line = said.number("line")  # 0: the whole file
    where = f"{said.text('path')}, line {line}" if line else said.text("path")
    return said.record(Kind.KEYS, Outcome.REFUSED, what=where, detail=said.text("error"))


def _policy(said: Said) -> AuditRecord:
    rules, tests = said.number("rules") or 0, said.number("tests") or 0
    detail = _content(said, number(rules, "rule"), number(tests, "test"))
    return said.record(Kind.POLICY, Outcome.OK, what=said.text("path"), detail=detail)


def _act(said: Said) -> AuditRecord:
    outcome = Outcome.OK if said.fields.get("done") else Outcome.REFUSED
    return said.record(Kind.ADMIN, outcome, what=said.text("act"), detail=said.text("detail"))._replace(
        peer=said.text("by")
    )


def _entered(said: Said) -> AuditRecord:
    ports = said.text("ports")
    record = said.record(Kind.KEYS, Outcome.OK, what="entered", detail=f"ports {ports}" if ports else "")
    return record._replace(identity=said.text("identity"), key=said.text("key"))


def _replaced(said: Said) -> AuditRecord:
    record = said.record(Kind.KEYS, Outcome.OK, what="replaced", detail=f"in place of {said.text('old')}")
    return record._replace(identity=said.text("identity"), key=said.text("key"))


def _forgotten(said: Said) -> AuditRecord:
    freed = said.listed("freed")
    what, detail = f"forgot {said.listed('keys')}", f"gave back {freed}" if freed else ""
    return said.record(Kind.KEYS, Outcome.ENDED, what=what, detail=detail)


_OPERATORS: Final[Mapping[str, Make]] = MappingProxyType(
    {
        "gateway.started": _started,
        "gateway.stopped": lambda said: said.record(Kind.GATEWAY, Outcome.ENDED),
        "config.reloaded": _reload,
        "config.rejected": lambda said: said.record(Kind.CONFIG, Outcome.REFUSED, detail=said.text("error")),
        "keys.loaded": _keys,
        "keys.rejected": _rejected_key,
        "keys.entered": _entered,
        "keys.replaced": _replaced,
        "keys.forgotten": _forgotten,
        "policy.loaded": _policy,
        "policy.rejected": lambda said: said.record(
            Kind.POLICY, Outcome.REFUSED, what=said.text("path"), detail=said.text("error")
        ),
        "operator.acted": _act,
    }
)
_STRANGERS: Final[Mapping[str, Make]] = MappingProxyType(
    {
        "handshake.ended": _handshake,
        "keys.refused": _unknown_keys,
        "keys.denied": _denied_key,
        "address.blocked": lambda said: said.record(Kind.BLOCK, Outcome.OK, detail=said.text("why"))._replace(
            peer=said.text("address"), milliseconds=said.milliseconds()
        ),
    }
)
_CLIENTS: Final[Mapping[str, Make]] = MappingProxyType(
    {
        "connection.opened": _opened,
        "connection.closed": lambda said: said.ended(Kind.LOGIN),
        "tunnel.opened": lambda said: said.record(Kind.FORWARD, Outcome.OK, what=said.text("address")),
        "tunnel.closed": lambda said: said.ended(Kind.FORWARD, what=said.text("address")),
        "tunnel.refused": _refused(Kind.FORWARD),
        "reach.refused": _refused(Kind.REACH),
        "request.refused": _refused(Kind.REQUEST),
        "tunnel.takeover": _takeover,
        "name.reserved": _of_name(Outcome.OK),
        "name.freed": _of_name(Outcome.ENDED),
        "reach.opened": lambda said: said.record(Kind.REACH, Outcome.OK, what=said.text("target")),
        "reach.failed": lambda said: said.record(
            Kind.REACH, Outcome.REFUSED, what=said.text("target"), detail=said.text("reason")
        ),
        "reach.closed": lambda said: said.ended(Kind.REACH, what=said.text("target")),
        "host.opened": lambda said: said.record(Kind.REACH, Outcome.OK, what=_host(said)),
        "host.closed": lambda said: said.ended(Kind.REACH, what=_host(said))._replace(detail=said.text("note")),
    }
)
_MAKERS: Final[Mapping[str, Make]] = MappingProxyType({**_OPERATORS, **_STRANGERS, **_CLIENTS})
EVENTS: Final = frozenset(_MAKERS)
"""The events that have a record."""
OF_OPERATOR: Final = frozenset(_OPERATORS)
"""Those that the operator causes, or the gateway itself: they are few."""
OF_STRANGERS: Final = frozenset(_STRANGERS)
"""Those that anybody can cause without a log-in."""
