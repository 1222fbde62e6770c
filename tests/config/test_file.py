from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferry.config.file import ConfigSource, env_name, load
from ferry.config.model import Config
from ferry.config.rules import overlap, surprises
from ferry.config.toml_text import lines_of
from ferry.config.words import FIELDS
from ferry.errors import InvalidInput
from ferry.gateway.wiring import rules_of
from ferry.names import Endpoint
from ferry.protocol.key_paths import AccessPaths

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str) -> Path:
        path = tmp_path / "ferry.toml"
        path.write_text(text, "utf-8")
        return path

    return write


def test_nothing_given_is_the_defaults(tmp_path: Path) -> None:
    config = ConfigSource(None, {}, {}, cwd=tmp_path).load()
    assert config == Config(state=tmp_path / "ferry-data")
    assert not config.listens_beyond_loopback


def test_later_sources_win_key_by_key(write: Write) -> None:
    path = write('domain = "file.example"\ndrain = "5s"\n[ssh]\nlisten = "127.0.0.1:1"\nauth_tries = 2\n')
    environ = {"FERRY_DOMAIN": "env.example", "FERRY_SSH__LISTEN": "127.0.0.1:2"}
    config = load(path, environ, {"domain": "flag.example", "ssh.listen": None})
    assert config.domain == "flag.example"
    assert config.drain == 5
    assert config.ssh.listen == [Endpoint("127.0.0.1", 2)]
    assert config.ssh.auth_tries == 2


@pytest.mark.parametrize(
    ("text", "listen"),
    [
        ("127.0.0.1:1", [Endpoint("127.0.0.1", 1)]),
        ("[::1]:1, 127.0.0.1:2", [Endpoint("::1", 1), Endpoint("127.0.0.1", 2)]),
        ("[::1]:1 127.0.0.1:2", [Endpoint("::1", 1), Endpoint("127.0.0.1", 2)]),
        ('["127.0.0.1:1", "[::1]:2"]', [Endpoint("127.0.0.1", 1), Endpoint("::1", 2)]),
        ("[]", []),
        ("", []),
    ],
)
def test_lists_in_the_environment(text: str, listen: list[Endpoint]) -> None:
    assert load(None, {"FERRY_HTTP__LISTEN": text}, {}).http.listen == listen


@pytest.mark.parametrize(
    ("text", "size"), [("16384", 16384), ("16KiB", 16384), (" 1 MiB ", 1024**2), ("4000B", 4000), ("1GiB", 1024**3)]
)
def test_sizes_in_the_environment(text: str, size: int) -> None:
    assert load(None, {"FERRY_HTTP__HEAD_BYTES": text}, {}).http.head_bytes == size


@pytest.mark.parametrize("text", ["1", "true", "null"])
def test_a_word_that_could_be_json_is_a_word(text: str) -> None:
    assert load(None, {"FERRY_NAMES__RESERVED": text}, {}).names.reserved == [text]


def test_a_folder_with_a_name_that_is_valid_json_is_a_folder(tmp_path: Path) -> None:
    assert ConfigSource(None, {"FERRY_STATE": "[1]"}, {}, cwd=tmp_path).load().state == tmp_path / "[1]"


@pytest.mark.parametrize("text", ["[ssh]\nlisten = []", "[https]\nssh = false", "[https]\nlisten = []\nssh = false"])
def test_one_place_for_ssh_is_enough(write: Write, text: str) -> None:
    config = load(write(text), {}, {})
    assert bool(config.ssh.listen) is not config.https.ssh


@pytest.mark.parametrize("allocate", ["", "\nallocate_from = 0"])
def test_without_ranges_nothing_is_allocated_and_nothing_is_wrong(write: Write, allocate: str) -> None:
    tcp = load(write(f"[tcp]\nranges = []{allocate}"), {}, {}).tcp
    assert (tcp.ranges, tcp.range_for_any, tcp.has(1)) == ([], None, False)


def test_of_one_range_ports_are_allocated_without_a_word(write: Write) -> None:
    tcp = load(write("[tcp]\nranges = [{first=5,last=9,listen='public'}]"), {}, {}).tcp
    assert (tcp.range_for_any, [port for port in range(3, 12) if tcp.has(port)]) == (0, [5, 6, 7, 8, 9])


