"""The answers to `ssh gw`, `ssh gw ls`, `names`, `release NAME`, `whoami` and `help`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from ferry.errors import InvalidInput
from ferry.kinds import kind_of
from ferry.names import Address, parse_label, printable
from ferry.protocol.words import Words
from ferry.registry.contract import Reservation, StoreUnavailable

from . import notices
from .forwards import store_down

if TYPE_CHECKING:
    from .client import Client
    from .refusals import RefusedForward
    from .sessions import Screen
    from .tunnel import SshTunnel


REFUSALS_SHOWN: Final = 5  # the last ones; older ones are no news


class Commands:
    """Runs one command of one screen. `tunnels` are the identity's own over all its connections."""

    def __init__(self, client: Client, screen: Screen, tunnels: list[SshTunnel], refused: list[RefusedForward]) -> None:
        self._client = client
        self._services = client.services
        self._screen = screen
        self._tunnels = tunnels
        self._refused = refused

    async def run(self, words: Words) -> None:
        """Answer, and end the screen with the command's exit status."""
        commands = {"help": self._help, "ls": self._ls, "names": self._names, "whoami": self._whoami, None: self._about}
        try:
            if words.command == "release":
                status = await self._release(words.argument or "")
            else:
                status = await commands[words.command]()
        except StoreUnavailable as error:
            self._screen.say(store_down(error), event="error")
            status = 1
        self._screen.end(status)

    async def _help(self) -> int:
        for line in notices.help_lines(self._services):
            self._screen.say(line)
        return 0

    async def _whoami(self) -> int:
        who = self._client.identity
        fields: dict[str, object] = {
            "event": "whoami",
            "name": who.name,
            "key": who.fingerprint,
            "anonymous": who.anonymous,
        }
        self._screen.show(notices.who_line(who), fields)
        return 0

    async def _ls(self) -> int:
        for tunnel in self._tunnels:
            self._screen.show(notices.tunnel_line(tunnel, self._services), notices.tunnel_json(tunnel, self._services))
        if not self._tunnels:
            self._screen.say(f"no tunnels of yours are up: ssh -R 80:localhost:3000 {self._services.urls.gateway}")
        return 0

    async def _names(self) -> int:
        reservations = await self._reservations()
        for reservation in reservations:
            up = any(tunnel.address == reservation.address for tunnel in self._tunnels)
            line = notices.reservation_line(reservation, self._services.rules.keep, up=up)
            kind = reservation.address.kind.value
            fields = {
                "event": "name",
                "address": kind_of(reservation.address.kind).spelled(reservation.address, self._services.urls),
                "kind": kind,
                "up": up,
            }
            self._screen.show(line, fields)
        if not reservations:
            self._screen.say("no names are reserved for you: the first use of one reserves it")
        return 0

    async def _about(self) -> int:
        """`ssh gw` alone."""
        screen, client = self._screen, self._client
        await self._whoami()
        reservations = await self._reservations()
        if reservations:
            screen.say("Yours:")
            await self._names()
        if self._tunnels:
            screen.say("Up now:")
            await self._ls()
        if self._refused:
            screen.say("Refused lately:")
            for refused in self._refused[-REFUSALS_SHOWN:]:
                when = datetime.fromtimestamp(refused.at, UTC)
                fields: dict[str, object] = {
                    "event": "refusal",
                    "asked": refused.asked,
                    "code": refused.code,
                    "message": refused.why,
                }
                screen.show(
                    f"{when:%Y-%m-%d %H:%M:%S} UTC  {notices.refusal_line(refused)}", fields | {"at": refused.at}
                )
        if self._services.rules.reserve_after and not client.identity.anonymous:
            minutes = self._services.rules.reserve_after / 60
            screen.say(f"A name is reserved for you after {minutes:.0f} minutes of use.")
        screen.say(f"To forward: ssh -R 80:localhost:3000 {self._services.urls.gateway}   (more: `help`)")
        return 0

    async def _reservations(self) -> list[Reservation]:
        if self._client.identity.anonymous:
            return []
        now, keep = self._services.clock.now(), self._services.rules.keep
        mine = await self._services.registry.reservations(self._client.identity.id)
        held = {tunnel.address for tunnel in self._tunnels}
        return [one for one in mine if one.address in held or one.last_used + keep >= now]

    async def _release(self, text: str) -> int:
        try:
            address = self._find(text, await self._reservations())
        except InvalidInput as error:
            self._screen.say(str(error), event="error")
            return 1
        await self._services.registry.free(address, self._client.identity.id)
        self._services.report("name.freed", address=str(address), identity=str(self._client.identity))
        up = any(tunnel.address == address for tunnel in self._tunnels)
        note = ", and goes to others when its tunnel closes" if up else ""
        self._screen.say(f"{address} is no longer reserved for you{note}", event="released", address=str(address))
        return 0

    def _find(self, text: str, mine: list[Reservation]) -> Address:
        """The reservation that `text` means: `blog`, `blog.example.com`, `30042`, `laptop:22`."""
        wanted = text.lower().removesuffix(".")
        domain = self._services.urls.domain
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
