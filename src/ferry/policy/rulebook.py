"""Decides by the operator's rules, in an index: among a thousand rules in some microseconds.

Pure: the same question at the same time has the same answer. A rulebook never changes; a reload makes a new one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final

from ferry.errors import Refusal

from .addresses import form_refusal, naming_of
from .aims import Act, Aim, What
from .keys import shown_time
from .machine_names import MACHINE_NAME, PlaceOf, aim_refusal, nowhere
from .pattern_index import PatternIndex, PermitIndex, bits_of
from .rules import Asker, Example, Members, Naming, Permit, Policy, Rule, Targets

_SHOWN: Final = 3  # permits in a refusal
_NO_PERMITS: Final = PermitIndex(())
_NAMING: Final = {
    Naming.ANYHOW: "",
    Naming.HOST: " by naming this host itself",
    Naming.PORT: " by naming this host and this port of the gateway's own themselves",
}


class _Index:
    """Finds the sets that an identity is in. A set is a bit."""

    __slots__ = ("_anonymous", "_fingerprints", "_holders", "_keyed", "_names")

    def __init__(self, sets: Sequence[Members]) -> None:
        self._names = PatternIndex()
        self._holders = PatternIndex()
        self._fingerprints: dict[str, int] = {}
        self._keyed = self._anonymous = 0
        for number, members in enumerate(sets):
            bit = 1 << number
            for name in members.names:
                self._names.add(name, bit)
            for holder in members.holders:
                self._holders.add(holder, bit)
            for fingerprint in members.fingerprints:
                self._fingerprints[fingerprint] = self._fingerprints.get(fingerprint, 0) | bit
            self._keyed |= bit if members.keyed else 0
            self._anonymous |= bit if members.anonymous else 0

    def find(self, asker: Asker) -> int:
        if asker.anonymous:
            return self._anonymous
        found = self._keyed
        if asker.fingerprint is not None:
            found |= self._fingerprints.get(asker.fingerprint, 0)
        if asker.name is not None:
            found |= self._names.find(asker.name, None)
        return found | self.find_holder(asker)

    def find_holder(self, asker: Asker) -> int:
        """Those in which it is by the CA and the key id of its certificate."""
        return 0 if asker.holder is None or asker.anonymous else self._holders.find(asker.holder, None)


class Rulebook:
    """The rules of one policy file."""

    __slots__ = (
        "_ends", "_having", "_of_tag", "_permits", "_rules_of_tag", "_who", "file", "policy", "rules", "services", "tags",
    )  # fmt: skip

    def __init__(self, policy: Policy, services: frozenset[int] = frozenset()) -> None:
        """`services`: the ports on which the gateway itself listens, for the operator, visitors and SSH."""
        self.policy = policy
        self.services = services
        self.file = policy.file
        self.rules = policy.rules
        self.tags = policy.tags
        self._who = _Index([rule.who for rule in policy.rules])
        places = {tag: number for number, tag in enumerate(policy.tags)}
        self._of_tag = _Index(list(policy.tags.values()))
        self._rules_of_tag = [0] * len(places)
        by_target: dict[Targets, list[tuple[Permit, int]]] = defaultdict(list)
        self._having: dict[Targets, int] = defaultdict(int)
        """The rules that allow something of one sort."""
        for number, rule in enumerate(policy.rules):
            for tag in rule.who.tags:
                self._rules_of_tag[places[tag]] |= 1 << number
            for targets, permits in rule.permits.items():
                by_target[targets] += ((permit, number) for permit in permits)
                self._having[targets] |= 1 << number
        self._permits = {targets: PermitIndex(permits) for targets, permits in by_target.items()}
        self._ends = sorted({rule.until for rule in policy.rules if rule.until is not None})

    def from_anywhere(self) -> Rulebook:
        """The same rules without their `from`, for questions in which no address is given."""
        rules = tuple(replace(rule, origins=None) for rule in self.rules)
        return Rulebook(replace(self.policy, rules=rules), self.services)

    def decide(self, asker: Asker, wanted: Aim, how: Naming = Naming.ANYHOW) -> Rule | Refusal:
        """The first rule that allows `wanted` to `asker` and names it in the way `how`, or the refusal."""
        nearly: Rule | None = None
        for number in self._fitting(asker, wanted, how):
            rule = self.rules[number]
            if rule.objection(asker) is None:
                return rule
            nearly = nearly or rule
        return self._refusal(asker, wanted, nearly, how)

    def allows_somewhere(self, asker: Asker, wanted: Aim) -> bool:
        """Whether a rule allows `wanted` to `asker` from some address."""
        return any(
            self.rules[number].objection(asker) != "until" for number in self._fitting(asker, wanted, Naming.ANYHOW)
        )

    def decide_asked(self, asker: Asker, wanted: Aim) -> Rule | Refusal:
        """As `decide`, for somebody who only asks: as much as the name of a host alone tells is decided."""
        return form_refusal(wanted) or self.decide(asker, wanted, naming_of(wanted, self.services))

    def decide_any(self, asker: Asker, wanted: Sequence[Aim], place_of: PlaceOf = nowhere) -> Rule | Refusal:
        """The first rule that allows one of `wanted`, which is not refused for the name of a key, or the refusal of the
        first of them."""
        label = wanted[0].name  # that of an alias has no domain, and the host of that name comes behind it
        answers = [aim_refusal(asker.name, each, label, place_of) or self.decide_asked(asker, each) for each in wanted]
        return next((answer for answer in answers if isinstance(answer, Rule)), answers[0])

    def rules_for(self, aims: Sequence[Aim], address: str, now: float) -> list[Rule]:
        """All rules that allow one of `aims` to somebody who comes from `address`. A look at each: it is for people who
        ask."""
        anybody = Asker(None, None, False, address, address, now)
        return [
            rule
            for rule in self.rules
            if any(
                permit.of_somebody(aim) and permit.names(naming_of(aim, self.services))
                for aim in aims
                if form_refusal(aim) is None
                for permit in rule.permits_for(aim)
            )
            and rule.objection(anybody) is None
        ]

    def permits_of(self, asker: Asker, act: Act, what: What) -> Iterator[tuple[Rule, Permit]]:
        """All that the rules allow `asker` of one sort, in the order of the file."""
        for number in bits_of(self._rules_for(asker) & self._having.get((act, what), 0)):
            rule = self.rules[number]
            if rule.objection(asker) is None:
                for permit in rule.permits[act, what]:
                    yield rule, permit

    def rules_of(self, asker: Asker) -> list[Rule]:
        """The rules whose `who` has `asker`, in the order of the file. No condition is looked at."""
        return [self.rules[number] for number in bits_of(self._rules_for(asker))]

    def tags_of(self, asker: Asker) -> list[str]:
        """The tags that `asker` has."""
        names = list(self.tags)
        return [names[number] for number in bits_of(self._of_tag.find(asker))]

    def end_between(self, before: float, now: float) -> bool:
        """Whether a rule has ended (`until`) between two times, in seconds since the epoch."""
        return any(before <= end < now for end in self._ends)

    def _fitting(self, asker: Asker, wanted: Aim, how: Naming) -> Iterator[int]:
        """The rules that allow `wanted` to `asker`, if their conditions are met."""
        index = self._permits.get((wanted.act, wanted.what), _NO_PERMITS)
        fits = index.find(wanted.name, wanted.port, asker.name, how) & self._rules_for(asker)
        if (key_name := asker.key_name) is not None:
            fits |= index.find(wanted.name, wanted.port, key_name, how) & self._rules_naming_ca(asker)
        return bits_of(fits)

    def _rules_for(self, asker: Asker) -> int:
        """The rules whose `who` has `asker`."""
        found = self._who.find(asker)
        for tag in bits_of(self._of_tag.find(asker)):
            found |= self._rules_of_tag[tag]
        return found

    def _rules_naming_ca(self, asker: Asker) -> int:
        """The rules whose `who` has `asker` by the CA and the key id of its certificate."""
        found = self._who.find_holder(asker)
        for tag in bits_of(self._of_tag.find_holder(asker)):
            found |= self._rules_of_tag[tag]
        return found

    def _refusal(self, asker: Asker, wanted: Aim, nearly: Rule | None, how: Naming) -> Refusal:
        log = f"the policy does not allow {asker} to {wanted}"
        if nearly is not None and nearly.objection(asker) == "until":
            assert nearly.until is not None
            return Refusal(
                f"the operator's policy let you {wanted} until {shown_time(nearly.until)} (rule {nearly.name!r})",
                code="policy_until",
                detail=f"{log}: {nearly.name!r} ended on {shown_time(nearly.until)} (until)",
                rule=str(nearly),
            )
        if nearly is not None:
            return Refusal(
                f"the operator's policy lets you {wanted}, but not from your address (rule {nearly.name!r})",
                code="policy_from",
                detail=f"{log} from {asker.address or 'an address that is not given'}: {nearly.name!r} has from",
                rule=str(nearly),
            )
        return Refusal(
            self._for_asker(asker, wanted),
            code="policy",
            detail=f"{log}: no rule does{_NAMING[how]}",
            rule=self.file,
        )

    def _for_asker(self, asker: Asker, wanted: Aim) -> str:
        """The refusal for the person, who is told what the rules allow instead."""
        what = wanted.what.value
        allowed = list(islice(self.permits_of(asker, wanted.act, wanted.what), _SHOWN + 1))
        if not allowed:
            return (
                f"the operator's policy does not let you {wanted}, or any {what}: ask the operator for a rule that does"
            )
        texts = list(dict.fromkeys(permit.text for _, permit in allowed))
        more = " and more" if len(texts) > _SHOWN else ""
        return (
            f"the operator's policy lets you {wanted.act} the {what} {', '.join(texts[:_SHOWN])}{more} "
            f"(rule {allowed[0][0].name!r}), not {wanted.target}"
        )


@dataclass(frozen=True, slots=True)
class Failure:
    """An example of the policy file with another answer than its author expects."""

    example: Example
    answer: Rule | Refusal

    def text(self, file: str) -> str:
        """The failure with its place, and what to do."""
        example = self.example
        head = f"{file}, line {example.line}: the test of {example.asker} "
        if isinstance(self.answer, Rule):
            return (
                f"{head}denies {example.text!r}, and the rule {self.answer.name!r} (line {self.answer.line}) allows it: "
                "narrow the rule, or move the example to accept"
            )
        why = self.answer.detail.partition(": ")[2]
        if self.answer.code == MACHINE_NAME:
            return f"{head}accepts {example.text!r}, and {why} ({self.answer.rule}): move the example to deny"
        return f"{head}accepts {example.text!r}, and {why}: write a rule that allows it, or move the example to deny"


def failures(book: Rulebook, now: float, place_of: PlaceOf = nowhere) -> list[Failure]:
    """The examples of the file that fail. `now` counts for those without a time, in seconds since the epoch; `place_of`
    knows the names of keys."""
    failed = []
    for example in book.policy.examples:
        asker = example.asker if example.asker.now else example.asker._replace(now=now)
        answer = book.decide_any(asker, example.wanted, place_of)
        if isinstance(answer, Rule) is not example.accept:
            failed.append(Failure(example, answer))
    return failed
