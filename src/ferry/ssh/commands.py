"""The answers to `ssh gw`, `ssh gw explain`, `ls`, `names`, `release NAME...`, `ssh-config`, `whoami` and `help`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Protocol

from ferry.clock import Clock
from ferry.errors import InvalidInput, Refusal
from ferry.hostnames import normal
from ferry.kinds import kind_of
from ferry.kinds.alias import ALIAS
from ferry.kinds.port import TCP
from ferry.names import Address, Identity, IdentityId, parse_label, printable
from ferry.policy.allowance import Allowance
from ferry.policy.grants import Grant, SocketGrant
from ferry.policy.reach import HostAnswer
from ferry.policy.rules import Rule
from ferry.protocol.forward_spec import LOCAL
from ferry.protocol.host_blocks import Held, host_blocks, is_plain, machines_of
from ferry.protocol.typed_forward import TypedForward
from ferry.protocol.words import Words
from ferry.registry.contract import Registry, Reservation, StoreUnavailable
from ferry.registry.rules import kept_until
from ferry.report import Report

from .explaining import Explained, WouldOpen
from .forward_settings import ForwardsInForce
from .notices import Notices, NoticesInForce, TunnelShown, refusal_line, store_down, who_line
from .refusals import RefusedForward, RefusedForwards

_MACHINES: Final = 256  # permits of a line that are looked at for machines
REFUSALS_SHOWN: Final = 5  # the latest ones, each once


class Answering(Protocol):
    """The session that shows the answer (`session.Session`)."""

    def say(self, line: str, **fields: object) -> None:
        """One sentence; as JSON, an object with `message` and `fields`, which may replace the message."""
        ...

    def complain(self, line: str, **fields: object) -> None:
        """Say on stderr why it cannot be done; as JSON, an object of the event `error`."""
        ...

    def show(self, line: str, fields: dict[str, object], /) -> None:
        """One line of text; as JSON, `fields`."""
        ...

    def failed(self) -> None:
        """Log the exception that is being handled, and close the session with status 1."""
        ...

    def end(self, status: int, /) -> None:
        """Close it with an exit status."""
        ...


Explain = Callable[[TypedForward], Awaitable[Explained]]
"""What a forward of a client would get."""


class TunnelsOf(Protocol):
    """The tunnels that are up."""

    def of(self, identity: IdentityId, /) -> Sequence[TunnelShown]:
        """The tunnels of an identity, over all its connections."""
        ...


class CommandsInForce(NoticesInForce, ForwardsInForce, Protocol):
    """The settings that are in force now."""


@dataclass(frozen=True, slots=True)
class _Invocation:
    """The session and its identity, with the tunnels and the notices at the start of the command."""

    session: Answering
    identity: Identity
    may: Allowance
    tunnels: Sequence[TunnelShown]
    up: frozenset[Address]
    """The addresses of these tunnels."""
    notices: Notices
    explain: Explain


class Commands:
    """Answers the commands of all sessions of one server."""

    def __init__(
        self,
        tunnels: TunnelsOf,
        refusals: RefusedForwards,
        registry: Registry,
        clock: Clock,
        report: Report,
        in_force: CommandsInForce,
    ) -> None:
        self._tunnels = tunnels
        self._refusals = refusals
        self._registry = registry
        self._clock = clock
        self._report = report
        self._in_force = in_force

    async def run(self, session: Answering, identity: Identity, may: Allowance, words: Words, explain: Explain) -> None:
        """Answer an identity that may ask for `may`, and end the session with the command's exit status. `explain` says what
        a forward of its client would get."""
        try:
            tunnels = self._tunnels.of(identity.id)
            up = frozenset(tunnel.address for tunnel in tunnels)
            notices = self._in_force.notices
            status = await self._answer(_Invocation(session, identity, may, tunnels, up, notices, explain), words)
        except StoreUnavailable as error:
            session.complain(store_down(error))
            session.end(1)
        except Exception:
            session.failed()
        else:
            session.end(status)

    async def _answer(self, invocation: _Invocation, words: Words) -> int:
        match words.command:
            case "help":
                _help(invocation)
            case "explain":
                assert words.forward is not None  # as `parse_words` makes it
                return _explain(invocation, words.forward, await invocation.explain(words.forward))
            case "ls":
                _ls(invocation)
            case "names":
                await self._names(invocation)
            case "release":
                return await self._release(invocation, words)
            case "ssh-config":
                await self._ssh_config(invocation)
            case "whoami":
                _whoami(invocation)
            case _:
                await self._about(invocation)
        return 0

    async def _names(self, invocation: _Invocation) -> None:
        reservations = await self._reservations(invocation)
        notices = invocation.notices
        for reservation in reservations:
            up = reservation.address in invocation.up
            invocation.session.show(
                notices.reservation_line(reservation, up=up), notices.reservation_fields(reservation, up=up)
            )
        if not reservations:
            invocation.session.say("no names are reserved for you: the first use of one reserves it")

    async def _ssh_config(self, invocation: _Invocation) -> None:
        """Write ssh_config blocks for the identity's own machines, and for those that its key's line names. They go through
        the gateway by its address: what its block is called in the person's own ssh_config, only the person knows."""
        notices = invocation.notices
        own = {one.address: None for one in await self._reservations(invocation)} | dict.fromkeys(invocation.up)
        others = await self._reached(invocation, own)
        held = [*(Held(address, invocation.identity.name) for address in own), *others]
        machines = machines_of(held, notices.rules.may_be_sshd)
        for machine in machines:
            fields: dict[str, object] = {
                "event": "machine", "host": machine.host, "hostname": machine.hostname, "port": machine.port,
                "up": machine.address in invocation.up if machine.address in own else None,
            }  # fmt: skip
            invocation.session.show("\n".join(host_blocks([machine], notices.urls.jump)), fields)
        if not machines:
            invocation.session.complain(
                f"no machine of yours is here: on one of them write ssh -R laptop:22:localhost:22 {notices.urls.gateway}"
            )

    async def _reached(self, invocation: _Invocation, own: Collection[Address]) -> list[Held]:
        """The machines of others that `permitopen=` names exactly, by port or by name, if nothing else refuses them."""
        found: dict[str, Held] = {}
        lines, name = self._in_force.forwards.port_lines, invocation.identity.name
        for permit in invocation.may.key_line.options.permit_open[:_MACHINES]:
            host, port = permit.host, permit.port
            if port is None or (host not in LOCAL and not is_plain(host)):
                continue
            typed = TypedForward(listens=False, host=host.encode(), port=port, typed=f"-W {permit}")
            if isinstance(await invocation.explain(typed), Refusal):
                continue
            owner = next((each.line.name for each in lines.lines_with_port(port)), None) if host in LOCAL else None
            address = TCP.address(port) if host in LOCAL else ALIAS.address(host, port)
            if address not in own and (name is None or name not in (owner, host)):
                found.setdefault(owner or str(address), Held(address, owner))
        return [one for one in found.values() if one.address.name not in found]

    async def _about(self, invocation: _Invocation) -> None:
        """Answer `ssh gw` without a command."""
        session, rules = invocation.session, invocation.notices.rules
        _whoami(invocation)
        reservations = await self._reservations(invocation)
        if reservations:
            session.say("Yours:")
            await self._names(invocation)
        if invocation.tunnels:
            session.say("Up now:")
            _ls(invocation)
        if refusals := self._refusals.of(invocation.identity.id):
            session.say("Refused lately:")
            for refused, times in _counted(refusals)[-REFUSALS_SHOWN:]:
                when = datetime.fromtimestamp(refused.at, UTC)
                again = f" ({times} times)" if times > 1 else ""
                session.say(
                    f"{when:%Y-%m-%d %H:%M:%S} UTC  {refusal_line(refused)}{again}",
                    event="refusal",
                    message=refused.why,
                    asked=refused.asked,
                    code=refused.code,
                    at=refused.at,
                    times=times,
                )
        if rules.reserve_after and not invocation.identity.anonymous:
            session.say(f"A name is reserved for you after {rules.reserve_after / 60:.0f} minutes of use.")
        for limit in invocation.may.limits():
            session.say(limit)
        if self._in_force.forwards.book is not None:
            gateway = invocation.notices.urls.gateway
            session.say(
                f"The operator's rules say what you may publish and reach: ssh {gateway} explain -R 22080:localhost:3000"
            )
        elif (example := invocation.notices.example(invocation.may)) is not None:
            if not invocation.may.key_line.options.permit_open:  # which `limits_of` has told
                session.say(
                    "-L and -D reach your own aliases and ports only: nothing else goes out through this gateway"
                )
            session.say(f"To forward: {example}   (more: `help`)")

    async def _reservations(self, invocation: _Invocation) -> list[Reservation]:
        if invocation.identity.anonymous:
            return []
        now, keep = self._clock.now(), invocation.notices.rules.keep
        mine = await self._registry.reservations(invocation.identity.id)
        return [one for one in mine if one.address in invocation.up or kept_until(one, keep=keep) >= now]

    async def _release(self, invocation: _Invocation, words: Words) -> int:
        """Give names back: all that are named, or none if one of them is wrong."""
        session, identity = invocation.session, invocation.identity
        mine = await self._reservations(invocation)
        try:
            wanted = dict.fromkeys(_find(text, mine, invocation.notices) for text in words.arguments)
        except InvalidInput as error:
            kept = ". Nothing was given back" if len(words.arguments) > 1 else ""
            session.complain(f"{error}{kept}")
            return 1
        if words.unused:
            wanted = dict.fromkeys(one.address for one in mine if not one.used and one.address not in invocation.up)
        for address in wanted:
            await self._registry.free(address, identity.id)
            self._report("name.freed", address=str(address), identity=identity)
            note = ", and goes to others when its tunnel closes" if address in invocation.up else ""
            session.say(f"{address} is no longer reserved for you{note}", event="released", address=str(address))
        if not wanted:
            session.say("nothing to give back: each name of yours is up or was used (`names` lists them)")
        return 0