def test_ranges_and_empty_values_in_the_environment() -> None:
    environ = {
        "FERRY_TCP__RANGES": '[{"first": 7, "last": 8, "listen": "loopback"}, {"first": 5, "last": 6, "listen": "public"}]',
        "FERRY_TCP__ALLOCATE_FROM": "0",
        "FERRY_SSH__ADVERTISED_PORT": "",
        "FERRY_SSH__BANNER": "false",
    }
    config = load(None, environ, {})
    assert [(r.first, r.last, r.listen) for r in config.tcp.ranges] == [
        (7, 8, "loopback"),
        (5, 6, "public"),
    ]
    assert config.ssh.advertised_port is None
    assert not config.ssh.banner


def test_relative_paths_are_taken_from_where_they_are_written(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    path = tmp_path / "etc" / "ferry.toml"
    path.write_text(
        '[access]\nmode = "keys"\nkeys = ["keys", "/abs", "~", "~no:such:user"]\n[https]\ncertificates = "certs"\n'
    )
    config = ConfigSource(Path("etc/ferry.toml"), {}, {}, cwd=tmp_path).load()
    assert config.access.keys == [tmp_path / "etc/keys", Path("/abs"), Path.home(), tmp_path / "etc/~no:such:user"]
    assert config.https.certificates == tmp_path / "etc/certs"
    assert config.state == tmp_path / "etc/ferry-data"
    config = ConfigSource(path, {"FERRY_STATE": "mine", "FERRY_ACCESS__KEYS": "k1 k2"}, {}, cwd=tmp_path).load()
    assert config.state == tmp_path / "mine"
    assert config.access.keys == [tmp_path / "k1", tmp_path / "k2"]


def test_a_source_loads_again_what_the_file_says_now(write: Write) -> None:
    source = ConfigSource(write('domain = "one.example"'), {}, {"drain": "1s"})
    assert source.load().domain == "one.example"
    write('domain = "two.example"')
    assert (source.load().domain, source.load().drain) == ("two.example", 1)
    write("domain =")
    with pytest.raises(InvalidInput):
        source.load()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('domian = "x"', "unknown key domian: did you mean domain?"),
        ('[ssh]\nlisen = "x"', "unknown key ssh.lisen: did you mean ssh.listen?"),
        ("[shh]\nx = 1", "unknown key shh: did you mean ssh?"),
        ('keep = "3d"', "unknown key keep: did you mean names.keep?"),
        ("[http]\nbanner = true", "unknown key http.banner: did you mean ssh.banner?"),
        ("[http]\nkeepalive_interval = 1", "key http.keepalive_interval: did you mean http.keepalive_timeout?"),
        ("[limits]\nrequests_waiting = 5", "limits.requests_waiting is not a setting any more: delete it (limits."),
        # what people write who have used other programs
        (
            "domain = gw.example.com",
            'line 1: domain = gw.example.com: text must be in quotes: write domain = "gw.example.com"',
        ),
        ("# x\ndrain = 15s", 'line 2: drain = 15s: text must be in quotes: write drain = "15s"'),
        ("[ssh]\nlisten = *:22", 'line 2: listen = *:22: text must be in quotes: write listen = "*:22"'),
        (
            "[ssh]\nlisten = 127.0.0.1:22 # mine",
            'listen = 127.0.0.1:22: text must be in quotes: write listen = "127.0.0.1:22"',
        ),
        ("[http]\nlisten = [*:80, *:81]", 'text must be in quotes: write listen = ["*:80", "*:81"]'),
        ("[ssh]\nbanner = yes", "line 2: banner = yes is neither true nor false: write banner = true"),
        (
            'domain = "gw.example',
            'line 1: domain = "gw.example: the text has no closing quote: write domain = "gw.example"',
        ),
        ("domain: gw.example", 'line 1: a key and its value have = between them: write domain = "gw.example"'),
        (
            'domain = "https://gw.example.com/"',
            "line 1: domain: 'https://gw.example.com/' is more than a domain: write gw.example.com",
        ),
        ('domain = "*.gw.example.com:443"', "'*.gw.example.com:443' is more than a domain: write gw.example.com"),
        (
            "[ssh]\nport = 2222",
            'line 2: unknown key ssh.port: write listen = "*:2222"; if a firewall maps another port to it',
        ),
        ('[https]\nbind = "0.0.0.0"', 'line 2: unknown key https.bind: write listen = "*:443"; if a firewall'),
        ("[admin]\nport = 9000", 'line 2: unknown key admin.port: write listen = "127.0.0.1:9000"'),
        (
            "port = 2222",
            'line 1: unknown key port: listeners are in sections: write [ssh], and below it listen = "*:2222"',
        ),
        ('ssh = "*:2222"', "line 1: ssh: '*:2222' is not a table: write its keys below a line [ssh], such as listen"),
        ('domain = "a"\n\ndomain = "b"', "line 3: domain is written twice, first on line 1: delete one of the two"),
        (
            "ssh.banner = true\n[ssh]\nauth_tries = 3",
            "line 2: [ssh] has a key on line 1 already: write that as banner below [ssh]",
        ),
        (
            "[ssh]\nauth_tries = 3\n[http]\n[ssh]\nbanner = true",
            "line 4: [ssh] is here and on line 1: write all its keys below",
        ),
        (
            '[http]\nlisten = "*:443"\n[https]\nlisten = "*:443"\n[access]\nmode = "anyone"',
            "line 4: http.listen and https.listen both have *:443: write another port for one of them",
        ),
        ("zzz = 1", "unknown key zzz: see `ferry docs configuration`"),
        ("[ssh\nx = 1", "line 1, column 5: Expected ']'"),
        ('domain = "a"\nstate = \n', "line 2: state has no value: write one, or delete the line"),
        ('a = "', """line 1: a = ": the text has no closing quote: write a = \"\""""),
        ("ssh = 3", "line 1: ssh: 3 is not a table: write its keys below a line [ssh], such as listen"),
        (
            "[ssh]\nlisten = 22",
            'line 2: ssh.listen: 22 is not an address: write "127.0.0.1:22", or "*:22" for all addresses of this host',
        ),
        ("[ssh]\nlisten = [22]", 'ssh.listen.0: 22 is not an address: write "127.0.0.1:2222"'),
        ('[ssh]\nlisten = "gw:22"', "ssh.listen: 'gw' is not a numeric address: write \"127.0.0.1:22\", or"),
        ("[ssh]\nauth_tries = 0", "ssh.auth_tries: 0 is too small: the least is 1"),
        ("[ssh]\nadvertised_port = 70000", "ssh.advertised_port: 70000 is too large: the most is 65535"),
        ('[ssh]\nbanner = "maybe"', "ssh.banner: 'maybe' is neither true nor false: write one of them"),
        ('[ssh]\nlisten = "127.0.0.1:ssh"', "ssh.listen: '127.0.0.1:ssh' is not an address: write \"127.0.0.1:2222\""),
        ('[ssh]\nlisten = "127.0.0.1:65536"', "ssh.listen: '127.0.0.1:65536' is not an address: write"),
        ('[ssh]\nlisten = "2222"', "ssh.listen: '2222' is not an address: write \"127.0.0.1:2222\""),
        (
            "[ssh]\nlisten = []\n[https]\nssh = false",
            ": no listener serves SSH: write ssh.listen, or https.listen",
        ),
        (
            "[ssh]\nlisten = []\n[https]\nlisten = []",
            ": no listener serves SSH: write ssh.listen, or https.listen",
        ),
        (
            '[admin]\nlisten = ["127.0.0.1:1", "10.0.0.1:9"]',
            "admin.listen = 10.0.0.1:9 is not a loopback address: write 127",
        ),
        ('drain = "soon"', 'drain: \'soon\' is not a duration: write "15s", "10m", "2h" or "30d"'),
        ('[access]\nmode = "kyes"', "access.mode: 'kyes' is not known here: write 'anyone' or 'keys'"),
        ('[access]\nmode = "keys"', 'access.mode = "keys" needs keys: write keys ='),
        ("[[tcp.ranges]]\nfirst = 1\nlas = 3", "tcp.ranges 1: las: unknown key: did you mean last?"),
        (
            "[tcp]\nranges = [{first=5,last=9,listen='public'}, {first=1,last=5,listen='public'}]",
            "tcp: two port ranges share port 5: separate them",
        ),
        ('[tcp]\nranges = "1-3"', "tcp.ranges: '1-3' is not a list of ranges: write [{ first ="),
        ('domain = "a b"', "domain: hostname label 'a b' has ' ' in it"),
        ('domain = "\\u001b[2J"', "has '\\x1b' in it"),
        ("state = 3", "state: 3 is not a path: write it in quotes"),
        ('[names]\nreserved = ["www", "my_app"]', "names.reserved: name 'my_app' has '_' in it: use letters"),
        ('[names]\nreserved = ["www.example.com"]', "names.reserved: name 'www.example.com' has '.' in it"),
        ('[access]\nkeys = ["/k"]', "access.keys is set and access.mode is not: anybody could connect"),
        ('state = ""', "state: '' is not a path: write one, such as \"/var/lib/ferry\""),
        ('state = "a\\u0000b"', "a\\x00b' is not a path: write one"),
        ('[access]\nkeys = [""]', "access.keys.0: '' is not a path: write one"),
        ("[access]\nkeys = [3]", "access.keys.0: 3 is not a path: write it in quotes"),
        (
            '[http]\nhead_bytes = "16 kilobytes"',
            'http.head_bytes: \'16 kilobytes\' is not a size: write "16KiB" or "1MiB"',
        ),
        ("[[tcp.ranges]]\nfirst = 1\nlisten = 'public'", "tcp.ranges 1: last: is missing: write it"),
        ("[tcp]\nranges = [{first=9,last=5,listen='public'}]", "first port 9 is above its last 5: swap them"),
        ("[tcp]\nallocate_from = 2", "tcp.allocate_from = 2: 1 is the last of tcp.ranges, counted from 0: write that"),
        (
            "[tcp]\nallocate_from = 1\nranges = [{first=5,last=9,listen='public'}]",
            "tcp.allocate_from = 1: 0 is the last of tcp.ranges, counted from 0: write that",
        ),
        (
            '[access]\nrevoked_keys = ["/nope"]',
            'access.revoked_keys: a list stands where one path is meant: write "/nope"',
        ),
    ],
)
def test_a_mistake_in_the_file_is_named_with_its_fix(write: Write, text: str, says: str) -> None:
    path = write(text)
    with pytest.raises(InvalidInput) as caught:
        load(path, {}, {})
    assert says in str(caught.value)
    assert str(caught.value).startswith(str(path))


