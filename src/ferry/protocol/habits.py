"""Words that people bring from other services and from shells, and what to write here instead.

Each is an unknown word, and refuses everything as such (`words.parse_words`). So a word that would protect a forward
elsewhere, and cannot here, publishes nothing. The texts go behind `unknown word '…': `.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

NO_SHELL: Final = "there is no shell here"
_LEAVING: Final = frozenset({"exit", "quit", "logout", "bye"})
_COPYING: Final = frozenset({"scp", "sftp", "rsync", "sftp-server", "internal-sftp"})
_GIT: Final = frozenset({"git", "git-upload-pack", "git-receive-pack", "git-upload-archive"})
_SHELL: Final = frozenset(
    {
        "apt", "awk", "bash", "cat", "cd", "chmod", "cmd", "cp", "curl", "date", "dd", "df", "dig", "docker", "du",
        "echo", "env", "false", "fish", "free", "grep", "hostname", "htop", "id", "kill", "last", "ll", "mkdir",
        "mosh-server", "mv", "nano", "nc", "netstat", "ping", "ps", "pwd", "python", "python3", "rm", "sed", "sh",
        "sleep", "ss", "su", "sudo", "systemctl", "tail", "tar", "test", "tmux", "top", "touch", "true", "uname",
        "uptime", "vi", "vim", "w", "wget", "who", "zsh",
    }
)  # fmt: skip
_SERVED: Final[Mapping[str, str]] = MappingProxyType(
    {"http": "80", "https": "443", "tls": "443", "tcp": "0", "port": "80", "--port": "80"}
)
"""The first words of ngrok's, localtunnel's and others' commands, and the port in `-R` that means the same."""
_OTHER_NAMES: Final[Mapping[str, str]] = MappingProxyType(
    {"list": "ls", "tunnels": "ls", "me": "whoami", "man": "help", "-h": "help", "-?": "help", "?": "help"}
)
"""Words for what has another name here."""
_TARGET: Final = re.compile(r"(?:([a-zA-Z0-9.-]{1,253}):)?([0-9]{1,5})", re.ASCII)
_PASSWORD: Final = re.compile(r"(?:b|k):.|(?:--)?(?:auth|basic-?auth|basic_auth|password|pass|bearer)(?:[=:]|$)")
_ADDRESSES: Final = re.compile(r"w:.|(?:--)?ip-?(?:allow|block|white|black)-?list(?:[=:]|$)")
_PEOPLE: Final = re.compile(r"(?:allowed-fingerprints|tcp-aliases-allowed-users)(?:[=:]|$)")
_NAME: Final = re.compile(
    r"-{0,2}(?:sub-?domain|custom_domain|proxy_name)(?:[=:]|$)|-{1,2}(?:name|hostname|url)(?:[=:]|$)|(?:name|url)[=:]"
)
_ALIAS: Final = re.compile(r"tcp-alias(?:=|$)")
_TO_HTTPS: Final = re.compile(r"x:https$|force-https(?:=|$)")
_OPTION: Final = re.compile(
    r"[abkruwx]:.|(?:no-tls|sni-proxy|deadline|pool|http2|host|proxy-protocol|proxyproto|strip-path|auto-close"
    r"|local-forward|tcp-address)(?:=|$)"
)
_NOKEY: Final = "nokey"
_CODE: Final = "press r in the session, in a terminal"
_WITH_TLS: Final = "-R 443:localhost:PORT is for a local service with TLS"
_ASKED_BY_LOGIN: Final[Mapping[str, str]] = MappingProxyType(
    {
        "qr": _CODE,
        "aqr": _CODE,
        "tcp": "-R 0:localhost:PORT is a TCP port",
        "tls": _WITH_TLS,
        "tlstcp": _WITH_TLS,
        "udp": "this gateway forwards TCP only",
        "force": "your newest connection takes over by itself",
        _NOKEY: "your key is used; without one, come with -o PubkeyAuthentication=no",
    }
)


