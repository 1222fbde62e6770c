"""The records of the audit log, and the chain that joins them.

A record has one canonical form: an object of JSON in ASCII on one line, its number first, then its fields in the order
of `AuditRecord`, without those that are empty. Its hash is the SHA-256, in hexadecimal, of the hash before it and that
form: `printf %s "$hash_before$form" | sha256sum`. The first record follows BEFORE_ALL, and names the installation; so no
two installations have a hash in common.

The oldest records may be pruned. The record of that has the number and the hash of the last one that was dropped, and the
records that are left follow that hash. A flood may be thinned: a run of records from between others is dropped. The record
of that has the hash of the last one too, and also the hash of the one before the first. So it holds both ends together: a
change on either side of the gap is found, as if the run were there.
"""

from __future__ import annotations

import enum
import json
import re
from collections.abc import Iterable, Mapping
from hashlib import sha256
from types import MappingProxyType
from typing import Final, NamedTuple

from ferry.errors import InvalidInput
from ferry.names import printable

_HASH_CHARS: Final = 64
_ANCHOR: Final = re.compile(r"([0-9a-f]{64})@([0-9]{1,18})")
_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=True).encode


class Kind(enum.StrEnum):
    """What a record is about."""

    BEGAN = "began"
    """The first record of an installation, whose name is its `what`."""
    GATEWAY = "gateway"
    """The gateway has started (`ok`) or stopped (`ended`)."""
    LOGIN = "login"
    """A connection has logged in, was refused (`refused`), or has ended (`ended`)."""
    FORWARD = "forward"
    """A tunnel is up at an address (`ok`), was refused, or is down (`ended`)."""
    TAKEOVER = "takeover"
    """A newer connection of the same identity has taken an address over."""
    NAME = "name"
    """An address was reserved for an identity (`ok`), or given back (`ended`)."""
    REACH = "reach"
    """A connection through the gateway has begun (`ok`), was refused, or has ended (`ended`)."""
    REQUEST = "request"
    """A feature that Ferry lacks was asked for, and refused: `sftp`, `-w`, `-X`, `-A`."""
    CONFIG = "config"
    """The configuration was read again."""
    KEYS = "keys"
    """The key files were read, or one line of them was refused."""
    POLICY = "policy"
    """The policy file was read."""
    ADMIN = "admin"
    """The operator has acted through the control socket."""
    BLOCK = "block"
    """The gateway has blocked an address."""
    GAP = "gap"
    """Records are missing here, because they could not be written: `events`."""
    PRUNE = "prune"
    """The records up to the number `upto`, whose hash is the `detail`, were dropped."""
    THIN = "thin"
    """A run of `events` records of a flood was dropped: those up to the number `upto`, whose hash is the `detail`. The hash
    of the record before them is the `what`."""


class Outcome(enum.StrEnum):
    """How it went."""

    OK = "ok"
    REFUSED = "refused"
    ENDED = "ended"


class AuditRecord(NamedTuple):
    """One event. Texts are escaped and bounded (`bounded`)."""

    time: str
    """RFC 3339 in UTC, with milliseconds."""
    kind: str
    outcome: str
    identity: str = ""
    """Its name, or its key if it has none, or `anonymous`."""
    key: str = ""
    """The fingerprint of the key."""
    peer: str = ""
    """The address that it came from."""
    connection: str = ""
    """The id of the SSH connection."""
    what: str = ""
    """What was asked for, done or reached."""
    rule: str = ""
    """The rule that decided, or the line of the key file."""
    detail: str = ""
    """The reason."""
    up: int | None = None
    """Bytes: from the visitors of a tunnel or connection to it, or from the client to what it reaches."""
    down: int | None = None
    """Bytes of the other direction."""
    milliseconds: int | None = None
    """How long it lasted."""
    events: int | None = None
    """How many events this record stands for; None: one."""
    upto: int | None = None
    """As in Kind.PRUNE and Kind.THIN."""


class Wanted(NamedTuple):
    """Which records somebody wants to read; None: all."""

    identity: str | None = None
    key: str | None = None
    kind: str | None = None
    outcome: str | None = None
    since: str | None = None
    """RFC 3339 in UTC, as in the records."""
    until: str | None = None
    """The first time that is not wanted."""


