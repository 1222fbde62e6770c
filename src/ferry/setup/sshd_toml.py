"""The settings that carry over from an sshd_config, as Ferry's configuration."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from ferry import limits
from ferry.config.model import Config
from ferry.config.sshd import CRITERIA, SshdMatch
from ferry.names import printable

from .values import literal, toml


@dataclass(frozen=True, slots=True)
class Carried:
    """One of Ferry's settings, and the line that it comes from."""

    key: str
    value: object
    origin: str


def checked(carried: Sequence[Carried]) -> tuple[list[Carried], list[str]]:
    """The settings that Ferry takes, and a sentence about each that it does not."""
    good: list[Carried] = []
    refused: list[str] = []
    for _, group in itertools.groupby(carried, lambda each: each.key.partition(".")[0]):
        together = list(group)
        if _why_not(together) is None:
            good += together
            continue
        for each in together:
            why = _why_not([each])
            if why is None:
                good.append(each)
            else:
                refused.append(f"{each.origin}: Ferry does not take {each.key} = {toml(each.key, each.value)} ({why})")
    return good, refused


def _why_not(settings: Sequence[Carried]) -> str | None:
    """Why Ferry does not take settings of one section; None if it does."""
    section = settings[0].key.partition(".")[0]
    values = {
        each.key.partition(".")[2]: [each.value] if isinstance(each.value, SshdMatch) else each.value
        for each in settings
    }
    try:
        Config.model_validate({section: values})
    except ValidationError as error:
        return str(error.errors()[0]["msg"])
    return None


def text_of(name: str, carried: Sequence[Carried]) -> str:
    """The TOML."""
    lines = [
        f"# From {printable(name)}, by `ferry import sshd_config`. `ferry docs configuration` explains all settings."
    ]
    for section, settings in itertools.groupby(carried, lambda each: each.key.partition(".")[0]):
        together = list(settings)
        plain = [each for each in together if not isinstance(each.value, SshdMatch)]
        lines += ["", f"[{section}]"] if plain else []
        for each in plain:
            lines.append(f"{each.key.partition('.')[2]} = {toml(each.key, each.value)}  # {_shown(each.origin)}")
        for each in together:
            if isinstance(each.value, SshdMatch):
                lines += ["", f"[[{each.key}]]  # {_shown(each.origin)}"]
                written = each.value.model_fields_set
                lines += [
                    f"{name} = {literal(getattr(each.value, name))}"
                    for name in dict.fromkeys((*CRITERIA, *SshdMatch.model_fields))
                    if name in written
                ]
    return "\n".join(lines) + "\n"


def _shown(origin: str) -> str:
    return printable(origin, limits.LINT_TEXT_CHARS)
