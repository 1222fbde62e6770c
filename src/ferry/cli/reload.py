"""`ferry reload`: the running gateway reads its configuration again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import typer

from ferry.amounts import number
from ferry.errors import FerryError, InvalidInput

from .client import ApiError, find_gateway, known_fields
from .options import ConfigOption, JsonOption, Output, OutputOption, StateOption
from .output import folded, paint, print_json, quiet_pipe, safe

_REFUSED: Final = 422
_UNKNOWN: Final = (404, 405)


def reload(
    state: StateOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    _output: OutputOption = Output.TEXT,
) -> None:
    """Let the running gateway read its configuration again, with the policy, the key files and the certificates.

    It checks all of them first, as `ferry check-config` does, with the environment and the flags that it was started with.
    If there is a mistake, nothing changes. Connections stay. Exit codes: 0 the new configuration is in force; 1 no gateway
    answers; 2 it was refused, and the one before stays in force.
    """
    answer = _ask(find_gateway(state, config).post)
    with quiet_pipe():
        if as_json:
            print_json(answer)
            return
        with known_fields():
            lines = _lines(answer)
        for line in lines:
            typer.echo(folded(line, later="  "))


def _ask(post: Callable[[str, object], Any]) -> Any:
    try:
        return post("reload", {})
    except ApiError as error:
        if error.status == _REFUSED:
            raise InvalidInput(f"{error.error}\n{error.fix}") from None
        if error.status in _UNKNOWN:
            raise FerryError(
                "the gateway that runs is of an earlier version, which reads its configuration again at a signal alone: "
                "write `systemctl reload ferry`, or kill -HUP with the process that `ferry status` names"
            ) from None
        raise


def _lines(answer: dict[str, Any]) -> list[str]:
    changed, waits, policy = answer["changed"], answer["needs_restart"], answer["policy"]
    some = f"changed: {', '.join(map(safe, changed))}" if changed else "no value of the configuration has changed"
    found = [f"{paint('reloaded', 'green')}: {some}"]
    if waits:
        found.append(f"{paint('from the next start on', 'yellow')}: {', '.join(map(safe, waits))}")
    if policy:
        found.append(f"policy: {safe(policy['file'])}, {number(policy['rules'], 'rule')}")
    found += [f"{paint('refused', 'red')}: {safe(text)}" for text in answer["mistakes"]]
    if answer["more_mistakes"]:
        found.append(f"{paint('refused', 'red')}: {answer['more_mistakes']:,} more, which `ferry check-config` shows")
    return found + [f"note: {safe(text)}" for text in answer["notes"]]
