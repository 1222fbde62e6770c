"""What is reported becomes records of the audit log, within budgets."""

from __future__ import annotations

from typing import Any

import pytest

from ferry import limits
from ferry.limiters.penalties import Offence
from ferry.limiters.sources import ExemptNetworks
from ferry.names import CertificateName, Fingerprint, Identity, IdentityId
from ferry.observe.audit import EVENTS, OF_OPERATOR, OF_STRANGERS, Auditor
from ferry.observe.levels import LEVELS
from ferry.protocol.audit import AuditRecord, canonical
from hand_clock import StandingClock

KEY = Fingerprint("SHA256:n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg")
WEB_1 = Identity(IdentityId("i1"), "web-1", KEY)
PEER = "192.0.2.7:50022"


class Stage:
    def __init__(self) -> None:
        self.clock = StandingClock(1_700_000_000)
        self.records: list[AuditRecord] = []
        self.auditor = Auditor(self.records.append, self.clock, ExemptNetworks(["10.0.0.0/8"]).source_of)

    def note(self, event: str, **fields: Any) -> dict[str, object] | None:
        """The fields of the new record that are not empty, without its time; None if there is no new record."""
        before = len(self.records)
        self.auditor.note(event, fields)
        if len(self.records) == before:
            return None
        (found,) = self.records[before:]
        assert found.time == "2023-11-14T22:13:20.000Z"
        return {name: value for name, value in found._asdict().items() if value not in ("", None) and name != "time"}

    def connect(self, who: Identity = WEB_1) -> dict[str, object] | None:
        return self.note(
            "connection.opened", connection="c1", identity=who, peer=PEER, client_version="OpenSSH_9.2",
            rule="/etc/ferry/keys/web-1.pub, line 1",
        )  # fmt: skip


@pytest.fixture
def stage() -> Stage:
    return Stage()


CLIENT = {"identity": "web-1", "key": KEY, "peer": PEER, "connection": "c1"}
RULE = {"rule": "/etc/ferry/keys/web-1.pub, line 1"}


def test_a_log_in_with_refused_keys_has_one_record(stage: Stage) -> None:
    end = {"peer": "192.0.2.7", "seconds": 1.0}
    assert stage.note("keys.refused", peer="192.0.2.7", keys=[KEY]) is not None
    for outcome, why in (
        ("failed", Offence.KEYS_REFUSED.value), ("timeout", Offence.KEYS_REFUSED.value), ("failed", ""),
    ):  # fmt: skip
        assert stage.note("handshake.ended", **end, outcome=outcome, why=why, explained=True) is None
        assert stage.note("handshake.ended", **end, outcome=outcome, why=why) is not None  # its keys could not be read
    for outcome, why in (("failed", Offence.GARBAGE.value), ("displaced", Offence.KEYS_REFUSED.value)):
        assert stage.note("handshake.ended", **end, outcome=outcome, why=why, explained=True) is not None


def test_a_log_in_and_its_end(stage: Stage) -> None:
    assert stage.connect() == CLIENT | RULE | {"kind": "login", "outcome": "ok", "detail": "OpenSSH_9.2"}
    ended = stage.note("connection.closed", connection="c1", peer=PEER, reason="gone\x1b[2J", seconds=1.5, up=7, down=9)
    assert ended == CLIENT | RULE | {
        "kind": "login", "outcome": "ended", "detail": "gone\\x1b[2J", "milliseconds": 1500, "up": 7, "down": 9,
    }  # fmt: skip
    late = stage.note("tunnel.closed", connection="c1", address="blog.localhost", reason="x")
    assert late is not None
    assert "identity" not in late  # the client is forgotten


@pytest.mark.parametrize(
    ("who", "called"),
    [
        (WEB_1, "web-1"),
        (Identity(IdentityId("i2"), None, KEY), KEY),
        (Identity(IdentityId("anonymous:1"), None, None, anonymous=True), "anonymous"),
        (Identity(IdentityId("i3"), None, KEY, certificate=CertificateName(KEY, "web-7", 3)), f"web-7 (CA {KEY})"),
    ],
)
def test_what_an_identity_is_called(stage: Stage, who: Identity, called: str) -> None:
    record = stage.connect(who)
    assert record is not None
    assert record["identity"] == called
    assert record.get("key") == who.fingerprint


