"""The grammar of sshd_config, beside Debian's own sshd."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from ferry.lint.views import views
from ferry.protocol.sshd_config import (
    INCLUDE_DEPTH,
    Parsed,
    Source,
    count,
    in_patterns,
    parse,
    seconds,
    split,
    version_in,
)
from ssh_command import make_key
from sshd_program import printed, starts


def no_files(_pattern: str) -> Sequence[Source]:
    return []


def read(text: str) -> Parsed:
    return parse(Source("sshd_config", text), no_files)


@pytest.fixture(scope="module")
def host_key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_key(tmp_path_factory.mktemp("sshd") / "host_key")


FILES = [
    "gatewayports=yes\nGatewayPorts no\n",
    'GATEWAYPORTS   "clientspecified"  # a comment\nPermitOpen "localhost:1" [::1]:2 # more\n',
    "ClientAliveInterval 1m30s\nMatch User tunnel\nClientAliveInterval 7\nMatch all\nMaxSessions 3\n",
    "Match User other,!tunnel\nGatewayPorts yes\nMatch User tun*\nGatewayPorts clientspecified\nMatch User tunnel\nGatewayPorts no\n",
    "PermitListen 21001 localhost:21002\nPermitListen 21003\nAcceptEnv A B\nAcceptEnv C\n",
    "Match User tunnel Address 10.0.0.0/8\nMaxSessions 1\nMatch Address 127.0.0.1 User tunnel\nAllowTcpForwarding local\n",
    "AcceptEnv A\nMatch User tunnel\nAcceptEnv B\nAcceptEnv C\nMaxSessions 0\nMatch all\nAcceptEnv D\n",
    'Match User tunnel\nForceCommand echo "a b"  # not a comment here\nClientAliveCountMax 9\n',
]
COMPARED = (
    "acceptenv", "allowtcpforwarding", "clientalivecountmax", "clientaliveinterval", "forcecommand", "gatewayports",
    "maxsessions", "permitlisten", "permitopen",
)  # fmt: skip


@pytest.mark.parametrize("text", FILES)
def test_the_values_are_those_of_sshd(tmp_path: Path, host_key: Path, text: str) -> None:
    file = tmp_path / "sshd_config"
    file.write_text(text)
    tested = "user=tunnel,host=localhost,addr=127.0.0.1,laddr=127.0.0.1,lport=22"
    theirs = views(read(printed(file, host_key, "-C", tested)), None)[0]
    parsed = read(text)
    here = [
        view
        for view in views(parsed, "tunnel")
        if all(pattern == "127.0.0.1" for block in view.blocks for pattern in block.values("address"))
    ]
    ours = here[-1]
    for keyword in COMPARED:
        expected, value = theirs[keyword].values, ours[keyword].values
        if keyword == "clientaliveinterval":
            value = (str(seconds(value[0])),)
        if keyword == "permitlisten":
            value = tuple("*:" + each if each.isdecimal() else each for each in value)
        assert (keyword, value) == (keyword, expected)


def test_an_included_file_gives_its_match_back() -> None:
    inner = Source("inner", "MaxSessions 1\nMatch User ann\nGatewayPorts yes\n")
    parsed = parse(
        Source("outer", "Include inner\nBanner none\nMatch User bob\nInclude inner\nMaxSessions 4\n"), lambda _: [inner]
    )
    assert [
        (each.written, str(each.place), [block.written for block in each.blocks]) for each in parsed.statements
    ] == [
        ("MaxSessions", "inner:1", []),
        ("GatewayPorts", "inner:3", ["Match User ann"]),
        ("Banner", "outer:2", []),
        ("MaxSessions", "inner:1", ["Match User bob"]),
        ("GatewayPorts", "inner:3", ["Match User bob", "Match User ann"]),
        ("MaxSessions", "outer:5", ["Match User bob"]),
    ]
    assert parsed.files == ["outer", "inner", "inner"]


def test_a_circle_of_files_ends() -> None:
    circle = Source("circle", "Include circle\n")
    parsed = parse(circle, lambda _: [circle])
    assert len(parsed.files) == INCLUDE_DEPTH + 1
    assert "in a circle" in parsed.mistakes[0].why


def test_a_circle_that_doubles_is_read_once() -> None:
    """As sshd, which ends at the first Include that stands too deep."""
    circle = Source("circle", "Include circle circle\nInclude circle\nPort 1\n")
    found = iter([[circle, circle]] * INCLUDE_DEPTH)
    parsed = parse(circle, lambda _: next(found))
    assert (len(parsed.files), len(parsed.mistakes), parsed.statements) == (INCLUDE_DEPTH + 1, 1, [])


def test_a_home_in_include_is_none_to_sshd_either(tmp_path: Path, host_key: Path) -> None:
    file = tmp_path / "sshd_config"
    file.write_text("Include ~nosuchuser/x\n")
    assert starts(file, host_key)
    (mistake,) = read(file.read_text()).mistakes
    assert (str(mistake.place), mistake.why[:35]) == ("sshd_config:1", "sshd does not know ~ in Include, so")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("Port", "Port has no value"),
        ("Port # 22", "Port has no value"),
        ('Banner "x', "a quote that is not closed"),
        ("Match", "Match has no value"),
        ("Match User", "does not understand 'Match User'"),
        ("Match all User x", "does not understand"),
        ("Match all=yes", "does not understand"),
        ("Match Colour red", "does not understand"),
        ("ForceCommand", "ForceCommand has no value"),
    ],
)
def test_a_line_that_sshd_does_not_take(line: str, says: str) -> None:
    (mistake,) = read(f"# first\n{line}\n").mistakes
    assert (mistake.place.line, says in mistake.why) == (2, True), mistake.why


def test_words_and_quotes() -> None:
    assert split(r'''one "two three" 'four"five' six\ seven eight\"nine ten#eleven # comment''') == [
        "one", "two three", 'four"five', "six seven", 'eight"nine', "ten#eleven",
    ]  # fmt: skip
    assert split('a\\b "a\\ b" c\\\\d e\\') == [r"a\b", r"a\ b", r"c\d", "e\\"]
    assert split('a "b') is None
    assert split("") == []


def test_times_patterns_and_versions() -> None:
    assert [seconds(text) for text in ("90", "1h30m", "2W", "", "1x", "-1")] == [90, 5400, 1209600, None, None, None]
    assert [seconds(text) for text in ("2147483647", "2147483648", "4000w", "9" * 5000, "1" * 60 + "x")] == [
        2147483647, None, None, None, None,
    ]  # fmt: skip
    assert [count(text) for text in ("0", "2147483647", "2147483648", "9" * 5000, "", "-1", "1x", "٣")] == [
        0, 2147483647, None, None, None, None, None, None,
    ]  # fmt: skip
    assert [in_patterns("web-1", text) for text in ("web-?", "*,!web-1", "!web-2", "db,web-1", "web.1")] == [
        True, False, False, True, False,
    ]  # fmt: skip
    banner = "OpenSSH_10.0p2 Debian-7, OpenSSL 3.5.1"
    assert [version_in(text) for text in ("9.2", "9.2p1", banner, "3.5.1 or so")] == [(9, 2), (9, 2), (10, 0), None]


def test_the_output_of_sshd_is_known_for_what_it_is(host_key: Path) -> None:
    parsed = read(printed(os.devnull, host_key))
    assert parsed.is_effective
    assert not views(parsed, None)[0]["gatewayports"].written
    lines = printed(os.devnull, host_key).splitlines()
    without = [line for line in lines if not line.startswith("gatewayports")]
    few = [
        line for line in lines if line.startswith(("clientaliveinterval", "gatewayports", "maxstartups", "permitopen"))
    ]
    for other in (without, few, [*lines, "GatewayPorts yes"], [*lines, "match user ann"]):
        assert not read("\n".join(other)).is_effective


def test_comments_are_no_keywords_and_a_command_keeps_its_quotes() -> None:
    parsed = read('#Port 22\n  # Port 23\nForceCommand echo "a b"  # not a comment here\nMatch all\nMatch User ann\n')
    assert [(each.keyword, each.values) for each in parsed.statements] == [
        ("forcecommand", ('echo "a b"  # not a comment here',))
    ]
    assert [(block.is_for_all, block.criteria) for block in parsed.blocks] == [
        (True, (("all", ""),)),
        (False, (("user", "ann"),)),
    ]
