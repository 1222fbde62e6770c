"""Policy files: what they mean, and each mistake with its place and what to write."""

from __future__ import annotations

from pathlib import Path

import pytest

from ferry.config.model import Config
from ferry.config.policy_file import load_policy, parse_policy, read_policy
from ferry.errors import InvalidInput, Refusal
from ferry.names import Fingerprint
from ferry.policy.aims import parse_publish, parse_reach
from ferry.policy.rulebook import Rulebook, failures
from ferry.policy.rules import Asker, Rule

NOW = 1_900_000_000.0  # 2030-03-17 17:46:40 UTC
KEY = "SHA256:" + "a" * 43
RANGES = {"public": [(30000, 30999)], "loopback": [(21000, 21999), (23000, 23999)]}
WHOLE = f"""\
[tags]
fleet = ["web-*", "{KEY}"]
staff = "ann"

[[rule]]
name = "fleet"
who = ["tag:fleet"]
publish.ports = ["loopback", "25000"]
publish.aliases = ["{{name}}:22"]
from = ["10.0.0.0/8", "!10.9.0.0/16"]

[[rule]]
who = "tag:staff"
until = 2030-03-17T18:00:00Z
[rule.publish]
names = ["ann-*"]
[rule.reach]
aliases = ["web-*:22", "db:*"]
ports = ["21000-21999"]
hosts = ["db.example.com:5432", "10.1.0.0/16:*", "[2001:db8::]:443"]
sockets = ["/DB.sock", "/{{name}}-*"]
[rule.most]
forwards = 4
names = 2

[[test]]
who = "web-1"
from = "10.1.2.3"
accept = ["publish 21023", "publish web-1:22"]
deny = ["publish 30000", "publish web-2:22"]

[[test]]
who = "ann"
at = 2030-03-17T17:00:00+00:00
accept = ["reach web-1:22", "reach db.example.com:5432", "reach /DB.sock", "reach /ann-1"]
deny = ["reach /db.sock", "publish /DB.sock"]
"""


def asker(name: str, address: str = "10.1.2.3", key: str = KEY[::-1]) -> Asker:
    return Asker(name, Fingerprint(key), False, address, address, NOW)


def names_of(book: Rulebook, who: Asker, *questions: str) -> list[str]:
    answers = [book.decide_any(who, parse_reach(text)) for text in questions]
    return [answer.name if isinstance(answer, Rule) else answer.code for answer in answers]


def test_a_whole_file() -> None:
    policy = parse_policy(WHOLE, "/policy", RANGES)
    book = Rulebook(policy)
    assert [(rule.name, rule.line, rule.forwards, rule.names) for rule in policy.rules] == [
        ("fleet", 5, None, None),
        ("rule 2", 12, 4, 2),
    ]
    for text in ("21023", "23999", "25000", "web-1:22"):
        assert isinstance(book.decide(asker("web-1"), parse_publish(text)), Rule), text
    for text in ("22000", "30000", "web-2:22", "web-1:23", "blog"):
        assert isinstance(book.decide(asker("web-1"), parse_publish(text)), Refusal), text
    assert isinstance(book.decide(asker("web-1", "10.9.0.1"), parse_publish("21023")), Refusal)
    assert isinstance(book.decide(asker("other", key=KEY), parse_publish("21023")), Rule)
    allowed = ["web-9:22", "db:1", "localhost:21023", "db.example.com:5432", "10.1.255.1:1", "[2001:db8::]:443"]
    assert names_of(book, asker("ann"), *allowed) == ["rule 2"] * 6
    refused = ["web-9:23", "dc:1", "localhost:22000", "db.example.com:5433", "10.2.0.1:1", "[2001:db8::1]:443"]
    assert names_of(book, asker("ann"), *refused) == ["policy"] * 6
    assert names_of(book, asker("ann")._replace(now=NOW + 3600), "web-9:22") == ["policy_until"]
    assert failures(book, NOW) == []


