"""The words after the host."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferry.errors import InvalidInput
from ferry.protocol.words import COMMANDS, Words, parse_words, wants_json

WORDS_CHARS = 4096
GATEWAY, JUMP = "-p 2222 localhost", "localhost:2222"
OUTPUT = [
    "",
    "--output json",
    "--output=json",
    "-- --output json",
    "--output text --output json",
    "--json",
    "-- --json",
]


@pytest.mark.parametrize("output", OUTPUT)
@pytest.mark.parametrize("command", [None, *(c for c in COMMANDS if c not in ("explain", "release"))])
def test_each_command_with_output_before_and_after(command: str | None, output: str) -> None:
    for text in (f"{command or ''} {output}", f"{output} {command or ''}"):
        assert parse_words(text, GATEWAY, JUMP) == Words(command, json=bool(output))


def check_refused(text: str, says: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_words(text, GATEWAY, JUMP)
    assert says in str(caught.value)


def test_explain_takes_a_forward() -> None:
    words = parse_words("explain -R blog:80:localhost:3000 output=json", GATEWAY, JUMP)
    assert (words.command, words.forward and words.forward[:3], words.json) == ("explain", (True, b"blog", 80), True)
    for text in ("explain", "explain blog", "explain -R x"):
        check_refused(text, "explain -R 22080:localhost:3000")


@pytest.mark.parametrize(
    ("text", "names", "unused"),
    [("blog", ("blog",), False), ("a b c", ("a", "b", "c"), False), ("--unused", (), True)],
)
def test_release_takes_names_or_all_that_are_unused(text: str, names: tuple[str, ...], *, unused: bool) -> None:
    assert parse_words(f"release {text}", GATEWAY, JUMP) == Words("release", names, unused=unused)
    json = parse_words(f"release {text} --output json", GATEWAY, JUMP)
    assert json == Words("release", names, unused=unused, json=True)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("release", "release takes a name: write release NAME (`names` lists yours), or release --unused"),
        ("release --unused blog", "release takes names or --unused, and not both"),
        ("release --all", "release has no option '--all'"),
    ],
)
def test_release_without_a_name_or_with_an_unknown_option_is_refused(text: str, says: str) -> None:
    check_refused(text, says)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("auth=me:secret", "unknown word 'auth=me:secret'"),
        ("whoam", "did you mean whoami?"),
        ("json", "did you mean output=json?"),  # what dbclient leaves of `--output json`
        ("sh -c id", "`ssh -p 2222 localhost help` lists what is known; there is no shell here"),
        ("--output yaml", "write output=json or output=text"),
        ("--output", "write output=json or output=text"),
        ("output json", "unknown word 'output'"),
        ("ls -la", "ls takes no argument, but '-la' follows it"),
        ("LS", "unknown word 'LS'"),
        ("host-header=", "write host-header=localhost"),
        ("query=all", "query 'all' is unknown: write query=full or query=names"),
        ("--color", "color '' is unknown: write color=never or color=auto"),
        ("ls query=full", "query= is for a forward, and ls is a command"),
        ("color=\x1b[2J", "color '\\x1b[2J' is unknown"),
        ("host-header=a/b", "host-header 'a/b' is not a host with an optional port: write host-header=localhost"),
        ("host-header=ü", "write host-header=localhost"),
        ("host-header=\x1b[2J", "host-header '\\x1b[2J' is not a host"),
        ("host-header=a:99999", "write host-header=localhost"),
        ("--host-header=rewrite", "the gateway does not know your target's name: write host-header=localhost"),
        ("ls host-header=a", "host-header= is for a forward, and ls is a command"),
        ("host-heade=a", "did you mean host-header=?"),
        ("\x1b[2J", "unknown word '\\x1b[2J'"),
    ],
)
def test_an_unknown_word_refuses_everything(text: str, says: str) -> None:
    check_refused(text, says)


@pytest.mark.parametrize("output", OUTPUT)
def test_a_line_that_is_refused_wants_json_as_one_that_is_understood(output: str) -> None:
    for text in (f"no-such-word {output}", f"{output} auth=x", f"ls {output} -la"):
        with pytest.raises(InvalidInput):
            parse_words(text, GATEWAY, JUMP)
        assert wants_json(text) is bool(output)
    for text in (f"{output} --output text", f"x{output or '--output=json'}x"):
        assert not wants_json(text)


def understood(text: str) -> Words | str:
    try:
        return parse_words(text, GATEWAY, JUMP)
    except InvalidInput as error:
        return str(error)


@given(
    st.text(max_size=200)
    | st.lists(st.sampled_from([*COMMANDS, "--", "--json", "--output", "json", "x=y"])).map(shlex.join)
)
def test_any_line_is_understood_whole_or_refused(text: str) -> None:
    words = understood(text)
    if isinstance(words, str):
        assert words.replace("…", "").isascii()
        assert words.isprintable()
        return
    known = {
        *COMMANDS,
        "--",
        "--json",
        "--output",
        "--output=json",
        "--output=text",
        "json",
        "text",
        "--unused",
        *words.arguments,
    }
    assert set(text.split()) <= known
    assert words.command is None or words.command in COMMANDS


def test_more_than_is_read_is_refused_even_if_it_is_space() -> None:
    assert parse_words("ls".ljust(WORDS_CHARS), "gw", "gw").command == "ls"
    with pytest.raises(InvalidInput, match="write fewer words"):
        parse_words("ls".ljust(WORDS_CHARS + 1), "gw", "gw")


def test_words_are_counted() -> None:
    """Each unknown one takes 3 µs, and 2,000 have room in WORDS_CHARS."""
    assert len(parse_words("release" + " n" * 255, "gw", "gw").arguments) == 255
    with pytest.raises(InvalidInput, match="257 words follow the host, and 256 are read: write fewer words"):
        parse_words("x " * 257, "gw", "gw")


@pytest.mark.parametrize("words", ["output=json", "-- output=json", "ls output=json", "ls --output=json"])
def test_output_is_understood_with_and_without_dashes(words: str) -> None:
    assert parse_words(words, "gw", "gw").json


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("query=full", Words(whole_query=True)),
        ("--query full color=never", Words(whole_query=True, no_color=True)),
        ("query=full --query=names", Words()),
        ("--color never --color auto", Words()),
        ("ls color=never", Words("ls", no_color=True)),
        ("query=full host-header=a --output json", Words(whole_query=True, host_header="a", json=True)),
    ],
)
def test_the_last_value_of_an_option_counts(text: str, words: Words) -> None:
    assert parse_words(text, GATEWAY, JUMP) == words


@pytest.mark.parametrize("words", ["host-header=App:3000", "--host-header=app:3000", "-- --host-header app:3000"])
@pytest.mark.parametrize("output", ["", "--output json"])
def test_a_host_for_the_service_is_understood(words: str, output: str) -> None:
    for text in (f"{words} {output}", f"{output} {words}"):
        assert parse_words(text, GATEWAY, JUMP) == Words(json=bool(output), host_header="app:3000")


@given(st.text(min_size=1, max_size=50))
def test_a_host_for_the_service_is_one_header_value_or_refused(value: str) -> None:
    words = understood(f"host-header={value}")
    if isinstance(words, Words):
        assert words.host_header.isascii()
        assert not set(words.host_header) & set("\r\n \t/@,")
