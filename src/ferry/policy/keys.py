"""Decides what the holder of a key may do, by the options of the key's line (`protocol.key_options`), and by those of a
certificate, if it logs in with one (`certificates`).

As in sshd, the first line of a key that admits the log-in decides, and the options of that line count for the connection.
Each refusal names the option, and its `rule` the file and the line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, NamedTuple

from ferry.errors import Refusal
from ferry.names import Fingerprint, printable
from ferry.protocol.certificates import FOREVER, Certificate
from ferry.protocol.key_options import NO_OPTIONS, KeyOptions

from .permitted import by_port, instead, listed, listens, names, names_socket, opens, to_listen, to_open

TOUCHED: Final = 0x01  # flags of a security key's signature (PROTOCOL.u2f of OpenSSH; WebAuthn §6.1)
VERIFIED: Final = 0x04
NO_EXTENSION: Final = "permit-port-forwarding"
"""`KeyOptions.forwards_off`, where a certificate does not have this extension."""


@dataclass(frozen=True, slots=True)
class KeyLine:
    """One line of a key file. As the result of a decision it is the proof of it, and says what the connection may do."""

    name: str | None = None
    """The name that the operator gave to the identity."""
    options: KeyOptions = NO_OPTIONS
    user: str | None = None
    """The only login name for which it counts (`%u` in `access.keys`); None: it counts for all."""
    file: str = field(default="", compare=False)
    """Empty if there are no key files. The same line may move."""
    number: int = field(default=0, compare=False)
    """From 1."""
    comment: str = field(default="", compare=False)
    """Behind a key without a name, for the operator's lists. It proves nothing."""
    certified: Certified | None = None
    """What has made it, if the client has logged in with a certificate: its options are those of both together."""
    beside: tuple[OtherKey, ...] = ()
    """The other keys of a log-in that needs several: what a client may do, each of their lines has to allow."""
    algorithm: str = field(default="", compare=False)
    """Of the key, as its line names it; empty: there is no line with a key."""

    @property
    def place(self) -> str:
        """The file and the line, for the log; empty if there are no key files."""
        return f"{self.file}, line {self.number}" if self.file else ""

    @property
    def places(self) -> str:
        """The same of the lines of all keys of the log-in."""
        return "; ".join(each.place for each in self.together() if each.file)

    def together(self) -> Iterator[KeyLine]:
        """The lines of all keys of the log-in, this one first."""
        yield self
        yield from (other.line for other in self.beside)

    def rule(self, option: str) -> str:
        """One of its options, for the log."""
        return f"{self.place}: {option}" if self.file else option


class OtherKey(NamedTuple):
    """A further key of a log-in that needs several (AuthenticationMethods)."""

    fingerprint: Fingerprint
    line: KeyLine


@dataclass(frozen=True, slots=True)
class Certified:
    """A certificate, and the line by which it counts."""

    line: KeyLine
    """The line as it stands in the file: of the CA, or of a principal."""
    certificate: Certificate


ANY_KEY: Final = KeyLine()
"""It stands for no line: every key may log in, without options."""


class Caller(NamedTuple):
    """A client that wants to log in."""

    user: str
    """The login name."""
    address: str
    """Numeric."""
    host: str
    """The name of its host, or `address` if nobody has looked it up."""
    now: float
    """Seconds since the epoch."""


def log_in(lines: Sequence[KeyLine], caller: Caller) -> KeyLine | Refusal | None:
    """The line that lets the key of `lines` in; None if no line counts for the login name. A refusal is that of the
    first line."""
    return first_that_admits(lines, caller, lambda line: line_refusal(line, caller) or line)


def first_that_admits(
    lines: Sequence[KeyLine], caller: Caller, judge: Callable[[KeyLine], KeyLine | Refusal]
) -> KeyLine | Refusal | None:
    """The first line for the login name that `judge` does not refuse, or the first refusal; None if there is no line."""
    refused: Refusal | None = None
    for line in lines:
        if line.user is not None and line.user != caller.user:
            continue
        if isinstance(judged := judge(line), KeyLine):
            return judged
        refused = refused or judged
    return refused