def no_files(jump: str) -> str:
    """The answer to `sftp`, `scp` and `rsync`. `jump` is the gateway's argument for `ssh -J`."""
    return f"this gateway has no files. To a machine of yours behind an alias: `sftp -J {jump} you@ALIAS`, or scp"


def hint(typed: Sequence[str], gateway: str, jump: str) -> str | None:
    """What to write instead of the unknown word `typed[0]`, which the other words follow; None if it is no known habit.

    `gateway` is the text that people type after `ssh`, `jump` after `ssh -J`. No hint repeats a secret.
    """
    word, *more = typed
    program = word.rpartition("/")[2]
    lists = f"`ssh {gateway} help` lists what is known"
    if program in _COPYING:
        return no_files(jump)
    if program in _GIT:
        return f"{lists}; there are no repositories here"
    if word == "sleep" or "/dev/null" in more:  # elsewhere a command must keep the connection open
        return f"leave it out: a forward stays up as long as ssh runs; {NO_SHELL}"
    if program in _SHELL or (word not in _SERVED and more and more[0].startswith("-") and more[0] != "--unused"):
        return f"{lists}; {NO_SHELL}"
    if word in _LEAVING:
        return f"{NO_SHELL} to leave: Ctrl-C ends a session and its forwards"
    if word == "status":
        return f"`ssh {gateway} ls` lists your tunnels, and `ssh {gateway}` shows all that is yours"
    if word in _OTHER_NAMES:
        return f"did you mean {_OTHER_NAMES[word]}?"
    if word == "qr":
        return _CODE
    if word in _SERVED:
        return _served(word, more, gateway)
    if word.isdigit():
        return _served("port", typed, gateway)
    return _option(word, gateway)


def telling(typed: Sequence[str]) -> Sequence[str]:
    """`typed` from the first word on that would protect the forward, which is the one to answer; all of it if there is
    none."""
    protects = (_PASSWORD, _ADDRESSES, _PEOPLE)
    at = next((at for at, word in enumerate(typed) if any(pattern.match(word) for pattern in protects)), 0)
    return typed[at:]


def _served(word: str, more: Sequence[str], gateway: str) -> str:
    target = _TARGET.fullmatch(more[0]) if more else None
    host, port = (target[1] or "localhost", target[2]) if target else ("localhost", "PORT")
    return f"-R says it all: write `ssh -R {_SERVED[word]}:{host}:{port} {gateway}`"


def _option(word: str, gateway: str) -> str | None:
    for pattern, why in (
        (
            _PASSWORD,
            "this gateway asks visitors for no password, so nothing is published. For yourself only: a private alias",
        ),
        (
            _ADDRESSES,
            "this gateway keeps no visitors out by address, so nothing is published. For yourself only: a private alias",
        ),
        (_PEOPLE, "only your own keys reach a private alias: -R NAME:PORT:..., with a port that is not 80 or 443"),
        (_NAME, "the name stands before the port: -R NAME:80:localhost:PORT"),
        (_ALIAS, "leave it out: -R NAME:PORT:... is a private alias, with a port that is not 80 or 443"),
        (_TO_HTTPS, "leave it out: share the https:// address; this gateway does not redirect"),
        (_OPTION, f"it is another service's option: `ssh {gateway} help` lists what is known here"),
    ):
        if pattern.match(word):
            return why
    return None


def login_hint(user: str, *, anonymous: bool) -> str | None:
    """The answer to a login name that is a keyword of another service (`qr@gw`, `token+tcp@gw`); None to any other.
    `anonymous`: the client has come without a key, as `nokey` asks."""
    for part in user.split("+"):
        if part in _ASKED_BY_LOGIN and not (anonymous and part == _NOKEY):
            return f"the login name '{part}' asks for nothing here: {_ASKED_BY_LOGIN[part]}"
    return None
