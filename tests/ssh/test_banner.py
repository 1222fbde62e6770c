"""The login banner: one line that no session says again, or none."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ferry.hostnames import Urls
from ferry.kinds.web import HTTP
from ferry.names import Address, Fingerprint, Identity, IdentityId, WorkerId
from ferry.policy.keys import KeyLine
from ferry.protocol.key_options import parse_options
from ferry.registry.contract import Claimed, Terms
from ferry.ssh.banner import Banners
from ferry.ssh.notices import Notices
from ferry.ssh.refusals import RefusedForward, RefusedForwards
from granted import RULES
from known_system import KNOWN
from memory_registry import MemoryRegistry

ANN = Identity(IdentityId("ann"), None, Fingerprint("SHA256:ann"))
SECRET = b"secret"
TERMS = Terms(keep=100.0, rest=10.0, reserve=True, derived=False, max_reservations=99)
FIRST, SECOND, *_ = HTTP.candidate_addresses(ANN.id, SECRET, RULES, ())
BLOG, SHOP = HTTP.address("blog.localhost"), HTTP.address("shop.localhost")
BANNER_IDENTITIES = 4096
REFUSED = RefusedForward("-R admin:80", "the operator has reserved the name 'admin': ask for another", "reserved", 1.0)


class Gateway:
    """Its banners, and what they depend on."""

    def __init__(self) -> None:
        self.registry = MemoryRegistry()
        self.refusals = RefusedForwards()
        self.banners = Banners(self.registry, self.refusals, SECRET)

    async def reserve(self, *addresses: Address) -> None:
        """These are Ann's from now on."""
        for address in addresses:
            claim = await self.registry.claim(address, ANN, WorkerId("w"), now=1.0, terms=TERMS)
            assert isinstance(claim, Claimed)

    async def log_in(
        self, who: Identity = ANN, *reserved: str, serves_web: bool = True, options: str = ""
    ) -> str | None:
        """The banner, where the operator has reserved these labels, for a key with `options`."""
        rules = replace(RULES, reserved_names=frozenset(reserved), serves_web=serves_web)
        notices = Notices(Urls(RULES.domain, 22, 80, None, lambda _: False), rules, public_is_loopback=True)
        line = KeyLine(options=parse_options(options, KNOWN))
        return await self.banners.banner(who, line, notices, None, now=2.0)


def label(address: Address) -> str:
    return RULES.domain.relative(address.name)


async def test_a_new_identity_is_told_once_what_it_will_get() -> None:
    gateway = Gateway()
    assert await gateway.log_in() == f"ferry: -R 80:... gives you http://{FIRST.name}\r\n"
    assert await gateway.log_in() is None


async def test_the_first_name_is_the_first_that_the_operator_has_not_reserved() -> None:
    assert await Gateway().log_in(ANN, label(FIRST)) == f"ferry: -R 80:... gives you http://{SECOND.name}\r\n"
    assert await Gateway().log_in(serves_web=False) is None


@pytest.mark.parametrize("options", ["restrict", 'permitlisten="21022"', 'permitlisten="blog:80"'])
async def test_no_name_is_shown_to_a_key_that_may_not_have_it(options: str) -> None:
    assert await Gateway().log_in(options=options) is None
    assert await Gateway().log_in(options=f'{options},port-forwarding,permitlisten="80"') is not None


async def test_no_name_is_shown_to_an_identity_that_has_names() -> None:
    gateway = Gateway()
    await gateway.reserve(BLOG, SHOP)
    assert await gateway.log_in() is None


async def test_a_refusal_is_shown_once_if_nobody_has_seen_it() -> None:
    gateway = Gateway()
    await gateway.reserve(BLOG)
    gateway.refusals.remember(ANN.id, REFUSED._replace(asked="-R first:80"))
    gateway.refusals.remember(ANN.id, REFUSED)
    assert await gateway.log_in() == f"ferry: refused before: -R admin:80: {REFUSED.why}\r\n"
    assert await gateway.log_in() is None
    gateway.refusals.remember(ANN.id, REFUSED)
    gateway.refusals.seen(ANN.id)
    assert await gateway.log_in() is None
    assert gateway.refusals.of(ANN.id)[-1] == REFUSED


async def test_names_that_are_nearly_used_up_are_counted_when_their_number_changes() -> None:
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


async def test_the_identities_that_are_remembered_are_bounded() -> None:
    gateway = Gateway()
    people = [Identity(IdentityId(f"i{number}"), None, None) for number in range(BANNER_IDENTITIES)]
    for person in (ANN, *people):
        assert await gateway.log_in(person)
    assert await gateway.log_in(people[-1]) is None
    assert await gateway.log_in() is not None  # forgotten


@pytest.mark.parametrize("addresses", [(), (BLOG,)])
async def test_there_is_no_banner_with_web_forwards_off(addresses: tuple[Address, ...]) -> None:
    gateway = Gateway()
    await gateway.reserve(*addresses)
    assert await gateway.log_in(serves_web=False) is None
