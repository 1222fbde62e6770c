"""What the port table says about a request: whose a port is, and whether it stays its identity's for good."""

from __future__ import annotations

from ferry.errors import Refusal
from ferry.kinds import kind_of
from ferry.names import Address, Identity
from ferry.policy.forwards import listen_grant
from ferry.policy.grants import Grant
from ferry.policy.judge import Judge
from ferry.policy.machine_names import alias_refusal
from ferry.policy.port_lines import kept_for_another, lasting_label, naming_own, ports_of, tcp_ports
from ferry.registry.contract import Registry

from .access import Allowed
from .forward_settings import ForwardSettings


def grant_of(identity: Identity, address: Address, settings: ForwardSettings, judge: Judge | None) -> Grant | Refusal:
    """As `listen_grant`; a port that a line of a key file keeps for another is refused too, and the name of another's key."""
    grant = listen_grant(identity, address, settings.rules, judge)
    if isinstance(grant, Refusal):
        return grant
    if not kind_of(address.kind).is_port:
        return alias_refusal(identity.name, address, settings.place_of_name) or grant
    return kept_for_another(identity, address, settings.port_lines.lines_with_port(address.port)) or grant


def label_of(identity: Identity, address: Address, settings: ForwardSettings, *, derived: bool) -> str | None:
    """The label under which `address` stays the identity's for good. None if it is kept by use, as one is that the
    gateway has chosen (`derived`)."""
    if derived:
        return None
    return lasting_label(identity, address, settings.rules, settings.port_lines.lines_with_port(address.port))


async def naming_own_ports(
    registry: Registry, client: Allowed, address: Address, refusal: Refusal, settings: ForwardSettings
) -> Refusal:
    """The refusal of a port of another, with the numbers of the asker's own ports. Raises StoreUnavailable."""
    if client.identity.anonymous or not kind_of(address.kind).is_port:
        return refusal
    had = await registry.reservations(client.identity.id)
    kept = tcp_ports(one.address for one in had if one.label is not None)
    own = list(dict.fromkeys([*ports_of(client.may.key_line), *kept]))
    return naming_own(refusal, address, own, settings.port_lines.lines_with_port(address.port))
