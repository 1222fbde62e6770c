"""The mistakes that people make in a configuration, each with the whole text that they read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ferry.config.file import load
from ferry.config.rules import surprises
from ferry.errors import InvalidInput

ADDRESS = 'write "127.0.0.1:{0}", or "*:{0}" for all addresses of this host'
ANY = '[access]\nmode = "anyone"\n'
OPEN = 'Write mode = "keys" and keys = ["/etc/ferry/keys"] in [access], or mode = "anyone" to give tunnels to everybody'
TWO_PORTS = (
    "write another port for one of them, such as *:80 and *:443. "
    "The HTTPS port redirects plain HTTP, so http.listen = [] will do too"
)
LABEL = "use letters, digits and hyphens, with a letter or digit first and last"

MISTAKES = {
    "text without quotes": (
        "domain = gw.example.com",
        ['line 1: domain = gw.example.com: text must be in quotes: write domain = "gw.example.com"'],
    ),
    "a duration without quotes": (
        "drain = 15s",
        ['line 1: drain = 15s: text must be in quotes: write drain = "15s"'],
    ),
    "an address without quotes": (
        "[http]\nlisten = *:80",
        ['line 2: listen = *:80: text must be in quotes: write listen = "*:80"'],
    ),
    "a path without quotes": (
        "state = /var/lib/ferry",
        ['line 1: state = /var/lib/ferry: text must be in quotes: write state = "/var/lib/ferry"'],
    ),
    "a word without quotes": (
        "[access]\nmode = keys",
        [
            'line 2: mode = keys: text must be in quotes: write mode = "keys"',
            'line 2: access.mode = "keys" needs keys: write keys = ["/etc/ferry/keys"], a file or a folder of public keys',
        ],
    ),
    "a URL without quotes, and another word": (
        f"domain = https://gw.example\ndrain = soon\n{ANY}",
        [
            'line 1: domain = https://gw.example: text must be in quotes: write domain = "https://gw.example"',
            "line 1: domain: 'https://gw.example' is more than a domain: write gw.example",
            'line 2: drain = soon: text must be in quotes: write drain = "soon"',
            'line 2: drain: \'soon\' is not a duration: write "15s", "10m", "2h" or "30d"',
        ],
    ),
    "yes": (
        "[ssh]\nbanner = yes",
        ["line 2: banner = yes is neither true nor false: write banner = true"],
    ),
    "a quote that is not closed": (
        'domain = "gw.example.com',
        ['line 1: domain = "gw.example.com: the text has no closing quote: write domain = "gw.example.com"'],
    ),
    "a colon, as in YAML": (
        "domain: gw.example.com",
        ['line 1: a key and its value have = between them: write domain = "gw.example.com"'],
    ),
    "a colon in a list, which is no missing =": (
        "[http]\nlisten = [\n  a: b\n]",
        ["line 3, column 3: Invalid value"],
    ),
    "a line that is nothing": (
        'domain = "a.example"\nfoo bar',
        ["line 2, column 5: Expected '=' after a key in a key/value pair"],
    ),
    "a word at the end": (
        "[ssh]\nlisten",
        ["line 2, column 7: Expected '=' after a key in a key/value pair"],
    ),
    "two texts": (
        'domain = "a.example" "b"',
        ['line 1, column 22: domain = "a.example" "b": Expected newline or end of document after a statement'],
    ),
    "several lines of text without an end": (
        'domain = """a.example\nb',
        ['line 1: domain = """a.example has no end: Unterminated string'],
    ),
    "several lines of text without an end, below a key that is hard to read": (
        '[ssh]\n"a\\"b" = """\n',
        ["line 3: Unterminated string"],
    ),
    "the same, and nothing above": (
        '"a\\"b" = """\n',
        ["line 2: Unterminated string"],
    ),
    "a key without a value": (
        "state =",
        ["line 1: state has no value: write one, or delete the line"],
    ),
    "a URL as the domain": (
        'domain = "https://gw.example.com"',
        ["line 1: domain: 'https://gw.example.com' is more than a domain: write gw.example.com"],
    ),
    "a wildcard as the domain": (
        'domain = "*.gw.example.com"',
        ["line 1: domain: '*.gw.example.com' is more than a domain: write gw.example.com"],
    ),
    "a domain with a port": (
        'domain = "gw.example.com:2222"',
        ["line 1: domain: 'gw.example.com:2222' is more than a domain: write gw.example.com"],
    ),
    "a domain with an underscore": (
        'domain = "my_gw.example"',
        [f"line 1: domain: hostname label 'my_gw' has '_' in it: {LABEL}"],
    ),
    "ssh.port": (
        "[ssh]\nport = 2222",
        [
            'line 2: unknown key ssh.port: write listen = "*:2222"; if a firewall maps another port to it, '
            "ssh.advertised_port too"
        ],
    ),
    "a port at the top": (
        "port = 2222",
        ['line 1: unknown key port: listeners are in sections: write [ssh], and below it listen = "*:2222"'],
    ),
    "a number as an address": (
        "[http]\nlisten = 8080",
        [f"line 2: http.listen: 8080 is not an address: {ADDRESS.format(8080)}"],
    ),
    "neither a number nor an address": (
        "[http]\nlisten = true",
        ['line 2: http.listen: True is not a list: write ["…", "…"]'],
    ),
    "a number as who reaches a range": (
        "[[tcp.ranges]]\nfirst = 1\nlast = 2\nlisten = 8080",
        ["line 4: tcp.ranges 1: listen: 8080 is not known here: write 'loopback' or 'public'"],
    ),
    "a port alone as an address": (
        '[http]\nlisten = "8080"',
        [f"line 2: http.listen: '8080' is not an address: {ADDRESS.format(8080)}"],
    ),
    "a name as an address": (
        '[ssh]\nlisten = "gw.example.com:22"',
        [f"line 2: ssh.listen: 'gw.example.com' is not a numeric address: {ADDRESS.format(22)}"],
    ),
    "a port that is none": (
        '[ssh]\nlisten = "127.0.0.1:70000"',
        [f"line 2: ssh.listen: '127.0.0.1:70000' is not an address: {ADDRESS.format(2222)}"],
    ),
    "text for a table": (
        'ssh = "*:2222"',
        ["line 1: ssh: '*:2222' is not a table: write its keys below a line [ssh], such as listen"],
    ),
    "a key written twice": (
        'domain = "a.example"\ndrain = "1s"\ndomain = "b.example"',
        ["line 3: domain is written twice, first on line 1: delete one of the two"],
    ),
    "a key that is hard to read written twice": (
        '"a\\"b" = 1\n"a\\"b" = 2',
        ["line 2, column 11: Cannot overwrite a value"],
    ),
    "a key written twice, without quotes": (
        'domain = "a.example"\ndomain = x',
        [
            'line 2: domain = x: text must be in quotes: write domain = "x"',
            "line 2: domain is written twice, first on line 1: delete one of the two",
        ],
    ),
    "a table and a key of one name": (
        "[ssh.banner]\n[ssh]\nbanner = true",
        [
            "line 1: ssh.banner: {} is neither true nor false: write one of them",
            "line 3: ssh.banner is written twice, first on line 1: delete one of the two",
        ],
    ),
    "a key and a table of one name": (
        "ssh = 3\n[ssh]\nbanner = true",
        ["line 2: ssh is written twice, first on line 1: delete one of the two"],
    ),
    "a key in a table, and then the table as a key": (
        "ssh.banner = true\nssh = 3",
        ["line 2, column 8: ssh = 3: Cannot overwrite a value"],
    ),
    "a table below a value": (
        "ssh.banner = {x = 1}\n[ssh.banner.y]\nz = 1",
        ["line 2, column 14: Cannot declare ('ssh', 'banner', 'y') twice"],
    ),
    "a table that is dotted keys already": (
        "[ssh.more.x]\n[ssh]\nmore.y = 1\n[ssh.more]",
        ["line 4: [ssh.more] has a key on line 3 already: write that as y below [ssh.more]"],
    ),
    "a table written twice": (
        "[ssh]\nbanner = true\n[http]\n[ssh]\nauth_tries = 3",
        ["line 4: [ssh] is here and on line 1: write all its keys below one of them"],
    ),
    "a typo in a key": (
        'domian = "gw.example.com"',
        ["line 1: unknown key domian: did you mean domain?"],
    ),
    "a typo in a table": (
        '[acess]\nmode = "anyone"',
        ["line 1: unknown key acess: did you mean access?"],
    ),
    "a key with a dot in quotes": (
        '"ssh.colour_scheme" = 3',
        ["line 1: unknown key ssh.colour_scheme: see `ferry docs configuration` for all keys"],
    ),
    "a port where nothing listens": (
        "[log]\nport = 3",
        ["line 2: unknown key log.port: did you mean log.format?"],
    ),
    "a key in the wrong table": (
        "[http]\nbanner = true",
        ["line 2: unknown key http.banner: did you mean ssh.banner?"],
    ),
    "a key that nothing resembles": (
        "[log]\ncolour_scheme = 3",
        ["line 2: unknown key log.colour_scheme: see `ferry docs configuration` for all keys"],
    ),
    "a duration in words": (
        'drain = "15 seconds"',
        ['line 1: drain: \'15 seconds\' is not a duration: write "15s", "10m", "2h" or "30d"'],
    ),
    "a size in words": (
        '[http]\nhead_bytes = "16 kB"',
        ['line 2: http.head_bytes: \'16 kB\' is not a size: write "16KiB" or "1MiB"'],
    ),
    "a number that is too small": (
        "[ssh]\nauth_tries = 0",
        ["line 2: ssh.auth_tries: 0 is too small: the least is 1"],
    ),
    "a number in words": (
        '[ssh]\nauth_tries = "three"',
        ["line 2: ssh.auth_tries: 'three' is not a whole number: write one, such as 5"],
    ),
    "neither true nor false": (
        '[ssh]\nbanner = "maybe"',
        ["line 2: ssh.banner: 'maybe' is neither true nor false: write one of them"],
    ),
    "a word that is none of the values": (
        '[log]\nlevel = "verbose"',
        ["line 2: log.level: 'verbose' is not known here: write 'debug', 'info', 'warning' or 'error'"],
    ),
    "equal ports for http and https": (
        f'[http]\nlisten = "*:443"\n[https]\nlisten = "*:443"\n{ANY}',
        [f"line 4: http.listen and https.listen both have *:443: {TWO_PORTS}"],
    ),
    "equal ports for ssh and https": (
        f'[ssh]\nlisten = "*:443"\n[https]\nlisten = "*:443"\n{ANY}',
        [
            "line 4: ssh.listen and https.listen both have *:443: https.listen serves SSH too, so write ssh.listen = [], "
            "or another port"
        ],
    ),
    "equal ports with one built in": (
        f'[http]\nlisten = "127.0.0.1:9380"\n{ANY}',
        ["line 2: http.listen and admin.listen both have 127.0.0.1:9380: write another port for one of them"],
    ),
    "everybody may connect, by mistake": (
        '[ssh]\nlisten = "*:22"',
        [f"line 2: this gateway listens beyond loopback and access.mode is not set: anybody could connect. {OPEN}"],
    ),
    "keys that nobody looks at": (
        '[access]\nkeys = ["/etc/ferry/keys"]',
        [
            "line 2: access.keys is set and access.mode is not: anybody could connect. "
            'Write mode = "keys" in [access], or mode = "anyone"'
        ],
    ),
    "keys mode without keys": (
        '[access]\nmode = "keys"',
        [
            'line 2: access.mode = "keys" needs keys: write keys = ["/etc/ferry/keys"], a file or a folder of public keys'
        ],
    ),
    "two values of keys that are none, and no word about keys that nobody looks at": (
        '[ssh]\nlisten = "*:22"\n[access]\nmode = "keys"\nkeys = [3, 4]',
        [
            "line 5: access.keys.0: 3 is not a path: write it in quotes",
            "line 5: access.keys.1: 4 is not a path: write it in quotes",
        ],
    ),
    "a CA where anyone may connect": (
        '[access]\nmode = "anyone"\ntrusted_ca_keys = ["/ca.pub"]',
        [
            'line 3: access.trusted_ca_keys needs access.mode = "keys": with "anyone" each key is let in, and certificates '
            "are not looked at"
        ],
    ),
    "principals without a CA": (
        '[access]\nmode = "keys"\nkeys = ["/k"]\nauthorized_principals = "/p/%u"',
        [
            "line 4: access.authorized_principals is for the CAs of access.trusted_ca_keys, and there are none: write some "
            "there, or principals= behind cert-authority in a file of access.keys"
        ],
    ),
    "an admin address for everybody": (
        '[admin]\nlisten = "0.0.0.0:9380"',
        ["line 2: admin.listen = 0.0.0.0:9380 is not a loopback address: write 127.0.0.1:9380"],
    ),
    "no SSH anywhere": (
        "[ssh]\nlisten = []\n[https]\nssh = false",
        ["line 2: no listener serves SSH: write ssh.listen, or https.listen with https.ssh = true"],
    ),
    "a range without its last port": (
        "[[tcp.ranges]]\nfirst = 30000\nlisten = 'public'",
        ["line 1: tcp.ranges 1: last: is missing: write it"],
    ),
    "a reserved name with a dot": (
        '[names]\nreserved_more = ["shop.example"]',
        [f"line 2: names.reserved_more: name 'shop.example' has '.' in it: {LABEL}"],
    ),
    "a contact that nobody can reach": (
        'abuse_contact = "the operator"',
        [
            "line 1: abuse_contact: 'the operator' is neither an e-mail address nor a URL: "
            "write abuse@example.com or https://..."
        ],
    ),
    "several at once": (
        'domain = gw.example\ndrian = 3\n[ssh]\nport = 22\n[http]\nlisten = "80"\n[log]\nlevel = "loud"\nformat = json',
        [
            'line 1: domain = gw.example: text must be in quotes: write domain = "gw.example"',
            "line 2: unknown key drian: did you mean drain?",
            'line 4: unknown key ssh.port: write listen = "*:22"; if a firewall maps another port to it, '
            "ssh.advertised_port too",
            f"line 6: http.listen: '80' is not an address: {ADDRESS.format(80)}",
            "line 8: log.level: 'loud' is not known here: write 'debug', 'info', 'warning' or 'error'",
            'line 9: format = json: text must be in quotes: write format = "json"',
        ],
    ),
}


