"""What a rule of the policy means, read one rule after the other. The product answers from an index (`policy.rulebook`)."""

from __future__ import annotations

from collections.abc import Mapping

from ferry.policy.aims import Aim
from ferry.policy.rules import Asker, Members, Naming, Rule
from ferry.protocol.host_patterns import matches


def allows(rule: Rule, asker: Asker, wanted: Aim, tags: Mapping[str, Members], how: Naming) -> bool:
    """Whether a rule allows `wanted` to `asker`, which it has to name in the way `how`."""
    own = asker.key_name if _names_ca(rule.who, asker, tags) and asker.name is None else asker.name
    permits = [each for each in rule.permits_for(wanted) if each.names(how)]
    allowed = any(permit.covers(wanted, own) for permit in permits)
    return allowed and _has(rule.who, asker, tags) and rule.objection(asker) is None


def _has(members: Members, asker: Asker, tags: Mapping[str, Members]) -> bool:
    """Whether `asker` is one of them."""
    tagged = any(_has(tags[tag], asker, tags) for tag in members.tags)
    if asker.anonymous:
        return members.anonymous or tagged
    if members.keyed or asker.fingerprint in members.fingerprints:
        return True
    texts = ((asker.name, members.names), (asker.holder, members.holders))
    return tagged or any(text is not None and _fits(text, patterns) for text, patterns in texts)


def _names_ca(members: Members, asker: Asker, tags: Mapping[str, Members]) -> bool:
    """Whether `asker` is one of them by the CA and the key id of its certificate."""
    if asker.holder is None or asker.anonymous:
        return False
    return _fits(asker.holder, members.holders) or any(_names_ca(tags[tag], asker, tags) for tag in members.tags)


def _fits(text: str, patterns: tuple[str, ...]) -> bool:
    return any(matches(pattern, text) for pattern in patterns)
