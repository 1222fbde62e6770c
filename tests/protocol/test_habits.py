"""What people type who come from a shell or another service, and the answer that names what to write here."""

from __future__ import annotations

import pytest

from ferry.errors import InvalidInput
from ferry.protocol.habits import login_hint
from ferry.protocol.words import parse_words

GATEWAY, JUMP = "-p 2222 localhost", "localhost:2222"
LISTS = "`ssh -p 2222 localhost help` lists what is known"
NO_FILES = (
    "this gateway has no files. To a machine of yours behind an alias: `sftp -J localhost:2222 you@ALIAS`, or scp"
)
NO_PASSWORD = "this gateway asks visitors for no password, so nothing is published"
NO_ADDRESSES = "this gateway keeps no visitors out by address, so nothing is published"


@pytest.mark.parametrize(
    ("typed", "answer"),
    [
        ("uname -a", f"{LISTS}; there is no shell here"),
        ("uname", f"{LISTS}; there is no shell here"),
        ("/bin/bash -l", f"{LISTS}; there is no shell here"),
        ("nmaes -x", f"{LISTS}; there is no shell here"),
        ("nmaes", "did you mean names?"),
        ("LS", "did you mean ls?"),
        ("list", "did you mean ls?"),
        ("-h", "did you mean help?"),
        ("list -l", f"{LISTS}; there is no shell here"),
        ("qr", "press r in the session, in a terminal"),
        ("sleep 3600", "leave it out: a forward stays up as long as ssh runs; there is no shell here"),
        ("tail -f /dev/null", "leave it out: a forward stays up as long as ssh runs; there is no shell here"),
        ("tail -f /var/log/syslog", f"{LISTS}; there is no shell here"),
        ("relase --unused", "did you mean release?"),
        ("exit", "there is no shell here to leave: Ctrl-C ends a session and its forwards"),
        ("quit", "there is no shell here to leave: Ctrl-C ends a session and its forwards"),
        (
            "status",
            "`ssh -p 2222 localhost ls` lists your tunnels, and `ssh -p 2222 localhost` shows all that is yours",
        ),
        ("http 3000", "-R says it all: write `ssh -R 80:localhost:3000 -p 2222 localhost`"),
        ("http -v", "-R says it all: write `ssh -R 80:localhost:PORT -p 2222 localhost`"),
        ("http", "-R says it all: write `ssh -R 80:localhost:PORT -p 2222 localhost`"),
        ("port 3000", "-R says it all: write `ssh -R 80:localhost:3000 -p 2222 localhost`"),
        ("--port 3000", "-R says it all: write `ssh -R 80:localhost:3000 -p 2222 localhost`"),
        ("3000", "-R says it all: write `ssh -R 80:localhost:3000 -p 2222 localhost`"),
        ("--subdomain blog", "the name stands before the port: -R NAME:80:localhost:PORT"),
        ("subdomain=blog", "the name stands before the port: -R NAME:80:localhost:PORT"),
        ("--help", "did you mean help?"),
        ("http box.lan:8080", "-R says it all: write `ssh -R 80:box.lan:8080 -p 2222 localhost`"),
        ("tcp 22", "-R says it all: write `ssh -R 0:localhost:22 -p 2222 localhost`"),
        ("tls 8443", "-R says it all: write `ssh -R 443:localhost:8443 -p 2222 localhost`"),
        ("scp -t .", NO_FILES),
        ("/usr/lib/openssh/sftp-server", NO_FILES),
        ("rsync --server -e.LsfxC . .", NO_FILES),
        ("git-upload-pack 'x.git'", f"{LISTS}; there are no repositories here"),
        ("b:user:pass", NO_PASSWORD),
        ("--basic-auth=u:p", NO_PASSWORD),
        ("auth=me:secret", NO_PASSWORD),
        ("k:token", NO_PASSWORD),
        ("w:192.0.2.0/24", NO_ADDRESSES),
        ("ip-allowlist=10.0.0.0/8", NO_ADDRESSES),
        ("tcp-aliases-allowed-users=SHA256:x", "only your own keys reach a private alias: -R NAME:PORT:..."),
        ("tcp-alias=true", "leave it out: -R NAME:PORT:... is a private alias"),
        ("x:https", "leave it out: share the https:// address; this gateway does not redirect"),
        ("deadline=15m", "it is another service's option: `ssh -p 2222 localhost help` lists what is known here"),
        ("strip-path=true", "it is another service's option: `ssh -p 2222 localhost help` lists what is known here"),
        ("no-such-word", f"{LISTS}; there is no shell here"),
        ("--no-such-option", LISTS),
    ],
)
def test_the_answer_to_a_habit_says_what_to_write(typed: str, answer: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_words(typed, GATEWAY, JUMP)
    assert str(caught.value).startswith(f"unknown word '{typed.split(maxsplit=1)[0]}': {answer}")


@pytest.mark.parametrize(
    ("typed", "word", "answer"),
    [
        ("http --basic-auth u:p", "--basic-auth", NO_PASSWORD),
        ("http 3000 --ip-allowlist 10.0.0.0/8", "--ip-allowlist", NO_ADDRESSES),
        ("subdomain=blog auth=u:p", "auth=u:p", NO_PASSWORD),
        ('"w:192.0.2.0/24"', "w:192.0.2.0/24", NO_ADDRESSES),
    ],
)
def test_a_word_that_would_protect_is_answered_before_others(typed: str, word: str, answer: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_words(typed, GATEWAY, JUMP)
    assert str(caught.value).startswith(f"unknown word '{word}': {answer}")


@pytest.mark.parametrize(
    "typed", ["auth Sesame17", "http Sesame17", "http Sesame17:80x", "uname Sesame17", "scp Sesame17"]
)
def test_an_answer_repeats_the_first_word_only_or_a_target(typed: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_words(typed, GATEWAY, JUMP)
    assert "Sesame17" not in str(caught.value)


@pytest.mark.parametrize(
    ("user", "answer"),
    [
        ("qr", "the login name 'qr' asks for nothing here: press r in the session, in a terminal"),
        ("tcp", "the login name 'tcp' asks for nothing here: -R 0:localhost:PORT is a TCP port"),
        ("Sesame17+tcp", "the login name 'tcp' asks for nothing here: -R 0:localhost:PORT is a TCP port"),
        ("nokey", "the login name 'nokey' asks for nothing here: your key is used; without one, come with "
                  "-o PubkeyAuthentication=no"),
        ("dev", None), ("", None), ("tcpx", None),
    ],
)  # fmt: skip
def test_a_login_name_that_is_a_keyword_elsewhere_is_answered(user: str, answer: str | None) -> None:
    assert login_hint(user, anonymous=False) == answer


def test_a_client_that_has_come_without_a_key_needs_no_answer_to_nokey() -> None:
    assert login_hint("nokey", anonymous=True) is None
    assert login_hint("qr", anonymous=True) == login_hint("qr", anonymous=False)