def _explain(invocation: _Invocation, forward: TypedForward, decided: Explained) -> int:
    """Tell what the gateway would decide. The exit status is 1 for a refusal."""
    asked = str(forward)
    fields: dict[str, object] = {"event": "explain", "asked": asked, "allowed": not isinstance(decided, Refusal)}
    match decided:
        case Refusal(public=why, code=code):
            invocation.session.say(f"no: {asked}: {why}", **fields, message=why, code=code)
            return 1
        case WouldOpen(grant=Grant(address=address, rule=rule), instead=instead):
            where = kind_of(address.kind).for_people(address, invocation.notices.urls)
            text, by = f"would open {where}{f', {instead}' if instead else ''}", _by(rule)
            fields |= {"address": str(address), "rule": rule.name if rule else None}
            fields |= {"instead": instead} if instead else {}
        case Grant(address=address, rule=rule):
            where = kind_of(address.kind).for_people(address, invocation.notices.urls)
            text, by = f"would lead to {where}", _by(rule)
            fields |= {"address": str(address), "rule": rule.name if rule else None}
        case HostAnswer(host=host, rule=rule, condition=condition):
            text, by = f"would connect to the host {host.name}, {condition}", _by(rule) or " (permitopen=)"
            fields |= {"host": host.name, "rule": rule.name if rule else None}
        case SocketGrant(rule=rule):
            text, by = f"would connect to the socket {decided}, if a program listens there", _by(rule)
            fields |= {"socket": str(decided), "rule": rule.name if rule else None}
    invocation.session.say(f"yes: {asked} {text}{by}", **fields, message=text)
    return 0


