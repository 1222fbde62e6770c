"""What people type: forward requests, words, first bytes, key files. Understood, or refused in one line that is safe to show."""

from __future__ import annotations

import base64
import calendar
import contextlib
from dataclasses import replace

from hypothesis import strategies as st

from ferry import limits
from ferry.errors import InvalidInput
from ferry.hostnames import Domain
from ferry.kinds import parse_forward
from ferry.kinds.base import ForwardRequest
from ferry.kinds.rules import ForwardRules, Web
from ferry.names import Kind, parse_label
from ferry.protocol import authorized_keys, key_options, words
from ferry.protocol.first_bytes import LOOK_BYTES, FirstBytes, classify

from .target import Target, Value, grown

WEB = Web(Domain("gw.example.com"), frozenset({80, 8080}), frozenset({443, 8443}))
RULES = ForwardRules(
    domain=WEB.domain, reserved_names=frozenset(), ranges=(), allocate_from=None, serves_web=True, keep=1.0, rest=1.0,
    reserve_after=0.0, reservations_per_identity=1, reservations_per_network=None, forwards_per_connection=1,
    forwards_per_identity=1,
)  # fmt: skip


class _System:
    """A host whose services and time zone are known."""

    def port_of(self, service: str) -> int | None:
        return {"ssh": 22, "http": 80}.get(service)

    def local_time(self, *parts: int) -> float:
        return float(calendar.timegm(parts))


SYSTEM = _System()
SECRET = "Sesame17"  # typed by mistake, in many places
LINE_CHARS = 1000  # of what is said of one mistake


def one_line(error: InvalidInput) -> None:
    """What is said and what is logged can be shown on a terminal; the log has nothing that may be secret."""
    for text in (str(error), error.detail):
        assert text
        assert text.isprintable()
        assert text.replace("…", "").isascii()
        assert len(text) < LINE_CHARS


def check_forward(value: Value) -> None:
    host, port = value
    try:
        wanted = parse_forward(host, port, WEB, RULES)
    except InvalidInput as error:
        one_line(error)
        return
    web = port in WEB.http_ports | WEB.https_ports
    assert wanted.tls_upstream == (web and port in WEB.https_ports)
    assert wanted.kind is (Kind.HTTP if web else Kind.TCP if wanted.name is None else Kind.ALIAS)
    assert wanted.port == (0 if web else port)
    assert parse_forward(host.upper(), port, WEB, RULES) == wanted, "capitals make a difference"
    if wanted.name is None:
        return
    assert not wanted.host
    assert parse_label(wanted.name) == wanted.name
    for same in (wanted.name, f"{wanted.name}.", f"{wanted.name}.{WEB.domain}", f"{wanted.name}.{WEB.domain}."):
        assert parse_forward(same.encode(), port, WEB, RULES) == wanted
    assert parse_forward(wanted.name.encode(), 80, WEB, RULES) == ForwardRequest(Kind.HTTP, wanted.name, 0)


_CHOICES = {"output": ("json", "text"), "query": ("full", "names"), "color": ("never", "auto")}
"""Options of the words, with their values."""


def check_words(text: str) -> None:
    try:
        understood = words.parse_words(text, "gw", "gw")
    except InvalidInput as error:
        one_line(error)
        assert SECRET not in error.detail, "a secret would be logged"
        return
    assert len(text) <= limits.WORDS_CHARS
    known = {*words.COMMANDS, "--", "--json", "--unused", *understood.arguments}
    for name, values in _CHOICES.items():
        known |= {f"--{name}", *values, *(f"{dashes}{name}={value}" for dashes in ("", "--") for value in values)}
    assert set(text.split()) <= known, "a word that nobody knows opened something"
    assert bool(understood.arguments or understood.unused) == (understood.command == "release")
    typed = [understood.command, *understood.arguments, "--unused" if understood.unused else None]
    typed.append(f"output={'json' if understood.json else 'text'}")
    typed += [
        word for word, said in (("query=full", understood.whole_query), ("color=never", understood.no_color)) if said
    ]
    assert words.parse_words(" ".join(word for word in typed if word), "gw", "gw") == understood


