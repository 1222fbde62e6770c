"""`ferry policy`: checks a policy file, and says what it allows to whom."""

from __future__ import annotations

import enum
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from ferry.amounts import number
from ferry.errors import FerryError, InvalidInput

from .options import JsonOption, Output, OutputOption, source
from .output import folded, paint, print_json, print_table, quiet_pipe, safe
from .table import Column

if TYPE_CHECKING:
    from ferry.config.model import Config
    from ferry.errors import Refusal
    from ferry.names import Fingerprint
    from ferry.policy.aims import Aim
    from ferry.policy.explained import Verdict
    from ferry.policy.keys import KeyLine
    from ferry.policy.rulebook import Failure, Rulebook
    from ferry.policy.rules import Asker, Rule
    from ferry.protocol.host_patterns import HostList
    from ferry.ssh.access_lines import Found

EXIT_REFUSED: Final = 1
_CAS_SHOWN: Final = 3  # in an answer about somebody who is in no file
_INDENT: Final = "    "


class Action(enum.StrEnum):
    """What to do."""

    CHECK = "check"
    EXPLAIN = "explain"
    WHO_CAN = "who-can"


def policy(
    action: Annotated[
        Action,
        typer.Argument(
            help="check: read the file and run its tests. explain: may --who do this, and why. who-can: who may.",
            metavar="check|explain|who-can",
        ),
    ],
    file: Annotated[
        Path | None,
        typer.Argument(
            help="The policy file (TOML). Without it that of the configuration.", metavar="[FILE]", readable=False
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            help="The configuration file, which names the policy file and the key files. Without it that of the gateway "
            "that runs, or of the one that is installed.",
            readable=False,
        ),
    ] = None,
    who: Annotated[str | None, typer.Option("--who", help="A name, a key (SHA256:...), or anonymous.")] = None,
    publish: Annotated[
        str | None,
        typer.Option("--publish", help="As behind ssh -R: 21023, blog, web-1:22, /x.sock.", metavar="TARGET"),
    ] = None,
    reach: Annotated[
        str | None,
        typer.Option(
            "--reach",
            help="As behind ssh -W: web-1:22, localhost:21023, db.example.com:5432, /x.sock.",
            metavar="TARGET",
        ),
    ] = None,
    from_address: Annotated[
        str | None,
        typer.Option("--from", help="The address that asks. Without it, no `from` of a rule or a key is looked at."),
    ] = None,
    user: Annotated[
        str | None,
        typer.Option(
            "--user",
            help="The login name that asks. Without it, no `user` of a [[sshd.match]] is looked at.",
            metavar="LOGIN",
        ),
    ] = None,
    as_json: JsonOption = False,
    _output: OutputOption = Output.TEXT,
) -> None:
    """Check the policy file, or ask what it and the lines of keys allow. It changes nothing.

    Exit codes: 0 the file is right, or it is allowed to somebody; 1 a test of the file fails, or it is refused; 2 the file
    or the question has mistakes.
    """
    from ferry.clock import SystemClock

    loaded = _configuration(config)
    now = SystemClock().now()
    if action is Action.CHECK:
        _check(loaded, _book(loaded, file, needed=True), now, as_json=as_json)
        return
    aims = _aims(publish, reach, loaded.domain)
    asking = _Asking(loaded, _book(loaded, file, needed=False), aims, _address(from_address), now, user)
    if action is Action.EXPLAIN:
        if who is None:
            raise InvalidInput("nobody is named: write --who web-1, or `ferry policy who-can` to ask about everybody")
        allowed = asking.explain(who, as_json=as_json)
    else:
        if who is not None:
            raise InvalidInput("who-can asks about everybody: leave --who out, or write `ferry policy explain`")
        allowed = asking.who_can(as_json=as_json)
    if not allowed:
        raise typer.Exit(EXIT_REFUSED)


def _configuration(config: Path | None) -> Config:
    """The configuration that is meant: the named one, else that of the installation."""
    from .locate import find_installation

    state = None
    if config is None and (found := find_installation(os.environ)) is not None:
        config, state = found.config, None if found.config else found.state
    return source(config, state=state).load()


def _book(config: Config, file: Path | None, *, needed: bool) -> Rulebook | None:
    from ferry.config.policy_file import read_book

    path = file or config.access.policy
    if path is not None:
        return read_book(path, config)
    if needed:
        raise InvalidInput(
            "no policy file is named: write `ferry policy check FILE`, or access.policy in the configuration"
        )
    return None


