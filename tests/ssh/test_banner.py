"""The login banner: it names only web addresses that the gateway will give."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ferry.hostnames import Urls
from ferry.kinds.web import HTTP
from ferry.names import Address, Fingerprint, Identity, IdentityId, WorkerId
from ferry.registry.contract import Claimed, Terms
from ferry.registry.memory import MemoryRegistry
from ferry.ssh.banner import own_address_banner
from ferry.ssh.notices import Notices
from granted import RULES

ANN = Identity(IdentityId("ann"), None, Fingerprint("SHA256:ann"))
SECRET = b"secret"
TERMS = Terms(keep=100.0, rest=10.0, reserve=True, derived=False, max_reservations=9)
FIRST, SECOND, *_ = HTTP.candidate_addresses(ANN.id, SECRET, RULES, ())
BLOG, SHOP = HTTP.address("blog.localhost"), HTTP.address("shop.localhost")


def label(address: Address) -> str:
    return RULES.domain.relative(address.name)


async def owned(*addresses: Address) -> MemoryRegistry:
    """A registry where these are Ann's."""
    registry = MemoryRegistry()
    for address in addresses:
        assert isinstance(await registry.claim(address, ANN, WorkerId("w"), now=1.0, terms=TERMS), Claimed)
    return registry


async def banner(registry: MemoryRegistry, *reserved: str, serves_web: bool = True) -> str | None:
    """Ann's, where the operator has reserved these labels."""
    rules = replace(RULES, reserved_names=frozenset(reserved), serves_web=serves_web)
    notices = Notices(Urls(RULES.domain, 22, 80, None, lambda _: False), rules, public_is_loopback=True)
    return await own_address_banner(ANN, notices, registry, secret=SECRET, now=2.0)


async def test_the_first_name_is_the_first_that_the_operator_has_not_reserved() -> None:
    registry = await owned()
    assert await banner(registry) == f"ferry: -R 80:... gives you http://{FIRST.name}\r\n"
    assert await banner(registry, label(FIRST)) == f"ferry: -R 80:... gives you http://{SECOND.name}\r\n"


async def test_a_kept_name_that_the_operator_has_reserved_since_is_left_out() -> None:
    registry = await owned(BLOG, SHOP)
    assert await banner(registry) == "ferry: your web addresses: http://blog.localhost, http://shop.localhost\r\n"
    assert await banner(registry, "blog") == "ferry: your web address: http://shop.localhost\r\n"
    assert await banner(registry, "blog", "shop") is None


@pytest.mark.parametrize("addresses", [(), (BLOG,)])
async def test_there_is_no_banner_with_web_forwards_off(addresses: tuple[Address, ...]) -> None:
    assert await banner(await owned(*addresses), serves_web=False) is None