def test_holders_of_certificates_are_named_by_their_ca_and_key_id() -> None:
    text = f'''
[[rule]]
who = ["{KEY}:web-*"]
publish.ports = ["21023"]
[[test]]
who = "{KEY}:web-1"
accept = ["publish 21023"]
[[test]]
who = "{KEY}:db-1"
deny = ["publish 21023"]
[[test]]
who = "web-1"
deny = ["publish 21023"]
'''
    policy = parse_policy(text, "/policy", RANGES)
    assert failures(Rulebook(policy), NOW) == []
    assert policy.rules[0].who.shown == f"{KEY}:web-*"


def test_who_has_no_key_and_who_has_no_name() -> None:
    text = f'''
[[rule]]
who = ["anonymous", "{KEY}"]
publish.ports = ["21023"]
[[rule]]
who = "*"
publish.ports = ["21024"]
[[test]]
who = "anonymous"
accept = ["publish 21023"]
deny = ["publish 21024"]
[[test]]
key = "{KEY}"
accept = ["publish 21023", "publish 21024"]
[[test]]
key = "SHA256:{"b" * 43}"
deny = ["publish 21023"]
'''
    assert failures(Rulebook(parse_policy(text, "/policy", RANGES)), NOW) == []


def test_a_policy_whose_tests_fail_is_not_loaded(tmp_path: Path) -> None:
    (tmp_path / "policy").write_text(rule_with('publish.ports = "*"') + '[[test]]\nwho = "web-1"\ndeny = "publish 1"\n')
    config = Config.model_validate({"access": {"policy": tmp_path / "policy"}})
    with pytest.raises(InvalidInput, match="line 6: the test of web-1 denies 'publish 1', and the rule 'rule 1'"):
        load_policy(config, NOW)


def test_a_tag_of_the_configuration_stands_in_the_policy(tmp_path: Path) -> None:
    (tmp_path / "policy").write_text(WHOLE)
    match = {"tag": ["fleet", "!staff", "fl*"], "max_sessions": 1}
    config = {"access": {"policy": tmp_path / "policy"}, "sshd": {"match": [match]}}
    assert load_policy(Config.model_validate(config), NOW) is not None
    match["tag"] = ["fleet", "staf", "!people"]
    with pytest.raises(InvalidInput) as error:
        load_policy(Config.model_validate(config), NOW)
    assert str(error.value).split("\n") == [
        f"{tmp_path}/policy: [tags] has no staf, and sshd.match 1 is for it: did you mean staff?",
        f'{tmp_path}/policy: [tags] has no people, and sshd.match 1 is for it: write people = ["web-1"] below [tags]',
    ]


def test_a_test_that_fails_says_where_and_which_rule_decided() -> None:
    text = WHOLE + '\n[[test]]\nwho = "web-1"\nfrom = "10.1.2.3"\naccept = ["publish 22"]\ndeny = ["publish 21023"]\n'
    text += '[[test]]\nwho = "web-1"\naccept = ["publish 21023"]\n'
    found = [failure.text("/policy") for failure in failures(Rulebook(parse_policy(text, "/policy", RANGES)), NOW)]
    assert found == [
        "/policy, line 41: the test of web-1 accepts 'publish 22', and no rule does: write a rule that allows it, or move "
        "the example to deny",
        "/policy, line 42: the test of web-1 denies 'publish 21023', and the rule 'fleet' (line 5) allows it: narrow the "
        "rule, or move the example to accept",
        "/policy, line 45: the test of web-1 accepts 'publish 21023', and 'fleet' has from: write a rule that allows it, "
        "or move the example to deny",
    ]


def test_a_test_knows_that_a_network_does_not_lead_to_a_special_address() -> None:
    text = (
        '[[rule]]\nwho = "ann"\nreach.hosts = ["169.254.0.0/16:80", "*:81", "127.0.0.1:80", "localhost:81"]\n'
        '[[test]]\nwho = "ann"\naccept = ["reach 127.0.0.1:80", "reach localhost:81", "reach 10.0.0.1:81"]\n'
        'deny = ["reach 169.254.169.254:80", "reach 169.254.169.254:81", "reach localhost:80", "reach [::1]:81"]\n'
    )
    assert failures(Rulebook(parse_policy(text, "/policy", RANGES)), NOW) == []


