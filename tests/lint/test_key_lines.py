"""The options of key lines, beside what a real sshd says of the same lines."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ferry.lint.config_rules import Server
from ferry.lint.key_lines import key_lines
from ferry.lint.run import lint
from ferry.lint.views import KeyFile
from ferry.protocol.key_options import parse_options
from ferry.protocol.sshd_config import Source, parse
from ferry.this_host import THIS_HOST
from ssh_command import StockSsh, make_key
from sshd_program import listening, own_user

REFUSED = [
    "loud", "restrict,loud", "restrict pty", "no-restrict", "restrict=yes", 'restrict="yes"', "command=id", 'command="id',
    'command="a",command="b"', 'from="a",from="b"', 'principals="a",principals="b"', 'permitopen="any:any"',
    'permitlisten="any:any"', 'permitlisten="localhost:0"', 'permitlisten="0"', 'permitlisten="localhost:65536"',
    'permitopen="22"', 'permitopen="::1:22"', 'permitopen="[::1"', 'permitopen=""', 'expiry-time="soon"',
    'expiry-time="2026"', 'expiry-time="20261301"', 'environment="A"', 'environment="A B=1"', 'command="a"b',
    'permitopen="localhost:-1"', 'tunnel="tun0"',
]  # fmt: skip
TAKEN = [
    "restrict", "restrict,", "pty,,restrict", 'tunnel="any"', 'environment="1=1"', "no-pty,NO-X11-forwarding",
    'command="echo \\"a b\\""', 'permitopen="[::1]:22"', 'permitopen="*:*"',
    'permitlisten="22001"', 'permitlisten="*:ssh"', 'permitopen="localhost/22"', 'expiry-time="20991231"', 'expiry-time="20990231"',
    'expiry-time="209912312359Z"', 'environment="A=1",environment="B="', "no-touch-required,verify-required",
    'from="10.0.0.0/8,!10.1.1.1"',
]  # fmt: skip
PUBLIC = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI" + "A" * 43
CONFIG = parse(Source("sshd_config", ""), lambda _pattern: [])


def test_sshd_takes_and_passes_over_the_same_lines(tmp_path: Path, free_port: int) -> None:
    """One log-in makes sshd look at all lines, as none lets this address in."""
    key = make_key(tmp_path / "id")
    public = key.with_suffix(".pub").read_text().strip()
    elsewhere = 'from="192.0.2.1"'
    lines = [f"{options} {public}" for options in REFUSED]
    lines += [f"{options if 'from=' in options else f'{elsewhere},{options}'} {public}" for options in TAKEN]
    keys = tmp_path / "authorized_keys"
    keys.write_text("\n".join(lines))
    settings = {"HostKey": make_key(tmp_path / "host_key"), "AuthorizedKeysFile": keys, "LogLevel": "DEBUG2"}
    with listening(tmp_path, free_port, **settings) as sshd:
        ssh = StockSsh(tmp_path, "127.0.0.1", free_port, key)
        refused = ssh.run(user=own_user(), words="true")
        assert "Permission denied" in refused.err
        sshd.error_line(f"processed {len(lines)}/{len(lines)} lines")
        theirs = {int(number) for number in re.findall(r"authorized_keys:(\d+): matching key found", sshd.err.text)}
    ours = {line.place.line for line in key_lines("authorized_keys", keys.read_text(), THIS_HOST) if not line.refused}
    assert [lines[number - 1] for number in sorted(theirs.symmetric_difference(each for each in ours if each))] == []
    assert theirs == set(range(len(REFUSED) + 1, len(lines) + 1))


def test_a_line_by_which_sshd_lets_nobody_in_is_refused(tmp_path: Path, free_port: int) -> None:
    """These options are read, and sshd refuses each log-in with them: the client's address is in every one of them. A
    form feed or a no-break space is no blank."""
    lines = [
        'from="127.0.0.1/8"',
        'from="127.0.0.1,!10.0.0.0/33"',
        'principals="{user}"',
        "restrict\x0c",
        "restrict\xa0",
    ]
    lines = [f"{each.replace('{user}', own_user())} " for each in lines] + ["restrict ", 'from="127.0.0.0/8"\t']
    keys = [make_key(tmp_path / f"id{number}") for number in range(len(lines))]
    text = "\n".join(line + key.with_suffix(".pub").read_text().strip() for line, key in zip(lines, keys, strict=True))
    file = tmp_path / "authorized_keys"
    file.write_text(text)
    settings = {"HostKey": make_key(tmp_path / "host_key"), "AuthorizedKeysFile": file, "MaxSessions": "10"}
    with listening(tmp_path, free_port, **settings):
        clients = [StockSsh(tmp_path, "127.0.0.1", free_port, key) for key in keys]
        theirs = [client.run(user=own_user(), words="true").code == 0 for client in clients]
    assert [line.refused is None for line in key_lines("authorized_keys", text, THIS_HOST)] == theirs
    assert theirs == [False] * 5 + [True] * 2


@pytest.fixture
def summer_time(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A host whose clocks change in March and October."""
    try:
        with monkeypatch.context() as patch:
            patch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
            time.tzset()
            yield
    finally:
        time.tzset()


@pytest.mark.usefixtures("summer_time")
@pytest.mark.parametrize("text", ["202611221530Z", "202607011200", "20260701120001", "20260231", "202602312359utc"])
def test_a_time_means_what_it_means_to_a_gateway(text: str) -> None:
    """It is of standard time, as in sshd, and may be a day that its month does not have."""
    files = [KeyFile("keys", f'expiry-time="{text}" {PUBLIC}\n')]
    ends = parse_options(f'expiry-time="{text}"', THIS_HOST).expires
    assert ends is not None
    for late in (0, 1):
        now = datetime.fromtimestamp(ends + late, UTC)
        rules = {each.rule for each in lint(CONFIG, files, user=None, server=Server(THIS_HOST), now=now)}
        assert ("key-expired" in rules, "key-refused" in rules) == (bool(late), False)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("2026112", "it is no time"), ("20261322", "there is no such time"), ("", "it is no time"),
        ("19691231Z", "it is before 1970"), ("2026112224", "it is no time"),
    ],
)  # fmt: skip
def test_what_is_no_time(text: str, why: str) -> None:
    (line,) = key_lines("keys", f'expiry-time="{text}" {PUBLIC}\n', THIS_HOST)
    assert line.refused
    assert line.refused.why == f'expiry-time="{text}": {why}'
