"""Claims while the database can be read and not written (a full disk), or not even read."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest

from ferry.errors import LocalProtocolError, Refusal
from ferry.hostnames import Domain, Urls
from ferry.kinds.rules import Web
from ferry.names import Address, Fingerprint, Identity, IdentityId, Kind, WorkerId
from ferry.policy.forwards import listen_grant
from ferry.policy.rules import Members, Rule
from ferry.registry.contract import UNWRITTEN, Claimed, StoreUnavailable, Taken, Terms
from ferry.ssh.claims import ClaimRequest, Claims
from ferry.ssh.forward_settings import ForwardSettings
from granted import RULES, granted
from hand_clock import StandingClock
from memory_registry import MemoryRegistry

BLOG = Address(Kind.HTTP, "blog.localhost")
ANN = Identity(IdentityId("ann"), "ann", Fingerprint("SHA256:ann"))
BOB = Identity(IdentityId("bob"), "bob", Fingerprint("SHA256:bob"))
NOBODY = Identity(IdentityId("anonymous:1"), None, None, anonymous=True)
WORKER = WorkerId("w")
TERMS = Terms(keep=RULES.keep, rest=RULES.rest, reserve=True, derived=False, max_reservations=9)


class Full(MemoryRegistry):
    """Takes no writes from `full` on."""

    full = False
    readable = True

    def _check(self) -> None:
        if self.full:
            raise StoreUnavailable("the disk is full", readable=self.readable)

    async def claim(self, *given: Any, **more: Any) -> Claimed | Taken:
        self._check()
        return await super().claim(*given, **more)

    async def would_refuse(self, *given: Any, **more: Any) -> Taken | None:
        self._check()
        return await super().would_refuse(*given, **more)


class Stage:
    def __init__(self) -> None:
        urls = Urls(Domain("localhost"), 22, 80, None, lambda _: False)
        web = Web(Domain("localhost"), frozenset({80}), frozenset({443}))
        self.settings = ForwardSettings(RULES, web, cast(Any, None), urls)
        self.registry = Full()
        self.claims = Claims(
            registry=self.registry, worker=WORKER, clock=StandingClock(1000.0), report=lambda *_, **__: None,
            in_force=cast(Any, None), holders=cast(Any, None),
        )  # fmt: skip

    def wanted(self, who: Identity) -> ClaimRequest:
        grant = granted(listen_grant(who, BLOG, RULES))
        return ClaimRequest(grant, who, "192.0.2.0/24", self.settings, False, None)

    async def own(self, who: Identity, *, served: bool) -> None:
        """The name is reserved for somebody, and served or not."""
        claimed = await self.registry.claim(BLOG, who, WORKER, now=1000.0, terms=TERMS)
        assert isinstance(claimed, Claimed)
        if not served:
            assert await self.registry.release(BLOG, claimed.lease.generation, now=1000.0, used=True)


@pytest.mark.parametrize(
    ("who", "owner", "served", "readable", "granted_now"),
    [
        (ANN, ANN, False, True, True),
        (ANN, ANN, True, True, True),
        (ANN, ANN, False, False, False),
        (ANN, None, False, True, False),
        (BOB, ANN, False, True, False),
        (NOBODY, ANN, False, True, False),
    ],
)
async def test_only_a_name_that_is_ones_own_is_served_while_nothing_can_be_written(
    who: Identity, owner: Identity | None, *, served: bool, readable: bool, granted_now: bool
) -> None:
    """Nobody else may have it. What `ssh gw explain` says is the same."""
    stage = Stage()
    if owner is not None:
        await stage.own(owner, served=served)
    stage.registry.full, stage.registry.readable = True, readable
    if granted_now:
        assert await stage.claims.would_refuse(stage.wanted(who)) is None
        claim = await stage.claims.take(stage.wanted(who))
        assert not isinstance(claim, Refusal)
        assert (claim.generation, claim.reserved, claim.trial_until) == (UNWRITTEN, True, None)
    else:
        with pytest.raises(StoreUnavailable):
            await stage.claims.would_refuse(stage.wanted(who))
        with pytest.raises(StoreUnavailable):
            await stage.claims.take(stage.wanted(who))


@pytest.mark.parametrize(("who", "refused"), [(ANN, False), (BOB, True)])
async def test_a_name_of_another_is_refused_as_it_would_be(who: Identity, *, refused: bool) -> None:
    stage = Stage()
    await stage.own(ANN, served=False)
    foretold = await stage.claims.would_refuse(stage.wanted(who))
    taken = await stage.claims.take(stage.wanted(who))
    assert (foretold is not None, isinstance(taken, Refusal)) == (refused, refused)
    assert foretold is None or foretold == taken


@pytest.mark.parametrize(("who", "trial"), [(ANN, 60.0), (NOBODY, None)])
async def test_a_name_is_on_trial_unless_nobody_can_have_it(who: Identity, trial: float | None) -> None:
    """Without a key one has no names; with one it is reserved after a while of use."""
    stage = Stage()
    stage.settings = replace(stage.settings, rules=replace(RULES, reserve_after=60.0))
    claim = await stage.claims.take(stage.wanted(who))
    assert not isinstance(claim, Refusal)
    assert (claim.reserved, claim.trial_until) == (False, trial)


async def test_the_grant_of_another_claims_no_address() -> None:
    stage = Stage()
    wanted = stage.wanted(ANN)._replace(identity=BOB)
    with pytest.raises(LocalProtocolError):
        await stage.claims.take(wanted)


@pytest.mark.parametrize(("names", "limit"), [(None, "the limit:"), (1, "the limit of rule 'fleet':")])
async def test_a_rule_is_named_for_a_limit_that_is_its_own(names: int | None, limit: str) -> None:
    """Else the operator would look for the limit in a rule that has none."""
    stage = Stage()
    stage.settings = replace(stage.settings, rules=replace(RULES, reservations_per_identity=1))
    shop = Address(Kind.HTTP, "shop.localhost")
    assert isinstance(await stage.registry.claim(shop, ANN, WORKER, now=1000.0, terms=TERMS), Claimed)
    wanted = stage.wanted(ANN)
    rule = Rule("fleet", "/policy", 12, Members(), {}, names=names)
    refused = await stage.claims.would_refuse(wanted._replace(grant=replace(wanted.grant, rule=rule)))
    assert refused is not None
    assert refused.public.startswith(f"you have 1 name or port, which is {limit}")
