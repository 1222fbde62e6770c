"""Configurations: any file and any environment give a configuration, or a sentence for each mistake, never a traceback."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator
from pathlib import Path

from hypothesis import strategies as st

from ferry.config.file import ConfigSource, env_name
from ferry.config.model import Config
from ferry.config.words import FIELDS, SECTIONS
from ferry.errors import InvalidInput

from .target import Target, Value


def loaded(text: bytes, environ: dict[str, str], folder: Path) -> Config | str:
    """The configuration, or what is wrong with it."""
    path = folder / "ferry.toml"
    path.write_bytes(text)
    try:
        return ConfigSource(path, environ, {}, cwd=folder).load()
    except InvalidInput as error:
        return str(error)


def check(value: Value) -> None:
    text, pairs = value
    environ = dict(pairs)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = loaded(text, environ, folder)
        assert loaded(text, dict(sorted(environ.items(), reverse=True)), folder) == config
        if isinstance(config, str):
            for line in config.split("\n"):
                assert line.isprintable(), line
                origin, colon, what = line.partition(": ")
                assert origin.startswith((str(folder / "ferry.toml"), "FERRY_")), line
                assert colon
                assert what
            return
        assert loaded(b"\xef\xbb\xbf" + text, environ, folder) == config, "a byte order mark makes a difference"
    assert config.state.is_absolute()
    for place, found in _values(config):
        assert not isinstance(found, float) or math.isfinite(found), f"{place} is {found}"
        assert not isinstance(found, Path) or "\0" not in str(found), f"{place} is no path"


def _values(config: Config) -> Iterator[tuple[str, object]]:
    for place in FIELDS:
        section, _, key = place.rpartition(".")
        found = getattr(getattr(config, section) if section else config, key)
        yield from ((place, item) for item in (found if isinstance(found, list) else [found]))


_NAMES = st.sampled_from([*FIELDS, *SECTIONS, "ssh.lsten", "domian", "x", "limits.requests_waiting", "ssh.x"])
_TEXTS = st.sampled_from(
    ["", "gw.example.com", "127.0.0.1:2222", "[::1]:1", "*:0", ":70000", "10m", "15s", "1.5h", "9" * 400 + "d", "16KiB", "-1", "1e400",
     "anyone", "keys", "public", "info", "json", "true", "False", "a b", "a,b", "~", "~nobody/x", "/abs", "a\0b", "10.0.0.0/8", "::/0",
     "bücher", "\x1b[2J", "\udcff", "[", "[]", '[{"first": 1, "last": 2}]', '[{"first": 9, "last": 2, "x": 1}]', "[" * 3000, "٣", "inf"]
) | st.text(max_size=6)  # fmt: skip
_LITERALS = st.one_of(
    st.sampled_from(
        [b"true", b"0", b"-1", b"1.5", b"inf", b"-inf", b"nan", b"1e400", b"2020-01-01", b"[]", b"[1]", b'["a", "b"]', b"{ a = 1 }",
         b"{ first = 1, last = 70000 }", b"[{ first = 21000, last = 21001 }]", b"[{ first = 1, last = 9 }, { first = 5, last = 6 }]",
         b"'''x\ny'''", b"99999999999999999999999999", b"[" * 3000, b'["127.0.0.1:1", 5]', b'"a\\u0000b"', b'["a\\u0000b"]']
    ),
    _TEXTS.map(lambda text: ("'" + text.replace("'", "").replace("\n", "") + "'").encode("utf-8", "surrogateescape")),
)  # fmt: skip


def _line(name: str, literal: bytes) -> bytes:
    return b"%b = %b\n" % (name.encode(), literal)


_LINES = st.one_of(
    st.builds(_line, _NAMES, _LITERALS),
    st.builds(_line, _NAMES, _LITERALS),
    st.sampled_from(
        [b"[ssh]\n", b"[limits]\n", b"[[tcp.ranges]]\nfirst = 1\n", b"# x\n", b"[x]\n", b"\xff", b"= 1\n", b"ssh = 3\n"]
    ),
)
_FILES = st.lists(_LINES, max_size=5).map(b"".join)
_VARIABLES = st.tuples(
    _NAMES.map(env_name) | st.sampled_from(["FERRY_PORT", "FERRY_", "FERRY___", "FERRY_SSH_LISTEN"]), _TEXTS
)
TARGET = Target(
    "configuration",
    st.tuples(_FILES, st.lists(_VARIABLES, max_size=3)),
    check,
    tuple(f"ferry.config.{module}" for module in ("model", "values", "file", "words", "toml_text", "rules")),
    in_tests=200,
)
