"""What follows the host on the command line: `ssh gw ls`, `ssh -R 80:... gw -- --output json`.

The client joins the words with spaces, so quotes are lost on the way (measured with OpenSSH 9.2). plink and dbclient
read words that begin with a dash as options of their own, also behind the host, so `output=json` is understood too.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from ferry import limits
from ferry.errors import InvalidInput
from ferry.names import printable, typed_name

COMMANDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "help": "this page",
        "ls": "your tunnels that are up",
        "names": "the names, ports and aliases that are yours",
        "release": "give a name back: release NAME",
        "whoami": "how the gateway knows you",
    }
)
OPTIONS: Final = ("--output", "output=json")


@dataclass(frozen=True, slots=True)
class Words:
    """The words, understood. `command` is None where a forward's session is meant."""

    command: str | None = None
    argument: str | None = None
    json: bool = False


def parse_words(text: str, gateway: str) -> Words:
    """Read the command line. Raises InvalidInput naming the unknown word and the nearest known one; `gateway` is what
    is typed after `ssh`.

    A word that is not understood must refuse everything: a pasted `auth=…` may never yield an open tunnel. Nor may its
    value reach the log: the error's `detail` has names alone.
    """
    if len(text) > limits.WORDS_CHARS:
        raise InvalidInput(
            f"{len(text)} characters follow the host, and {limits.WORDS_CHARS} are read: write fewer words"
        )
    json = False
    rest: list[str] = []
    words = iter(text.split())
    for word in words:
        if word == "--":
            continue
        if word == "--output" or word.startswith(("--output=", "output=")):
            value = word.partition("=")[2] or next(words, "")
            if value not in ("json", "text"):
                raise InvalidInput(
                    f"--output '{printable(value)}' is unknown: write --output json or --output text",
                    detail=f"an unknown --output: {typed_name(value)}",
                )
            json = value == "json"
        else:
            rest.append(word)
    if not rest:
        return Words(json=json)
    command, *arguments = rest
    if command not in COMMANDS:
        raise InvalidInput(unknown_word(command, gateway), detail=f"unknown word {typed_name(command)}")
    if command == "release":
        if len(arguments) != 1:
            raise InvalidInput("release takes one name: write release NAME (`names` lists yours)")
        return Words(command, arguments[0], json)
    if arguments:
        raise InvalidInput(
            f"{command} takes no argument, but '{printable(arguments[0])}' follows it: leave it out",
            detail=f"an argument after {command}, which takes none",
        )
    return Words(command, None, json)


def unknown_word(word: str, gateway: str) -> str:
    """The sentence for a word that Ferry does not know."""
    if word == "json":  # what dbclient leaves of `--output json`
        return "unknown word 'json': did you mean output=json?"
    near = difflib.get_close_matches(word, [*COMMANDS, *OPTIONS], 1, cutoff=0.75)
    hint = f"did you mean {near[0]}?" if near else f"`ssh {gateway} help` lists what is known; there is no shell here"
    return f"unknown word '{printable(word, 60)}': {hint}"
