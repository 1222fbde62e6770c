"""Reads a policy file (`access.policy`): TOML with `[tags]`, `[[rule]]` and `[[test]]`.

    [tags]
    fleet = ["web-*", "db-1"]

    [[rule]]
    name = "machines publish their SSH"
    who = ["tag:fleet"]
    publish.ports = ["21000-21999"]

    [[test]]
    who = "web-1"
    accept = ["publish 21023"]
    deny = ["publish 22080"]

All mistakes are reported at once, each with file, line, key and what to write.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Final, TypeVar

from ferry import limits
from ferry.errors import InvalidInput
from ferry.hostnames import Domain
from ferry.names import Fingerprint, printable
from ferry.policy.aims import Act, Aim, What, parse_publish, parse_reach
from ferry.policy.machine_names import PlaceOf, nowhere
from ferry.policy.rulebook import Rulebook, failures
from ferry.policy.rules import ANY_PORT, Asker, Example, Members, Permit, Policy, Rule, Targets, is_pattern
from ferry.regular_files import read_regular

from .file import in_order, read_toml
from .model import Config
from .policy_values import (
    ANONYMOUS,
    Member,
    PortRanges,
    members_of,
    parse_fingerprint,
    parse_member,
    parse_origins,
    parse_permits,
    parse_time,
)
from .toml_text import lines_of
from .words import Mistakes, Provenance

_TOP: Final = ("tags", "rule", "test")
_RULE: Final = ("name", "who", "publish", "reach", "from", "until", "most")
_TEST: Final = ("who", "key", "from", "at", "accept", "deny")
_MOST: Final = ("forwards", "names")
_TARGETS: Final[Mapping[Act, tuple[What, ...]]] = {
    Act.PUBLISH: (What.NAME, What.PORT, What.ALIAS, What.SOCKET),
    Act.REACH: (What.ALIAS, What.PORT, What.HOST, What.SOCKET),
}

Table = Mapping[str, object]
T = TypeVar("T")


def load_policy(config: Config, now: float, place_of: PlaceOf = nowhere) -> Rulebook | None:
    """The policy of a configuration, whose tests pass; None without one. `now` is the time of the tests, in seconds since
    the epoch, and `place_of` knows the names of keys. Blocks. Raises InvalidInput."""
    path = config.access.policy
    if path is None:
        return None
    book = read_book(path, config)
    if failed := failures(book, now, place_of):
        raise InvalidInput("\n".join(failure.text(book.file) for failure in failed[: limits.CONFIG_MISTAKES]))
    return book


def read_book(path: Path, config: Config) -> Rulebook:
    """The policy in a file, which has the tags that a configuration needs. Blocks. Raises InvalidInput."""
    book = Rulebook(read_policy(path, port_ranges(config), Domain(config.domain)), config.services)
    missing = [
        f"{path}: [tags] has no {printable(tag, 60)}, and sshd.match {number} is for it: {_instead(tag, book)}"
        for number, match in enumerate(config.sshd.match, 1)
        for tag in (entry.removeprefix("!") for entry in match.tag)
        if not is_pattern(tag) and tag not in book.tags
    ]
    if missing:
        raise InvalidInput("\n".join(missing[: limits.CONFIG_MISTAKES]))
    return book


def _instead(tag: str, book: Rulebook) -> str:
    near = difflib.get_close_matches(tag, book.tags, 1, 0.7)
    return f"did you mean {near[0]}?" if near else f'write {printable(tag, 40)} = ["web-1"] below [tags]'


def port_ranges(config: Config) -> PortRanges:
    """The names that a policy file has for the gateway's ports: its ranges by who can reach them, and its purposes."""
    found: dict[str, list[tuple[int, int]]] = {"loopback": [], "public": []}
    for one in config.tcp.ranges:
        found[one.listen].append((one.first, one.last))
    for name, span in config.tcp.purposes_in_ranges.items():
        found.setdefault(name, []).append((span.first, span.last))
    return found


def read_policy(path: Path, ranges: PortRanges, domain: Domain | None = None) -> Policy:
    """The policy in a file. Blocks. Raises InvalidInput."""
    try:
        data = read_regular(path, limits.POLICY_FILE_BYTES + 1)
    except OSError as error:
        why = error.strerror or str(error)
        raise InvalidInput(f"{path}: cannot be read: {why}: name another file, or let this user read it") from None
    if len(data) > limits.POLICY_FILE_BYTES:
        most = limits.POLICY_FILE_BYTES // limits.MIB
        raise InvalidInput(f"{path}: it has more than {most} MiB: write patterns and tags in place of single names")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path}: not UTF-8 text (byte {error.start}): save it as UTF-8") from None
    return replace(parse_policy(text, str(path), ranges, domain), sha256=sha256(data).hexdigest())


