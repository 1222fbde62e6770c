"""Lines of key files that are correct, and do something else than their author means."""

from __future__ import annotations

import pytest

from ferry.policy.key_traps import traps_of
from ferry.policy.keys import KeyLine
from ferry.protocol.key_options import parse_options
from known_system import KNOWN

NOW = 1_900_000_000.0  # 2030-03-17 17:46:40 UTC


def is_public(port: int) -> bool:
    return 30000 <= port < 40000


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ('restrict,permitlisten="21022"', "restrict turns all forwards off, and permitlisten= turns none on: add port-forwarding"),
        ('no-port-forwarding,permitopen="a:1"', "and permitopen= turns none on: remove that option"),
        ('permitlisten="LOCALHOST:80"', 'permitlisten="LOCALHOST:80" matches nothing: write its host in lower case'),
        ('permitlisten="localhost:30001"', 'permitlisten="localhost:30001" opens a public port, for the range decides that'),
        ('permitlisten="127.0.0.1:21015"', 'allows -R 127.0.0.1:21015:... alone, for ssh asks for localhost where no host is typed: write permitlisten="localhost:21015"'),
        ('permitlisten="[::1]:21015"', "allows -R [::1]:21015:... alone"),
        ('permitlisten="[::1]:30001"', "use a port of a loopback range (tcp.ranges)"),
        ('from="10.0.0.0/8,*.Example.com"', "from= has the name *.Example.com, which matches nothing: write addresses"),
        ('from="*,!evil.example.com"', "from= has the name evil.example.com"),
        ('permitopen="any:22"', 'permitopen="any:22" names a host that is called any: write permitopen="*:22" for any host'),
        ('permitopen="any:*"', 'write permitopen="*:*" for any host'),
        ('expiry-time="20300101Z"', "its expiry-time= has passed, on 2030-01-01 00:00:00 UTC: it lets nobody in"),
    ],
)  # fmt: skip
def test_a_trap_is_named_with_what_to_write(options: str, says: str) -> None:
    (trap,) = traps_of(KeyLine(options=parse_options(options, KNOWN)), now=NOW, use_dns=False, is_public=is_public)
    assert says in trap


@pytest.mark.parametrize(
    "options", ["", "restrict", 'permitlisten="localhost:21022"', 'permitlisten="127.0.0.1:21015",permitlisten="21015"', 'permitlisten="30001"', 'permitlisten="localhost:*"', 'permitlisten="127.0.0.1:*"', 'restrict,port-forwarding,permitlisten="21022"', 'permitopen="LAPTOP:22"', 'expiry-time="20310101Z"',
                'permitlisten="[/Run/Sockets/*]:*"', 'from="10.*,2001:db8::*,fe80::/10,0x7f.1,*,192.168.0.?"']
)  # fmt: skip
def test_other_lines_have_none(options: str) -> None:
    assert (
        list(traps_of(KeyLine(options=parse_options(options, KNOWN)), now=NOW, use_dns=False, is_public=is_public))
        == []
    )


def test_names_are_no_trap_where_they_are_looked_up() -> None:
    line = KeyLine(options=parse_options('from="*.example.com"', KNOWN))
    assert list(traps_of(line, now=NOW, use_dns=True, is_public=is_public)) == []