def _by(rule: Rule | None) -> str:
    return f" (rule {rule.name!r})" if rule else ""


def _counted(refusals: Sequence[RefusedForward]) -> list[tuple[RefusedForward, int]]:
    """Each refusal once, as it was the last time, with how often the same was asked in vain. The latest is the last."""
    counted: dict[tuple[str, str], tuple[RefusedForward, int]] = {}
    for refused in refusals:
        same = (refused.asked, refused.why)
        _, before = counted.pop(same, (refused, 0))
        counted[same] = (refused, before + 1)
    return list(counted.values())


def _help(invocation: _Invocation) -> None:
    for line in invocation.notices.help_lines():
        invocation.session.say(line)


def _whoami(invocation: _Invocation) -> None:
    who = invocation.identity
    fields: dict[str, object] = {
        "event": "whoami",
        "name": who.name,
        "key": who.fingerprint,
        "anonymous": who.anonymous,
        **_certificate_fields(who),
    }
    invocation.session.show(who_line(who), fields)


def _certificate_fields(who: Identity) -> dict[str, object]:
    if (name := who.certificate) is None:
        return {}
    return {"certificate": {"key_id": name.key_id, "serial": name.serial, "ca": name.ca}}


def _ls(invocation: _Invocation) -> None:
    notices = invocation.notices
    for tunnel in invocation.tunnels:
        invocation.session.show(notices.tunnel_line(tunnel), notices.tunnel_fields(tunnel))
    if not invocation.tunnels:
        example = notices.example(invocation.may)
        invocation.session.say("no tunnels of yours are up" + (f": {example}" if example else ""))


def _find(text: str, mine: list[Reservation], notices: Notices) -> Address:
    """The reservation that `text` means: `blog`, `blog.example.com`, `30042`, `laptop:22`. Raises InvalidInput."""
    wanted = normal(text)
    domain = notices.urls.domain
    in_full = {kind_of(one.address.kind).in_full(one.address): one.address for one in mine}
    if wanted in in_full:
        return in_full[wanted]
    meant = [
        (form, address)
        for form, address in in_full.items()
        if address.name and wanted in (address.name, domain.relative(address.name))
    ]
    if len(meant) == 1:
        return meant[0][1]
    if meant:
        forms = " and ".join(form for form, _ in meant)
        raise InvalidInput(f"'{printable(text, 80)}' may mean {forms}: write one of them")
    if not wanted.isdecimal():
        parse_label(domain.relative(wanted.partition(":")[0]))
    raise InvalidInput(f"{printable(text, 80)} is not reserved for you: `names` lists what is")
