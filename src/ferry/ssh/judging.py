"""Asks the operator's policy about a client: what it may publish, now and later."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

from ferry.errors import Refusal
from ferry.names import Address, Endpoint, Identity
from ferry.policy.forwards import listen_grant
from ferry.policy.judge import Judge
from ferry.policy.rules import Asker, Rule

from .forward_settings import ForwardSettings


class Judged(Protocol):
    """A client that asks for something."""

    @property
    def identity(self) -> Identity: ...

    @property
    def peer(self) -> Endpoint: ...

    @property
    def host(self) -> str:
        """The name of its host, or its address."""
        ...


def asker_of(client: Judged, now: float) -> Asker:
    """The client, as the policy sees it. `now` is in seconds since the epoch."""
    return Asker.of(client.identity, client.peer.host, client.host, now)


def judge_of(client: Judged, settings: ForwardSettings, now: float) -> Judge | None:
    """The policy for one client; None without a policy file."""
    return None if settings.book is None else Judge(settings.book, asker_of(client, now))


def refusal_now(
    client: Judged, address: Address, settings: ForwardSettings, now: float, before: Rule | None
) -> Refusal | None:
    """The refusal of a tunnel at `address` by the operator's settings or the policy, if they give that no longer. `before` is
    the rule that has allowed it."""
    answer = listen_grant(client.identity, address, settings.rules, judge_of(client, settings, now))
    if not isinstance(answer, Refusal):
        return None
    by = f" (rule {before.name!r} had allowed it)" if before and answer.rule != str(before) else ""
    return replace(answer, public=f"{answer.public}{by}")


def with_limits(settings: ForwardSettings, rule: Rule | None) -> ForwardSettings:
    """The settings with the limits of the rule that decides."""
    if rule is None or rule.names is None:
        return settings
    return replace(settings, rules=replace(settings.rules, reservations_per_identity=rule.names))