@pytest.mark.parametrize(
    ("event", "fields", "expected"),
    [
        ("tunnel.opened", {"address": "blog.localhost", "kind": "http"}, {"kind": "forward", "outcome": "ok", "what": "blog.localhost", **RULE}),
        (
            "tunnel.closed", {"address": "port 22080", "reason": "cancelled", "seconds": 2, "up": 1, "down": 2},
            {"kind": "forward", "outcome": "ended", "what": "port 22080", "detail": "cancelled", "milliseconds": 2000, "up": 1, "down": 2, **RULE},
        ),
        (
            "tunnel.refused", {"asked": "-R 80", "code": "key_listen", "detail": "no", "rule": "/k, line 3: permitlisten"},
            {"kind": "forward", "outcome": "refused", "what": "-R 80", "detail": "key_listen: no", "rule": "/k, line 3: permitlisten"},
        ),
        (
            "reach.refused", {"asked": "x:22", "code": "no_such_alias", "detail": "no"},
            {"kind": "reach", "outcome": "refused", "what": "x:22", "detail": "no_such_alias: no", **RULE},
        ),
        (
            "request.refused", {"asked": "sftp", "code": "unknown_form", "detail": "no files"},
            {"kind": "request", "outcome": "refused", "what": "sftp", "detail": "unknown_form: no files", **RULE},
        ),
        ("tunnel.takeover", {"address": "blog", "previous": "c0"}, {"kind": "takeover", "outcome": "ok", "what": "blog", "detail": "from connection c0", **RULE}),
        (
            "host.opened", {"identity": "web-1", "asked": "db.example.com:5432", "address": "192.0.2.80:5432"},
            {"kind": "reach", "outcome": "ok", "what": "db.example.com:5432 at 192.0.2.80:5432", **RULE},
        ),
        (
            "host.closed", {"asked": "db:5432", "address": "192.0.2.80:5432", "seconds": 1, "up": 5, "down": 6, "note": "broken"},
            {"kind": "reach", "outcome": "ended", "what": "db:5432 at 192.0.2.80:5432", "detail": "broken", "milliseconds": 1000, "up": 5, "down": 6, **RULE},
        ),
        ("reach.failed", {"target": "web-1:22", "reason": "no"}, {"kind": "reach", "outcome": "refused", "what": "web-1:22", "detail": "no", **RULE}),
        ("reach.opened", {"target": "web-1:22"}, {"kind": "reach", "outcome": "ok", "what": "web-1:22", **RULE}),
        (
            "reach.closed", {"target": "web-1:22", "reason": "", "seconds": 0.5, "up": 3, "down": 4},
            {"kind": "reach", "outcome": "ended", "what": "web-1:22", "milliseconds": 500, "up": 3, "down": 4, **RULE},
        ),
    ],
)  # fmt: skip
def test_what_a_client_does(stage: Stage, event: str, fields: dict[str, Any], expected: dict[str, object]) -> None:
    stage.connect()
    assert stage.note(event, connection="c1", **fields) == CLIENT | expected


@pytest.mark.parametrize(
    ("event", "fields", "expected"),
    [
        ("handshake.ended", {"seconds": 1.0, "outcome": "ok"}, None),
        ("handshake.ended", {"seconds": 1.0, "outcome": "failed", "why": Offence.KEYS_REFUSED.value}, {"kind": "login", "outcome": "refused", "detail": "offered no acceptable key", "milliseconds": 1000}),
        ("handshake.ended", {"seconds": 1.0, "outcome": "failed", "why": Offence.GARBAGE.value}, {"kind": "login", "outcome": "refused", "detail": "sent data that is not SSH", "milliseconds": 1000}),
        ("handshake.ended", {"seconds": 1.0, "outcome": "timeout", "why": Offence.NEVER_ENDED.value}, {"kind": "login", "outcome": "refused", "detail": "took too long to log in", "milliseconds": 1000}),
        ("handshake.ended", {"seconds": 1.0, "outcome": "failed"}, {"kind": "login", "outcome": "refused", "detail": "refused after its key was proven", "milliseconds": 1000}),
        ("handshake.ended", {"seconds": 0.0, "outcome": "limit"}, {"kind": "login", "outcome": "refused", "detail": "turned away: limit", "milliseconds": 0}),
        ("keys.refused", {"keys": [KEY]}, {"kind": "login", "outcome": "refused", "key": KEY, "detail": "a key that is in no file"}),
        ("keys.refused", {"keys": [KEY], "certified": True}, {"kind": "login", "outcome": "refused", "key": KEY, "detail": "the bare key of a refused certificate is in no file"}),
        ("keys.refused", {"keys": [KEY], "certified": True, "denied": True}, None),
        ("keys.refused", {"keys": [KEY], "certificates": ["me serial 1 CA SHA256:ca"]}, {"kind": "login", "outcome": "refused", "key": KEY, "detail": "no file has the CA of its certificate: me serial 1 CA SHA256:ca"}),
        ("keys.refused", {"keys": [KEY, KEY]}, {"kind": "login", "outcome": "refused", "key": KEY, "detail": "2 keys that are in no file"}),
        ("keys.denied", {"key": KEY, "code": "key_from", "detail": "not from here", "rule": "/k, line 2: from"}, {"kind": "login", "outcome": "refused", "key": KEY, "detail": "not from here", "rule": "/k, line 2: from"}),
    ],
)  # fmt: skip
def test_refused_log_ins(stage: Stage, event: str, fields: dict[str, Any], expected: dict[str, object] | None) -> None:
    found = stage.note(event, peer="192.0.2.7", **fields)
    assert found == (None if expected is None else expected | {"peer": "192.0.2.7"})