def test_every_mistake_is_told_at_once(write: Write) -> None:
    """Those that make the file no TOML too, and each with its line. It told one sort after the other."""
    text = """\
domain = gw.example.com
drain = "x"
drian = 3
[ssh]
auth_tries = 0
auth_tries = 3
[http]
head_fields = 0
listen = [
    "*:8443",  # listen = 3
]
[limits]
exempt = ["nowhere"]
[admin]
listen = "10.0.0.1:9"
[names]
reserved = ["my_app"]
"""
    with pytest.raises(InvalidInput) as caught:
        load(write(text), {"FERRY_SSH__LISTN": "x", "FERRY_SSH__HANDSHAKES": "many"}, {"ssh.listen": "22"})
    told = [line.removeprefix(f"{write(text)}, ").partition(": ")[0] for line in str(caught.value).splitlines()]
    lines = {f"line {number}" for number in (1, 2, 3, 5, 6, 8, 9, 13, 15, 17)}
    assert set(told) == lines | {"FERRY_SSH__LISTN", "FERRY_SSH__HANDSHAKES", "--ssh-listen"}
    assert len(told) == 13


def test_a_mistake_brings_no_complaint_about_what_follows_from_it(write: Write) -> None:
    text = '[ssh]\nlisten = "*:22"\n[access]\nmoed = "keys"\nkeys = ["/k"]\n'
    with pytest.raises(InvalidInput) as caught:
        load(write(text), {}, {})
    assert str(caught.value).splitlines() == [
        f"{write(text)}, line 4: unknown key access.moed: did you mean access.mode?"
    ]