def check_first_bytes(data: bytes) -> None:
    verdict = FirstBytes.MORE
    for cut in range(len(data) + 1):
        now = classify(data[:cut])
        assert verdict in (FirstBytes.MORE, now), "a verdict changed"
        assert now is not FirstBytes.MORE or cut < LOOK_BYTES
        verdict = now
    if data.startswith(b"SSH-"):
        assert verdict is FirstBytes.SSH
    elif len(data) > 1 and data[0] == 0x16:
        assert (verdict is FirstBytes.TLS) == (data[1] == 3)
    elif verdict is FirstBytes.HTTP:
        method, space, _ = data.partition(b" ")
        assert space
        assert method.replace(b"-", b"").isupper()
    elif verdict is FirstBytes.MORE:
        assert all(chr(byte).isupper() or byte in b"-\x16" for byte in data)


def check_key_file(text: str) -> None:
    keys, bad = authorized_keys.parse_file(text, SYSTEM)
    lines = [line.strip() for line in text.split("\n")]
    meant = [number for number, line in enumerate(lines, 1) if line and not line.startswith("#")]
    assert len(keys) + len(bad) == len(meant), "a line is neither a key nor a mistake"
    assert {line.number for line in bad} <= set(meant)
    for mistake in bad:
        for said in (mistake.why, mistake.detail):
            assert said.isprintable()
            assert len(said) < LINE_CHARS
        assert SECRET not in mistake.detail, "a secret would be logged"
    good = [lines[number - 1] for number in meant if number not in {line.number for line in bad}]
    for (number, key), line in zip(keys, good, strict=True):
        assert lines[number - 1] == line
        plain = line
        if line.split(" ")[0].split("\t")[0] not in authorized_keys.ALGORITHMS:
            end = key_options.options_end(line)
            assert key_options.parse_options(line[:end], SYSTEM) == key.options
            plain = line[end:].strip(" \t")
        algorithm, encoded = [word for word in plain.replace("\t", " ").split(" ") if word][:2]
        blob = base64.b64decode(encoded)
        assert key.algorithm == algorithm
        assert blob[4:].startswith(algorithm.encode())
        assert key.fingerprint == authorized_keys.fingerprint_of(blob)
        assert key.name is None or parse_label(key.name) == key.name
        named = f"name={key.name}" if key.name else ""
        bare = authorized_keys.parse_line(f"{algorithm} {encoded} {named}", SYSTEM)
        assert replace(bare, options=key.options) == key
        with contextlib.suppress(InvalidInput):  # an option, even one that looks like nothing, is never passed over
            option = authorized_keys.parse_line(f"x {line}", SYSTEM)
            raise AssertionError(f"options are passed over: {option}")
        closed = authorized_keys.parse_line(f"restrict{' ' if plain == line else ','}{line}", SYSTEM)
        assert closed.options.forwards_off or "port-forwarding" in line.lower(), "restrict means nothing"


_LABELS = st.sampled_from(
    ["", "blog", "gw.example.com", "localhost", "*", "*.", "0.0.0.0", "::", "[::1]", "127.0.0.1", ".", "xn--a", "me:pw@", "@",
     "/", "bücher", "\x1b[2J", "%eth0", "fe80::1", "_", "-", "a" * 63, "a" * 64, "K", "::ffff:127.0.0.1", "[", "0x7f.1"]
)  # fmt: skip
_HOSTS = st.lists(_LABELS | st.text(max_size=3), max_size=4).map(lambda parts: "".join(parts).encode()) | st.binary(
    max_size=600
)
_PORTS = st.sampled_from([0, 1, 22, 80, 443, 8080, 8443, 65_535, 65_536, 0xFFFFFFFF]) | st.integers(0, 70_000)
FORWARDS = Target(
    "forwards",
    st.tuples(_HOSTS, _PORTS),
    check_forward,
    (
        "ferry.protocol.forward_spec",
        "ferry.kinds",
        "ferry.kinds.web",
        "ferry.kinds.port",
        "ferry.kinds.alias",
        "ferry.names",
    ),
    in_tests=250,
)

