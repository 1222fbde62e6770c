"""The life of a forward: parse → decide → claim → listen → tell, and back again in the reverse order.

A name belongs to an identity. Its newest claim of a *requested* name wins at once, and the older connection loses
that one tunnel; a name of our choice is taken over only from a connection that does not answer any more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ferry import limits, tasks
from ferry.clock import random_token
from ferry.errors import InvalidInput, Refusal, Refused
from ferry.kinds import kind_of, parse_forward
from ferry.kinds.base import ForwardRequest
from ferry.names import Address, Identity, Kind, TunnelId
from ferry.policy.forwards import candidate_addresses, check_counts, listen_grant, login_name_address, requested
from ferry.policy.grants import Grant
from ferry.registry.contract import UNWRITTEN, Claimed, Lease, StoreUnavailable, Taken, TakenBy, Terms

from .notices import store_down
from .tunnel import SshTunnel

if TYPE_CHECKING:
    from .client import Client
    from .front import SshFront
    from .services import Services


async def open_forward(client: Client, host: bytes, port: int) -> SshTunnel | Refusal:
    """Grant one `tcpip-forward` request, or say why not."""
    try:
        request = parse_forward(host, port, client.services.web)
    except InvalidInput as error:
        return Refusal(str(error), code="invalid", detail=error.detail, repeats_input=True)
    try:
        # one at a time per identity: what is counted here must still be so when the forward is there
        async with client.front.locks(client.identity.id):
            return await _open(client, request, (host, port))
    except StoreUnavailable as error:
        return Refusal(store_down(error), code="store", detail=str(error))


async def _open(client: Client, request: ForwardRequest, bind: tuple[bytes, int]) -> SshTunnel | Refusal:
    services = client.services
    too_many = check_counts(
        services.rules,
        on_connection=len(client.forwards),
        of_identity=client.front.held_by(client.identity.id),
        gateway=services.urls.gateway,
    )
    if too_many is not None:
        return too_many
    if bind in client.forwards:  # never with port 0: what is held has a number
        return Refusal(_duplicate(request, bind[1]), code="duplicate")
    address = requested(request, services.rules)
    if isinstance(address, Refusal):
        return address
    if address is None:
        address = await _owned_login_name(client, request.kind)
    if address is not None:
        grant = listen_grant(client.identity, address, services.rules)
        return grant if isinstance(grant, Refusal) else await _open_requested(client, request, grant, bind)
    return await _open_chosen(client, request, bind)


def _duplicate(request: ForwardRequest, port: int) -> str:
    """Stock ssh finds the local target by what it asked for, so two equal requests both reach the first target."""
    better = kind_of(request.kind).duplicate_hint(request, port)
    return f"ssh would send both -R {port} to the first target: write {better}"


async def _owned_login_name(client: Client, kind: Kind) -> Address | None:
    """`blog@gw` means blog if it is theirs already: ssh always sends a login name, so that can never claim one."""
    services = client.services
    address = login_name_address(client.user, kind, services.rules)
    if address is None:
        return None
    reservation = await services.registry.reservation(address, now=services.clock.now(), keep=services.rules.keep)
    return address if reservation is not None and reservation.owner == client.identity.id else None


async def _open_requested(
    client: Client, request: ForwardRequest, grant: Grant, bind: tuple[bytes, int]
) -> SshTunnel | Refusal:
    services, address = client.services, grant.address
    holder = services.routes.get(address)
    if isinstance(holder, SshTunnel) and holder.owner == client.identity.id:
        if holder.client is client:
            return Refusal(f"this connection holds {address} already: ask for another", code="duplicate")
        wait = services.flaps.wait(address, services.clock.monotonic())
        if wait > 0:
            return Refusal(
                f"{address} changed hands {limits.FLAP_TAKEOVERS} times in a minute between connections of yours; it "
                f"stays with the one from {holder.client.peer}: stop one of them, or ask again in {wait:.0f} s",
                code="flapping",
            )
    outcome = await _claim(client, address, derived=False)
    if isinstance(outcome, Taken):
        return _refusal(address, outcome, services)
    return await _serve(client, request, grant, outcome, bind, derived=False)


async def _open_chosen(client: Client, request: ForwardRequest, bind: tuple[bytes, int]) -> SshTunnel | Refusal:
    """Give this identity its own name or port: what it had before, else the next derived one."""
    services = client.services
    had = [] if client.identity.anonymous else await services.registry.reservations(client.identity.id)
    given = [reservation.address for reservation in had if reservation.derived]
    last: Refusal | None = None
    for address in candidate_addresses(request, services.rules, client.identity, services.secret, given):
        grant = listen_grant(client.identity, address, services.rules)
        if isinstance(grant, Refusal):
            last = grant
            continue
        holder = services.routes.get(address)
        if isinstance(holder, SshTunnel) and (
            holder.owner != client.identity.id
            or holder.client is client
            or await holder.client.connection.alive_within(limits.ALIVE_SECONDS)
        ):
            continue
        outcome = await _claim(client, address, derived=True)
        if isinstance(outcome, Taken):
            last = _refusal(address, outcome, services)
            if outcome.reason in (TakenBy.OVER_LIMIT, TakenBy.NETWORK_LIMIT):
                return last
            continue
        served = await _serve(client, request, grant, outcome, bind, derived=True)
        if not isinstance(served, Refusal) or served.code != "port_in_use":
            return served
        last = served
    return last or Refusal("every address that could be given is in use: ask for one by name", code="exhausted")


async def _claim(client: Client, address: Address, *, derived: bool) -> Claimed | Taken:
    services, rules = client.services, client.services.rules
    terms = Terms(
        keep=rules.keep,
        rest=rules.rest,
        reserve=not client.identity.anonymous and rules.reserve_after == 0,
        derived=derived,
        max_reservations=rules.reservations_per_identity,
        network=client.network,
        max_per_network_day=rules.reservations_per_network,
    )
    now = services.clock.now()
    try:
        return await services.registry.claim(address, client.identity, services.worker, now=now, terms=terms)
    except StoreUnavailable as error:
        if not error.readable or not await _is_reserved_for(client, address):
            raise
        lease = Lease(address, client.identity.id, services.worker, UNWRITTEN, now, str(client.identity))
        return Claimed(lease, None, reserved=True)


async def _is_reserved_for(client: Client, address: Address) -> bool:
    """Whether a claim, which cannot be written now, can have only one outcome: nobody else may have the address."""
    registry, rules = client.services.registry, client.services.rules
    reservation = await registry.reservation(address, now=client.services.clock.now(), keep=rules.keep)
    if reservation is None or reservation.owner != client.identity.id:
        return False
    lease = await registry.lookup(address)
    return lease is None or lease.owner == client.identity.id


async def write_lease(tunnel: SshTunnel) -> bool:
    """Claim anew what is served without a lease in the database. False when it still cannot be written."""
    client = tunnel.client
    async with client.front.locks(client.identity.id):
        if tunnel.closed:
            return True
        try:
            outcome = await _claim(client, tunnel.address, derived=tunnel.derived)
        except StoreUnavailable:
            return False
    if isinstance(outcome, Taken):
        refused = _refusal(tunnel.address, outcome, client.services)
        client.front.close_tunnel(tunnel, refused.public)
        return True
    tunnel.generation = outcome.lease.generation
    if tunnel.closed:
        await _give_back(tunnel, forget=False)
    return tunnel.generation != UNWRITTEN


def _refusal(address: Address, taken: Taken, services: Services) -> Refusal:
    """What the asker is told; whose it is goes to the log only."""
    detail = f"{address} refused: {taken.reason.value}, held by {taken.owner_name or 'nobody'}"
    match taken.reason:
        case TakenBy.OVER_LIMIT:
            limit, release = services.rules.reservations_per_identity, f"ssh {services.urls.gateway} release NAME"
            public = f"you have {limit} names and ports, which is the limit: give one back with `{release}`"
        case TakenBy.NETWORK_LIMIT:
            public = "your network has reserved as many names today as it may: come back tomorrow"
        case TakenBy.RESTING:
            public = f"{address} was given up a short while ago and is kept for its last owner: ask for another"
        case _:
            public = f"{address} belongs to somebody else: ask for another"
    return Refusal(public, code=f"name_{taken.reason.value}", detail=detail)


async def _serve(
    client: Client, request: ForwardRequest, grant: Grant, claimed: Claimed, bind: tuple[bytes, int], *, derived: bool
) -> SshTunnel | Refusal:
    """Put a claimed address into service. Whatever fails on the way gives the claim back."""
    services, lease = client.services, claimed.lease
    address = grant.address
    tunnel = SshTunnel(
        client,
        TunnelId(random_token(4)),
        address,
        lease.generation,
        (bind[0], address.port if bind[1] == 0 else bind[1]),
        created=services.clock.now(),
        tls_upstream=request.tls_upstream,
        derived=derived,
        asked_wide=request.wide,
    )
    if not claimed.reserved and not client.identity.anonymous:
        tunnel.trial_until = services.clock.monotonic() + services.rules.reserve_after
    try:
        older = services.routes.get(address)
        if isinstance(older, SshTunnel):
            older.client.lose(older, client)
        refusal = await _listen(tunnel, grant, services)
        if refusal is None and client.is_closed:
            refusal = Refusal("the connection closed meanwhile", code="gone")
    except BaseException:
        await _undo(client, claimed, tunnel)
        raise
    if refusal is not None:
        await _undo(client, claimed, tunnel)
        return refusal
    tunnel.new_name = claimed.new
    services.routes.add(tunnel, grant)
    client.forwards[tunnel.bind] = tunnel
    services.report(
        "tunnel.opened",
        tunnel=tunnel.id,
        connection=client.id,
        address=str(address),
        kind=address.kind.value,
        url=kind_of(address.kind).plain_url(address, services.urls),
    )
    if claimed.reserved:
        services.report("name.reserved", address=str(address), identity=str(client.identity))
    return tunnel


async def _listen(tunnel: SshTunnel, grant: Grant, services: Services) -> Refusal | None:
    """Open the port of an address that has one of its own."""
    opening = kind_of(tunnel.address.kind).listen_port(tunnel.address, services.rules)
    if opening is None:
        return None
    try:
        tunnel.listener = await services.ports.listen(tunnel, grant, opening.port, loopback=opening.loopback)
    except Refused as error:
        return error.refusal
    return None


async def _undo(client: Client, claimed: Claimed, tunnel: SshTunnel | None = None) -> None:
    """Give back a claim that was never in service: of what it made there is nothing to remember."""
    if tunnel is not None and tunnel.listener is not None:
        tunnel.listener.close(cut=True)
    owed = Owed(claimed.lease.address, claimed.lease.generation, client.identity if claimed.new else None)
    try:
        await _pay(client.services, owed)
    except StoreUnavailable:
        client.front.owed.append(owed)


def close_forward(tunnel: SshTunnel, reason: str, *, unwanted: bool = False) -> None:
    """Take a tunnel out of service. Visitors that are being served go on; its address is given back. `unwanted`: it
    ought not to have been opened, so that a reservation which it made goes with it."""
    client, services = tunnel.client, tunnel.client.services
    if tunnel.closed:
        return
    client.forwards.pop(tunnel.bind, None)
    services.routes.remove(tunnel)
    if tunnel.listener is not None:
        tunnel.listener.close(cut=False)
    tunnel.close()
    services.report(
        "tunnel.closed",
        tunnel=tunnel.id,
        connection=client.id,
        address=str(tunnel.address),
        kind=tunnel.address.kind.value,
        reason=reason,
    )
    tasks.spawn(f"release {tunnel.address}", _give_back(tunnel, forget=unwanted and tunnel.new_name))


class Owed(NamedTuple):
    """What is to be given back of a tunnel that has closed."""

    address: Address
    generation: int
    reservation_of: Identity | None
    """Whose reservation goes with it: this generation has made it."""


async def _give_back(tunnel: SshTunnel, *, forget: bool) -> None:
    services = tunnel.client.services
    owed = Owed(tunnel.address, tunnel.generation, tunnel.client.identity if forget else None)
    try:
        await _pay(services, owed)
    except StoreUnavailable as error:
        services.report("store.failed", error=str(error))
        tunnel.client.front.owed.append(owed)


async def _pay(services: Services, owed: Owed) -> None:
    whose = owed.reservation_of
    if whose is None:
        await services.registry.release(owed.address, owed.generation, now=services.clock.now())
    elif await services.registry.undo(owed.address, owed.generation):
        services.report("name.freed", address=str(owed.address), identity=str(whose))


async def give_back_late(front: SshFront) -> None:
    """Give back what could not be written when it was closed: nobody but its last owner could have the address until the
    gateway starts again. A newer claim has another generation, and is not touched."""
    services = front.services
    for _ in range(len(front.owed)):
        owed = front.owed.popleft()
        try:
            if owed.reservation_of is None:
                await _pay(services, owed)
                continue
            async with front.locks(owed.reservation_of.id):
                # Where it has been asked for again and is served without a lease, its reservation is all that there is.
                again = services.routes.get(owed.address) is not None
                await _pay(services, owed._replace(reservation_of=None) if again else owed)
        except StoreUnavailable:
            front.owed.appendleft(owed)
            return
