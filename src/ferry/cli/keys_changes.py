"""What `ferry keys` does."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import typer

from ferry import limits
from ferry.clock import SystemClock
from ferry.errors import FerryError, InvalidInput
from ferry.names import parse_label
from ferry.policy.keys import KeyLine
from ferry.policy.port_lines import ports_of
from ferry.protocol.authorized_keys import AuthorizedKey, parse_file, parse_key
from ferry.protocol.key_edits import appended, disabled_line, enabled_line, with_key
from ferry.protocol.key_paths import is_login_name
from ferry.regular_files import read_regular
from ferry.this_host import THIS_HOST

from .key_file import file_for
from .key_lines import FileLine, Mistaken, change_lines, lines_in, rewrite
from .keys_door import Door
from .keys_meant import (
    all_lines,
    check_mistakes,
    check_renamed,
    is_mistaken,
    is_of,
    lines_of,
    state_of,
    still_in,
    unknown,
)
from .keys_texts import Machine, listening
from .output import age, print_json, print_note, print_table, quiet_pipe, safe
from .rules_texts import print_rules
from .table import Column

_KEY_FILE_BYTES: Final = 64 * limits.KIB
_NO_RULE: Final = "no rule"  # a state of `ferry ports`: the policy file has none that lets the holder publish the port
_NO_KEY: Final = {"fingerprint": None, "algorithm": None}
KEYS: Final = (
    Column("NAME", most=40),
    Column("KEY", least=12, most=18),
    Column("STATE"),
    Column("PORTS", least=5),
    Column("LAST SEEN"),
    Column("OPTIONS", below=True),
    Column("KEY FILE", optional=True, least=16, end=True),
)


def list_keys(door: Door, name: str | None, *, as_json: bool) -> None:
    """Each key of the files, with what the gateway knows of it."""
    keys = door.known_keys()
    known = {one["fingerprint"]: one for one in keys}
    unruled = {one["port"] for one in door.ports() if one["state"] == _NO_RULE}
    mistakes: list[Mistaken] = []
    lines, now = all_lines(door, keys, mistakes, as_json=as_json), SystemClock().now()
    found = [_row(line, known.get(line.key.fingerprint), now) for line in lines if name is None or is_of(line, name)]
    refused = [one for one in mistakes if name is None or is_mistaken(one, name)]
    found += [_refused(one) for one in refused]
    order = list(dict.fromkeys([*(str(one.path) for one in lines), *(str(one.path) for one in refused)]))
    found.sort(key=lambda row: (order.index(row["file"]), row["line"]))
    there = {line.key.fingerprint for line in lines} | {one.key.fingerprint for one in mistakes if one.key is not None}
    found += [
        _without_line(one)
        for key, one in known.items()
        if door.files and key not in there and one["last_seen"] is None and name in (None, key, one["name"])
    ]
    if name is not None and not found:
        raise unknown(name, lines)
    for row in found:
        row["unruled"] = [port for port in row["ports"] if port in unruled]
    if refused:
        more = f" and {len(refused) - 1} more" if len(refused) > 1 else ""
        text = f"{safe(refused[0].place)}{more}: with a mistake, so it lets nobody in: `ferry check-config` says what to write"
        print_note(text, as_json=as_json)
    _note_unread(door, as_json=as_json)
    with quiet_pipe():
        if as_json:
            print_json(found)
        elif not found:
            typer.echo(
                "every key is let in: there are no key files" if not door.files else "the key files have no keys"
            )
        else:
            print_table(KEYS, [_cells(one, now) for one in found])


def _row(line: FileLine, known: dict[str, Any] | None, now: float) -> dict[str, Any]:
    body = enabled_line(line.text).strip()
    held = [one["port"] for one in known["held"] if one["label"] is not None] if known else []
    named = ports_of(KeyLine(line.name, line.key.options))
    return {
        "name": line.name,
        "fingerprint": line.key.fingerprint,
        "algorithm": line.key.algorithm,
        "disabled": line.disabled,
        "state": state_of(line, now),
        "comment": line.key.comment,
        "options": body[: body.find(line.key.algorithm)].strip(),
        "ports": sorted({*held, *named}),
        "host": known["host"] if known else None,
        "last_seen": known["last_seen"] if known else None,
        "user": line.user,
        "file": str(line.path),
        "line": line.number,
        "mistake": None,
    }


def _refused(one: Mistaken) -> dict[str, Any]:
    """A line that lets nobody in."""
    nothing = dict.fromkeys(("host", "last_seen", "options"))
    key = {"fingerprint": one.key.fingerprint, "algorithm": one.key.algorithm} if one.key is not None else _NO_KEY
    place = {"user": one.user, "file": str(one.path), "line": one.number, "mistake": one.why}
    ports = sorted(one.key.ports) if one.key is not None else []
    head = {"name": one.name if one.key is not None else None, **key, "disabled": False, "state": "refused"}
    comment = one.key.comment if one.key is not None else ""
    return {**head, "comment": comment, **nothing, "ports": ports, **place}


def _without_line(known: dict[str, Any]) -> dict[str, Any]:
    """A key that was entered, and whose line has not come into a file yet."""
    ports = sorted(one["port"] for one in known["held"] if one["label"] is not None)
    nothing = dict.fromkeys(("algorithm", "options", "user", "file", "line", "mistake"))
    same = {field: known[field] for field in ("name", "fingerprint", "host", "last_seen")}
    return nothing | same | {"disabled": False, "state": "no line", "comment": "", "ports": ports}


def _cells(one: dict[str, Any], now: float) -> list[object]:
    seen = f"{age(one['last_seen'], now)} ago" if one["last_seen"] else "never"
    ports = ", ".join(map(str, one["ports"])) or "-"
    name = one["name"] or (f"({one['comment']})" if one["comment"] else "-")
    place = "-" if one["file"] is None else f"{one['file']}, line {one['line']}"
    says = one["mistake"] or one["options"] or "-"
    state = _NO_RULE if one["state"] == "enabled" and one["unruled"] else one["state"]
    return [name, one["fingerprint"] or "-", state, ports, seen, says, place]


# --- add


def add(
    door: Door,
    name: str,
    key: str,
    listen: Sequence[str],
    origins: str | None,
    expires: str | None,
    user: str | None,
    *,
    as_json: bool,
) -> None:
    """Allocate the ports, then add the line. If the file cannot be written the ports stay: the next try gets them again."""
    name = parse_label(name, "name")
    encoded, parsed = _read_key(key)
    if user is not None and not is_login_name(user):
        raise InvalidInput(f"--user {safe(user)}: that is no login name: write letters, digits, and . _ - between them")
    lines = all_lines(door, door.known_keys(), as_json=as_json)
    if (there := next((one for one in lines if one.key.fingerprint == parsed.fingerprint), None)) is not None:
        raise FerryError(f"the key stands in {there.place} already: change that line, or `ferry keys remove` it first")
    path = file_for(door.files, user, []) if door.files else None
    for_user = path is not None and "%u" in door.files[0]
    wanted = _wanted(listen)
    _line([], origins, expires, parsed.algorithm, encoded, "")  # a mistake in an option changes nothing
    done = door.enrol(
        name=name, fingerprint=parsed.fingerprint, algorithm=parsed.algorithm, listen=list(wanted), unnamed=for_user
    )
    ports = [
        listening(one["label"], one["port"], wanted[one["label"]], loopback=one["loopback"]) for one in done["ports"]
    ]
    rules = door.rules(parsed.fingerprint, name, [one.port for one in ports])
    line = _line([one.bind for one in ports], origins, expires, parsed.algorithm, encoded, "" if for_user else name)
    machine = Machine(name, user or name, done["gateway"], done["ssh_port"], ports)
    texts = machine.texts() if ports else {}
    if others := sum(one.name == name for one in lines):
        print_note(f"{name} has {others} more key{'s' if others > 1 else ''}: they are one identity", as_json=as_json)
    failed: FerryError | None = None
    if path is not None:
        try:
            rewrite(path, lambda text: appended(text, line), make=True)
        except FerryError as error:
            failed = error
    document = {
        "name": name,
        "fingerprint": parsed.fingerprint,
        "file": None if failed or path is None else str(path),
        "line": line,
        "ports": [{"label": one.label, "port": one.port} for one in ports],
        "permits": [] if rules else machine.permits(),
        "policy": rules,
    }
    if as_json:
        print_json(document | texts)
    else:
        _print_added(document, texts)
        if rules is not None:
            print_rules(rules, permits=machine.permits())
    if failed is not None:
        raise FerryError(f"{failed}: add the line above to it")
    _note_unread(door, as_json=as_json)


def _note_unread(door: Door, *, as_json: bool) -> None:
    if unread := door.unread():
        print_note(unread, as_json=as_json)


def _print_added(document: dict[str, Any], texts: dict[str, str]) -> None:
    name, file = document["name"], document["file"]
    who = f"{name} ({document['fingerprint']})"
    typer.echo(f"added {who} to {safe(file)}:" if file else f"the line for {who}:")
    typer.echo(document["line"])
    for one in document["ports"]:
        typer.echo(f"\n{one['label']}: port {one['port']}, for good")
    titles = {
        "command": f"On {name}, to try it:",
        "machine_ssh_config": f"On {name}, in ~/.ssh/config (then: ssh -N ferry):",
        "machine_systemd_unit": f"On {name}, in /etc/systemd/system/ferry-tunnel.service:",
        "operator_ssh_config": f"For people who reach it, in ~/.ssh/config (then: ssh root@{name}){_permitted(document)}:",
    }
    for what, title in titles.items():
        if text := texts.get(what):
            typer.echo(f"\n{title}\n{text.rstrip()}")


def _permitted(document: dict[str, Any]) -> str:
    """What the key of each of those people needs; with a policy its rules say who they are."""
    permits = ", ".join(document["permits"])
    return f"; each needs {permits} in the line of the key" if permits else ""


def _wanted(listen: Sequence[str]) -> dict[str, int | None]:
    """The labels, each with the local port that the operator has named."""
    wanted: dict[str, int | None] = {}
    for text in listen:
        label, equals, local = text.partition("=")
        if label in wanted:
            raise InvalidInput(f"--listen {safe(label)} stands twice: write {safe(label)}:NAME for a second one")
        if equals and not (local.isascii() and local.isdecimal() and 1 <= int(local) <= 65535):
            raise InvalidInput(f"--listen {safe(text)}: '{safe(local)}' is no port: write {safe(label)}=3000")
        wanted[label] = int(local) if equals else None
    return wanted


def _line(
    binds: Sequence[str], origins: str | None, expires: str | None, algorithm: str, encoded: str, name: str
) -> str:
    """The line of a key file. Raises InvalidInput for an option that no gateway would take."""
    options = ["restrict", "port-forwarding"] if binds else []
    options += [f'permitlisten="{bind}"' for bind in binds]
    for option, value in (("from", origins), ("expiry-time", expires)):
        if value is not None:
            escaped = value.replace('"', '\\"')
            options.append(f'{option}="{escaped}"')
    line = " ".join(part for part in (",".join(options), algorithm, encoded, f"name={name}" if name else "") if part)
    if "\n" in line or "\r" in line:
        raise InvalidInput("an option has a line break: leave it out")
    if refused := parse_file(line, THIS_HOST)[1]:
        raise InvalidInput(refused[0].why)
    return line


def _read_key(text: str) -> tuple[str, AuthorizedKey]:
    """A public key, in base64 and parsed: from a file, from standard input (`-`), or as it is. Raises FerryError."""
    if text == "-":
        content, place = sys.stdin.read(_KEY_FILE_BYTES + 1), "standard input"
    elif " " in text.strip():
        content, place = text, "the key"
    else:
        try:
            content = read_regular(Path(text), _KEY_FILE_BYTES + 1).decode("utf-8", "replace")
        except OSError as error:
            raise InvalidInput(
                f"{safe(text)} cannot be read ({error.strerror or error}): name a .pub file, - for standard input, or write "
                "the key itself in quotes"
            ) from None
        place = text
    lines = [(number, line.strip()) for number, line in enumerate(content.splitlines(), 1)]
    lines = [(number, line) for number, line in lines if line and not line.startswith("#")]
    if len(content) > _KEY_FILE_BYTES:
        raise InvalidInput(
            f"{safe(place)} is larger than {_KEY_FILE_BYTES // limits.KIB} KiB: one public key is needed, `ssh-ed25519 AAAA...`"
        )
    if len(lines) != 1:
        if any("PRIVATE KEY" in line for _, line in lines):
            raise InvalidInput(f"{safe(place)} is a private key: name the .pub file beside it")
        raise InvalidInput(f"{safe(place)} has {len(lines)} lines: one public key is needed, `ssh-ed25519 AAAA...`")
    ((number, line),) = lines
    try:
        key = parse_key(line)
    except InvalidInput as error:
        raise InvalidInput(f"{safe(place)}, line {number}: {error}") from None
    return line.split()[1], key


# --- changes


def change(door: Door, name: str, *, disable: bool, as_json: bool) -> None:
    """Take lines out of force, or put them back."""
    lines, word = lines_of(door, name, as_json=as_json), "disabled" if disable else "enabled"
    todo = [line for line in lines if line.disabled is not disable]
    changed = [(line, disabled_line(line.text) if disable else enabled_line(line.text)) for line in todo]
    _apply(changed, as_json=as_json)
    if as_json:
        print_json([_changed(line, word) for line in todo])
    else:
        for line in todo:
            typer.echo(f"{word} {_who(line)} in {safe(line.place)}")
        if not todo:
            typer.echo(f"{safe(name)} is {word} already")
    if disable and (still := still_in(door, {line.key.fingerprint for line in lines}, "disable", as_json=as_json)):
        raise still


def replace(door: Door, name: str, key: str, *, as_json: bool) -> None:
    """Give all that a key has to a new one. The store comes first: until the file is written the old key is let in, and
    to run the command again ends what a crash has left."""
    encoded, new = _read_key(key)
    lines = lines_of(door, name, as_json=as_json)
    old = {line.key.fingerprint for line in lines if line.key.fingerprint != new.fingerprint}
    if len(old) > 1:
        listed = ", ".join(sorted(old))
        raise FerryError(f"{safe(name)} has {len(old)} keys: write which in place of the name, one of {listed}")
    mine = {line.place for line in lines}
    everything = lines_in([Path(file) for file in door.files])
    other = next((one for one in everything if one.key.fingerprint == new.fingerprint and one.place not in mine), None)
    if other is not None:
        raise FerryError(f"the new key stands in {other.place} already, for another: `ferry keys remove` it first")
    if not old:
        raise FerryError(f"{safe(name)} has that key already: there is nothing to replace")
    (before,) = old
    changes = [
        (line, _in_its_state(line, with_key(enabled_line(line.text), new.algorithm, encoded)))
        for line in lines
        if line.key.fingerprint == before
    ]
    identity = changes[0][0].name
    done = door.replace(old=before, name=identity, new=new.fingerprint, algorithm=new.algorithm)
    _apply(changes, as_json=as_json)
    still = still_in(door, {before}, "disable", as_json=as_json)
    moved = [one["address"] for one in done["held"]]
    for place in done.get("named_in", ()):
        print_note(f"{safe(place)}: it names the old key: write {new.fingerprint} there", as_json=as_json)
    if as_json:
        print_json({"name": done["name"], "old": before, "new": new.fingerprint, "held": done["held"]})
    else:
        out = "" if still else ", which is let in no more"
        typer.echo(f"{safe(done['name'] or name)}: {new.fingerprint} in place of {before}{out}")
        typer.echo(f"its own are {safe(', '.join(moved))}" if moved else "it has no names or ports")
    if still:
        raise still


def remove(door: Door, name: str, *, keep: bool, as_json: bool) -> None:
    """Take lines out. The file comes first, so that the key cannot come back and take its names meanwhile."""
    mistakes: list[Mistaken] = []
    known = door.known_keys()
    everything = all_lines(door, known, mistakes, as_json=as_json)
    lines = [line for line in everything if is_of(line, name)]
    entered = {
        one["fingerprint"]: one["name"] for one in known if not lines and name in (one["fingerprint"], one["name"])
    }
    if not lines:
        check_mistakes([name, *entered], mistakes)
        check_renamed(name, everything, known)
        if not entered:
            raise unknown(name, everything)
    gone = sorted({*entered, *(line.key.fingerprint for line in lines)})
    names = {one for one in (*entered.values(), *(line.name for line in lines)) if one is not None}
    stays = any(one not in lines and (one.name in names or one.key.fingerprint in gone) for one in everything)
    _apply([(line, None) for line in lines], as_json=as_json)
    identity = next(iter(names)) if len(names) == 1 else None
    done = door.forget(keys=gone, name=identity, keep=keep or stays)
    held = [one["address"] for one in done["held"]]
    ports = (f"port {port}" for line in lines for port in ports_of(KeyLine(line.name, line.key.options)))
    named = [port for port in dict.fromkeys(ports) if port not in held]
    stays = stays or done["others"]
    if as_json:
        print_json(
            {"removed": [_changed(one, "removed") for one in lines], "held": done["held"], "freed": not (keep or stays)}
        )
    else:
        _print_removed(lines, entered, held, named, keep=keep, stays=stays)
    if still := still_in(door, gone, "remove", as_json=as_json):
        raise still


def _print_removed(
    lines: Sequence[FileLine],
    entered: Mapping[str, str | None],
    held: Sequence[str],
    named: Sequence[str],
    *,
    keep: bool,
    stays: bool,
) -> None:
    """`named`: ports that the lines alone kept."""
    for line in lines:
        typer.echo(f"removed {_who(line)} from {safe(line.place)}")
    for key, called in entered.items():
        typer.echo(f"forgot {safe(called or key)}, which had no line in the key files")
    if stays:
        typer.echo("its names and ports stay: it has other keys")
    elif held:
        verb = "kept" if keep else "gave back"
        typer.echo(f"{verb} {safe(', '.join(held))}")
    elif not named:
        typer.echo("it had no names or ports")
    if named and not stays:
        typer.echo(f"{', '.join(named)}: kept by its line alone, and free now")


def _in_its_state(line: FileLine, text: str) -> str:
    return disabled_line(text) if line.disabled else text


def _who(line: FileLine) -> str:
    return f"{line.name} ({line.key.fingerprint})" if line.name else line.key.fingerprint


def _changed(line: FileLine, what: str) -> dict[str, object]:
    return {
        "what": what,
        "name": line.name,
        "fingerprint": line.key.fingerprint,
        "file": str(line.path),
        "line": line.number,
    }


def _apply(changes: Sequence[tuple[FileLine, str | None]], *, as_json: bool) -> None:
    """Change lines, file by file. If a file cannot be written, say what to write there. Raises FerryError."""
    by_file: dict[Path, dict[int, tuple[str, str | None]]] = {}
    for line, text in changes:
        by_file.setdefault(line.path, {})[line.number] = (line.text, text)
    for path, of_file in by_file.items():
        try:
            change_lines(path, of_file)
        except FerryError as error:
            wanted = [
                f"line {number}: {text if text is not None else 'delete it'}" for number, (_, text) in of_file.items()
            ]
            if as_json:
                print_json({"file": str(path), "write": wanted})
            else:
                typer.echo("\n".join(wanted))
            raise FerryError(f"{error}: change the lines above there") from None
