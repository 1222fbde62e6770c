"""Makes a configuration file that explains every setting. Settings with their default value are commented out."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from ferry.config.model import Config
from ferry.config.words import FIELDS, SECTIONS

from .values import default_of, kind, toml

WIDTH = 100
HEADER = """\
# Ferry's configuration. Every setting is here; a line that begins with `#` shows a default.
# Check with `ferry check-config --config FILE`. Each setting can also be given in the environment:
# `listen` in `[ssh]` is FERRY_SSH__LISTEN. After a change: `ferry reload`, or `systemctl reload ferry`.
# Durations are written 15s, 10m, 2h, 30d; sizes 16KiB, 1MiB; addresses 127.0.0.1:2222, [::1]:2222, or *:2222 for all.
"""


def config_text(
    written: Mapping[str, object],
    notes: Mapping[str, str] = MappingProxyType({}),
    examples: Mapping[str, object] = MappingProxyType({}),
) -> str:
    """The file's text. `written` has the settings that differ from the defaults, by dotted key. `notes` are printed above
    their settings. `examples` are values for settings without a default, which stay comments."""
    lines = [HEADER]
    for key in FIELDS:
        if "." not in key:
            lines += _setting(key, written, notes, examples)
    for section in SECTIONS:
        lines += [f"# {Config.model_fields[section].description}", f"[{section}]"]
        for key in FIELDS:
            if key.startswith(f"{section}."):
                lines += _setting(key, written, notes, examples)
    return "\n".join(lines).rstrip() + "\n"


def _setting(
    key: str, written: Mapping[str, object], notes: Mapping[str, str], examples: Mapping[str, object]
) -> Iterator[str]:
    name = key.rpartition(".")[2]
    yield from _comment(FIELDS[key].description or "")
    if key in notes:
        yield from _comment(notes[key])
    if key in written:
        yield f"{name} = {toml(key, written[key])}"
    elif key in examples:
        yield f"# {name} = {toml(key, examples[key])}   # an example; not set"
    elif (default := default_of(key)) is None:
        yield f"# {name} = …   ({kind(key)}; not set)"
    else:
        yield f"# {name} = {toml(key, default)}"
    yield ""


def _comment(text: str) -> Iterator[str]:
    yield from textwrap.wrap(text, WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)
