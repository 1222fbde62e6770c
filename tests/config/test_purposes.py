"""`[tcp.purposes]`: ranges of the port table."""

from __future__ import annotations

from pathlib import Path

import pytest

from ferry.config.file import load
from ferry.errors import InvalidInput
from ferry.gateway.wiring import rules_of
from ferry.setup.values import default_of, kind, toml

TWO = '[tcp]\nranges = [{first = 20000, last = 29999, listen = "loopback"}]\nallocate_from = 0\n'


def read(tmp_path: Path, text: str, **environ: str) -> dict[str, tuple[int, int]]:
    path = tmp_path / "ferry.toml"
    path.write_text(text)
    return {one.name: (one.first, one.last) for one in rules_of(load(path, environ, {})).purposes}


def test_without_a_word_there_are_two_and_older_files_are_read_as_before(tmp_path: Path) -> None:
    assert read(tmp_path, "") == {"ssh": (21000, 21999), "service": (22000, 22999)}
    assert read(tmp_path, TWO) == {"ssh": (21000, 21999), "service": (22000, 22999)}
    elsewhere = TWO.replace("20000", "21500").replace("29999", "22999")
    assert read(tmp_path, elsewhere) == {"service": (22000, 22999)}


@pytest.mark.parametrize(
    "text",
    [TWO + '[tcp.purposes]\nssh = "25000-25010"\nweb = "26000"\n', TWO + 'purposes = {ssh="25000 - 25010",web=26000}'],
)
def test_the_file_names_them(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, text) == {"ssh": (25000, 25010), "web": (26000, 26000)}


def test_the_environment_names_them(tmp_path: Path) -> None:
    assert read(tmp_path, TWO, FERRY_TCP__PURPOSES="ssh=25000-25010, web=26000-26001") == {
        "ssh": (25000, 25010),
        "web": (26000, 26001),
    }


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (
            'ssh = "21000"\nweb = "40000-40001"',
            "tcp.purposes: web has ports 40000-40001, which lie in no range of tcp.",
        ),
        ('ssh = "21000-21009"\nweb = "21009-21010"', "line 1: tcp.purposes: ssh and web share port 21009: separate"),
        (
            'ssh = "9-5"',
            'line 1: tcp.purposes: ssh = 9-5 is no range of ports: write the first and the last, as in ssh = "',
        ),
        ('ssh = "all"', "ssh = all is no range of ports"),
        ('ssh = "70000"', "ssh = 70000 is no range of ports"),
        ('s_h = "21000"', "purpose 's_h' has '_' in it"),
    ],
)
def test_mistakes_name_the_fix(tmp_path: Path, lines: str, says: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        read(tmp_path, f"[tcp.purposes]\n{lines}\n")
    assert says in str(raised.value)


@pytest.mark.parametrize("text", ["ssh", "ssh:21000"])
def test_mistakes_in_the_environment_name_the_fix(tmp_path: Path, text: str) -> None:
    with pytest.raises(InvalidInput, match=r"FERRY_TCP__PURPOSES: '.*' names no ports: write ssh=21000-21999"):
        read(tmp_path, "", FERRY_TCP__PURPOSES=text)


def test_a_value_that_is_no_table_names_the_fix(tmp_path: Path) -> None:
    with pytest.raises(
        InvalidInput, match=r"tcp\.purposes: 7 is no table: write ssh = \"21000-21999\" below \[tcp.pur"
    ):
        read(tmp_path, "[tcp]\npurposes = 7\n")


def test_the_pages_show_them_as_they_are_written() -> None:
    assert kind("tcp.purposes") == "purposes"
    assert toml("tcp.purposes", default_of("tcp.purposes")) == '{ ssh = "21000-21999", service = "22000-22999" }'
