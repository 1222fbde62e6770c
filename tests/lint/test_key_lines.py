"""The options of key lines, beside what a real sshd says of the same lines."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ferry.lint.key_lines import expiry, key_lines
from ferry.ssh.key_files import THIS_HOST
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
    'permitlisten="22001"', 'permitlisten="*:ssh"', 'permitopen="localhost/22"', 'expiry-time="20991231"',
    'expiry-time="209912312359Z"', 'environment="A=1",environment="B="', "no-touch-required,verify-required",
    'from="10.0.0.0/8,!10.1.1.1"',
]  # fmt: skip


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
    ours = {
        line.place.line
        for line in key_lines("authorized_keys", keys.read_text(), THIS_HOST.port_of)
        if not line.refused
    }
    assert [lines[number - 1] for number in sorted(theirs.symmetric_difference(each for each in ours if each))] == []
    assert theirs == set(range(len(REFUSED) + 1, len(lines) + 1))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("20261122Z", datetime(2026, 11, 22, tzinfo=UTC)),
        ("202611221530utc", datetime(2026, 11, 22, 15, 30, tzinfo=UTC)),
        ("20261122153001Z", datetime(2026, 11, 22, 15, 30, 1, tzinfo=UTC)),
        ("2026112", None),
        ("20261322", None),
        ("", None),
    ],
)
def test_expiry_times(text: str, expected: datetime | None) -> None:
    assert expiry(text) == expected


def test_a_time_without_a_zone_is_of_this_host() -> None:
    read = expiry("20261122")
    assert read is not None
    assert read.tzinfo is not None
    assert re.fullmatch("20261122", f"{read:%Y%m%d}")
