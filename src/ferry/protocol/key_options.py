"""The options before a key in an `authorized_keys` line (sshd(8), AUTHORIZED_KEYS FILE FORMAT).

    restrict,port-forwarding,permitlisten="localhost:21022",from="192.0.2.0/24" ssh-ed25519 AAAA... web-1

They are read as sshd reads them (auth-options.c, misc.c): names in any case; a value in double quotes, in which only `\\"`
means something else; of opposite flags the last one counts, of `environment=` with the same name the first, of
`expiry-time=` the earliest. `permitlisten=` and `permitopen=` add up. A second `command=`, `from=` or `principals=` is an
error. An option that sshd does not know, or whose value it refuses, is an error here too: nothing is passed over.

Options that only concern a shell (`pty`, `X11-forwarding`, …) are read, and mean nothing here: there is no shell.
"""

from __future__ import annotations

import calendar
import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Final, Protocol

from ferry import limits
from ferry.errors import InvalidInput
from ferry.names import printable, typed_name

from .host_patterns import HostList, parse_host_list
from .permits import Permit, parse_permit_listen, parse_permit_open

_NAME: Final = re.compile(r'[^,="\s]*')
_OPTIONS: Final = re.compile(r'(?:\\"|"(?:\\"|[^"])*+"|[^" \t])*+')
"""Up to the first blank that is not quoted, or to a quote without an end."""
_VALUE: Final = re.compile(r'"((?:\\"|[^"])*+)"')
_EXPIRY: Final = re.compile(r"(\d{4})(\d{2})(\d{2})(?:(\d{2})(\d{2})(\d{2})?)?(Z|UTC)?", re.ASCII | re.IGNORECASE)
_ENVIRONMENT_NAME: Final = re.compile(r"[A-Za-z0-9_]+")
_TUNNELS: Final = range(0x7FFFFFFD + 1)  # numbers of tun devices, as sshd (SSH_TUNID_MAX)


class System(Protocol):
    """What options depend on beside their own text."""

    def port_of(self, service: str, /) -> int | None:
        """The TCP port of a service's name; None if there is no such service."""
        ...

    def local_time(self, year: int, month: int, day: int, hour: int, minute: int, second: int, /) -> float:
        """Seconds since the epoch at a standard time of the system's time zone. A day that a month does not have is one
        of the next month. Raises OverflowError."""
        ...


@dataclass(frozen=True, slots=True)
class KeyOptions:
    """The options of one line."""

    forwards_off: str = ""
    """The option that turns all forwards off: `restrict` or `no-port-forwarding`; empty if they are on."""
    permit_listen: tuple[Permit, ...] = ()
    """Where forwards may listen; everywhere if there is none."""
    permit_open: tuple[Permit, ...] = ()
    """Where `-L`, `-D`, `-J` and `-W` may lead; everywhere if there is none."""
    origins: HostList | None = None
    """From `from=`."""
    expires: float | None = None
    """Seconds since the epoch, the last at which the key may log in."""
    command: str | None = None
    """It is never run: its key runs no command of a session."""
    environment: tuple[str, ...] = ()
    """`NAME=value`, with no meaning here."""
    cert_authority: bool = False
    """The key is no user's: it signs certificates."""
    principals: tuple[str, ...] | None = None
    """With `cert_authority`: a certificate needs one of them. None: it needs the login name."""
    touch_required: bool = True
    """Of a security key: a person has to touch it for each signature."""
    verify_required: bool = False
    """Of a security key: it has to check a PIN or a fingerprint."""


NO_OPTIONS: Final = KeyOptions()


def options_end(line: str) -> int:
    """Where the options at the beginning of a line end: at the first blank that is not quoted. Raises InvalidInput."""
    found = _OPTIONS.match(line)
    assert found is not None  # it matches nothing too
    if line.startswith('"', found.end()):
        raise InvalidInput('a value has no end: write " behind it (and \\" for a quote inside it)', detail=_NO_END)
    return found.end()


def is_option(text: str) -> bool:
    """Whether a word begins with an option."""
    found = _NAME.match(text)
    assert found is not None  # it matches nothing too
    return found.group().lower() in _KNOWN


def parse_options(text: str, system: System, *, as_sshd: bool = False) -> KeyOptions:
    """The options of a line, without the key. Raises InvalidInput, which names the option and says what to write.

    `as_sshd`: without the bounds that a gateway has and sshd has not.
    """
    if "\0" in text:
        raise InvalidInput("a NUL byte stands in the options: remove it")
    read = _Reading(system, None if as_sshd else limits.KEY_FROM_ENTRIES)
    for name, value in split_options(text):
        _take(read, name, value)
    return read.made()