def test_the_line_of_a_range_is_its_own(write: Write) -> None:
    ranges = "[[tcp.ranges]]\nfirst = 1\nlast = 2\nlisten = 'public'\n"
    with pytest.raises(InvalidInput, match=r", line 8: tcp\.ranges 2: listen: 'all' is not known here"):
        load(write(ranges + ranges.replace("public", "all").replace("1", "5").replace("2", "7")), {}, {})


def test_names_are_added_to_the_built_in_list(write: Write) -> None:
    config = load(write('[names]\nreserved_more = ["Shop", "blog"]'), {}, {})
    assert rules_of(config).reserved_names == {*Config().names.reserved, "shop", "blog"}
    assert surprises(config) == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            '[ssh]\nkeepalive_interval = "0"',
            "turns keepalives off: a client whose network breaks keeps its connection, ",
        ),
        ('[names]\nreserved = ["shop"]', "anybody may have admin, administrator, api-docs and 32 more. To add names"),
    ],
)
def test_a_setting_that_may_surprise_is_explained(write: Write, text: str, says: str) -> None:
    (remark,) = surprises(load(write(text), {}, {}))
    assert says in remark.text


def test_listening_beyond_loopback_needs_an_access_mode(write: Write) -> None:
    text = '[ssh]\nlisten = "*:2222"\n'
    with pytest.raises(
        InvalidInput, match=r'line 2: this gateway listens .*anybody could connect. Write mode = "keys"'
    ):
        load(write(text), {}, {})
    assert load(write(text + '[access]\nmode = "anyone"\n'), {}, {}).listens_beyond_loopback
    assert load(write(text), {"FERRY_ACCESS__MODE": "anyone"}, {}).listens_beyond_loopback