@pytest.mark.parametrize(
    ("event", "fields", "expected"),
    [
        ("gateway.started", {"version": "1"}, {"kind": "gateway", "outcome": "ok", "what": "ferry 1"}),
        ("gateway.started", {"version": "1", "sha256": "af"}, {"kind": "gateway", "outcome": "ok", "what": "ferry 1", "detail": "configuration: SHA-256 af"}),
        ("config.reloaded", {"needs_restart": "", "sha256": "af"}, {"kind": "config", "outcome": "ok", "detail": "SHA-256 af"}),
        ("gateway.stopped", {}, {"kind": "gateway", "outcome": "ended"}),
        ("config.reloaded", {"needs_restart": ""}, {"kind": "config", "outcome": "ok"}),
        ("config.reloaded", {"needs_restart": "log.format"}, {"kind": "config", "outcome": "ok", "detail": "waits for a restart: log.format"}),
        ("config.rejected", {"error": "line 4"}, {"kind": "config", "outcome": "refused", "detail": "line 4"}),
        ("keys.loaded", {"keys": 2, "files": 1}, {"kind": "keys", "outcome": "ok", "detail": "2 keys in 1 file"}),
        ("keys.rejected", {"path": "/k", "line": 7, "error": "no port"}, {"kind": "keys", "outcome": "refused", "what": "/k, line 7", "detail": "no port"}),
        ("keys.entered", {"identity": "web-1", "key": KEY, "ports": "21000 21001"}, {"kind": "keys", "outcome": "ok", "what": "entered", "identity": "web-1", "key": KEY, "detail": "ports 21000 21001"}),
        ("keys.replaced", {"identity": "web-1", "key": KEY, "old": "SHA256:old"}, {"kind": "keys", "outcome": "ok", "what": "replaced", "identity": "web-1", "key": KEY, "detail": "in place of SHA256:old"}),
        ("keys.forgotten", {"keys": [KEY], "freed": "tcp::21000 http:blog"}, {"kind": "keys", "outcome": "ended", "what": f"forgot {KEY}", "detail": "gave back tcp::21000 http:blog"}),
        ("policy.loaded", {"path": "/p.toml", "rules": 3, "tests": 1}, {"kind": "policy", "outcome": "ok", "what": "/p.toml", "detail": "3 rules, 1 test"}),
        ("policy.rejected", {"path": "/p.toml", "error": "line 2"}, {"kind": "policy", "outcome": "refused", "what": "/p.toml", "detail": "line 2"}),
        ("operator.acted", {"act": "close tunnel blog", "by": "uid 0", "done": True}, {"kind": "admin", "outcome": "ok", "what": "close tunnel blog", "peer": "uid 0"}),
        ("operator.acted", {"act": "unblock x", "by": "uid 0", "done": False, "detail": "status 404"}, {"kind": "admin", "outcome": "refused", "what": "unblock x", "peer": "uid 0", "detail": "status 404"}),
        ("address.blocked", {"address": "192.0.2.7", "seconds": 15, "why": "x"}, {"kind": "block", "outcome": "ok", "peer": "192.0.2.7", "detail": "x", "milliseconds": 15_000}),
        ("name.reserved", {"address": "blog", "identity": WEB_1}, {"kind": "name", "outcome": "ok", "what": "blog", "identity": "web-1", "key": KEY}),
        ("name.freed", {"address": "blog", "identity": "web-1"}, {"kind": "name", "outcome": "ended", "what": "blog", "identity": "web-1"}),
    ],
)  # fmt: skip
def test_what_the_operator_and_the_gateway_do(
    stage: Stage, event: str, fields: dict[str, Any], expected: dict[str, object]
) -> None:
    assert stage.note(event, **fields) == expected