def parse_options_of_key(text: str, system: System, *, as_sshd: bool = False) -> KeyOptions:
    """The same of a line with a key. Raises InvalidInput too if they let nobody in together (auth-options.c)."""
    options = parse_options(text, system, as_sshd=as_sshd)
    if options.principals is not None and not options.cert_authority:
        raise InvalidInput(
            "principals= is for lines with cert-authority, so this key may not log in: add cert-authority, or remove it"
        )
    return options


# --- names and values

_NO_END: Final = "a value of an option has no end"


def split_options(text: str) -> Iterator[tuple[str, str | None]]:
    """Each option's name as it is written, and its value without quotes. Raises InvalidInput."""
    at = 0
    while at < len(text):
        found = _NAME.match(text, at)
        assert found is not None  # it matches nothing too
        name, value, at = found.group(), None, found.end()
        if text.startswith("=", at):
            value, at = _dequoted(text, at + 1, name)
        if at < len(text) and text[at] != ",":
            shown = printable(text[at:], 40)
            raise InvalidInput(
                f"{_shown(name)}: {shown!r} follows it: write a comma between options",
                detail=f"{_logged(name)}: no comma follows it",
            )
        at += 1
        if name or value is not None:  # sshd passes over an empty option
            yield name, value


def _dequoted(text: str, at: int, name: str) -> tuple[str, int]:
    """The quoted value that begins at `at`, and where it ends."""
    if not text.startswith('"', at):
        raise InvalidInput(
            f'{_shown(name)}: its value has no quotes: write {_shown(name)}="..."',
            detail=f"{_logged(name)}: its value has no quotes",
        )
    if (found := _VALUE.match(text, at)) is None:
        raise InvalidInput(f"{_shown(name)}: its value has no end: write a quote behind it", detail=_NO_END)
    return found.group(1).replace('\\"', '"'), found.end()


def _shown(name: str) -> str:
    """An option's name for people who may read the file."""
    return printable(name, 40) or "an option without a name"


def _logged(name: str) -> str:
    """An option's name for the log. The line may be a secret that somebody has pasted."""
    return name.lower() if name.lower() in _KNOWN else typed_name(name)


# --- their meaning


@dataclass(slots=True)
class _Reading:
    """The options so far."""

    system: System
    from_entries: int | None
    """How many `from=` may have."""
    forwards_off: str = ""
    permit_listen: list[Permit] = field(default_factory=list)
    permit_open: list[Permit] = field(default_factory=list)
    origins: HostList | None = None
    expires: float | None = None
    command: str | None = None
    environment: dict[str, str] = field(default_factory=dict)
    cert_authority: bool = False
    principals: tuple[str, ...] | None = None
    touch_required: bool = True
    verify_required: bool = False

    def made(self) -> KeyOptions:
        """The options of the whole line."""
        grown = {
            "permit_listen": tuple(self.permit_listen),
            "permit_open": tuple(self.permit_open),
            "environment": tuple(f"{name}={value}" for name, value in self.environment.items()),
        }
        return KeyOptions(**{name: getattr(self, name) for name in _FIELDS} | grown)


_FIELDS: Final = tuple(each.name for each in fields(KeyOptions))


def _take(read: _Reading, written: str, value: str | None) -> None:
    """Read the next option. Raises InvalidInput."""
    name = written.lower() if written.isascii() else written
    if name not in _KNOWN:
        raise _unknown(written)
    if value is None:
        _take_flag(read, name)
        return
    if (take_value := _VALUES.get(name)) is None:
        raise InvalidInput(f"{name}: it takes no value: write {name} alone", detail=f"{name}: it takes no value")
    try:
        take_value(read, value)
    except InvalidInput as error:
        shown = printable(value, 60)
        raise InvalidInput(f'{name}="{shown}": {error}', detail=f"{name}: {error.detail}") from None


def _take_flag(read: _Reading, name: str) -> None:
    match name:
        case "restrict" | "no-port-forwarding":
            read.forwards_off = name
        case "port-forwarding":
            read.forwards_off = ""
        case "cert-authority":
            read.cert_authority = True
        case "touch-required" | "no-touch-required":
            read.touch_required = name == "touch-required"
        case "verify-required" | "no-verify-required":
            read.verify_required = name == "verify-required"
        case _ if name in _VALUES:
            raise InvalidInput(f'{name}: it needs a value: write {name}="..."', detail=f"{name}: it needs a value")


# --- options with a value