def rule_with(lines: str) -> str:
    return f'[[rule]]\nwho = ["web-1"]\n{lines}\n'


LONG = "a" * 254  # POLICY_PATTERN_CHARS and one more
NOBODY = (
    'is nobody: write a name ("web-1", "web-*"), a key ("SHA256:..."), a certificate ("SHA256:CA:KEY_ID"), "tag:NAME", '
    '"*" for everybody with a key, or "anonymous"'
)
NO_SOCKET = (
    "is no socket: write its name in the folder of the identity, such as /x.sock or /*.sock, without folders; {name} is "
    "the name of who asks"
)
MISTAKES = {
    "no rule": (
        "",
        [
            ": it has no [[rule]], so nobody could publish or reach anything: write one, or remove access.policy from the "
            "configuration"
        ],
    ),
    "no TOML, and a mistake behind it": (
        'domain = x\n[[rule]]\nwho = "a b"\npublish.ports = "*"',
        [
            ', line 1: domain = x: text must be in quotes: write domain = "x"',
            ", line 1: domain: unknown key: a policy has [tags], [[rule]] and [[test]]",
            f", line 3: who: 'a b' {NOBODY}",
        ],
    ),
    "a mistake in a file without a rule": (
        '[[rules]]\nwho = "a"\npublish.ports = "*"',
        [", line 1: rules: unknown key: did you mean rule?"],
    ),
    "unknown keys": (
        '[[rules]]\n[[rule]]\nwho = ["a"]\npublish.port = ["1"]\npublish.hosts = ["a:1"]\nmost.tunnels = 1\nunti = 1',
        [
            ", line 1: rules: unknown key: did you mean rule?",
            ", line 4: publish.port: unknown key: did you mean ports?",
            ", line 5: publish.hosts: unknown key: publish has names, ports, aliases, sockets",
            ", line 6: most.tunnels: unknown key: most has forwards and names",
            ", line 7: unti: unknown key: did you mean until?",
        ],
    ),
    "a rule for nobody that allows nothing": (
        '[[rule]]\nname = "x"',
        [
            ', line 1: the rule allows nothing: write publish.ports = ["21000-21999"] or reach.aliases = ["web-1:22"]',
            ', line 1: the rule is for nobody: write who = ["web-1"], or who = ["*"] for everybody with a key',
        ],
    ),
    "names of rules": (  # POLICY_NAME_CHARS
        "".join(
            rule_with(f'publish.ports = "*"\nname = {name}') for name in ("3", '""', '"a\\u0007"', f'"{"a" * 65}"')
        ),
        [
            f', line {line}: name: {shown} is no name: write up to 64 plain characters, such as name = "fleet"'
            for line, shown in ((4, "3"), (8, "''"), (12, r"'a\x07'"), (16, f"'{'a' * 58}…"))
        ],
    ),
    "two rules of one name": (
        '[[rule]]\nname = "x"\nwho = "a"\npublish.ports = "*"\n[[rule]]\nname = "x"\nwho = "b"\npublish.ports = "*"',
        [", line 6: name: 'x' is the name of the rule on line 1 too: write another"],
    ),
    "who": (
        '[tags]\nfleet = ["tag:other"]\nthe_fleet = "a"\n[[rule]]\nwho = ["tag:flet", "@fleet", "the_fleet", "SHA256:abc", "we b"]\n'
        'publish.ports = "*"',
        [
            ", line 2: tags.fleet: 'tag:other' is a tag, and a tag has identities: write their names",
            ", line 5: who: there is no tag 'flet': did you mean tag:fleet?",
            """, line 5: who: '@fleet' is a tag: write "tag:fleet\"""",
            """, line 5: who: 'the_fleet' is a tag: write "tag:the_fleet\"""",
            ", line 5: who: 'SHA256:abc' is no fingerprint of a key: write SHA256:... as `ssh-keygen -lf KEY.pub` prints it",
            f", line 5: who: 'we b' {NOBODY}",
        ],
    ),
    "long names": (
        f'[[rule]]\nwho = ["{LONG}", "{KEY}:{LONG}"]\npublish.names = "{LONG}"\nreach.hosts = "{LONG}:1"',
        [
            f", line 2: who: '{LONG[:59]}…' {NOBODY}",
            f", line 2: who: '{KEY}:{'a' * 8}…' is no fingerprint of a key: write SHA256:... as `ssh-keygen -lf KEY.pub` prints it",
            f", line 3: publish.names: '{LONG[:59]}…' is no name: use letters, digits and hyphens, * for any text, ? for one "
            "character, and {name} for the name of who asks",
            f", line 4: reach.hosts: '{LONG[:59]}…' is no host: write a name, a pattern of one, an address or a network",
        ],
    ),
    "ports": (
        rule_with('publish.ports = ["70000", "5-3", "web", 80]\nreach.ports = ["0-5", "5-70000", "5-3", "web"]'),
        [
            """, line 3: publish.ports: ['70000', '5-3', 'web', 80] is no list of texts: write ["21023", "21000-21999"]""",
            """, line 4: reach.ports: '0-5' is no port: write 1 to 65535, "21000-21999", or "*" for all""",
            """, line 4: reach.ports: '5-70000' is no port: write 1 to 65535, "21000-21999", or "*" for all""",
            """, line 4: reach.ports: '5-3' ends before it begins: write "3-5\"""",
            """, line 4: reach.ports: 'web' is no port: write "21023", "21000-21999", "*", or the name of a range """
            "(public, loopback)",
        ],
    ),
    "names": (
        rule_with('publish.names = ["blog:80", "web:22", "blog.example.com", "b_g"]'),
        [
            ", line 3: publish.names: 'blog:80' has a port, and a web name has none: write 'blog'",
            ", line 3: publish.names: 'web:22' has a port: write it in aliases, and web names without one",
            ", line 3: publish.names: 'blog.example.com' has dots: write the name below the gateway's domain, 'blog'",
            ", line 3: publish.names: 'b_g' is no name: use letters, digits and hyphens, * for any text, ? for one "
            "character, and {name} for the name of who asks",
        ],
    ),
    "aliases and hosts": (
        rule_with(
            'reach.aliases = ["web-1", "22", ":22", ""]\n'
            'reach.hosts = ["10.1.2.3/8:1", "fe80::1:22", "[fe80::2:22", "fe80::3]:22", "db:x", "a/b:1", "10.1.2:1", "d b:1"]'
        ),
        [
            """, line 3: reach.aliases: 'web-1' has no port behind a name: write "web-1:22" or "web-*:22", and "web-1:*" """
            "for every port",
            *(
                f""", line 3: reach.aliases: '{bare}' has no port behind a name: write "web-1:22" or "web-*:22\""""
                for bare in ("22", ":22", "")
            ),
            ", line 4: reach.hosts: '10.1.2.3/8' is no address or network: write 10.0.0.0/8",
            *(
                f""", line 4: reach.hosts: an IPv6 address stands in brackets: write "[fe80::{last}]:22\""""
                for last in (1, 2, 3)
            ),
            """, line 4: reach.hosts: 'x' is no port: write 1 to 65535, "21000-21999", or "*" for all""",
            ", line 4: reach.hosts: 'a/b' is no address or network: write 10.1.0.0/16",
            ", line 4: reach.hosts: '10.1.2' is no address or network: write 10.1.0.0/16",
            ", line 4: reach.hosts: 'd b' is no host: write a name, a pattern of one, an address or a network",
        ],
    ),
    "sockets": (
        rule_with(
            f'publish.sockets = ["x.sock", "/a/x.sock", "/", "/x y", "/{"x" * 254}", "*"]\nreach.sockets = "/run/ferry/web-1/*"'
        ),
        [
            """, line 3: publish.sockets: 'x.sock' is no socket: write "/x.sock", or "*" for all""",
            f", line 3: publish.sockets: '/a/x.sock' {NO_SOCKET}",
            f", line 3: publish.sockets: '/' {NO_SOCKET}",
            f", line 3: publish.sockets: '/x y' {NO_SOCKET}",
            f", line 3: publish.sockets: '/{'x' * 58}…' {NO_SOCKET}",
            f", line 4: reach.sockets: '/run/ferry/web-1/*' {NO_SOCKET}",
        ],
    ),
    "from and until": (
        rule_with('publish.ports = "*"\nfrom = ["10.0.0.1/8"]\nuntil = "tomorrow"')
        + rule_with('publish.ports = "*"\nfrom = ["!10.0.0.0/8"]\nuntil = 2027-01-31T18:00:00')
        + rule_with('publish.ports = "*"\nfrom = ["10.0.0.0/8,11.0.0.0/8"]\nuntil = 2027-01-31'),
        [
            ", line 4: from: 10.0.0.1/8 has bits behind its mask, so it lets nobody in: write 10.0.0.0/8",
            ", line 5: until: tomorrow is no time with a zone: write 2027-01-31T18:00:00Z, without quotes",
            ", line 9: from: it excludes only, so it lets nobody in: add what may come in, such as ,*",
            ", line 10: until: 2027-01-31T18:00:00 has no zone: write 2027-01-31T18:00:00Z for UTC, or +02:00 behind it",
            """, line 14: from: one address or network is one entry: write ["10.0.0.0/8", "!10.9.0.0/16"]""",
            ", line 15: until: 2027-01-31 is no time with a zone: write 2027-01-31T18:00:00Z, without quotes",
        ],
    ),
    "tests": (
        rule_with('publish.ports = "*"')
        + '[[test]]\nwho = "web-*"\naccept = ["21023"]\n[[test]]\ndeny = ["reach web-1"]\n[[test]]\nwho = ["a"]\n'
        + '[[test]]\nwho = "*"\ndeny = "publish 1"\n',
        [
            ", line 5: who: 'web-*' is a pattern: a question is about one identity, such as web-1",
            """, line 6: accept: '21023' begins with neither publish nor reach: write "publish 21023\"""",
            ', line 7: the test is about nobody: write who = "web-1"',
            ", line 8: deny: 'web-1' is no host with a port: write web-1:22, or localhost:21023",
            ', line 9: the test asks nothing: write accept = ["publish 21023"] or deny = ["reach web-1:22"]',
            ", line 10: who: ['a'] is no text: a test is about one identity: write one in quotes",
            ", line 12: who: '*' is a pattern: a question is about one identity, such as web-1",
        ],
    ),
    "a rule that is a number": ("rule = 1", [", line 1: write each below a line [[rule]]"]),
    "shapes": (  # POLICY_COUNT
        "tags = 1\ntest = [1]\n[[rule]]\nwho = []\npublish = 3\nmost = { forwards = -1, names = true }\n"
        '[[rule]]\nwho = { name = "a" }\npublish.ports = "*"\nmost = { forwards = 1.5, names = "4" }\n[rule.reach]\n',
        [
            ', line 1: tags: 1 is no table: write fleet = ["web-1", "web-2"] below a line [tags]',
            ", line 2: write each below a line [[test]]",
            ', line 4: who: the list is empty: write ["web-1", "tag:fleet"], or delete the key',
            ', line 5: publish: 3 is no table: write publish.ports = ["21000-21999"]',
            ", line 6: most.forwards: -1 is no number from 0 to 100000: write one, such as 4",
            ", line 6: most.names: True is no number from 0 to 100000: write one, such as 4",
            """, line 8: who: {'name': 'a'} is no list of texts: write ["web-1", "tag:fleet"]""",
            ", line 10: most.forwards: 1.5 is no number from 0 to 100000: write one, such as 4",
            ", line 10: most.names: '4' is no number from 0 to 100000: write one, such as 4",
        ],
    ),
}