def test_a_configuration_for_anyone_may_name_keys(write: Write) -> None:
    config = load(write('[access]\nmode = "anyone"\nkeys = ["/k"]'), {}, {})
    assert (config.access.mode, config.access.keys) == ("anyone", [Path("/k")])
    assert config.access.paths == AccessPaths()  # nothing reads them


def test_a_ca_and_its_principals_take_the_place_of_keys(write: Write) -> None:
    text = '[access]\nmode = "keys"\ntrusted_ca_keys = ["/ca"]\nauthorized_principals = "/p/%u"\n'
    assert load(write(text), {}, {}).access.paths == AccessPaths((), (Path("/ca"),), Path("/p/%u"))


def test_an_empty_contact_is_none(write: Write) -> None:
    assert load(write('abuse_contact = ""'), {}, {}).abuse_contact is None


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ('a = "x\\"["\nb = 1', {"a": 1, "b": 2}),
        ("a = ['C:\\']\nb = 1", {"a": 1, "b": 2}),
        ("a = 1 # [\nb = 1", {"a": 1, "b": 2}),
        ('a = """\n[t]\nb = 1\n"""\nc = 1', {"a": 1, "c": 5}),
        ("a = '''\nb = 1'''\nc = 1", {"a": 1, "c": 3}),
        ("a = [\n  [1]\n]\nc = 1", {"a": 1, "c": 4}),
    ],
)
def test_what_stands_in_a_value_is_no_line_of_its_own(text: str, lines: dict[str, int]) -> None:
    assert lines_of(text) == lines


EVERY, V4, LOCAL, OTHER, SIX = (Endpoint(host, 80) for host in ("::", "0.0.0.0", "127.0.0.1", "127.0.0.2", "::1"))


@pytest.mark.parametrize(
    ("one", "other", "among_keys", "in_one_key"),
    [
        (LOCAL, Endpoint("127.0.0.1", 81), False, False),
        (Endpoint("127.0.0.1", 0), Endpoint("127.0.0.1", 0), False, False),
        (LOCAL, LOCAL, True, False),
        (LOCAL, OTHER, False, False),
        (V4, LOCAL, True, True),
        (V4, SIX, False, False),
        (EVERY, V4, True, False),
        (EVERY, LOCAL, True, True),
        (EVERY, SIX, True, True),
    ],
    ids=str,
)
def test_two_addresses_of_which_one_can_be_listened_on(
    one: Endpoint, other: Endpoint, *, among_keys: bool, in_one_key: bool
) -> None:
    for first, second in ((one, other), (other, one)):
        assert overlap(first, second) is among_keys
        assert overlap(first, second, one_key=True) is in_one_key