def test_a_flood_of_strangers_has_a_budget_and_one_record_has_the_rest(stage: Stage) -> None:
    """AUDIT_STRANGERS_PER_SOURCE, AUDIT_STRANGERS, AUDIT_STRANGERS_SECONDS."""
    for second in range(3600):
        stage.clock.seconds = float(second)
        for number in range(100):
            stage.auditor.note(
                "keys.refused", {"peer": f"192.0.{number}.7" if number else "203.0.113.9", "keys": [KEY]}
            )
    few = len(stage.records)
    assert few <= 3600 * 1.0 + 200 + 1
    assert sum(record.peer == "203.0.113.9" for record in stage.records) <= 3600 * 0.1 + 20 + 1


async def test_the_sum_of_what_has_no_record(stage: Stage) -> None:
    for number in range(500):
        stage.auditor.note("keys.refused", {"peer": "203.0.113.9" if number % 5 else "192.0.2.7", "keys": [KEY]})
    own = len(stage.records)
    assert own == 40  # twenty of each
    await stage.auditor.sum_up()
    (found,) = stage.records[own:]
    assert (found.kind, found.outcome, found.events) == ("login", "refused", 460)
    assert found.detail == "more than have a record of their own: 380 by 203.0.113.9"
    await stage.auditor.sum_up()
    assert len(stage.records) == own + 1


async def test_strangers_take_nothing_from_clients_and_the_operator(stage: Stage) -> None:
    for number in range(100_000):
        stage.auditor.note("keys.refused", {"peer": f"2001:db8:{number:x}::1", "keys": [KEY]})
    assert len(stage.records) == 200  # AUDIT_STRANGERS_SECONDS
    assert stage.connect() is not None
    assert stage.note("config.reloaded", needs_restart="") is not None


async def test_one_identity_has_a_budget_of_its_own(stage: Stage) -> None:
    """AUDIT_PER_IDENTITY, AUDIT_PER_IDENTITY_SECONDS."""
    stage.connect()
    for _ in range(5000):
        stage.auditor.note("reach.opened", {"connection": "c1", "target": "web-1:22"})
    assert len(stage.records) == 1200
    await stage.auditor.sum_up()
    assert stage.records[-1].events == 3801
    assert (stage.records[-1].identity, stage.records[-1].kind, stage.records[-1].outcome) == ("web-1", "reach", "ok")
    other = Identity(IdentityId("i2"), "web-2", KEY)
    assert stage.note("connection.opened", connection="c2", identity=other, peer=PEER) is not None


async def test_one_identity_without_a_pause_needs_days_for_the_whole_log(stage: Stage) -> None:
    """AUDIT_PER_IDENTITY, AUDIT_REFUSALS_PER_IDENTITY, AUDIT_RECORDS."""
    stage.connect()
    done = {"connection": "c1", "target": "web-1:22"}
    refused = {"connection": "c1", "asked": "-R 80", "code": "key_listen", "detail": "no"}
    for second in range(7200):
        stage.clock.seconds = float(second)
        for _ in range(3):
            stage.auditor.note("reach.opened", done)
            stage.auditor.note("tunnel.refused", refused)
        if second % 60 == 59:
            await stage.auditor.sum_up()
    sums = [record for record in stage.records if record.events is not None]
    own = [record for record in stage.records if record.events is None]
    assert len(own) + sum(record.events or 0 for record in sums) == 1 + 2 * 3 * 7200  # none is uncounted
    later = [record for record in stage.records if record.time >= "2023-11-14T23:13:20"]  # the second hour
    assert limits.AUDIT_RECORDS / (24 * len(later)) > 5  # days


def test_refusals_use_nothing_up_that_is_for_what_is_done(stage: Stage) -> None:
    """AUDIT_REFUSALS_PER_IDENTITY, AUDIT_REFUSALS_SECONDS."""
    stage.connect()
    for _ in range(5000):
        stage.auditor.note("tunnel.refused", {"connection": "c1", "asked": "-R 80", "code": "c", "detail": "no"})
    assert len(stage.records) == 1 + 200
    assert stage.note("reach.opened", connection="c1", target="web-1:22") is not None


