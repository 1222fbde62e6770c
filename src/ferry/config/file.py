"""Fills `ferry.config.model.Config`: the TOML file, then `FERRY_SECTION__KEY` from the environment, then flags.

A later source overrides an earlier one, key by key. All paths become absolute: a path in the file is relative to the
file's folder, one from the environment or a flag to the working directory. The default `state` is beside the file, if
there is one, so that the same file finds the same state from any directory.
"""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from ferry import limits
from ferry.errors import InvalidInput, unreadable
from ferry.regular_files import read_regular

from .model import Config
from .rules import mistakes as broken_rules
from .toml_text import NoToml, explain, explain_end, lines_of
from .words import (
    FIELDS,
    RETIRED,
    SECTIONS,
    Mistakes,
    Provenance,
    is_list,
    is_optional,
    meant_key,
    nearest,
    sentences,
    unknown_key,
)

ENV_PREFIX: Final = "FERRY_"
PATH_KEYS: Final = (
    "state", "https.certificates", "access.keys", "access.trusted_ca_keys", "access.authorized_principals",
    "access.revoked_keys", "access.policy", "audit.file", "sshd.streamlocal_folder",
)  # fmt: skip
_TOML_PLACE = re.compile(r"^(?P<what>.*) \(at line (?P<line>\d+), column (?P<column>\d+)\)$", re.DOTALL)
_TOML_END = re.compile(r"^(?P<what>.*) \(at end of document\)$", re.DOTALL)


def load(path: Path | None, environ: Mapping[str, str], overrides: Mapping[str, object]) -> Config:
    """The configuration of these three sources. `overrides` has dotted keys (`ssh.listen`); None is a flag not given.

    Raises InvalidInput with one sentence per mistake: its place, the mistake, what to write instead.
    """
    return ConfigSource(path, environ, overrides).load()


@dataclass(frozen=True, slots=True)
class ConfigSource:
    """The sources of the configuration, kept to load it again (SIGHUP)."""

    path: Path | None
    environ: Mapping[str, str]
    overrides: Mapping[str, object]
    cwd: Path = field(default_factory=Path.cwd)

    def load(self) -> Config:
        """Read all sources anew. Raises InvalidInput as `load` does."""
        provenance = Provenance(str(self.path) if self.path else "configuration")
        mistakes = Mistakes()
        written, digest = read_text(self.cwd / self.path) if self.path else ("", "")
        values = self._from_file(written, provenance, mistakes)
        for key, name, text in _from_environment(self.environ, mistakes):
            _put(values, key, _absolute(key, text, self.cwd))
            provenance.of[key] = name
        for key, value in self.overrides.items():
            if value is None:
                continue
            _put(values, key, _absolute(key, value, self.cwd))
            provenance.of[key] = "--" + re.sub(r"[._]", "-", key)
        values.setdefault("state", (self._folder / "ferry-data"))
        config = _validated(values, provenance, mistakes)
        if mistakes.texts or config is None:
            raise InvalidInput("\n".join(in_order(mistakes.texts, provenance.default)))
        whole = self.cwd / self.path if self.path else provenance.default
        config.written.sha256 = digest
        config.written.places.update(_places(config, replace(provenance, default=str(whole))))
        return config

    @property
    def _folder(self) -> Path:
        return (self.cwd / self.path).parent if self.path else self.cwd

    def _from_file(self, text: str, provenance: Provenance, mistakes: Mistakes) -> dict[str, object]:
        provenance.lines = lines_of(text)
        table = read_toml(text, provenance, mistakes)
        for key, value in list(_keys(table)):
            if not _known(key):
                mistakes.texts.append(unknown_key(key, value, provenance))
                mistakes.dropped.update({key, meant_key(key) or key})
                _delete(table, key)
        for key in PATH_KEYS:
            section, _, name = key.rpartition(".")
            holder = table.get(section) if section else table
            if isinstance(holder, dict) and name in holder:
                holder[name] = _absolute(key, holder[name], self._folder)
        return table


def _places(config: Config, provenance: Provenance) -> Iterator[tuple[str, str]]:
    """Where the settings with sshd's names are written, by the dotted key."""
    tables = [("sshd", config.sshd), *((f"sshd.match.{at}", match) for at, match in enumerate(config.sshd.match))]
    for table, keywords in tables:
        for name in keywords.model_fields_set:
            yield f"{table}.{name}", provenance.rule(f"{table}.{name}")


def _validated(values: dict[str, object], provenance: Provenance, mistakes: Mistakes) -> Config | None:
    """The model of `values`. What it refuses is noted and left out, until the rest is right; None if it never is."""
    for _ in FIELDS:
        try:
            config = Config.model_validate(values)
        except ValidationError as error:
            mistakes.texts += sentences(error, provenance)
            mistakes.without(error, values)
            continue
        for remark in broken_rules(config):
            if not mistakes.concern(remark.keys):
                mistakes.texts.append(f"{provenance.place(*remark.keys)}: {remark.text}")
        return config
    return None


def read_text(path: Path) -> tuple[str, str]:
    """The text of the file, and its SHA-256 in hexadecimal. Raises InvalidInput."""
    try:
        data = read_regular(path, -1)
        return TextIOWrapper(BytesIO(data), encoding="utf-8-sig").read(), sha256(data).hexdigest()
    except OSError as error:
        raise unreadable(path, error) from None
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path}: not UTF-8 text (byte {error.start}): save it as UTF-8") from None