def _access_of(config: Config) -> Found:
    """What the key files say. Raises StartupError if one is missing. The list of revoked keys may be unreadable."""
    from ferry.ssh.access_lines import read_listed
    from ferry.ssh.key_files import check_there, listing_of

    paths = config.access_paths
    check_there(replace(paths, revoked=None))
    return read_listed(paths, listing_of(paths))


def _aims(publish: str | None, reach: str | None, domain: str) -> list[Aim]:
    from ferry.hostnames import Domain
    from ferry.policy.aims import parse_publish, parse_reach

    if (publish is None) == (reach is None):
        raise InvalidInput("one question at a time: write --publish 21023, or --reach web-1:22")
    if publish is not None:
        return [parse_publish(publish, Domain(domain))]
    assert reach is not None
    return parse_reach(reach, Domain(domain))


def _address(text: str | None) -> str:
    from ipaddress import ip_address

    try:
        return "" if text is None else str(ip_address(text))
    except ValueError:
        raise InvalidInput(f"--from: '{safe(text)}' is no address: write one such as 192.0.2.7") from None


# --- check


def _check(config: Config, book: Rulebook | None, now: float, *, as_json: bool) -> None:
    from ferry.policy.machine_names import nowhere
    from ferry.policy.rule_traps import ports_without_rule, traps_of_rules
    from ferry.policy.rulebook import failures

    assert book is not None
    found = None
    with suppress(FerryError):  # a file of rules can be checked where the files of keys are not
        found = None if config.access.mode == "anyone" else _access_of(config)
    failed = failures(book, now, nowhere if found is None else found.place_of)
    notes = list(traps_of_rules(book, now=now, names=None if found is None else found.names))
    if found is not None:
        named = {port: lines for port, lines in found.ports.items() if config.tcp.has(port)}
        notes += ports_without_rule(book, named, now)
    with quiet_pipe():
        if as_json:
            print_json({**_checked(book, failed), "notes": notes})
        else:
            for note in notes:
                typer.echo(folded(f"note: {safe(note)}", later=_INDENT))
            _print_checked(book, failed)
    if failed:
        raise typer.Exit(EXIT_REFUSED)


def _print_checked(book: Rulebook, failed: Sequence[Failure]) -> None:
    tests = number(len(book.policy.examples), "test")
    for failure in failed:
        typer.echo(folded(failure.text(book.file), later=_INDENT))
    counts = f"{number(len(book.rules), 'rule')}, {number(len(book.tags), 'tag')}"
    passed = f"{len(failed)} of {tests} failed" if failed else f"{tests} passed"
    typer.echo(f"{paint(safe(book.file), 'bold')}: {counts}, {paint(passed, 'red' if failed else 'green')}")


def _checked(book: Rulebook, failed: Sequence[Failure]) -> dict[str, object]:
    return {
        "file": book.file,
        "rules": len(book.rules),
        "tags": len(book.tags),
        "tests": len(book.policy.examples),
        "failures": [
            {
                "line": failure.example.line,
                "who": str(failure.example.asker),
                "asked": failure.example.text,
                "expected": "accept" if failure.example.accept else "deny",
                "text": failure.text(book.file),
            }
            for failure in failed
        ],
    }


# --- explain, who-can