def parse_policy(text: str, file: str, ranges: PortRanges, domain: Domain | None = None) -> Policy:
    """The policy in a text. `file` names it in errors. `domain` is the gateway's, for its tests. Raises InvalidInput with one sentence per mistake."""
    provenance = Provenance(file, lines=lines_of(text))
    mistakes = Mistakes()
    table = read_toml(text, provenance, mistakes)
    policy = _Reading(provenance, mistakes, ranges, domain).policy(table)
    if mistakes.texts:
        shown = in_order(mistakes.texts, file)
        more = len(shown) - limits.CONFIG_MISTAKES
        raise InvalidInput(
            "\n".join(shown[: limits.CONFIG_MISTAKES] + ([f"{file}: {more} more mistakes"] if more > 0 else []))
        )
    return policy


class _Reading:
    """One reading of a file."""

    def __init__(self, provenance: Provenance, mistakes: Mistakes, ranges: PortRanges, domain: Domain | None) -> None:
        self._provenance = provenance
        self._domain = domain
        self._mistakes = mistakes
        self._ranges = ranges
        self._tags: dict[str, Members] = {}
        self._named: dict[str, int] = {}
        """The names of rules, each with its line."""
        self._spans: set[tuple[int, int]] = set()
        """The ranges of ports behind names."""

    def policy(self, table: Table) -> Policy:
        """The whole file."""
        for key in table:
            if key not in _TOP:
                self._wrong(key, self._unknown(key, _TOP, "a policy has [tags], [[rule]] and [[test]]"))
        self._read_tags(table.get("tags", {}))
        rules = [self._rule(number, rule) for number, rule in self._tables(table, "rule", limits.POLICY_RULES)]
        if not rules and not self._mistakes.texts:
            self._mistakes.texts.append(
                f"{self._provenance.default}: it has no [[rule]], so nobody could publish or reach anything: write one, or "
                "remove access.policy from the configuration"
            )
        examples = [
            example
            for number, test in self._tables(table, "test", limits.POLICY_TESTS)
            for example in self._test(number, test)
        ]
        return Policy(self._provenance.default, tuple(rules), self._tags, tuple(examples))

    # --- mistakes

    def _wrong(self, key: str, text: str) -> None:
        """Note a mistake in the value of a dotted key."""
        shown = ".".join(part for part in key.split(".")[-2:] if not part.isdigit() and part not in ("rule", "test"))
        self._mistakes.texts.append(f"{self._provenance.line(key)}: {f'{printable(shown)}: ' if shown else ''}{text}")

    def _unknown(self, key: str, known: Sequence[str], otherwise: str) -> str:
        near = difflib.get_close_matches(key, known, 1, 0.7)
        return f"unknown key: {f'did you mean {near[0]}?' if near else otherwise}"

    def _try(self, key: str, read: Callable[[], T]) -> T | None:
        """What `read` returns; None if it raises InvalidInput, which is noted."""
        try:
            return read()
        except InvalidInput as error:
            self._wrong(key, str(error))
            return None

    # --- shapes

    def _tables(self, table: Table, name: str, most: int) -> Iterable[tuple[int, Table]]:
        """The `[[name]]` of the file, by their numbers."""
        found = table.get(name, [])
        if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
            self._wrong(name, f"write each below a line [[{name}]]")
            return []
        if len(found) > most:
            self._wrong(name, f"the file has {len(found):,} [[{name}]]: {most:,} are allowed")
        return enumerate(found[:most])

    def _table(self, key: str, value: object, example: str) -> Table:
        if isinstance(value, dict):
            return value
        self._wrong(key, f"{_shown(value)} is no table: write {example}")
        return {}

    def _texts(self, key: str, value: object, example: str, most: int = limits.POLICY_ENTRIES) -> list[str]:
        """A list of texts; one text is a list of one."""
        if isinstance(value, str):
            value = [value]
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            self._wrong(key, f"{_shown(value)} is no list of texts: write {example}")
            return []
        if not value:
            self._wrong(key, f"the list is empty: write {example}, or delete the key")
        if len(value) > most:
            self._wrong(key, f"the list has {len(value):,} entries: {most:,} are allowed")
        return value[:most]

    def _each(self, key: str, texts: Sequence[str], read: Callable[[str], T]) -> list[T]:
        """What `read` makes of each text. Mistakes are noted."""
        found = [self._try(key, partial(read, text)) for text in texts]
        return [each for each in found if each is not None]

    # --- tags

    def _read_tags(self, value: object) -> None:
        table = self._table("tags", value, 'fleet = ["web-1", "web-2"] below a line [tags]')
        if len(table) > limits.POLICY_TAGS:
            self._wrong("tags", f"the file has {len(table):,} tags: {limits.POLICY_TAGS:,} are allowed")
        for name, members in list(table.items())[: limits.POLICY_TAGS]:
            key = f"tags.{name}"
            texts = self._texts(key, members, '["web-1", "SHA256:..."]', limits.POLICY_TAG_MEMBERS)
            self._tags[name] = members_of(self._each(key, texts, _member_of_tag))

    # --- rules

    def _rule(self, number: int, table: Table) -> Rule:
        at = f"rule.{number}"
        for key in table:
            if key not in _RULE:
                self._wrong(f"{at}.{key}", self._unknown(key, _RULE, f"a rule has {', '.join(_RULE)}"))
        line = self._provenance.number(at)
        permits = {
            targets: found
            for act in Act
            if act in table
            for targets, found in self._permits(f"{at}.{act}", act, table[act]).items()
        }
        if not any(act in table for act in Act):
            self._wrong(
                at, 'the rule allows nothing: write publish.ports = ["21000-21999"] or reach.aliases = ["web-1:22"]'
            )
        origins = None
        if "from" in table:
            texts = self._texts(f"{at}.from", table["from"], '["10.0.0.0/8"]', limits.KEY_FROM_ENTRIES)
            origins = self._try(f"{at}.from", lambda: parse_origins(texts)) if texts else None
        until = self._try(f"{at}.until", lambda: parse_time(table["until"])) if "until" in table else None
        counts = self._most(f"{at}.most", table.get("most", {}))
        return Rule(
            self._name(at, number, table, line),
            self._provenance.default,
            line,
            self._who(at, table),
            permits,
            origins,
            until,
            counts.get("forwards"),
            counts.get("names"),
        )

    def _name(self, at: str, number: int, table: Table, line: int) -> str:
        name = table.get("name", f"rule {number + 1}")
        key = f"{at}.name"
        if not isinstance(name, str) or not name or len(name) > limits.POLICY_NAME_CHARS or printable(name) != name:
            most = limits.POLICY_NAME_CHARS
            self._wrong(key, f'{_shown(name)} is no name: write up to {most} plain characters, such as name = "fleet"')
            return ""
        if name in self._named:
            self._wrong(key, f"{name!r} is the name of the rule on line {self._named[name]} too: write another")
        self._named.setdefault(name, line)
        return name

    def _who(self, at: str, table: Table) -> Members:
        if "who" not in table:
            self._wrong(at, 'the rule is for nobody: write who = ["web-1"], or who = ["*"] for everybody with a key')
            return Members()
        key = f"{at}.who"
        texts = self._texts(key, table["who"], '["web-1", "tag:fleet"]')
        return members_of(self._each(key, texts, lambda text: parse_member(text, list(self._tags))))

    def _permits(self, at: str, act: Act, value: object) -> dict[Targets, tuple[Permit, ...]]:
        known = _TARGETS[act]
        table = self._table(at, value, f'{act}.ports = ["21000-21999"]')
        found: dict[Targets, tuple[Permit, ...]] = {}
        for name, entries in table.items():
            key = f"{at}.{name}"
            if name not in known:
                self._wrong(key, self._unknown(name, known, f"{act} has {', '.join(known)}"))
                continue
            what = What(name)
            texts = self._texts(key, entries, _EXAMPLES[what])
            permits = [
                permit
                for several in self._each(key, texts, partial(parse_permits, what, ranges=self._ranges))
                for permit in several
            ]
            found[act, what] = tuple(permits)
            self._count_spans(key, permits)
        return found

    def _count_spans(self, key: str, permits: Sequence[Permit]) -> None:
        """A decision looks at all ranges of ports behind names, so their number is bounded."""
        before = len(self._spans)
        self._spans |= {
            one.ports for one in permits if not one.of_ports and one.first != one.last and one.ports != ANY_PORT
        }
        if before <= limits.POLICY_RANGES < len(self._spans):
            self._wrong(
                key, f"the file has more than {limits.POLICY_RANGES} different ranges of ports: write wider ones"
            )

    def _most(self, at: str, value: object) -> dict[str, int]:
        found: dict[str, int] = {}
        for name, count in self._table(at, value, "most.forwards = 4").items():
            key = f"{at}.{name}"
            if name not in _MOST:
                self._wrong(key, self._unknown(name, _MOST, f"most has {' and '.join(_MOST)}"))
            elif isinstance(count, bool) or not isinstance(count, int) or not 0 <= count <= limits.POLICY_COUNT:
                self._wrong(key, f"{_shown(count)} is no number from 0 to {limits.POLICY_COUNT}: write one, such as 4")
            else:
                found[name] = count
        return found

    # --- tests

    def _test(self, number: int, table: Table) -> list[Example]:
        at = f"test.{number}"
        for key in table:
            if key not in _TEST:
                self._wrong(f"{at}.{key}", self._unknown(key, _TEST, f"a test has {', '.join(_TEST)}"))
        asker = self._asker(at, table)
        if "accept" not in table and "deny" not in table:
            self._wrong(at, 'the test asks nothing: write accept = ["publish 21023"] or deny = ["reach web-1:22"]')
        found: list[Example] = []
        for word in ("accept", "deny"):
            if word in table:
                key = f"{at}.{word}"
                for text in self._texts(key, table[word], '["publish 21023"]'):
                    wanted = self._try(key, partial(parse_question, text, self._domain))
                    if wanted is not None:
                        line = self._provenance.number(key)
                        found.append(Example(line, asker, text, tuple(wanted), word == "accept"))
        return found

    def _asker(self, at: str, table: Table) -> Asker:
        values: dict[str, str] = {}
        for key in ("who", "key", "from"):
            value = table.get(key, "")
            if not isinstance(value, str):
                self._wrong(
                    f"{at}.{key}", f"{_shown(value)} is no text: a test is about one identity: write one in quotes"
                )
            else:
                values[key] = value
        who, key, address = values.get("who", ""), values.get("key", ""), values.get("from", "")
        if not key and "who" not in table:
            self._wrong(at, 'the test is about nobody: write who = "web-1"')
        now = self._try(f"{at}.at", lambda: parse_time(table["at"])) if "at" in table else 0.0
        made = self._try(f"{at}.who", lambda: asker_of(who, key, address, now or 0.0))
        return made or Asker(None, None, True, "", "", 0.0)