def line_refusal(line: KeyLine, caller: Caller) -> Refusal | None:
    """The refusal of a log-in by `expiry-time=` and `from=` of a line."""
    return _too_late(line, caller.now) or _elsewhere(line, caller)


def needs_name(lines: Sequence[KeyLine], caller: Caller) -> bool:
    """Whether the name of the caller's host may decide which of `lines` lets it in."""
    for line in lines:
        if (line.user is not None and line.user != caller.user) or _too_late(line, caller.now) is not None:
            continue
        if line.options.origins is not None and line.options.origins.needs_name(caller.address):
            return True
        if _elsewhere(line, caller) is None:
            return False
    return False


def _too_late(line: KeyLine, now: float) -> Refusal | None:
    expires = line.options.expires
    if expires is None or int(now) <= expires:
        return None
    return Refusal(
        "your key has expired (expiry-time=): ask the operator for a later time",  # no date: nobody has proved the key yet
        code="key_expired",
        detail=f"the key has expired, on {shown_time(expires)} (expiry-time=)",
        rule=line.rule("expiry-time"),
    )


def _elsewhere(line: KeyLine, caller: Caller) -> Refusal | None:
    origins = line.options.origins
    if origins is None or origins.admits(caller.address, caller.host):
        return None
    return Refusal(
        f"your key may not log in from {printable(caller.address)} (from=)",
        code="key_from",
        detail=f"from= of its line does not have {printable(caller.address)}",
        rule=line.rule("from"),
    )


def signature_refusal(line: KeyLine, flags: int | None) -> Refusal | None:
    """The refusal of a signature; `flags` are those of a security key, None of any other key."""
    if flags is None:
        return None
    if line.options.touch_required and not flags & TOUCHED:
        return Refusal(
            "your security key has signed without a touch, and it needs one here (the operator may write "
            "no-touch-required before it)",
            code="key_touch",
            detail="the security key has signed without a touch, and its line does not have no-touch-required",
            rule=line.rule("touch-required"),
        )
    if line.options.verify_required and not flags & VERIFIED:
        return Refusal(
            "your security key has to check its PIN or your fingerprint for each log-in here (verify-required): make "
            "one with ssh-keygen -t ed25519-sk -O verify-required",
            code="key_verify",
            detail="the security key has checked neither PIN nor fingerprint, and its line has verify-required",
            rule=line.rule("verify-required"),
        )
    return None


def forwards_refusal(line: KeyLine) -> Refusal | None:
    """The refusal of all forwards and all connections through the gateway."""
    return _first(line, _forwards_refusal)


def _first(line: KeyLine, judge: Callable[[KeyLine], Refusal | None]) -> Refusal | None:
    """The first refusal by the lines of all keys of a log-in."""
    return next((refusal for each in line.together() if (refusal := judge(each)) is not None), None)


def _forwards_refusal(line: KeyLine) -> Refusal | None:
    if not (option := line.options.forwards_off):
        return None
    if option == NO_EXTENSION:
        return Refusal(
            f"your certificate may not forward anything: it has no {option}. Sign one with it (ssh-keygen -s has it "
            "unless -O clear is given)",
            code="key_forwards",
            detail=f"its certificate has no {option}, so it may not forward anything",
            rule=line.rule(option),
        )
    fix = "add port-forwarding behind restrict" if option == "restrict" else f"remove {option}"
    write = "write restrict,port-forwarding in its place" if option == "restrict" else f"remove {option}"
    return Refusal(
        f"your key may not forward anything ({option}): only the operator can {fix} in its line",
        code="key_forwards",
        detail=f"{option} in its line turns all forwards off: {write}",
        rule=line.rule(option),
    )


def listen_refusal(line: KeyLine, host: bytes, port: int, names: Sequence[str] = ()) -> Refusal | None:
    """The refusal of a request to listen on `port` of `host`, as the client has sent them (RFC 4254 §7.1) and the gateway
    can read them. `names` are the forms of the web name or alias that it asks for."""
    return forwards_refusal(line) or _first(line, lambda each: _listen_refusal(each, host, port, names))