@pytest.mark.parametrize(("text", "says"), MISTAKES.values(), ids=MISTAKES)
def test_the_whole_text_of_a_mistake(tmp_path: Path, text: str, says: list[str]) -> None:
    path = tmp_path / "ferry.toml"
    path.write_text(text)
    with pytest.raises(InvalidInput) as caught:
        load(path, {}, {})
    assert str(caught.value).splitlines() == [f"{path}, {line}" for line in says]


@pytest.mark.parametrize(
    ("environ", "overrides", "says"),
    [
        ({"FERRY_SSH_LISTEN": "*:22"}, {}, "FERRY_SSH_LISTEN: unknown setting: did you mean FERRY_SSH__LISTEN?"),
        ({"FERRY_SSH": "*:22"}, {}, "FERRY_SSH: ssh is a section: write its key too, as in FERRY_SSH__LISTEN"),
        ({"FERRY_DRAIN": "soon"}, {}, 'FERRY_DRAIN: \'soon\' is not a duration: write "15s", "10m", "2h" or "30d"'),
        (
            {"FERRY_ADMIN__LISTEN": "10.0.0.1:9"},
            {},
            "FERRY_ADMIN__LISTEN: admin.listen = 10.0.0.1:9 is not a loopback address: write 127.0.0.1:9",
        ),
        ({}, {"http.listen": "80"}, f"--http-listen: '80' is not an address: {ADDRESS.format(80)}"),
    ],
)
def test_the_whole_text_of_a_mistake_elsewhere(
    environ: dict[str, str], overrides: dict[str, object], says: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        load(None, environ, overrides)
    assert str(caught.value) == says


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    missing = "No such file or directory: name the right one with --config, or write one with `ferry init`"
    os.mkfifo(tmp_path / "pipe.toml")
    for path, says in (
        (tmp_path / "none.toml", missing),
        (tmp_path, "Is a directory: name a file with --config"),
        (tmp_path / "pipe.toml", "it is not a file: name a file with --config"),
    ):
        with pytest.raises(InvalidInput) as caught:
            load(path, {}, {})
        assert str(caught.value) == f"{path}: cannot be read: {says}"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            '[ssh]\nkeepalive_interval = "0"',
            'ssh.keepalive_interval = "0" turns keepalives off: a client whose network breaks keeps its connection, tunnels '
            'and names until TCP gives up, up to hours later. Write "15s", or a longer interval',
        ),
        (
            '[names]\nreserved = ["shop"]',
            "names.reserved replaces the built-in list, so that anybody may have admin, administrator, api-docs and 32 "
            "more. To add names to the list, write them in names.reserved_more instead",
        ),
    ],
)
def test_the_whole_text_about_a_setting_that_may_surprise(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "ferry.toml"
    path.write_text(text)
    assert [remark.text for remark in surprises(load(path, {}, {}))] == [says]
