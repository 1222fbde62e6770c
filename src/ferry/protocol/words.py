"""Parses the words after the host on the command line: `ssh gw ls`, `ssh -R 80:... gw -- --output json`.

The client joins the words with spaces, so that quotes are lost (measured with OpenSSH 9.2). plink and dbclient read words
that begin with a dash as their own options, even after the host, so `output=json` works too.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from ferry import limits
from ferry.errors import InvalidInput, RemoteProtocolError
from ferry.names import printable, typed_name

from .habits import NO_SHELL, hint, telling
from .http1.authority import parse_authority
from .typed_forward import TypedForward, parse_typed

COMMANDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "help": "this page",
        "explain": "what you would get: explain -R 22080:localhost:3000",
        "ls": "your tunnels that are up",
        "names": "the names, ports and aliases that are yours",
        "release": "give names back: release NAME..., or --unused",
        "ssh-config": "blocks for ~/.ssh/config, of your machines",
        "whoami": "how the gateway knows you",
    }
)
OPTIONS: Final = ("--output", "output=json", "--json", "host-header=", "query=full", "color=never")
_CHOICES: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {"output": ("json", "text"), "query": ("full", "names"), "color": ("never", "auto")}
)
"""The values of options; the second is what holds without the option."""
_HOST: Final = "host-header"
_OUTPUT: Final = re.compile(r"(?<!\S)(?:--json(?!\S)|(?:--output(?:=|\s+)|output=)(\S*))")


@dataclass(frozen=True, slots=True)
class Words:
    """The parsed words. `command` is None for the session of a forward."""

    command: str | None = None
    arguments: tuple[str, ...] = ()
    """The names after `release`."""
    unused: bool = False
    """`release --unused`."""
    json: bool = False
    host_header: str = ""
    """The Host for the local services of the session's forwards; empty: the visitor's."""
    whole_query: bool = False
    """Lines about visits have the values of queries."""
    no_color: bool = False
    """A terminal gets plain text."""
    forward: TypedForward | None = None
    """The forward after `explain`."""


def parse_words(text: str, gateway: str, jump: str) -> Words:
    """Parse the command line. Raises InvalidInput with the unknown word and what to write instead. `gateway` is the
    text that people type after `ssh`, `jump` after `ssh -J`.

    An unknown word must refuse everything: a pasted `auth=…` must never yield an open tunnel. Its value must not reach the
    log either: the error's `detail` has names only.
    """
    if len(text) > limits.WORDS_CHARS:
        raise InvalidInput(
            f"{len(text)} characters follow the host, and {limits.WORDS_CHARS} are read: write fewer words"
        )
    found = text.split()
    if len(found) > limits.WORDS:
        raise InvalidInput(f"{len(found)} words follow the host, and {limits.WORDS} are read: write fewer words")
    typed: list[str] = []
    options: dict[str, str] = {}
    words = iter(found)
    for word in words:
        name, equals, value = word.removeprefix("--").partition("=")
        if (name in _CHOICES or name == _HOST) and (equals or word.startswith("--")):
            options[name] = _option_value(name, value or next(words, ""))
        elif word == "--json":
            options["output"] = "json"
        elif word != "--":
            typed.append(word)
    json, whole_query, no_color = (options.get(name) == value for name, (value, _) in _CHOICES.items())
    if not typed:
        host = options.get(_HOST, "")
        return Words(json=json, host_header=host, whole_query=whole_query, no_color=no_color)
    command, *arguments = typed
    if command not in COMMANDS:
        raise InvalidInput(unknown_word(typed, gateway, jump), detail=f"unknown word {typed_name(command)}")
    for name in (_HOST, "query"):
        if name in options:
            raise InvalidInput(f"{name}= is for a forward, and {command} is a command: leave one of them out")
    if command == "explain":
        return Words(command, forward=parse_typed(arguments), json=json, no_color=no_color)
    if command == "release":
        return Words(command, *_released(arguments), json=json, no_color=no_color)
    if arguments:
        raise InvalidInput(
            f"{command} takes no argument, but '{printable(arguments[0])}' follows it: leave it out",
            detail=f"an argument after {command}, which takes none",
        )
    return Words(command, json=json, no_color=no_color)


def _option_value(name: str, value: str) -> str:
    """The value of an option, in its normal form. Raises InvalidInput."""
    if name == _HOST:
        return _host_header(value)
    if value not in _CHOICES[name]:
        instead = " or ".join(f"{name}={choice}" for choice in _CHOICES[name])
        raise InvalidInput(
            f"{name} '{printable(value)}' is unknown: write {instead}",
            detail=f"an unknown --{name}: {typed_name(value)}",
        )
    return value


def _host_header(value: str) -> str:
    """The Host that `host-header=` asks for, in its normal form. Raises InvalidInput."""
    if value.lower() == "rewrite":  # ngrok's word
        raise InvalidInput("the gateway does not know your target's name: write host-header=localhost")
    try:
        return str(parse_authority(value.encode("utf-8", "replace")))
    except RemoteProtocolError:
        raise InvalidInput(
            f"host-header '{printable(value, 60)}' is not a host with an optional port: write host-header=localhost",
            detail="a host-header that is no host",
        ) from None


def _released(arguments: list[str]) -> tuple[tuple[str, ...], bool]:
    """The names to give back, and whether all unused ones are."""
    options = [word for word in arguments if word.startswith("-")]
    names = [word for word in arguments if word not in options]
    if unknown := [word for word in options if word != "--unused"]:
        raise InvalidInput(
            f"release has no option '{printable(unknown[0], 60)}': write release NAME, or release --unused",
            detail=f"an unknown option of release: {typed_name(unknown[0])}",
        )
    if names and options:
        raise InvalidInput("release takes names or --unused, and not both: write two commands")
    if not arguments:
        raise InvalidInput("release takes a name: write release NAME (`names` lists yours), or release --unused")
    return tuple(names), bool(options)


def unknown_word(typed: Sequence[str], gateway: str, jump: str) -> str:
    """The error for the unknown word `typed[0]`, which the other words follow, or for one of these that would protect
    the forward."""
    typed = telling([word.strip("\"'") for word in typed])  # pinggy's manual has quotes that arrive here
    word = typed[0]
    if word == "json":  # what dbclient leaves of `--output json`
        return "unknown word 'json': did you mean output=json?"
    instead = hint(typed, gateway, jump)
    if instead is None:
        near = difflib.get_close_matches(word.lower(), [*COMMANDS, *OPTIONS], 1, cutoff=0.75)
        shell = "" if word.startswith("-") else f"; {NO_SHELL}"
        lists = f"`ssh {gateway} help` lists what is known{shell}"
        instead = f"did you mean {near[0]}?" if near else lists
    return f"unknown word '{printable(word, 60)}': {instead}"


def wants_json(text: str) -> bool:
    """Whether the command line asks for JSON, also if it is refused for something else in it."""
    wanted = [found[1] for found in _OUTPUT.finditer(text[: limits.WORDS_CHARS])]  # None for --json
    return bool(wanted) and wanted[-1] in (None, "json")
