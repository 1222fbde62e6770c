"""Fills `ferry.config.model.Config`: the TOML file, then `FERRY_SECTION__KEY` from the environment, then flags.

A later source overrides an earlier one, key by key. All paths become absolute: a path in the file is relative to the
file's folder, one from the environment or a flag to the working directory. The default `state` is beside the file, if
there is one, so that the same file finds the same state from any directory.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from ferry.errors import InvalidInput

from .model import Config
from .rules import mistakes
from .words import FIELDS, RETIRED, SECTIONS, Provenance, is_list, is_optional, nearest, sentences, unknown_key

ENV_PREFIX: Final = "FERRY_"
PATH_KEYS: Final = ("state", "https.certificates", "access.keys")
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
        values = self._from_file(provenance)
        for key, name, text in _from_environment(self.environ):
            _put(values, key, _absolute(key, text, self.cwd))
            provenance.of[key] = name
        for key, value in self.overrides.items():
            if value is None:
                continue
            _put(values, key, _absolute(key, value, self.cwd))
            provenance.of[key] = "--" + re.sub(r"[._]", "-", key)
        values.setdefault("state", (self._folder / "ferry-data"))
        try:
            config = Config.model_validate(values)
        except ValidationError as error:
            raise InvalidInput("\n".join(sentences(error, provenance))) from None
        if broken := mistakes(config):
            raise InvalidInput("\n".join(f"{provenance.default}: {remark.text}" for remark in broken))
        return config

    @property
    def _folder(self) -> Path:
        return (self.cwd / self.path).parent if self.path else self.cwd

    def _from_file(self, provenance: Provenance) -> dict[str, object]:
        if self.path is None:
            return {}
        table = read_toml(self.cwd / self.path)
        mistakes = [unknown_key(key, provenance) for key in _keys(table) if not _known(key)]
        if mistakes:
            raise InvalidInput("\n".join(mistakes))
        for key in PATH_KEYS:
            section, _, name = key.rpartition(".")
            holder = table.get(section) if section else table
            if isinstance(holder, dict) and name in holder:
                holder[name] = _absolute(key, holder[name], self._folder)
        return table


def read_toml(path: Path) -> dict[str, object]:
    """The file as a table. Raises InvalidInput with line and column if it is not TOML."""
    try:
        return tomllib.loads(path.read_text("utf-8-sig"))
    except OSError as error:
        raise InvalidInput(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path}: not UTF-8 text (byte {error.start}): save it as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        text = str(error)
        if match := _TOML_PLACE.match(text):
            raise InvalidInput(f"{path}, line {match['line']}, column {match['column']}: {match['what']}") from None
        if match := _TOML_END.match(text):
            raise InvalidInput(f"{path}, at its end: {match['what']}") from None
        raise InvalidInput(f"{path}: {text}") from None
    except RecursionError:
        raise InvalidInput(
            f"{path}: brackets are nested hundreds of levels deep: no setting needs more than two"
        ) from None


def _keys(table: Mapping[str, object]) -> Iterator[str]:
    """The dotted keys of a file, two levels deep: the model's sections and fields."""
    for name, value in table.items():
        if isinstance(value, dict) and name in SECTIONS:
            yield from (f"{name}.{key}" for key in value)
        else:
            yield name


def _known(key: str) -> bool:
    return key in FIELDS or key in SECTIONS


def _from_environment(environ: Mapping[str, str]) -> Iterator[tuple[str, str, object]]:
    """(dotted key, variable, value) of each `FERRY_` variable of the configuration.

    A variable with `__` always belongs to it. One without does if it is a top-level key, or so similar to one that it
    must be a typo. Others are ignored: the launcher sets `FERRY_CLONE`, and Kubernetes sets `FERRY_PORT` for a service
    called ferry.
    """
    mistakes = []
    for name, text in sorted(environ.items()):
        if not name.startswith(ENV_PREFIX):
            continue
        key = name.removeprefix(ENV_PREFIX).lower().replace("__", ".")
        if key in FIELDS:
            yield key, name, _value(key, text)
        elif key in RETIRED:
            mistakes.append(f"{name}: {key} is not a setting any more: unset it ({RETIRED[key]})")
        elif meant := _slip(key):
            mistakes.append(f"{name}: unknown setting: did you mean {env_name(meant)}?")
        elif key in SECTIONS:
            mistakes.append(f"{name}: {key} is a section: write its key too, as in {env_name(_first_of(key))}")
        elif "." in key:
            mistakes.append(f"{name}: unknown setting: see `ferry docs configuration`")
    if mistakes:
        raise InvalidInput("\n".join(mistakes))


def env_name(key: str) -> str:
    """`ssh.listen` → `FERRY_SSH__LISTEN`."""
    return ENV_PREFIX + key.upper().replace(".", "__")


def _slip(key: str) -> str | None:
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