@pytest.mark.parametrize("which", MISTAKES)
def test_each_mistake_is_told_with_its_place_and_what_to_write(which: str) -> None:
    text, told = MISTAKES[which]
    with pytest.raises(InvalidInput) as error:
        parse_policy(text, "/policy", RANGES)
    assert str(error.value).split("\n") == [f"/policy{line}" for line in told]


BOUNDS = {
    "POLICY_RANGES": (
        "".join(rule_with(f'publish.aliases = "a:{first}-65535"') for first in range(1, 258)),
        ", line 771: publish.aliases: the file has more than 256 different ranges of ports: write wider ones",
    ),
    "POLICY_ENTRIES": (
        '[[rule]]\nwho = "a"\npublish.names = [' + '"a",' * 1025 + "]\n",
        ", line 3: publish.names: the list has 1,025 entries: 1,024 are allowed",
    ),
    "POLICY_TAGS": (
        "[tags]\n" + "".join(f'a{number} = "a"\n' for number in range(1025)) + rule_with('publish.ports = "*"'),
        ", line 1: tags: the file has 1,025 tags: 1,024 are allowed",
    ),
    "POLICY_TAG_MEMBERS": (
        "[tags]\na = [" + '"a",' * 20_001 + "]\n" + rule_with('publish.ports = "*"'),
        ", line 2: tags.a: the list has 20,001 entries: 20,000 are allowed",
    ),
    "POLICY_RULES": (
        rule_with('publish.ports = "*"') * 4097,
        ", line 1: the file has 4,097 [[rule]]: 4,096 are allowed",
    ),
    "POLICY_TESTS": (
        rule_with('publish.ports = "*"') + '[[test]]\nwho = "a"\naccept = ["publish 1"]\n' * 4097,
        ", line 4: the file has 4,097 [[test]]: 4,096 are allowed",
    ),
}


