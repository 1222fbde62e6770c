"""What the configuration comes to where nothing is written. The figures are this page's own: a default that goes, or
grows past all measure, is seen here. What each does is shown elsewhere, with smaller figures."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from typing import Any, cast

import pytest
from pydantic import ValidationError

from ferry.config.model import Config
from ferry.gateway.wiring import connection_bounds_of, http_bounds_of, login_settings_of, rules_of
from ferry.limiters.connection_limiter import ConnectionLimiter
from ferry.limiters.handshakes import HandshakeGate
from ferry.limiters.sources import ExemptNetworks
from ferry.names import Address, Fingerprint, Identity, IdentityId, Kind, WorkerId
from ferry.policy.forwards import check_counts
from ferry.registry.contract import Claimed, Taken, TakenBy, Terms
from ferry.ssh.access import Anyone
from ferry.ssh.wire.connection import ConnectionBounds
from memory_registry import MemoryRegistry

DAY = 86_400.0
MANY = 3_000
CONFIG = Config()
PUBLIC = Config.model_validate({"ssh": {"listen": "*:2222"}, "access": {"mode": "anyone"}})
KEYS_ONLY = Config.model_validate({"ssh": {"listen": "*:2222"}, "access": {"mode": "keys", "keys": ["keys"]}})
BLOG = Address(Kind.HTTP, "blog.localhost")
WORKER = WorkerId("w")


def person(number: int) -> Identity:
    return Identity(IdentityId(f"i{number}"), None, Fingerprint(f"SHA256:{number}"))


def name(number: int) -> Address:
    return Address(Kind.HTTP, f"n{number}.localhost")


def terms(config: Config) -> Terms:
    """Those of somebody from one network, who has used the name for long enough."""
    rules = rules_of(config)
    return Terms(
        keep=rules.keep,
        rest=rules.rest,
        reserve=True,
        derived=False,
        max_reservations=rules.reservations_per_identity,
        network="192.0.2.0/24",
        max_per_network_day=rules.reservations_per_network,
    )


async def test_a_name_is_its_owners_for_a_month_after_its_last_use_and_rests_for_a_week() -> None:
    """NAMES_KEEP_SECONDS and NAMES_REST_SECONDS."""
    registry, ours = MemoryRegistry(), terms(CONFIG)
    owner, other = person(1), person(2)
    claimed = await registry.claim(BLOG, owner, WORKER, now=0.0, terms=ours)
    assert isinstance(claimed, Claimed)
    assert await registry.release(BLOG, claimed.lease.generation, now=0.0)

    async def for_another(days: float) -> TakenBy | None:
        answer = await registry.claim(BLOG, other, WORKER, now=days * DAY, terms=ours)
        return answer.reason if isinstance(answer, Taken) else None

    reasons = [await for_another(days) for days in (0, 30, 30.01, 36.99, 37)]
    assert reasons == [TakenBy.RESERVED, TakenBy.RESERVED, TakenBy.RESTING, TakenBy.RESTING, None]


async def test_a_gateway_for_anyone_reserves_ten_names_a_day_for_a_network() -> None:
    """NAMES_PER_NETWORK_PER_DAY and NAMES_NETWORK_SECONDS."""
    registry, ours = MemoryRegistry(), terms(PUBLIC)
    answers = [await registry.claim(name(n), person(n), WORKER, now=n, terms=ours) for n in range(30)]
    refused = {answer.reason for answer in answers[10:] if isinstance(answer, Taken)}
    assert (sum(isinstance(answer, Claimed) for answer in answers), refused) == (10, {TakenBy.NETWORK_LIMIT})
    elsewhere = replace(ours, network="198.51.100.0/24")
    assert isinstance(await registry.claim(name(30), person(30), WORKER, now=30, terms=elsewhere), Claimed)
    assert isinstance(await registry.claim(name(11), person(11), WORKER, now=DAY - 1, terms=ours), Taken)
    assert isinstance(await registry.claim(name(11), person(11), WORKER, now=DAY + 1, terms=ours), Claimed)
    assert rules_of(CONFIG).reservations_per_network is None  # where the operator has said who may come


@pytest.mark.parametrize(
    ("config", "most"),
    [(CONFIG, 200), (KEYS_ONLY, 20), (Config.model_validate({"names": {"per_identity": 20}}), 20)],
    ids=["loopback", "beyond loopback", "set"],
)
async def test_an_identity_may_have_twenty_names_and_more_on_loopback(config: Config, most: int) -> None:
    """NAMES_PER_IDENTITY and NAMES_PER_IDENTITY_ON_LOOPBACK."""
    registry, ours = MemoryRegistry(), terms(config)
    answers = [await registry.claim(name(n), person(1), WORKER, now=0.0, terms=ours) for n in range(most + 10)]
    assert sum(isinstance(answer, Claimed) for answer in answers) == most


def test_a_stranger_uses_a_name_for_ten_minutes_before_it_is_reserved() -> None:
    """NAMES_RESERVE_AFTER_SECONDS."""
    assert (rules_of(PUBLIC).reserve_after, rules_of(CONFIG).reserve_after) == (600, 0)


@pytest.mark.parametrize(("held", "most"), [("on_connection", 16), ("of_identity", 32)])
def test_forwards(held: str, most: int) -> None:
    """FORWARDS_PER_CONNECTION and FORWARDS_PER_IDENTITY."""
    none = {"on_connection": 0, "of_identity": 0}
    assert check_counts(rules_of(CONFIG), gateway="gw", **none | {held: most - 1}) is None
    refusal = check_counts(rules_of(CONFIG), gateway="gw", **none | {held: most})
    assert refusal is not None
    assert f"{most} forwards, which is the limit" in refusal.public


def test_the_bounds_of_log_ins() -> None:
    """HANDSHAKES and HANDSHAKES_PER_NETWORK."""

    def admitted(hosts: list[str]) -> int:
        gate = HandshakeGate(CONFIG.ssh.handshakes, CONFIG.ssh.handshakes_per_network)
        return sum(gate.admit(host, 0.0)[0] is not None for host in hosts)

    assert admitted([f"192.0.2.{n % 256}" for n in range(MANY)]) == 30
    assert admitted([f"198.{n // 256}.{n % 256}.1" for n in range(MANY)]) == 200


def test_a_visitor_may_have_512_connections() -> None:
    """CONNECTIONS_PER_VISITOR."""
    crowd = ConnectionLimiter(CONFIG.limits.connections_per_visitor, ExemptNetworks(CONFIG.limits.exempt))
    assert sum(crowd.enter("192.0.2.7") is not None for _ in range(MANY)) == 512


def test_the_bounds_of_a_client() -> None:
    """CONNECTIONS_PER_IDENTITY, CHANNELS_PER_CONNECTION, GLOBAL_REQUESTS_PER_SECOND, AUTH_TRIES, KEY_GRACE_SECONDS."""
    login = login_settings_of(CONFIG, Anyone(), cast(Any, None))
    assert (login.connections_per_identity, login.tries, login.key_grace) == (64, 6, 20)
    assert connection_bounds_of(CONFIG) == ConnectionBounds(channels=1024, global_requests_per_second=50)
    rules = rules_of(CONFIG)
    assert (rules.forwards_per_connection, rules.forwards_per_identity) == (16, 32)


def test_the_times_of_log_ins_keepalives_and_the_drain() -> None:
    """LOGIN_GRACE_SECONDS, KEEPALIVE_INTERVAL_SECONDS, KEEPALIVE_COUNT and DRAIN_SECONDS."""
    assert (CONFIG.ssh.login_grace, CONFIG.ssh.keepalive_interval * CONFIG.ssh.keepalive_count, CONFIG.drain) == (
        120,
        45,
        30,
    )


def test_the_bounds_of_a_request() -> None:
    """HEAD_BYTES, HEAD_FIELDS, HEAD_SECONDS, KEEPALIVE_SECONDS, BODY_MIN_RATE, READ_MIN_RATE, PACE_SECONDS and
    VISITORS_PER_TUNNEL."""
    bounds = http_bounds_of(CONFIG)
    assert (bounds.head_bytes, bounds.head_fields, bounds.head_seconds) == (16_384, 100, 10)
    assert (bounds.body_min_rate, bounds.read_min_rate, bounds.pace_seconds) == (240, 240, 20)
    assert (bounds.keepalive_seconds, bounds.visitors_per_tunnel) == (75, 900)


@pytest.mark.parametrize(("records", "fits"), [(1000, True), (999, False)])
def test_a_year_of_the_audit_log_is_kept_up_to_half_a_million_records(records: int, fits: bool) -> None:
    """AUDIT_KEEP_SECONDS, AUDIT_RECORDS and AUDIT_RECORDS_LEAST."""
    assert (CONFIG.audit.keep, CONFIG.audit.records) == (365 * DAY, 500_000)
    with nullcontext() if fits else pytest.raises(ValidationError, match="greater than or equal to 1000"):
        Config.model_validate({"audit": {"records": records}})
