"""The operator's policy, for one client: what it says about an address to publish, and about a target to reach."""

from __future__ import annotations

from dataclasses import dataclass

from ferry.errors import Refusal
from ferry.hostnames import normal
from ferry.kinds import kind_of
from ferry.kinds.rules import ForwardRules
from ferry.names import Address

from .aims import Act, Aim, What
from .rulebook import Rulebook
from .rules import Asker, Naming, Rule


@dataclass(frozen=True, slots=True)
class Judge:
    """The rules, and who asks."""

    book: Rulebook
    asker: Asker

    def publish(self, address: Address, rules: ForwardRules) -> Rule | Refusal:
        """The rule that allows a tunnel at `address`."""
        name = kind_of(address.kind).name_in_rules(address, rules)
        return self.book.decide(self.asker, Aim(Act.PUBLISH, what_of(address), name, address.port))

    def reach(self, address: Address) -> Rule | Refusal:
        """The rule that allows streams through the gateway to the tunnel at `address`, an alias or a port."""
        return self.book.decide(self.asker, Aim(Act.REACH, what_of(address), address.name, address.port))

    def reach_socket(self, name: str) -> Rule | Refusal:
        """The rule that allows streams to a Unix socket in the asker's own folder."""
        return self.book.decide(self.asker, Aim(Act.REACH, What.SOCKET, name, 0))

    def reach_host(self, host: str, port: int, how: Naming = Naming.ANYHOW) -> Rule | Refusal:
        """The rule that allows streams to `port` of a host that the gateway connects to, and names it in the way `how`. `host`
        is as the client has sent it."""
        return self.book.decide(self.asker, Aim(Act.REACH, What.HOST, normal(host), port), how)


def what_of(address: Address) -> What:
    """The sort of target that a tunnel at `address` is."""
    return What(kind_of(address.kind).in_rules)
