"""The names that the operator has given to keys. `web-2:22` means the machine whose key has the name `web-2`, also while
that is away: nobody else has an alias of this name, and no host of the network is looked up by it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ferry.errors import Refusal
from ferry.kinds.alias import ALIAS
from ferry.names import Address

from .aims import Act, Aim, What

MACHINE_NAME: Final = "machine_name"
"""The code of these refusals."""

PlaceOf = Callable[[str], str | None]
"""Where the operator has given a name, in lower case, to a key: file and line. None: no key has it."""


def nowhere(_name: str) -> None:
    """Of a gateway that knows no names."""


def is_own(name: str, asker: str | None) -> bool:
    """Whether a name is that of the identity `asker` (None: it has none)."""
    return asker is not None and asker.lower() == name


def is_given(asker: str | None, address: Address) -> bool:
    """Whether the operator has given an alias to the identity `asker`, with its name."""
    return address.kind is ALIAS.kind and is_own(address.name, asker)


def alias_refusal(asker: str | None, address: Address, place_of: PlaceOf) -> Refusal | None:
    """The refusal of an alias with the name of another identity's key. `asker` is the name of who wants it."""
    if address.kind is not ALIAS.kind or is_own(address.name, asker) or (place := place_of(address.name)) is None:
        return None
    return Refusal(
        f"{address.name} is the name of another machine: choose another alias",
        code=MACHINE_NAME,
        detail=f"{address} refused: {address.name} is the name of another key, and nobody else has an alias of that name",
        rule=place,
    )


def host_refusal(name: str, port: int, place_of: PlaceOf) -> Refusal | None:
    """The refusal to look up a host by the name of a key. `name` is in lower case, without the gateway's domain. Only who
    may reach the host is told, for it says that there is such a key."""
    if (place := place_of(name)) is None:
        return None
    return Refusal(
        f"the machine {name} does not serve port {port} here now (a host of the network is named in full, with its domain)",
        code=MACHINE_NAME,
        detail=f"{name}:{port} refused: {name} is the name of a key, so it is looked up as no host of the network",
        rule=place,
    )


def aim_refusal(asker: str | None, aim: Aim, label: str, place_of: PlaceOf) -> Refusal | None:
    """The same for somebody who only asks. `label` is the name of the target without the gateway's domain."""
    if (aim.act, aim.what) == (Act.PUBLISH, What.ALIAS):
        return alias_refusal(asker, ALIAS.address(label, aim.port), place_of)
    return host_refusal(label, aim.port, place_of) if aim.what is What.HOST else None