class _Asking:
    """One question, and all that decides on it."""

    def __init__(
        self, config: Config, book: Rulebook | None, aims: list[Aim], address: str, now: float, user: str | None
    ) -> None:
        from ferry.config.sshd_rules import sshd_rules_of
        from ferry.gateway.wiring import rules_of
        from ferry.policy.entering import Accounts
        from ferry.policy.explained import Settings
        from ferry.policy.machine_names import nowhere

        self._book = book if book is None or address else book.from_anywhere()
        self._origins = {} if book is None or address else {rule.name: rule.origins for rule in book.rules}
        """What `from` says, by the name of the rule, where it is not looked at."""
        self._aims = aims
        self._address = address
        self._now = now
        self._any_key = config.access.mode == "anyone"
        self._access = _access_of(config)
        self._keys = self._access.lines
        self._settings = Settings(
            self._book,
            rules_of(config),
            sshd_rules_of(config, self._book),
            self._access.ports,
            user,
            partial(self._access.revocation_of, certificate=None),
            self._keys,
            Accounts.of_lines(self._keys),
            bool(self._access.authorities.cas),
            nowhere if self._any_key else self._access.place_of,
        )
        self._asks_user = user is None and any(match.user for match in config.sshd.match)
        """A login name would be looked at, and none is given."""

    def explain(self, who: str, *, as_json: bool) -> bool:
        """Print the answer for one identity, with each of its keys. Returns whether one of them is allowed."""
        from ferry.config.policy_file import asker_of

        asker = asker_of(who, "", self._address, self._now)
        verdicts = [*self._of_keys(asker), *self._of_shut_lines(asker)] or [self._verdict(asker, None)]
        allowed = any(each.allowed for each in verdicts)
        with quiet_pipe():
            if as_json:
                answers = [_document(each) for each in verdicts]
                print_json({"allowed": allowed, "who": str(asker), "asked": str(verdicts[0].aim), "answers": answers})
            else:
                self._print(who, allowed, verdicts)
        return allowed

    def who_can(self, *, as_json: bool) -> bool:
        """Print all who may. Returns whether there is one."""
        from ferry.policy.rules import Asker

        if self._any_key and self._book is not None and self._aims[0].is_any_port:
            raise InvalidInput(
                "which port the gateway chooses depends on who asks: name one port, or --who with explain"
            )
        askers = [
            (Asker(line.name, key, False, self._address, self._address, self._now), line)
            for key, lines in self._keys.items()
            for line in lines
        ]
        allowed = [each for asker, line in askers if (each := self._verdict(asker, line)).allowed]
        rules = self._rules_for_any_key() if self._any_key else []
        with quiet_pipe():
            if as_json:
                found = [_document(each) for each in allowed]
                print_json({"asked": str(self._aims[0]), "allowed": found, "rules": [_of_rule(rule) for rule in rules]})
            else:
                self._print_who(allowed, rules)
        return bool(allowed or rules or self._may_everybody)

    @property
    def _may_everybody(self) -> bool:
        """Whether every key may log in, and nothing but the configuration restricts what it may."""
        from ferry.policy.explained import may_be_of_others

        return self._any_key and self._book is None and not any(map(may_be_of_others, self._aims))

    def _of_keys(self, asker: Asker) -> list[Verdict]:
        """The answers for the keys of an identity."""
        from ferry.policy.keys import ANY_KEY

        if self._any_key or asker.holder is not None:
            return [self._verdict(asker, ANY_KEY)]
        if asker.fingerprint is not None:
            lines = [(asker.fingerprint, line) for line in self._keys.get(asker.fingerprint, ())]
        else:
            lines = [(key, line) for key, several in self._keys.items() for line in several if line.name == asker.name]
        return [
            self._verdict(asker._replace(fingerprint=key, name=line.name), line)
            for key, line in lines
            if not asker.anonymous
        ]

    def _of_shut_lines(self, asker: Asker) -> list[Verdict]:
        """The answers for the keys of an identity whose lines are all refused or disabled."""
        from ferry.policy.shut_lines import shut_line_for

        found = []
        for key, lines in self._access.shut.items():
            one = None if key in self._keys else shut_line_for(lines, self._settings.user)
            if one is not None and (key == asker.fingerprint or (asker.name and one.line.name == asker.name)):
                by_line = replace(one.refusal, detail=one.reason, rule=None)
                found.append(self._verdict(asker._replace(fingerprint=key, name=one.line.name), None, by_line))
        return found

    def _verdict(self, asker: Asker, line: KeyLine | None, by_key: Refusal | None = None) -> Verdict:
        from ferry.policy.explained import verdict

        return verdict(self._settings, asker, self._aims, line, by_key)

    def _rules_for_any_key(self) -> list[Rule]:
        """The rules that allow it, where everybody may come with any key."""
        return [] if self._book is None else self._book.rules_for(self._aims, self._address, self._now)

    # --- texts

    def _print(self, who: str, allowed: bool, verdicts: Sequence[Verdict]) -> None:
        aim = verdicts[0].aim
        head = paint("yes", "green") if allowed else paint("no", "red")
        typer.echo(f"{head}: {safe(who)} may {'' if allowed else 'not '}{safe(aim)}")
        for each in verdicts:
            typer.echo(folded(f"policy: {self._policy_text(each)}", _INDENT, _INDENT * 2))
            typer.echo(folded(f"key: {self._key_text(each)}", _INDENT, _INDENT * 2))
            if each.by_gateway is not None:
                rule = f" ({each.by_gateway.rule})" if each.by_gateway.rule else ""
                typer.echo(folded(f"gateway: {each.by_gateway.detail}{rule}", _INDENT, _INDENT * 2))
        if self._asks_user:
            text = "login name: none is given, so no [[sshd.match]] with `user` is looked at: write --user LOGIN"
            typer.echo(folded(text, _INDENT, _INDENT * 2))

    def _policy_text(self, verdict: Verdict) -> str:
        from ferry.errors import Refusal

        match verdict.by_policy:
            case None:
                return "there is no policy file (access.policy), so the line of the key alone decides"
            case Refusal(detail=why, rule=rule):
                return f"{why} ({rule})"
            case rule:
                return (
                    f"rule {rule.name!r} allows it{_only(self._origins.get(rule.name))} ({rule.file}, line {rule.line})"
                )

    def _key_text(self, verdict: Verdict) -> str:
        if verdict.asker.holder is not None:
            return "the certificate and the line of its CA decide too, at the log-in: they are not looked at here"
        if verdict.line is None and verdict.by_key is None:
            unread = "".join(f"; {each}" for each in self._access.rejected if not each.line)
            return f"no line of the key files lets it in (access.keys){self._of_cas(verdict.asker)}{unread}"
        if verdict.line is None or not verdict.line.file:
            return self._without_line(verdict)
        where = f"{verdict.asker.fingerprint} ({verdict.line.place})"
        if verdict.by_key is None:
            origins = None if verdict.asker.address else verdict.line.options.origins
            return f"{where} allows it{', for it is its own' if verdict.is_own else ''}{_only(origins)}"
        return f"{where} does not: {verdict.by_key.detail} ({verdict.by_key.rule})"

    @staticmethod
    def _without_line(verdict: Verdict) -> str:
        shown = verdict.asker.fingerprint or "every key may log in (access.mode = anyone)"
        if (refusal := verdict.by_key) is None:
            return str(shown)
        return f"{shown}: {refusal.detail}{f' ({refusal.rule})' if refusal.rule else ''}"

    def _of_cas(self, asker: Asker) -> str:
        """How the holder of a certificate is asked about, where there are CAs."""
        cas = self._access.authorities.cas[:_CAS_SHOWN]
        if not cas or asker.name is None:
            return ""
        forms = " or ".join(f"--who {ca}:{asker.name}" for ca in cas)
        return f"; who logs in with a certificate is named by its CA and key id: {forms}"

    def _print_who(self, allowed: Sequence[Verdict], rules: Sequence[Rule]) -> None:
        if allowed:
            rows = [
                (
                    each.asker.name or "",
                    each.asker.fingerprint or "",
                    each.line.place if each.line else "",
                    "(no policy file)" if each.by_policy is None else str(each.by_policy),
                )
                for each in allowed
            ]
            columns = (Column("WHO"), Column("KEY"), Column("KEY FILE", whole=True), Column("RULE", whole=True))
            print_table(columns, rows)
        elif rules:
            print_table(
                (Column("WHO", whole=True), Column("RULE", whole=True)), [(rule.who.shown, str(rule)) for rule in rules]
            )
        elif self._may_everybody:
            typer.echo("everybody: any key may log in (access.mode = anyone), and there is no policy file")
        else:
            but = "" if self._book is not None else ", but who holds it: without a policy file each key reaches its own"
            typer.echo(f"nobody may {safe(self._aims[0])}{but if self._any_key else ''}")