def _take_command(read: _Reading, value: str) -> None:
    _first(read.command)
    read.command = value


def _take_principals(read: _Reading, value: str) -> None:
    _first(read.principals)
    read.principals = tuple(filter(None, value.split(",")))


def _take_from(read: _Reading, value: str) -> None:
    _first(read.origins)
    read.origins = parse_host_list(value, read.from_entries)


def _take_expiry_time(read: _Reading, value: str) -> None:
    expires = expiry(value, read.system)
    read.expires = expires if read.expires is None else min(read.expires, expires)


def _take_environment(read: _Reading, value: str) -> None:
    name, equals, content = value.partition("=")
    if not equals or not _ENVIRONMENT_NAME.fullmatch(name):
        raise InvalidInput('it names no variable: write environment="NAME=value"')
    if len(read.environment) > limits.KEY_ENVIRONMENT:  # one more than the text says, as in sshd
        raise InvalidInput(f"a line may have {limits.KEY_ENVIRONMENT} of it")
    read.environment.setdefault(name, content)


def _take_permit_listen(read: _Reading, value: str) -> None:
    _room(read.permit_listen)
    read.permit_listen.append(parse_permit_listen(value, read.system.port_of))


def _take_permit_open(read: _Reading, value: str) -> None:
    _room(read.permit_open)
    read.permit_open.append(parse_permit_open(value, read.system.port_of))


def _take_tunnel(_read: _Reading, value: str) -> None:
    number = int(value) if value.isascii() and value.isdigit() and len(value) < 20 else -1
    if value.lower() != "any" and number not in _TUNNELS:
        raise InvalidInput('it is no tun device: write tunnel="0", or leave it out')


def _first(before: object) -> None:
    if before is not None:
        raise InvalidInput("it stands twice in the line: keep one")


def _room(permits: list[Permit]) -> None:
    if len(permits) > limits.KEY_PERMITS:  # one more than the text says, as in sshd
        raise InvalidInput(f"a line may have {limits.KEY_PERMITS} of it")


def expiry(text: str, system: System) -> float:
    """The value of `expiry-time=`, in seconds since the epoch (misc.c, parse_absolute_time): the last at which the key may
    log in. Raises InvalidInput with what to write instead."""
    found = _EXPIRY.fullmatch(text)
    if found is None:
        raise InvalidInput(
            "it is no time: write it as YYYYMMDD, YYYYMMDDhhmm or YYYYMMDDhhmmss, with a Z behind it for UTC"
        )
    year, month, day, hour, minute, second = (int(part or 0) for part in found.groups()[:6])
    if not 1 <= month <= 12 or not 1 <= day <= 31 or hour > 23 or minute > 59 or second > 61:
        raise InvalidInput("there is no such time: write it as YYYYMMDDhhmm, such as 202612312359")
    try:
        if year < 1970:
            expires = 0.0
        elif found.group(7):
            expires = float(calendar.timegm((year, month, day, hour, minute, second)))
        else:
            expires = system.local_time(year, month, day, hour, minute, second)
    except (OverflowError, ValueError):
        raise InvalidInput("this system does not know that time: write an earlier one") from None
    if expires <= 0:
        raise InvalidInput("it is before 1970: write a later one, such as 20261231")
    return expires


def _unknown(name: str) -> InvalidInput:
    like = difflib.get_close_matches(name.lower(), _KNOWN, n=1) if len(name) <= 40 else []
    fix = f"did you mean {like[0]}?" if like else "leave it out, or the whole line"
    return InvalidInput(
        f"{_shown(name)} is no option of authorized_keys: {fix}",
        detail=f"{_logged(name)} is no option of authorized_keys",
    )


_VALUES: Final[Mapping[str, Callable[[_Reading, str], None]]] = MappingProxyType(
    {
        "command": _take_command,
        "principals": _take_principals,
        "from": _take_from,
        "expiry-time": _take_expiry_time,
        "environment": _take_environment,
        "permitopen": _take_permit_open,
        "permitlisten": _take_permit_listen,
        "tunnel": _take_tunnel,
    }
)
_INERT: Final = frozenset(
    ("agent-forwarding", "no-agent-forwarding", "x11-forwarding", "no-x11-forwarding", "pty", "no-pty", "user-rc",
     "no-user-rc")
)  # fmt: skip
_FLAGS: Final = frozenset(
    ("restrict", "port-forwarding", "no-port-forwarding", "cert-authority", "touch-required", "no-touch-required",
     "verify-required", "no-verify-required")
)  # fmt: skip
_KNOWN: Final = _INERT | _FLAGS | _VALUES.keys()
