"""Names that the operator has given to keys: nobody else has an alias of such a name, and no host is looked up by it."""

from __future__ import annotations

import pytest

from ferry.names import Address, Kind
from ferry.policy.aims import Act, Aim, What
from ferry.policy.machine_names import aim_refusal, alias_refusal, host_refusal, is_given, nowhere

PLACE = "/keys, line 2"
ALIAS = Address(Kind.ALIAS, "web-2", 22)


def place_of(name: str) -> str | None:
    return PLACE if name == "web-2" else None


@pytest.mark.parametrize(
    ("asker", "address", "refused"),
    [
        ("ann", ALIAS, True),
        (None, ALIAS, True),
        ("web-2", ALIAS, False),
        ("Web-2", ALIAS, False),
        ("ann", Address(Kind.ALIAS, "web-3", 22), False),
        ("ann", Address(Kind.HTTP, "web-2"), False),
        ("ann", Address(Kind.TCP, "", 21000), False),
    ],
)
def test_an_alias_of_a_machines_name_is_that_machines_alone(asker: str | None, address: Address, refused: bool) -> None:
    refusal = alias_refusal(asker, address, place_of)
    assert (refusal and (refusal.code, refusal.rule)) == (("machine_name", PLACE) if refused else None)
    assert alias_refusal(asker, address, nowhere) is None


@pytest.mark.parametrize(
    ("asker", "address", "given"),
    [
        ("web-2", ALIAS, True),
        ("WEB-2", ALIAS, True),
        ("ann", ALIAS, False),
        (None, ALIAS, False),
        ("web-2", Address(Kind.HTTP, "web-2"), False),
    ],
)
def test_an_alias_with_ones_own_name_is_given(asker: str | None, address: Address, given: bool) -> None:
    assert is_given(asker, address) is given


def test_no_host_is_looked_up_by_the_name_of_a_key() -> None:
    refusal = host_refusal("web-2", 80, place_of)
    assert refusal is not None
    assert refusal.rule == PLACE
    assert refusal.public.startswith("the machine web-2 does not serve port 80 here now")
    assert host_refusal("web-3", 80, place_of) is None


@pytest.mark.parametrize(
    ("aim", "told"),
    [
        (Aim(Act.PUBLISH, What.ALIAS, "web-2", 22), "choose another alias"),
        (Aim(Act.REACH, What.HOST, "web-2", 22), "does not serve port 22"),
        (Aim(Act.REACH, What.ALIAS, "web-2", 22), ""),
        (Aim(Act.PUBLISH, What.NAME, "web-2", 0), ""),
    ],
)
def test_who_only_asks_hears_the_same(aim: Aim, told: str) -> None:
    refusal = aim_refusal("ann", aim, "web-2", place_of)
    assert (told in refusal.public) if refusal is not None and told else (refusal is None and not told)