_TYPED = st.sampled_from(
    [*words.COMMANDS, "--", "--output", "--output=", "output=json", "json", "text", "--output=text", "blog", f"auth=ann:{SECRET}",
     f"{SECRET}", f"--output={SECRET}", f"token {SECRET}", "\x1b[2J", "ü", "=", "", "\u2028", "LS", "lss", "--json", "query=full", "--query", "full", "color=never", "--color=auto", "names"]
)  # fmt: skip
_WORDS = st.lists(_TYPED | st.text(max_size=4), max_size=5).flatmap(
    lambda found: st.sampled_from([" ", "  ", "\t", "\n", "\xa0"]).map(lambda space: space.join(found))
)
WORDS = Target(
    "words",
    grown("words", _WORDS, _TYPED.map(lambda word: f" {word} ") | st.text(max_size=2)),
    check_words,
    ("ferry.protocol.words", "ferry.names"),
    in_tests=200,
)

_BEGINNINGS = st.sampled_from(
    [b"SSH-2.0-x\r\n", b"\x16\x03\x01", b"\x16", b"GET / HTTP/1.1\r\n", b"M-SEARCH *", b"S", b"SS", b"SSH", b"-", b"G ", b"PRI * HTTP/2.0",
     b"UPDATEREDIRECTREF /", b"A" * 20, b"A" * 32, b" ", b"\0", b"get /"]
)  # fmt: skip
_FIRST = st.lists(_BEGINNINGS | st.binary(max_size=3), max_size=4).map(b"".join)
FIRST_BYTES = Target(
    "first-bytes",
    grown("first-bytes", _FIRST, _BEGINNINGS | st.binary(max_size=2)),
    check_first_bytes,
    ("ferry.protocol.first_bytes",),
    in_tests=200,
)


def _line(algorithm: str, named: str, rest: bytes) -> str:
    name = named.encode()
    return f"{algorithm} {base64.b64encode(len(name).to_bytes(4, 'big') + name + rest).decode()}"


_ALGORITHMS = st.sampled_from([*sorted(authorized_keys.ALGORITHMS), "ssh-dss"])
_KEYS = _ALGORITHMS.flatmap(lambda name: st.binary(max_size=40).map(lambda rest: _line(name, name, rest)))
_OPTIONS = st.sampled_from(
    ["restrict", "port-forwarding", "no-port-forwarding", "NO-PTY", "pty", "no-X11-forwarding", "agent-forwarding",
     "cert-authority", "no-touch-required", "verify-required", "no-user-rc", ",", "", 'from="10.0.0.0/8,!10.9.0.0/16"',
     'from="*.example.com"', 'from=""', 'from="10.0.0.1/8"', 'expiry-time="20301231Z"', 'expiry-time="203012312359"',
     'expiry-time="20301301"', 'permitlisten="8080"', 'permitlisten="localhost:*"', 'permitlisten="[::1]:22"',
     'permitlisten="blog:80"', 'permitopen="any:any"', 'permitopen="*:*"', 'permitopen="db:ssh"', 'permitopen="[::1]:x"',
     'environment="A=b"', 'environment="=b"', 'principals="a,b"', f'command="{SECRET} \\" x"', 'tunnel="0"',
     f'{SECRET}="x"', f'from="{SECRET}/99"', f'permitopen="{SECRET}"', 'command=x', "permit-listen"]
)  # fmt: skip
_PARTS = st.one_of(
    _KEYS,
    st.lists(_OPTIONS, max_size=4).map(",".join),
    st.builds("{} {}".format, st.lists(_OPTIONS, min_size=1, max_size=3).map(",".join), _KEYS),
    st.builds(_line, _ALGORITHMS, _ALGORITHMS, st.binary(max_size=8)),
    st.sampled_from(
        [" ", "\n", "\t", "\r", "#", " name=ann", " name=", " name=ann name=bob", " name=A-1", "command=\"x y\" ", "ssh-rsa ", "AAAA", "=",
         f"-----BEGIN {SECRET}-----", SECRET, "\x0c", "\u2028", "\u3000", "\0", " comment", "ssh-ed25519"]
    ),
    st.text(max_size=3),
)  # fmt: skip
KEY_FILES = Target(
    "key-files",
    grown("key-files", st.lists(_PARTS, max_size=8).map("".join), _PARTS),
    check_key_file,
    (
        "ferry.protocol.authorized_keys",
        "ferry.protocol.key_options",
        "ferry.protocol.permits",
        "ferry.protocol.host_patterns",
        "ferry.names",
    ),
    in_tests=200,
)