class Link(NamedTuple):
    """A place in the chain."""

    seq: int
    """The number of a record, from 1."""
    hash: str

    def __str__(self) -> str:
        """As `ferry audit head` prints it, and `--anchor` takes it."""
        return f"{self.hash}@{self.seq}"


BEFORE_ALL: Final = Link(0, "0" * _HASH_CHARS)


class Entry(NamedTuple):
    """One record in its place."""

    link: Link
    record: AuditRecord

    @property
    def line(self) -> str:
        """For a file of JSON lines: the canonical form, with the hash as its last field."""
        return f'{canonical(self.link.seq, self.record)[:-1]},"hash":"{self.link.hash}"}}'


def canonical(seq: int, record: AuditRecord) -> str:
    """The canonical form of a record with the number `seq`."""
    fields: dict[str, object] = {"seq": seq}
    fields.update(pair for pair in zip(AuditRecord._fields, record, strict=True) if pair[1] not in ("", None))
    return _encode(fields)


def chained(before: Link, record: AuditRecord) -> Entry:
    """The record behind the place `before`."""
    seq = before.seq + 1
    return Entry(Link(seq, sha256((before.hash + canonical(seq, record)).encode("ascii")).hexdigest()), record)


def parse_line(line: bytes) -> Entry | None:
    """The inverse of `Entry.line`; None for what is none, such as a line that a crash has torn. What is left out so is
    missing in the chain."""
    try:
        fields = json.loads(line)
        seq, found = fields.pop("seq"), fields.pop("hash")
        record = AuditRecord(**fields)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return Entry(Link(seq, found), record) if isinstance(seq, int) and isinstance(found, str) else None


def bounded(value: object, most: int) -> str:
    """A text for a field of a record: escaped, of `most` characters. None is empty."""
    return "" if value is None else printable(str(value), most)


def described(fields: Mapping[str, object]) -> str:
    """What was asked for, in one line: `name=web-1 listen=ssh`."""
    shown = {name: ",".join(map(str, value)) if isinstance(value, list) else value for name, value in fields.items()}
    return " ".join(f"{name}={value}" for name, value in shown.items() if value not in (None, "", False))


def parse_anchor(text: str) -> Link:
    """`HASH@N`, as `ferry audit head` prints it. Raises InvalidInput."""
    if found := _ANCHOR.fullmatch(text.strip().lower()):
        return Link(int(found[2]), found[1])
    raise InvalidInput(
        f"'{printable(text)}' is no anchor: write HASH@N, the {_HASH_CHARS} characters and the number that "
        "`ferry audit head` has printed"
    )


class Gap(NamedTuple):
    """A run of records that were dropped from between others, as a record of Kind.THIN says."""

    before: Link
    """The record before the first one."""
    last: Link


def gap_of(record: AuditRecord) -> Gap | None:
    """The gap that a record is about; None if it is about none."""
    if record.kind != Kind.THIN or not isinstance(record.upto, int) or not isinstance(record.events, int):
        return None
    if record.events < 1:  # a forger's, which would lead round in a circle
        return None
    return Gap(Link(record.upto - record.events, record.what), Link(record.upto, record.detail))


def gaps_in(records: Iterable[AuditRecord]) -> dict[int, Gap]:
    """The gaps that records are about."""
    return {gap.before.seq: gap for record in records if (gap := gap_of(record)) is not None}


Gaps = Mapping[int, Gap]
"""By the number of the record before each."""
NO_GAPS: Final[Gaps] = MappingProxyType({})


class Proof(NamedTuple):
    """What a look at all records has shown."""

    first: int
    """The number of the first record; 0 if there is none."""
    head: Link
    """The last record that fits; what came before the first one if none does."""
    wrong: int | None
    """The number of the first record that does not fit, or is missing; None if all fit."""
    why: str
    """What does not fit, for people; empty if all fits."""
    records: int
    """How many fit, from the first one on."""

    @property
    def fits(self) -> bool:
        """Whether the log is whole, as far as a chain can show it."""
        return not self.why


