"""The login banner: one line about what nobody has seen, or none."""

from __future__ import annotations

from ferry.hostnames import Urls
from ferry.kinds.web import HTTP
from ferry.names import Address, Fingerprint, Identity, IdentityId, WorkerId
from ferry.registry.contract import Claimed, Reservation, Terms
from ferry.ssh.banner import Banners
from ferry.ssh.notices import Notices
from ferry.ssh.refusals import RefusedForward, RefusedForwards
from granted import RULES
from memory_registry import MemoryRegistry

ANN = Identity(IdentityId("ann"), None, Fingerprint("SHA256:ann"))
TERMS = Terms(keep=100.0, rest=10.0, reserve=True, derived=False, max_reservations=99)
BANNER_IDENTITIES = 4096
REFUSED = RefusedForward("-R admin:80", "the operator has reserved the name 'admin': ask for another", "reserved", 1.0)


class NamesOfAll(MemoryRegistry):
    """What one has reserved is everybody's."""

    async def reservations(self, owner: IdentityId | None) -> list[Reservation]:
        del owner
        return await super().reservations(None)


class Gateway:
    """Its banners, and what they depend on."""

    def __init__(self, registry: MemoryRegistry | None = None) -> None:
        self.registry = registry or MemoryRegistry()
        self.refusals = RefusedForwards()
        self.banners = Banners(self.registry, self.refusals)

    async def reserve(self, *addresses: Address, owner: Identity = ANN) -> None:
        """These are the owner's from now on."""
        for address in addresses:
            claim = await self.registry.claim(address, owner, WorkerId("w"), now=1.0, terms=TERMS)
            assert isinstance(claim, Claimed)

    async def log_in(self, who: Identity = ANN) -> str | None:
        """The banner."""
        notices = Notices(Urls(RULES.domain, 22, 80, None, lambda _: False), RULES, public_is_loopback=True)
        return await self.banners.banner(who.id, notices)


async def test_a_new_identity_gets_none() -> None:
    assert await Gateway().log_in() is None


async def test_a_refusal_is_shown_once_if_nobody_has_seen_it() -> None:
    gateway = Gateway()
    gateway.refusals.remember(ANN.id, REFUSED._replace(asked="-R first:80"))
    gateway.refusals.remember(ANN.id, REFUSED)
    assert await gateway.log_in() == f"ferry: refused before: -R admin:80: {REFUSED.why}\r\n"
    assert await gateway.log_in() is None
    gateway.refusals.remember(ANN.id, REFUSED)
    gateway.refusals.seen(ANN.id)
    assert await gateway.log_in() is None
    assert gateway.refusals.of(ANN.id)[-1] == REFUSED


async def test_names_that_are_nearly_used_up_are_counted_when_their_number_changes() -> None:
    """NAMES_NEAR_LIMIT."""
    gateway = Gateway()
    most = RULES.reservations_per_identity
    names = [HTTP.address(f"n{number}.localhost") for number in range(most)]
    await gateway.reserve(*names[: most * 8 // 10 - 1])
    assert await gateway.log_in() is None
    await gateway.reserve(names[most * 8 // 10 - 1])
    assert await gateway.log_in() == "ferry: 16 of your 20 names are taken: ssh localhost names lists them\r\n"
    assert await gateway.log_in() is None
    await gateway.reserve(*names)
    gateway.refusals.remember(ANN.id, REFUSED)
    first, second = await gateway.log_in(), await gateway.log_in()
    assert [line and line.split()[1] for line in (first, second)] == ["refused", "20"]  # one line at a time


async def test_the_identities_whose_warnings_are_remembered_are_bounded() -> None:
    gateway = Gateway(NamesOfAll())
    await gateway.reserve(*(HTTP.address(f"n{number}.localhost") for number in range(RULES.reservations_per_identity)))
    people = [Identity(IdentityId(f"i{number}"), None, None) for number in range(BANNER_IDENTITIES + 1)]
    assert all([await gateway.log_in(person) for person in people])
    assert [await gateway.log_in(person) for person in people[1:]] == [None] * BANNER_IDENTITIES
    assert await gateway.log_in(people[0]) is not None  # forgotten