def _listen_refusal(line: KeyLine, host: bytes, port: int, names: Sequence[str]) -> Refusal | None:
    permits = line.options.permit_listen
    if not permits or listens(permits, host, port, names):
        return None
    asked, permits = to_listen(host, port), by_port(permits, port)
    return Refusal(
        f"your key may listen on {listed(permits)} only (permitlisten=), not on {asked}: {instead(permits, port)}",
        code="key_listen",
        detail=f"permitlisten= of its line has {listed(permits)} only, not {asked}",
        rule=line.rule("permitlisten"),
    )


def open_refusal(line: KeyLine, host: bytes, port: int) -> Refusal | None:
    """The refusal of a connection through the gateway to `port` of `host`, as the client has sent them (§7.2)."""
    return forwards_refusal(line) or _first(line, lambda each: _open_refusal(each, host, port))


def _open_refusal(line: KeyLine, host: bytes, port: int) -> Refusal | None:
    permits = line.options.permit_open
    if not permits or opens(permits, host, port):
        return None
    return Refusal(
        f"your key may reach {listed(permits)} only (permitopen=), not {to_open(host, port)}",
        code="key_open",
        detail=f"permitopen= has {listed(permits)} only",
        rule=line.rule("permitopen"),
        repeats_input=True,
    )


def names_open(line: KeyLine, host: bytes, port: int) -> bool:
    """Whether `permitopen=` names `port` of `host` exactly, of each key."""
    return all(names(each.options.permit_open, host, port) for each in line.together())


def socket_refusal(line: KeyLine, path: str, *, listens: bool) -> Refusal | None:
    """The refusal of a forward (`listens`) or a connection to the Unix socket at `path`. A line with `permitlisten=` or
    `permitopen=` allows none that it does not name."""
    return forwards_refusal(line) or _first(line, lambda each: _socket_refusal(each, path, listens=listens))


def _socket_refusal(line: KeyLine, path: str, *, listens: bool) -> Refusal | None:
    option = "permitlisten" if listens else "permitopen"
    permits = line.options.permit_listen if listens else line.options.permit_open
    if not permits or names_socket(permits, path):
        return None
    return Refusal(
        f'your key may not use this socket ({option}=): only the operator can write {option}="[{printable(path)}]:*"',
        code="key_socket",
        detail=f'{option}= of its line does not name this socket: write {option}="[{printable(path)}]:*" too',
        rule=line.rule(option),
    )


def command_refusal(line: KeyLine) -> Refusal | None:
    """The refusal of a session's command. A session that shows forwards runs none."""
    return _first(line, _command_refusal)


def _command_refusal(line: KeyLine) -> Refusal | None:
    if line.options.command is None:
        return None
    of_line = line.certified is None or line.certified.line.options.command is not None
    option, holder = ("command=", "key") if of_line else ("force-command", "certificate")
    return Refusal(
        f"your {holder} runs no commands here ({option}). Its forwards work: ssh -N -R ...",
        code="key_command",
        detail=f"{option} lets its sessions run no commands",
        rule=line.rule(option.removesuffix("=")),
    )


def limits_of(line: KeyLine) -> list[str]:
    """What the holder of a key may not do, for people."""
    return list(dict.fromkeys(limit for each in line.together() for limit in _limits_of(each)))


def _limits_of(line: KeyLine) -> list[str]:
    options, found = line.options, list[str]()
    if (off := options.forwards_off) == NO_EXTENSION:
        found.append(f"Your certificate may not forward anything: it has no {off}.")
    elif off:
        found.append(f"Your key may not forward anything ({off}).")
    else:
        if options.permit_listen:
            found.append(f"Your key may listen on {listed(options.permit_listen)} only (permitlisten=).")
        if options.permit_open:
            found.append(f"Your key may reach {listed(options.permit_open)} only (permitopen=).")
    if options.expires is not None:
        found.append(f"Your key may log in until {shown_time(options.expires)} (expiry-time=).")
    if line.certified is not None and (end := line.certified.certificate.valid_before) != FOREVER:
        found.append(f"Your certificate lets you in until {shown_time(end)}.")
    return found


def shown_time(seconds: float) -> str:
    """A time for people, however late a certificate says that it is."""
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (OverflowError, ValueError, OSError):
        return f"{seconds:.0f} seconds after 1970"