def prove(entries: Iterable[Entry], start: Link | None, anchor: Link | None = None, gaps: Gaps = NO_GAPS) -> Proof:
    """Look whether each of `entries`, which come in their order, follows the one before.

    `start` is the place before the first one: BEFORE_ALL, or where the log was pruned. None: the first one is taken on
    trust. An `anchor` that somebody has kept elsewhere has to be among them: it shows that the end is not missing. `gaps`
    are what records among them say: those records are looked at like all others, so the chain proves the gaps too.
    """
    walk = _Walk(start, anchor, gaps)
    for entry in entries:
        if why := walk.step(entry):
            return walk.proof(why)
    return walk.proof("")


class _Walk:
    """One walk along the chain."""

    def __init__(self, start: Link | None, anchor: Link | None, gaps: Gaps) -> None:
        self._start = start
        self._anchor = anchor
        self._gaps = gaps
        self._met = anchor == start
        self._before = start
        """The last place that fits, or was dropped."""
        self._head = self._earlier = start or BEFORE_ALL
        self._first = self._records = 0
        self._wrong: int | None = None

    def step(self, entry: Entry) -> str:
        """Go on to a record. Returns why it does not fit; empty if it does."""
        found = entry.link
        if self._before is not None:
            if why := self._cross(self._before, found.seq):
                return why
            if not _follows(self._before, entry):
                self._wrong = found.seq
                return f"record {found.seq} does not fit: it was changed, or what stood before it was"
        if why := self._meet(found):
            return why
        self._earlier = self._head
        self._before = self._head = found
        self._first = self._first or found.seq
        self._records += 1
        return ""

    def _cross(self, before: Link, seq: int) -> str:
        """Go over the gaps between the place `before` and the number `seq`, if there are any."""
        while before.seq + 1 < seq and (gap := self._gaps.get(before.seq)) is not None:
            if gap.before != before:
                self._wrong = before.seq
                if before == self._head and self._records:  # nothing else shows that it does not fit
                    self._head, self._records = self._earlier, self._records - 1
                return f"record {before.seq} does not fit: the record of what was dropped behind it has another hash"
            if gap.last.seq >= seq:
                self._wrong = seq
                return f"record {seq} is there, and another one says that it was dropped"
            before = self._before = gap.last
            if why := self._meet(before):
                return why
        if before.seq + 1 == seq:
            return ""
        self._wrong = before.seq + 1
        return _missing(before.seq, seq) if self._first else _not_there(before.seq, seq)

    def _meet(self, place: Link) -> str:
        """Note the anchor, if it is of this place."""
        if self._anchor is None or self._anchor.seq != place.seq:
            return ""
        self._met = self._anchor == place
        if self._met:
            return ""
        self._wrong = place.seq
        return f"record {place.seq} is not the one of the anchor: the log was written anew, up to it at least"

    def proof(self, why: str) -> Proof:
        """What was found, up to here."""
        if not why and not self._met and self._anchor is not None:
            why = self._unmet(self._anchor.seq)
        return Proof(self._first, self._head, self._wrong, why, self._records)

    def _unmet(self, seq: int) -> str:
        """Why the anchor, of the number `seq`, was not met."""
        head, start = self._head.seq, self._start
        if seq > head:
            self._wrong = head + 1
            return f"the log ends with record {head}, and the anchor is of record {seq}: the end is missing"
        self._wrong = seq
        if start is not None and seq == start.seq:
            return f"record {seq}, which was pruned, is not the one of the anchor: the log was written anew"
        if seq > self._first:
            return f"record {seq}, which the anchor is of, was dropped from a flood. Take a newer anchor"
        return f"record {seq}, which the anchor is of, was pruned: the log begins with record {self._first}. Take a newer anchor"


def _follows(before: Link, entry: Entry) -> bool:
    try:
        return chained(before, entry.record).link == entry.link
    except (TypeError, ValueError):  # a forger has put something in that no record has
        return False


def _missing(last: int, found: int) -> str:
    if found <= last:
        return f"record {found} stands behind record {last}: they are in another order"
    return f"{_numbers(last + 1, found - 1)} missing: {found} follows {last}"


def _not_there(last: int, found: int) -> str:
    """Of the first record that was found, where `last` is the place before the log begins."""
    if found <= last:
        return f"record {found} is there, and another one says that it was pruned"
    return f"{_numbers(last + 1, found - 1)} missing: the log begins with record {found}"


def _numbers(first: int, last: int) -> str:
    return f"record {first} is" if first == last else f"records {first} to {last} are"
