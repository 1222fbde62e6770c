"""Checks that a configuration works on this host: ports, folders, keys, certificates."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from ferry.amounts import number
from ferry.clock import SystemClock
from ferry.config.model import Config
from ferry.config.policy_file import load_policy
from ferry.config.rules import listed, overlap, shown, surprises
from ferry.config.sshd import Keywords, keys_needed
from ferry.config.sshd_rules import sshd_rules_of
from ferry.console.sockets import why_too_open
from ferry.errors import FerryError
from ferry.names import Endpoint, Fingerprint
from ferry.policy.key_traps import traps_of
from ferry.policy.keys import KeyLine
from ferry.policy.machine_names import PlaceOf, nowhere
from ferry.policy.port_lines import PortLine
from ferry.policy.rule_traps import names_of_nobody, ports_without_rule, traps_of_rules
from ferry.protocol.authorized_keys import name_of_file
from ferry.protocol.key_paths import Role
from ferry.ssh.access_lines import Found, read_access
from ferry.ssh.host_certificates import read_host_certificates
from ferry.ssh.host_keys import certificate_of, public_keys_in
from ferry.ssh.key_files import COPY

from .dns import is_local
from .findings import Finding, Severity
from .https_view import check_https
from .paths import is_there
from .ports import blocked
from .unit import RUN


@dataclass(frozen=True, slots=True)
class Running:
    """The gateway that runs with the state folder of the configuration, if any."""

    listeners: tuple[Endpoint, ...] = ()
    """Its bound addresses."""
    hidden: bool = False
    """This user may not ask whether there is one."""

    def has(self, endpoint: Endpoint) -> bool:
        """Whether it is this gateway that keeps `endpoint` from being bound."""
        return any(overlap(endpoint, bound) for bound in self.listeners)


def effective(config: Config, file: Path | None = None) -> dict[str, str]:
    """A summary of the configuration, which comes from `file`, in a few words each."""
    named = [*config.access.keys, *config.access.trusted_ca_keys]
    who = "anyone with a key, or without" if config.access.mode == "anyone" else "keys in " + _paths(named)
    urls = config.urls(lambda _host: False)  # without a look at certificates, which would decide the URL to prefer
    name = urls.domain.host("NAME")
    listens = ((config.http.listen, False), (config.https.listen, True))
    web = [urls.url(name, secure=secure) for listen, secure in listens if listen]
    at = listed(config.ssh.listen) if config.ssh.listen else "on the HTTPS port"  # a configuration has one of them
    return {
        "config": str(file or "no file: the environment, flags and built-in defaults"),
        "domain": config.domain,
        "state": str(config.state),
        "ssh": f"{at}; people type ssh {urls.gateway}",
        "http": listed(config.http.listen),
        "https": listed(config.https.listen) + (", SSH too" if config.https.listen and config.https.ssh else ""),
        "admin": listed(config.admin.listen),
        "urls": " and ".join(web) or "none",
        "access": who,
    }


def _paths(paths: list[Path]) -> str:
    return ", ".join(str(path) for path in paths)


def check_host(config: Config, *, running: Running) -> list[Finding]:
    """All findings. The ports that the gateway of this configuration holds itself, `running`, are no fault."""
    return [
        *(Finding(Severity.NOTE, each.keys[0].partition(".")[0], each.text) for each in surprises(config)),
        *_check_ports(config, running=running),
        *_check_state(config.state),
        *_check_audit(config.audit.file),
        *_check_sockets(config),
        *_check_keys(config),
        *_check_locked_out(config),
        *_check_policy(config),
        *_check_matches(config),
        *_check_host_certificates(config.state),
        *_check_certificates(config.https.certificates),
        *check_https(config),
        *_check_public(config),
        *_check_contact(config),
    ]


def _check_ports(config: Config, *, running: Running) -> Iterator[Finding]:
    fronts = (("ssh", config.ssh), ("http", config.http), ("https", config.https), ("admin", config.admin))
    for subject, front in fronts:
        free: list[Endpoint] = []
        own: list[Endpoint] = []
        others: list[Finding] = []
        for endpoint in front.listen:
            busy = blocked(endpoint)
            if busy is None:
                free.append(endpoint)
            elif busy.in_use and running.has(endpoint):
                own.append(endpoint)
            elif busy.in_use and running.hidden:
                others.append(Finding(Severity.NOTE, subject, f"{busy.reason}\n{_PERHAPS_OURS}"))
            elif busy.absent and len(front.listen) > 1 and endpoint.host == "::1":
                others.append(Finding(Severity.NOTE, subject, f"{busy.reason} (no IPv6): the other address is enough"))
            else:
                others.append(Finding(Severity.FIX, subject, busy.reason + _other_port(subject, busy.in_use)))
        for endpoints, what in ((free, "free"), (own, "held by this gateway, which runs")):
            if endpoints:
                verb = "is" if len(endpoints) == 1 else "are"
                yield Finding(Severity.OK, subject, f"{' and '.join(map(shown, endpoints))} {verb} {what}")
        yield from others


_TRAPS_SHOWN: Final = 20  # of a policy
_PERHAPS_OURS: Final = "perhaps this gateway itself, whose state folder you cannot look into: run this with sudo"


def _other_port(subject: str, in_use: bool) -> str:
    return f"\nstop it, or write another port in {subject}.listen" if in_use else ""


def _check_state(state: Path) -> Iterator[Finding]:
    nearest = next(folder for folder in (state, *state.parents) if is_there(folder))
    if not nearest.is_dir():
        yield Finding(Severity.FIX, "state", f"{nearest} is not a folder: write another state")
    elif not os.access(nearest, os.W_OK | os.X_OK):
        yield Finding(
            Severity.FIX, "state", f"{nearest} cannot be written by you: run this as the gateway's user, or sudo"
        )
    elif nearest == state and (too_open := why_too_open(state)):
        yield Finding(Severity.FIX, "state", too_open)
    else:
        yield Finding(Severity.OK, "state", f"{state} {'is there' if nearest == state else 'will be made'}")


def _check_policy(config: Config) -> Iterator[Finding]:
    try:
        book = load_policy(config, SystemClock().now(), _place_of(config))  # as the gateway does
    except FerryError as error:
        yield from (Finding(Severity.FIX, "policy", line) for line in str(error).split("\n"))
        return
    if book is not None:
        counts = f"{number(len(book.rules), 'rule')}, {number(len(book.policy.examples), 'test')} passed"
        yield Finding(Severity.OK, "policy", f"{book.file}: {counts}")
        traps = traps_of_rules(book, now=SystemClock().now(), names=_names(config))
        yield from (Finding(Severity.NOTE, "policy", text) for text in islice(traps, _TRAPS_SHOWN))
        unruled = ports_without_rule(book, _ports_in_ranges(config), SystemClock().now())
        yield from (Finding(Severity.NOTE, "policy", text) for text in unruled)


def _check_matches(config: Config) -> Iterator[Finding]:
    names = _names(config)
    for block, match in enumerate(config.sshd.match, 1):
        meant = [word.removeprefix("!") for word in match.identity if not word.removeprefix("!").startswith("SHA256:")]
        if names is not None and (unknown := names_of_nobody(meant, names)):
            yield Finding(Severity.NOTE, "sshd", f"sshd.match {block}: identity: {unknown}")


def _names(config: Config) -> frozenset[str] | None:
    """The names of all keys in the files; None where every key may log in, or where they cannot be read."""
    found = _named_keys(config)
    return None if found is None else found.names


def _place_of(config: Config) -> PlaceOf:
    found = _named_keys(config)
    return nowhere if found is None else found.place_of


def _named_keys(config: Config) -> Found | None:
    if config.access.mode == "anyone":
        return None
    try:
        return read_access(config.access_paths)
    except FerryError:
        return None  # `_check_keys` tells it


def _ports_in_ranges(config: Config) -> dict[int, list[PortLine]]:
    """The lines of key files that name ports which somebody may have; empty where they cannot be read."""
    try:
        found = read_access(config.access_paths)
    except FerryError:
        return {}  # `_check_keys` tells it
    return {port: lines for port, lines in found.ports.items() if config.tcp.has(port)}


def _check_audit(file: Path | None) -> Iterator[Finding]:
    if file is None:
        return
    folder = file.parent
    if not folder.is_dir():
        yield Finding(Severity.FIX, "audit", f"{folder} does not exist: make it, and give it to the gateway's user")
    elif (is_there(file) and not file.is_file()) or not os.access(file if is_there(file) else folder, os.W_OK):
        yield Finding(
            Severity.FIX, "audit", f"{file} cannot be written by you: run this as the gateway's user, or sudo"
        )
    else:
        yield Finding(Severity.OK, "audit", f"{file} {'is there' if is_there(file) else 'will be made'}")


def _check_sockets(config: Config) -> Iterator[Finding]:
    folder, tables = config.sshd.streamlocal_folder, (config.sshd, *config.sshd.match)
    if folder is None or all(each.allow_streamlocal_forwarding in (None, "no") for each in tables):
        return
    there = f"sshd.streamlocal_folder: {folder}"
    if folder.is_dir() and not folder.is_symlink():
        if not os.access(folder, os.W_OK | os.X_OK):
            yield Finding(
                Severity.FIX, "sshd", f"{there} cannot be written by you: run this as the gateway's user, or sudo"
            )
    elif is_there(folder):
        yield Finding(Severity.FIX, "sshd", f"{there} is no folder: write another one")
    elif folder.is_relative_to(RUN):
        text = (
            f"{there} is not there now, and without it no Unix socket opens. The unit of `ferry install-service` makes it at "
            "each start; without that unit make it after each boot, for the gateway's user"
        )
        yield Finding(Severity.NOTE, "sshd", text)
    else:
        text = f"{there} does not exist, so no Unix socket opens: make it (mkdir -m 700), and give it to the gateway's user"
        yield Finding(Severity.FIX, "sshd", text)


def _check_keys(config: Config) -> Iterator[Finding]:
    usable = 0
    stays = config.sshd.gateway_ports in ("no", "clientspecified")  # -R localhost:PORT is local, in public ranges too
    ranges = () if stays else config.tcp.ranges
    public = [range(each.first, each.last + 1) for each in ranges if each.listen == "public"]
    for role, path, alone in config.access_paths.one_by_one():
        try:
            found = read_access(alone)  # as the gateway does
        except FerryError as error:
            yield Finding(Severity.FIX, "keys", str(error))
            continue
        usable += len(found.lines) + len(found.authorities)
        for rejected in found.rejected:
            yield Finding(Severity.FIX, "keys", str(rejected))
        for unclear in found.unclear:
            yield Finding(Severity.FIX, "keys", f"{unclear.path}: {unclear.why}")
        for copy in found.listing.copies[:_TRAPS_SHOWN]:
            yield Finding(Severity.NOTE, "keys", f"{copy}: {COPY}")
        for line in (*(line for lines in found.lines.values() for line in lines), *found.authorities):
            for trap in traps_of(
                line,
                now=SystemClock().now(),
                use_dns=config.access.use_dns,
                is_public=lambda port: any(port in ports for ports in public),
            ):
                yield Finding(Severity.NOTE, "keys", f"{line.place}: {trap}")
        nameless = () if _keys_needed(config.sshd) > 1 else _without_names(found)  # `_check_locked_out` tells it
        noted = (*nameless, *_ports_on_two_lines(found.ports), *_ports_outside(config, found.ports))
        yield from (Finding(Severity.NOTE, "keys", text) for text in noted)
        if not found.rejected and not found.unclear:
            count, text = _counted(role, found)
            yield Finding(Severity.OK if count else Severity.NOTE, "keys", f"{path}: {text}")
    if config.access.mode == "keys" and not usable:
        text = f"no usable key, so nobody can connect: put public keys into {_paths(config.access.keys)}"
        yield Finding(Severity.FIX, "keys", text)


def _check_locked_out(config: Config) -> Iterator[Finding]:
    """Keys that let nobody in by `[sshd]`, and those that have two names."""
    try:
        book = load_policy(config, SystemClock().now(), _place_of(config))
        found = read_access(config.access_paths)
    except FerryError:
        return  # `_check_keys` and `_check_policy` tell it
    texts, everybody = found.locked_out(sshd_rules_of(config, book))
    severity = Severity.FIX if everybody else Severity.NOTE
    yield from (Finding(severity, "keys", text) for text in texts[:_TRAPS_SHOWN])
    yield from (Finding(Severity.NOTE, "keys", text) for text in islice(_of_two_names(found), _TRAPS_SHOWN))


def _of_two_names(found: Found) -> Iterator[str]:
    """Keys that are let in as two identities: who takes out one of them would leave the key in."""
    for lines in found.lines.values():
        plain = [line for line in lines if line.user is None]
        if (other := next((line for line in plain if line.name != plain[0].name), None)) is not None:
            first = plain[0]
            one, two = (f"name={line.name}" if line.name else "no name" for line in (first, other))
            yield (
                f"{other.place}: its key stands in {first.place} too, with {one} there and {two} here: it logs in by either, "
                "so write one name in both, or delete one of them"
            )


def _keys_needed(keywords: Keywords) -> int:
    return keys_needed(keywords.authentication_methods) or 0


def _without_names(found: Found) -> Iterator[str]:
    """A hand-kept file of a fleet has comments, and no names."""
    files: dict[str, dict[Fingerprint, KeyLine]] = {}
    for key, lines in found.lines.items():
        for line in lines:
            if line.name is None and line.user is None:
                files.setdefault(line.file, {}).setdefault(key, line)
    told = {str(unclear.path) for unclear in found.unclear}
    for file, keys in files.items():
        first = next(iter(keys.values()))
        host = first.comment.partition("@")[2] or first.comment
        name = name_of_file(host.partition(" ")[0].partition(".")[0]) or "web-1"
        if len(keys) > 1 and file not in told:
            yield (
                f"{file}: {len(keys):,} of its keys have no name, so lists show their comments, and rules, `ssh -J gw NAME` and "
                f"`ferry ssh-config` do not know them: write name={name} behind the key in line {first.number}, and so on"
            )


def _ports_outside(config: Config, ports: Mapping[int, Sequence[PortLine]]) -> Iterator[str]:
    """Where a fleet comes from another bastion, whose ports were others."""
    web = {80, 443, config.http_port, config.https_port}
    web |= {endpoint.port for endpoint in (*config.http.listen, *config.https.listen)}
    outside = sorted(port for port in ports if port not in web and not config.tcp.has(port))
    if outside:
        line = ports[outside[0]][0].line
        more = f" (and {len(outside) - 1:,} more lines name such a port)" if len(outside) > 1 else ""
        yield (
            f"{line.place}: permitlisten= names port {outside[0]}, which nobody can have: add a range "
            f"with it to tcp.ranges{more}"
        )


def _ports_on_two_lines(ports: Mapping[int, Sequence[PortLine]]) -> Iterator[str]:
    for port, lines in sorted(ports.items()):
        first, *others = lines
        for other in others:
            if other.holder != first.holder and (first.line.name is None or other.line.name != first.line.name):
                yield (
                    f"{other.line.place}: permitlisten= names port {port}, and so does "
                    f"{first.line.place}, for another key: only the first that comes gets it"
                )


def _counted(role: Role, found: Found) -> tuple[int, str]:
    """What a file has, as a number and for people."""
    match role:
        case Role.KEYS if found.authorities:
            keys, cas = len(found.lines), len(found.authorities)
            return keys + cas, f"{_plural(keys, 'key')}, {_plural(cas, 'CA')}"
        case Role.KEYS:
            return len(found.lines), _plural(len(found.lines), "key")
        case Role.CAS:
            return len(found.authorities), _plural(len(found.authorities), "CA")
        case Role.PRINCIPALS:
            return found.authorities.principals, _plural(found.authorities.principals, "principal")
        case Role.REVOKED:
            return 1, _plural(
                0 if found.revoked is None else len(found.revoked), "revoked key"
            )  # an empty list is what one hopes for


def _plural(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _check_host_certificates(state: Path) -> Iterator[Finding]:
    found = read_host_certificates(state, public_keys_in(state), SystemClock().now())
    for algorithm in found.lines:
        yield Finding(Severity.OK, "host keys", f"{certificate_of(state, algorithm)} is the certificate of its key")
    for path, why in found.bad:
        yield Finding(Severity.FIX, "host keys", f"{path}: {why}")


def _check_certificates(folder: Path | None) -> Iterator[Finding]:
    if folder is None:
        return
    try:
        pairs = sorted({name for entry in folder.iterdir() for name in _pair(entry)})
    except OSError as error:
        yield Finding(Severity.FIX, "certificates", f"{folder}: {error.strerror}")
        return
    if not pairs:
        text = f"{folder} has no NAME.crt with NAME.key, nor NAME/fullchain.pem with NAME/privkey.pem"
        yield Finding(Severity.FIX, "certificates", text)
    for certificate, key in pairs:
        closed = [path for path in (certificate, key) if not os.access(path, os.R_OK)]
        if closed:
            yield Finding(Severity.FIX, "certificates", f"{_paths(closed)} cannot be read by you")
        else:
            yield Finding(Severity.OK, "certificates", str(certificate))


def _pair(entry: Path) -> Iterator[tuple[Path, Path]]:
    if entry.suffix == ".crt" and entry.with_suffix(".key").exists():
        yield entry, entry.with_suffix(".key")
    elif (entry / "fullchain.pem").exists() and (entry / "privkey.pem").exists():
        yield entry / "fullchain.pem", entry / "privkey.pem"


def _check_public(config: Config) -> Iterator[Finding]:
    for address in config.tcp.public_addresses:
        if not is_local(address):
            yield Finding(Severity.FIX, "tcp", f"tcp.public_addresses: {address} is not an address of this host")


def _check_contact(config: Config) -> Iterator[Finding]:
    """Strangers who are harmed by a tunnel know no more of the operator than its domain."""
    if config.listens_beyond_loopback and config.abuse_contact is None and (config.http.listen or config.https.listen):
        url = config.urls(lambda _host: False).best(config.domain)
        text = (
            f'people cannot report abuse: write abuse_contact = "abuse@{config.domain}", which the page at {url} shows'
        )
        yield Finding(Severity.NOTE, "abuse_contact", text)