@pytest.mark.parametrize(
    ("event", "of_each", "of_all"), [("reach.opened", 1200, 60_000), ("tunnel.refused", 200, 20_000)]
)
async def test_all_identities_together_have_a_bound(stage: Stage, event: str, of_each: int, of_all: int) -> None:
    """AUDIT_IDENTITIES, AUDIT_IDENTITIES_SECONDS, AUDIT_REFUSALS, AUDIT_REFUSALS_SECONDS."""
    many = of_all // of_each + 1
    for number in range(many):
        who = Identity(IdentityId(f"i{number}"), f"web-{number}", KEY)
        stage.auditor.note("connection.opened", {"connection": f"c{number}", "identity": who, "rule": "/k, line 1"})
    before = len(stage.records)
    for number in range(many):
        fields = {"connection": f"c{number}", "target": "web-1:22", "asked": "-R 80", "code": "c"}
        for _ in range(of_each):
            stage.auditor.note(event, fields)
    logins = many if event == "reach.opened" else 0  # these are of what is done, too
    assert len(stage.records) - before == of_all - logins
    for done in (True, False):  # what the operator does takes nothing of it
        assert stage.note("operator.acted", act="close tunnel blog", by="uid 0", done=done) is not None


@pytest.mark.parametrize("key", [None, KEY])
async def test_without_a_line_in_a_key_file_the_address_pays(stage: Stage, key: Fingerprint | None) -> None:
    """Such keys, and clients without any, are as many as somebody likes."""
    for number in range(3000):
        who = Identity(IdentityId(f"i{number}"), None, key and Fingerprint(f"{key[:-4]}{number:04}"), key is None)
        stage.auditor.note("connection.opened", {"connection": f"c{number}", "identity": who, "peer": PEER})
    assert len(stage.records) == 1200
    quiet = Identity(IdentityId("quiet"), None, key, key is None)
    assert stage.note("connection.opened", connection="q", identity=quiet, peer="192.0.2.8:50022") is not None
    await stage.auditor.sum_up()
    assert (stage.records[-1].peer, stage.records[-1].identity, stage.records[-1].events) == ("192.0.2.7", "", 1800)


async def test_in_a_network_whose_addresses_are_not_counted_the_identity_pays(stage: Stage) -> None:
    for number in range(3000):
        who = Identity(IdentityId("i1"), None, KEY)
        stage.auditor.note("connection.opened", {"connection": f"c{number}", "identity": who, "peer": "10.0.0.7:5"})
    assert len(stage.records) == 1200
    await stage.auditor.sum_up()
    assert (stage.records[-1].peer, stage.records[-1].identity, stage.records[-1].events) == ("", KEY, 1800)


async def test_the_number_of_sums_is_bounded(stage: Stage) -> None:
    """AUDIT_SUMS, LOG_SOURCES_SHOWN."""
    for number in range(300):
        who = Identity(IdentityId(f"i{number}"), f"web-{number}", KEY)
        opened = {"connection": f"c{number}", "identity": who, "peer": PEER, "rule": "/k, line 1"}
        stage.auditor.note("connection.opened", opened)
        for _ in range(201 + number):
            stage.auditor.note("tunnel.refused", {"connection": f"c{number}", "asked": "-R 80", "code": "c"})
    own = len(stage.records)
    await stage.auditor.sum_up()
    *sums, others = stage.records[own:]
    assert [record.identity for record in sums][:2] == ["web-255", "web-254"]  # the first 256 are counted singly
    assert (len(sums), others.identity) == (limits.AUDIT_SUMS, "")
    assert own + sum(record.events or 0 for record in [*sums, others]) == sum(1 + 201 + number for number in range(300))


def test_texts_are_bounded_and_escaped(stage: Stage) -> None:
    stage.connect(Identity(IdentityId("i"), "web\x1b[2J" * 100, KEY))
    stage.note("tunnel.refused", connection="c1", asked="-R \x07" + "x" * 5000, code="c", detail="\n" * 5000)
    for record in stage.records:
        text = canonical(1, record)
        assert text.isprintable()
        assert text.isascii()
        assert len(text) < 16 * 1024  # AUDIT_LINE_BYTES


def test_each_text_has_three_hundred_characters_at_most(stage: Stage) -> None:
    """AUDIT_FIELD_CHARS."""
    stage.connect(Identity(IdentityId("i"), "w" * 1000, KEY))
    stage.note("tunnel.refused", connection="c1", asked="-R " + "x" * 5000, code="c", detail="")
    assert [len(text) for text in (stage.records[0].identity, stage.records[1].what)] == [300, 300]


def test_each_event_with_a_record_is_reported_and_paid_for() -> None:
    assert LEVELS.keys() | {"handshake.ended"} >= EVENTS
    assert not OF_OPERATOR & OF_STRANGERS
    assert "visit" not in EVENTS
