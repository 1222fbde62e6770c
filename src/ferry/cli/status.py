"""`ferry status`: the running gateway as a whole."""

from __future__ import annotations

import sys
from typing import Any

import typer

from ferry.amounts import number, span

from .client import find_gateway, known_fields
from .options import ConfigOption, JsonOption, Output, OutputOption, StateOption
from .output import paint, print_json, quiet_pipe, safe
from .wrapping import beside, columns


def status(
    state: StateOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    _output: OutputOption = Output.TEXT,
) -> None:
    """Show the running gateway: addresses, counts, database, host keys.

    Exit codes: 0 when a gateway answers, 1 when none is found.
    """
    document = find_gateway(state, config).get("status")
    with quiet_pipe():
        if as_json:
            print_json(document)
        else:
            with known_fields():
                lines = describe(document, columns(sys.stdout))
            typer.echo("\n".join(lines))


def _policy(policy: dict[str, Any]) -> str:
    line = f"{safe(policy['file'])}, {number(policy['rules'], 'rule')}"
    if not policy["error"]:
        return line
    return f"{line}, {paint('and not as the file is now', 'red')}: {safe(policy['error'])}"


def _failed(name: str, part: dict[str, Any] | None, what: str) -> list[tuple[str, str]]:
    """The row of a part of the gateway that is not well. A gateway of an earlier version does not tell of it."""
    return [(name, f"{paint(what, 'red')}: {safe(part['error'])}")] if part and not part["ok"] else []


def describe(status: dict[str, Any], width: int) -> list[str]:
    """The lines for people, in `width` columns."""
    listeners, counts, store = status["listeners"], status["counts"], status["store"]
    kinds = ", ".join(f"{safe(kind)} {count}" for kind, count in sorted(counts["tunnels"].items()) if count)
    tunnels = sum(counts["tunnels"].values())
    rows: list[tuple[str, str]] = [("domain", safe(status["domain"]))]
    rows += [(name, ", ".join(map(safe, listeners[name])) or "off") for name in ("ssh", "http", "https", "admin")]
    rows += [
        ("connections", str(counts["connections"])),
        *(
            [("blocked", paint(f"{counts['blocked']} (`ferry unblock` lists them)", "yellow"))]
            if counts.get("blocked")
            else []
        ),
        ("tunnels", f"{tunnels} ({kinds})" if kinds else str(tunnels)),
        ("database", paint("ok", "green") if store["ok"] else paint(f"failed: {safe(store['error'])}", "red")),
        *_failed("access", status.get("access"), "failed"),
        *_failed("config", status.get("config"), "the last reload was refused"),
        *([("policy", _policy(status["policy"]))] if status.get("policy") else []),
        ("state", safe(status["state"])),
    ]
    rows += [("host key", safe(key)) for key in status["host_keys"]]
    draining = paint(", draining", "yellow") if status["draining"] else ""
    name = paint(f"Ferry {safe(status['version'])}", "bold")
    head = f"{name}, up {span(status['uptime'])}, process {status['pid']}{draining}"
    whole = [safe(status["state"])]
    return [head, *(beside(f"  {paint(t.ljust(11), 'dim')} ", 14, text, width, whole=whole) for t, text in rows)]