def _only(origins: HostList | None) -> str:
    return "" if origins is None else f" from {origins} only"


def _of_rule(rule: Rule) -> dict[str, object]:
    return {"name": rule.name, "file": rule.file, "line": rule.line, "who": rule.who.shown}


def _document(verdict: Verdict) -> dict[str, object]:
    from ferry.errors import Refusal

    by, line = verdict.by_policy, verdict.line
    refused = by if isinstance(by, Refusal) else None
    key: Fingerprint | None = verdict.asker.fingerprint
    gateway = verdict.by_gateway
    return {
        "allowed": verdict.allowed,
        "who": verdict.asker.name,
        "gateway": None if gateway is None else {"code": gateway.code, "why": gateway.detail, "place": gateway.rule},
        "policy": None
        if by is None
        else {
            "allowed": refused is None,
            "rule": None if isinstance(by, Refusal) else _of_rule(by),
            "code": refused.code if refused else "",
            "why": refused.detail if refused else "",
            "place": refused.rule if refused else str(by),
        },
        "key": None
        if line is None and verdict.by_key is None
        else {
            "allowed": verdict.by_key is None,
            "own_only": verdict.is_own,
            "fingerprint": key,
            "file": (line.file if line else "") or None,
            "line": (line.number if line else 0) or None,
            "code": verdict.by_key.code if verdict.by_key else "",
            "why": verdict.by_key.detail if verdict.by_key else "",
            "place": verdict.by_key.rule if verdict.by_key else "",
        },
    }
