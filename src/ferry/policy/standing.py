"""How a key that the operator enters stands with the rules, and the rule to write where none allows what the key is for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from ferry import limits
from ferry.hostnames import SSH_PORT
from ferry.names import Fingerprint

from .aims import Act, Aim, What, publish_port
from .rulebook import Rulebook
from .rules import Asker, Rule

_SOMEBODY: Final = "ann"
"""In a rule for people whom the operator has to name."""


class Newcomer(NamedTuple):
    """A key, and the ports that it is for."""

    name: str | None
    """The name of its identity."""
    fingerprint: Fingerprint
    publishes: Sequence[int]
    """The ports that its machine publishes."""
    reached: Sequence[int]
    """Those of them that people reach through the gateway alone."""
    ssh: Sequence[int]
    """Those of `reached` that are for SSH: people reach them by the name of the identity too."""

    @property
    def who(self) -> str:
        """How a rule names it."""
        return self.name or self.fingerprint


class Allowed(NamedTuple):
    """An aim, and the rules that allow it."""

    aim: Aim
    rules: Sequence[Rule]
    """To publish: the one that decides. To reach: all, each for the people that its `who` has."""


class Missing(NamedTuple):
    """Something that no rule allows."""

    why: str
    write: str
    """A `[[rule]]` that would allow it, in the syntax of the file."""
    instead: str = ""
    """Another way: a rule that allows it to others. Empty if there is none."""


class Standing(NamedTuple):
    """What the rules say of one key."""

    rules: Sequence[Rule]
    """Those that are for its identity, whatever they allow."""
    allowed: Sequence[Allowed]
    missing: Sequence[Missing]


NOWHERE: Final = Standing((), (), ())


def standing_of(book: Rulebook, key: Newcomer, now: float) -> Standing:
    """How `key` stands with the rules. `now` is in seconds since the epoch. No `from` is looked at: from where a machine
    comes is not known yet. A look at each rule: it is for people who ask."""
    asker = Asker(key.name, key.fingerprint, False, "", "", now)
    rules = [rule for rule in book.rules_of(asker) if not rule.has_ended(now)]
    published = [_published(rules, asker, port) for port in key.publishes]
    reached = [_reached(book, key, port, now) for port in key.reached]
    missing = [*_unpublished(book, key, [each.aim for each in published if not each.rules], now)]
    missing += _unreached(book, key, [each.aim for each in reached if not each.rules])
    if not rules and not key.publishes:
        missing.append(_for_nobody(book, key))
    return Standing(rules, [each for each in (*published, *reached) if each.rules], missing)


def places_of(book: Rulebook, key: Fingerprint) -> list[str]:
    """Where the file names a key by its fingerprint."""
    rules = [str(rule) for rule in book.rules if key in rule.who.fingerprints]
    return [*(f"{book.file}: [tags] {tag}" for tag, of in book.tags.items() if key in of.fingerprints), *rules]


def _permits_somebody(rule: Rule, aim: Aim) -> bool:
    return any(permit.of_somebody(aim) for permit in rule.permits_for(aim))


def _published(rules: Sequence[Rule], asker: Asker, port: int) -> Allowed:
    """The rule that lets a machine publish a port; one without `from`, if there is one."""
    aim = publish_port(port)
    permitting = [rule for rule in rules if any(permit.covers(aim, asker.name) for permit in rule.permits_for(aim))]
    found = sorted(permitting, key=lambda rule: rule.origins is not None)
    return Allowed(aim, found[:1])


def _reached(book: Rulebook, key: Newcomer, port: int, now: float) -> Allowed:
    """The rules that let people reach a port: by its number, else by the name of its machine."""
    aims = [Aim(Act.REACH, What.PORT, "", port)]
    if port in key.ssh and key.name is not None:
        aims.append(Aim(Act.REACH, What.ALIAS, key.name.lower(), SSH_PORT))
    for aim in aims:
        if found := [rule for rule in book.rules if not rule.has_ended(now) and _permits_somebody(rule, aim)]:
            return Allowed(aim, found)
    return Allowed(aims[0], ())


def _unpublished(book: Rulebook, key: Newcomer, aims: Sequence[Aim], now: float) -> Iterator[Missing]:
    if not aims:
        return
    write = _rule_text(book, f"{key.who} publishes", key.who, {"publish.ports": [str(aim.port) for aim in aims]})
    yield Missing(f"no rule lets {key.who} publish {_targets(aims)}", write, _of_others(book, key, aims, now))


def _of_others(book: Rulebook, key: Newcomer, aims: Sequence[Aim], now: float) -> str:
    """The first rule that allows all that is missing to others, and how `key` becomes one of them."""
    for rule in book.rules:
        if not rule.has_ended(now) and all(_permits_somebody(rule, aim) for aim in aims):
            to = f"[tags] {rule.who.tags[0]}" if rule.who.tags else "its who"
            return f'{rule.name!r} (line {rule.line}) allows it to {rule.who.shown}: add "{key.who}" to {to}'
    return ""


def _unreached(book: Rulebook, key: Newcomer, aims: Sequence[Aim]) -> Iterator[Missing]:
    if not aims:
        return
    write = _rule_text(
        book, f"people reach {key.who}", _SOMEBODY, {"reach.ports": [str(aim.port) for aim in aims]},
        "the names of those who reach it",
    )  # fmt: skip
    yield Missing(f"no rule lets anybody reach {_targets(aims)}", write)


def _for_nobody(book: Rulebook, key: Newcomer) -> Missing:
    permits = {"publish.names": [key.name or "blog"], "reach.ports": ["loopback"]}
    write = _rule_text(book, key.who, key.who, permits, more="what it may publish and reach, such as")
    return Missing(f"no rule is for {key.who}, so it may log in, and publish and reach nothing", write)


def _targets(aims: Sequence[Aim]) -> str:
    return " and ".join(aim.target for aim in aims)


def _rule_text(
    book: Rulebook, name: str, who: str, permits: Mapping[str, Sequence[str]], those: str = "", *, more: str = ""
) -> str:
    """A whole rule."""
    named = [f"name = {_quoted(name)}"] if _is_free(book, name) else []
    comment = f"  # {those}" if those else ""
    targets = [f"{key} = [{', '.join(map(_quoted, of))}]" for key, of in permits.items()]
    return "\n".join(
        ["[[rule]]", *named, f"who = [{_quoted(who)}]{comment}", *([f"# {more}"] if more else []), *targets, ""]
    )


def _is_free(book: Rulebook, name: str) -> bool:
    return len(name) <= limits.POLICY_NAME_CHARS and all(rule.name != name for rule in book.rules)


def _quoted(text: str) -> str:
    """A name, a fingerprint or a port: none has a character that TOML would escape."""
    return f'"{text}"'
