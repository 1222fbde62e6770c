from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferry.config.file import load
from ferry.config.model import Config
from ferry.config.words import FIELDS, SECTIONS
from ferry.names import Endpoint
from ferry.setup.configtext import config_text
from ferry.setup.values import default_of, kind, toml


def uncommented(text: str) -> str:
    """The file with every default switched on."""
    return re.sub(r"^# (\w+ = (?!…))", r"\1", text, flags=re.MULTILINE)


def test_without_answers_all_is_a_comment() -> None:
    assert tomllib.loads(config_text({})) == {section: {} for section in SECTIONS}


def test_every_setting_is_explained() -> None:
    text = config_text({})
    for key, info in FIELDS.items():
        assert re.search(rf"^# {key.rpartition('.')[2]} = ", text, re.MULTILINE)
        assert info.description


def test_the_defaults_that_it_shows_are_the_defaults(tmp_path: Path) -> None:
    path = tmp_path / "ferry.toml"
    path.write_text(uncommented(config_text({})))
    assert load(path, {}, {}) == Config(state=tmp_path / "ferry-data")
    shown = tomllib.loads(path.read_text())
    assert {*shown, *(f"{s}.{k}" for s in SECTIONS for k in shown[s])} - set(SECTIONS) == {
        key for key in FIELDS if default_of(key) is not None
    }


def test_a_written_file_is_read_back(tmp_path: Path) -> None:
    written = {
        "domain": "gw.example",
        "state": Path('/srv/a "b"\\c'),
        "access.mode": "keys",
        "access.keys": [Path("/etc/ferry/keys")],
        "ssh.listen": [],
        "https.listen": [Endpoint("::", 443), Endpoint("::1", 1)],
    }
    path = tmp_path / "ferry.toml"
    path.write_text(config_text(written, {"ssh.listen": "Because of sshd."}))
    config = load(path, {}, {})
    assert (config.domain, config.state) == ("gw.example", written["state"])
    assert config.https.listen == written["https.listen"]
    assert config.ssh.listen == []
    assert "# Because of sshd.\nlisten = []" in path.read_text()


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("names.keep", 2592000.0, '"30d"'),
        ("names.keep", 5400.0, '"90m"'),
        ("drain", 0.0, '"0s"'),
        ("drain", 0.25, '"250ms"'),
        ("http.head_bytes", 16384, '"16KiB"'),
        ("http.head_bytes", 1000, '"1000B"'),
        ("http.head_bytes", 0, '"0B"'),
        ("ssh.banner", True, "true"),
        ("ssh.auth_tries", 6, "6"),
        ("https.listen", [Endpoint("::", 443), Endpoint("::1", 1)], '["*:443", "[::1]:1"]'),
    ],
)
def test_values_as_people_write_them(key: str, value: object, text: str) -> None:
    assert toml(key, value) == text


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("drain", "duration"),
        ("http.head_bytes", "size"),
        ("access.mode", "`anyone` or `keys`"),
        ("access.keys", "paths"),
        ("https.certificates", "path"),
        ("ssh.advertised_port", "number"),
        ("https.listen", "addresses"),
        ("tcp.ranges", "ranges"),
        ("names.reserved", "words"),
        ("domain", "text"),
        ("ssh.banner", "true or false"),
    ],
)
def test_the_expected_value_is_named_in_a_word_or_two(key: str, text: str) -> None:
    assert kind(key) == text


@given(st.text(st.characters(codec="utf-8")))
def test_any_text_survives_toml(text: str) -> None:
    assert tomllib.loads(f"x = {toml('domain', text)}")["x"] == text