def test_a_reserved_name_is_reserved_however_it_is_written(write: Write) -> None:
    """Names are lower-case: `Admin` reserved a name that no client can request, and `admin` was free."""
    rules = rules_of(load(write('[names]\nreserved = ["Admin", "shop"]'), {}, {}))
    assert rules.reserved_names == frozenset({"admin", "shop"})


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("FERRY_DOMIAN", "did you mean FERRY_DOMAIN?"),
        ("FERRY_SSH_LISTEN", "did you mean FERRY_SSH__LISTEN?"),
        ("FERRY_SSH__LISTN", "did you mean FERRY_SSH__LISTEN?"),
        ("FERRY_SHH__LISTEN", "did you mean FERRY_SSH__LISTEN?"),
        ("FERRY_HTTP__BANNER", "did you mean FERRY_SSH__BANNER?"),
        ("FERRY_SSH", "ssh is a section: write its key too, as in FERRY_SSH__LISTEN"),
        ("FERRY_QQ__ZZ", "unknown setting: see `ferry docs configuration`"),
    ],
)
def test_a_mistake_in_a_variables_name_is_an_error(name: str, says: str) -> None:
    with pytest.raises(InvalidInput, match=r".") as caught:
        load(None, {name: "127.0.0.1:1"}, {})
    assert str(caught.value).startswith(name)
    assert says in str(caught.value)


def test_variables_that_are_not_ours_are_left_alone(tmp_path: Path) -> None:
    environ = {
        "FERRY_CLONE": "/srv/ferry",
        "FERRY_DEBUG": "1",
        "FERRY_PORT": "tcp://10.0.0.1:2222",  # Kubernetes sets these for a service called ferry
        "FERRY_PORT_2222_TCP_ADDR": "10.0.0.1",
        "FERRY_SERVICE_HOST": "10.0.0.1",
        "HOME": "/root",
        "DOMAIN": "other.example",
        "SSH__LISTEN": "127.0.0.1:1",
    }
    assert ConfigSource(None, environ, {}, cwd=tmp_path).load() == ConfigSource(None, {}, {}, cwd=tmp_path).load()


def test_a_wrong_value_names_its_variable_or_flag() -> None:
    with pytest.raises(InvalidInput, match=r"^FERRY_SSH__AUTH_TRIES: 'x' is not a whole number: write one, such as 5$"):
        load(None, {"FERRY_SSH__AUTH_TRIES": "x"}, {})
    with pytest.raises(InvalidInput, match=r"^--ssh-listen: '22' is not an address: write \"127"):
        load(None, {}, {"ssh.listen": "22"})
    with pytest.raises(InvalidInput, match=r"^--domain: hostname label '-a'"):
        load(None, {}, {"domain": "-a"})


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"none\.toml: cannot be read: No such file"):
        load(tmp_path / "none.toml", {}, {})
    with pytest.raises(InvalidInput, match=r"cannot be read: Is a directory"):
        load(tmp_path, {}, {})
    path = tmp_path / "latin1.toml"
    path.write_bytes(b"# caf\xe9\n")
    with pytest.raises(InvalidInput, match=r"not UTF-8 text \(byte 5\)"):
        load(path, {}, {})
    path.write_bytes(b'\xef\xbb\xbfdomain = "bom.example"\n')
    assert load(path, {}, {}).domain == "bom.example"


def complaint(environ: dict[str, str]) -> str:
    """What `load` has against these variables; empty where it takes them."""
    try:
        load(None, environ, {})
    except InvalidInput as error:
        return str(error)
    return ""


TAKES_ANY_TEXT = {
    "state",
    "https.certificates",
    "access.keys",
    "access.policy",
    "access.revoked_keys",
    "audit.file",
    "sshd.streamlocal_folder",
    "names.reserved",
}


@pytest.mark.parametrize("key", [key for key in FIELDS if key not in TAKES_ANY_TEXT])
def test_every_setting_can_be_given_in_the_environment(key: str) -> None:
    """A value that the field does not take: the complaint shows that the variable reached it."""
    name = env_name(key)
    assert complaint({name: "{"}).startswith((f"{name}: ", f"configuration: {key}"))


@given(st.dictionaries(st.sampled_from(list(FIELDS)), st.text(max_size=12), max_size=4))
def test_any_text_in_the_environment_is_a_value_or_a_mistake_that_is_named(values: dict[str, str]) -> None:
    environ = {env_name(key): text for key, text in values.items()}
    for line in complaint(environ).splitlines():
        assert line.startswith(("FERRY_", "configuration: ", "  ", "or, if everybody"))