def read_toml(text: str, provenance: Provenance, mistakes: Mistakes) -> dict[str, object]:
    """The file as a table. The lines that are no TOML are noted, and read as they are meant, so that a second mistake in
    the same line is found too; or left out, as far as the file can be read without them. Raises InvalidInput
    otherwise."""
    for _ in range(limits.CONFIG_MISTAKES):
        try:
            return tomllib.loads(f"{text}\n")  # so that a mistake at the end of the last line is in that line
        except tomllib.TOMLDecodeError as error:
            found = _explained(text, str(error))
        except RecursionError:
            found = NoToml(1, "brackets are nested hundreds of levels deep: no setting needs more than two")
        column = f", column {found.column}" if found.column else ""
        mistakes.texts.append(f"{provenance.default}, line {found.line}{column}: {found.text}")
        if found.statement is None:
            break
        lines = text.split("\n")
        meant = _as_meant(lines[found.statement.line - 1], found.meant)
        if not meant:
            mistakes.dropped.add(found.statement.key)
        lines[found.statement.line - 1] = meant
        text = "\n".join(lines)
    raise InvalidInput("\n".join(in_order(mistakes.texts, provenance.default)))


def _as_meant(line: str, value: str) -> str:
    """The line of one key with the value that is meant; empty if that is no TOML either."""
    meant = f"{line.partition('=')[0]}= {value}"
    try:
        tomllib.loads(meant)
    except tomllib.TOMLDecodeError:
        return ""
    return meant


def in_order(texts: Iterable[str], file: str) -> list[str]:
    """Each text once, in the order of the file's lines, then those about variables and flags."""
    place = re.compile(rf"{re.escape(file)}, line (\d+)")

    def line(text: str) -> float:
        found = place.match(text)
        return int(found[1]) if found else math.inf

    return sorted(dict.fromkeys(texts), key=line)


def _explained(text: str, error: str) -> NoToml:
    if match := _TOML_PLACE.match(error):
        return explain(text, int(match["line"]), int(match["column"]), match["what"])
    if match := _TOML_END.match(error):
        return explain_end(text, match["what"])
    return NoToml(1, error)


def _keys(table: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    """The dotted keys of a file with their values, two levels deep: the model's sections and fields."""
    for name, value in table.items():
        if isinstance(value, dict) and name in SECTIONS:
            yield from ((f"{name}.{key}", inner) for key, inner in value.items())
        else:
            yield name, value


def _delete(table: dict[str, object], key: str) -> None:
    section, _, field = key.partition(".")
    holder = table.get(section)
    if section in SECTIONS and isinstance(holder, dict):
        holder.pop(field, None)
    else:
        table.pop(key, None)


def _known(key: str) -> bool:
    return key in FIELDS or key in SECTIONS


def _from_environment(environ: Mapping[str, str], mistakes: Mistakes) -> Iterator[tuple[str, str, object]]:
    """(dotted key, variable, value) of each `FERRY_` variable of the configuration.

    A variable with `__` always belongs to it. One without does if it is a top-level key, or so similar to one that it
    must be a typo. Others are ignored: the launcher sets `FERRY_CLONE`, and Kubernetes sets `FERRY_PORT` for a service
    called ferry.
    """
    for name, text in sorted(environ.items()):
        if not name.startswith(ENV_PREFIX):
            continue
        key = name.removeprefix(ENV_PREFIX).lower().replace("__", ".")
        if key in FIELDS:
            yield key, name, _value(key, text)
        elif key in RETIRED:
            mistakes.texts.append(f"{name}: {key} is not a setting any more: unset it ({RETIRED[key]})")
        elif meant := _setting_meant(key):
            mistakes.texts.append(f"{name}: unknown setting: did you mean {env_name(meant)}?")
            mistakes.dropped.add(meant)
        elif key in SECTIONS:
            mistakes.texts.append(f"{name}: {key} is a section: write its key too, as in {env_name(_first_of(key))}")
        elif "." in key:
            mistakes.texts.append(f"{name}: unknown setting: see `ferry docs configuration`")


def env_name(key: str) -> str:
    """`ssh.listen` → `FERRY_SSH__LISTEN`."""
    return ENV_PREFIX + key.upper().replace(".", "__")


def _setting_meant(key: str) -> str | None:
    """The setting that a mistyped variable means: `ssh_listen` → `ssh.listen`, `domian` → `domain`."""
    for known in FIELDS:
        if key == known.replace(".", "_"):
            return known
    if "." in key:
        return nearest(key)
    return nearest(key, among=[known for known in FIELDS if "." not in known], cutoff=0.75)


def _first_of(section: str) -> str:
    return next(key for key in FIELDS if key.startswith(f"{section}."))


def _value(key: str, text: str) -> object:
    """A variable's value: JSON if the field is a list and the text is JSON; None for an empty text if the field allows it."""
    if not text and is_optional(key):
        return None
    if is_list(key) and text.lstrip().startswith("["):
        try:
            value: object = json.loads(text)
        except (ValueError, RecursionError):
            return text  # an IPv6 address in brackets, or a mistake that the model explains
        return value
    return text


def _absolute(key: str, value: object, folder: Path) -> object:
    """`value` with its relative paths made absolute from `folder`. The model reports values that are not paths."""
    if key not in PATH_KEYS:
        return value
    if isinstance(value, str) and is_list(key):
        value = [part for part in re.split(r"[\s,]+", value) if part]
    if isinstance(value, (str, Path)):
        return folder / _home(value) if str(value) else value
    if isinstance(value, list):
        return [folder / _home(item) if isinstance(item, (str, Path)) and str(item) else item for item in value]
    return value


def _home(path: str | Path) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError:  # `~user` of a missing user: a file name
        return Path(path)


def _put(values: dict[str, object], key: str, value: object) -> None:
    section, _, name = key.rpartition(".")
    if not section:
        values[name] = value
        return
    table = values.setdefault(section, {})
    if isinstance(table, dict):  # otherwise the file has `ssh = 3`, which the model reports
        table[name] = value