@pytest.mark.parametrize("which", BOUNDS)
def test_every_size_is_bounded(which: str) -> None:
    text, told = BOUNDS[which]
    with pytest.raises(InvalidInput) as error:
        parse_policy(text, "/policy", RANGES)
    assert str(error.value) == f"/policy{told}"


def test_fifty_mistakes_are_told_and_the_others_counted() -> None:
    """CONFIG_MISTAKES."""
    with pytest.raises(InvalidInput) as error:
        parse_policy(rule_with('publish.ports = "x"') * 100, "/policy", RANGES)
    told = str(error.value).split("\n")
    assert (len(told), told[-1]) == (51, "/policy: 50 more mistakes")


def test_single_ports_and_every_port_are_no_ranges_of_ports() -> None:
    first = [f"a:{port}-65535" for port in range(1, 257)] + ["a:22", "a:*"]
    text = f"[[rule]]\nwho = 'a'\npublish.aliases = {first}\n"
    assert len(parse_policy(text, "/policy", {}).rules) == 1
    with pytest.raises(InvalidInput, match=r"line 6: publish\.aliases: the file has more than 256 different ranges"):
        parse_policy(text + rule_with('publish.aliases = "a:1-2"'), "/policy", {})


def test_ranges_of_ports_alone_are_as_many_as_there_are_rules() -> None:
    text = "".join(rule_with(f'publish.ports = "{first}-{first + 9}"') for first in range(1, 10_000, 10))
    assert len(parse_policy(text, "/policy", {}).rules) == 1000


def test_a_file_that_cannot_be_read_names_the_fix(tmp_path: Path) -> None:
    """POLICY_FILE_BYTES, too."""
    for content, why in ((None, "No such file"), (b"\xff", "not UTF-8"), (b"#" * (4 << 20) + b"##", "more than 4 MiB")):
        path = tmp_path / "policy.toml"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(InvalidInput, match=why):
            read_policy(path, {})
    path.write_text(WHOLE)
    assert len(read_policy(path, RANGES).rules) == 2