_EXAMPLES: Final[Mapping[What, str]] = {
    What.NAME: '["blog", "blog-*"]',
    What.PORT: '["21023", "21000-21999"]',
    What.ALIAS: '["web-1:22", "web-*:22"]',
    What.HOST: '["db.example.com:5432", "10.1.0.0/16:22"]',
    What.SOCKET: '["/x.sock", "/*.sock"]',
}


def asker_of(who: str, key: str, address: str, now: float) -> Asker:
    """Somebody to ask about: by name or fingerprint or `anonymous`, with a key or none. Raises InvalidInput."""
    if who == ANONYMOUS:
        return Asker(None, None, True, address, address, now)
    member = parse_member(who, ()) if who else Member()
    if member.keyed or not {"*", "?"}.isdisjoint(member.name + member.holder):
        raise InvalidInput(f"{printable(who, 60)!r} is a pattern: a question is about one identity, such as web-1")
    fingerprint: Fingerprint | None = parse_fingerprint(key) if key else member.fingerprint
    return Asker(member.name or None, fingerprint, False, address, address, now, member.holder or None)


def parse_question(text: str, domain: Domain | None) -> list[Aim]:
    """`publish 21023`, `reach web-1:22`. Raises InvalidInput."""
    word, _, target = text.strip().partition(" ")
    match word:
        case Act.PUBLISH:
            aim = parse_publish(target.strip(), domain)
            if aim.is_any_port:
                raise InvalidInput("0 is a port that the gateway chooses: write one that it may, such as publish 22000")
            return [aim]
        case Act.REACH:
            return parse_reach(target.strip(), domain)
    raise InvalidInput(f'{printable(text, 60)!r} begins with neither publish nor reach: write "publish 21023"')


def _member_of_tag(text: str) -> Member:
    if text.startswith("tag:"):
        raise InvalidInput(f"{printable(text, 60)!r} is a tag, and a tag has identities: write their names")
    return parse_member(text, ())


def _shown(value: object) -> str:
    return printable(repr(value), 60)
