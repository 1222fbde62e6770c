"""Which lines of the key files a command of `ferry keys` means, and by which other lines their keys are let in."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from ferry.clock import SystemClock
from ferry.errors import FerryError
from ferry.ssh.key_files import Rejected

from .key_lines import FileLine, Mistaken, lines_in
from .keys_door import Door
from .output import print_note, safe

_SOME: Final = 5  # names that a refusal shows
_FINGERPRINT: Final = "SHA256:"


def all_lines(
    door: Door, known: Iterable[Mapping[str, Any]], mistakes: list[Mistaken] | None = None, *, as_json: bool
) -> list[FileLine]:
    """The lines of the key files. A key that was entered for a name (`add --user`) has it from the gateway, if its line has
    none; `known` are the keys that the gateway knows. Lines with mistakes are added to `mistakes`. Notes what is passed
    over. Raises FerryError."""
    # a gateway of before an update, which still runs, does not tell which keys were entered
    names = {one["fingerprint"]: one["name"] for one in known if one.get("entered")}
    passed: list[Rejected] = []
    lines = lines_in([Path(file) for file in door.files], mistakes, passed)
    if passed:
        more = f" (and {len(passed) - 1} more)" if len(passed) > 1 else ""
        print_note(f"passed over: {safe(str(passed[0]))}{more}", as_json=as_json)
    return [line._replace(name=names.get(line.key.fingerprint)) if line.name is None else line for line in lines]


def lines_of(door: Door, name: str, *, as_json: bool) -> list[FileLine]:
    """The lines of a name, or of a key by its fingerprint, that stand in the key files. Raises FerryError if there are none.

    A line that says its own name is found while the gateway's database cannot be asked, too: a stolen key must go then.
    """
    if not door.files:
        raise FerryError("this gateway lets in every key: it has no key files (access.mode)")
    mistakes: list[Mistaken] = []
    known, failed = [], None
    if not name.startswith(_FINGERPRINT):
        try:
            known = door.known_keys()
        except FerryError as error:
            failed = error
    lines = all_lines(door, known, mistakes, as_json=as_json)
    if found := [line for line in lines if is_of(line, name)]:
        if failed is not None:
            text = f"keys that the gateway knows as {safe(name)}, and whose lines do not say it, were not looked for"
            print_note(f"{text}: {failed}", as_json=as_json)
        return found
    check_mistakes([name], mistakes)
    check_renamed(name, lines, known)
    raise failed or unknown(name, lines)


def is_of(line: FileLine, name: str) -> bool:
    """Whether a line is one of a name, or of a fingerprint."""
    return name in (line.key.fingerprint, line.name)


def is_mistaken(line: Mistaken, name: str) -> bool:
    """Whether a line with a mistake would be one of them."""
    return line.key is not None and name in (line.key.fingerprint, line.name)


def check_mistakes(names: Collection[str], mistakes: Sequence[Mistaken]) -> None:
    """Raise FerryError if a line of one of the names or fingerprints is refused, so that it is none of those to change."""
    for one in mistakes:
        if found := [name for name in names if is_mistaken(one, name)]:
            raise FerryError(
                f"{one.place} has the key of {safe(found[0])}, and is refused, so it lets nobody in: {one.why}: correct the "
                "line, or delete it"
            )


def check_renamed(name: str, lines: Iterable[FileLine], known: Iterable[Mapping[str, Any]]) -> None:
    """Raise FerryError if a key that the gateway knows by `name` stands in a line that does not say it: the name goes with
    the next log-in, and the key is let in."""
    keys = {one["fingerprint"] for one in known if one["name"] == name}
    for line in lines:
        if line.key.fingerprint in keys:
            raise FerryError(
                f"{line.place} has the key that was {safe(name)}, without that name: write {line.key.fingerprint} in place "
                f"of {safe(name)}"
            )


def still_in(door: Door, keys: Collection[str], action: str, *, as_json: bool) -> FerryError | None:
    """The error if one of these keys is let in by a line that is still there. `action` takes it out by its fingerprint.
    Notes that certificates for them could let them in, where certificates do so."""
    now = SystemClock().now()
    lines = [line for line in lines_in([Path(file) for file in door.files]) if state_of(line, now) == "enabled"]
    still = [line for line in lines if line.key.fingerprint in keys]
    if (door.access and door.access.trusted_ca_keys) or any(line.key.options.cert_authority for line in lines):
        file = door.access and door.access.revoked_keys
        write = f"into {file} (access.revoked_keys)" if file else "into a file that access.revoked_keys names"
        text = f"a certificate for the key is no line, and would let it in: write {' and '.join(sorted(keys))} {write}"
        print_note(f"this gateway takes certificates: {text}", as_json=as_json)
    if not still:
        return None
    places = "; ".join(f"{line.key.fingerprint} by {line.place}{_as(line)}" for line in still)
    fixes = " and ".join(f"`ferry keys {action} {key}`" for key in dict.fromkeys(one.key.fingerprint for one in still))
    return FerryError(f"still let in: {safe(places)}: to take out every line with that key, type {fixes}")


def state_of(line: FileLine, now: float) -> str:
    """Whether a line counts."""
    expires = line.key.options.expires
    return "disabled" if line.disabled else "expired" if expires is not None and expires < int(now) else "enabled"


def _as(line: FileLine) -> str:
    name = f" as {line.name}" if line.name else ""
    return f"{name} for the login name {line.user}" if line.user else name


def unknown(name: str, lines: Iterable[FileLine]) -> FerryError:
    """No line has the name."""
    names = sorted({line.name for line in lines if line.name is not None})
    more = f" and {len(names) - _SOME} more (`ferry keys` lists them)" if len(names) > _SOME else ""
    some = f"there are {', '.join(names[:_SOME])}{more}" if names else "no line has a name: write SHA256:... of the key"
    return FerryError(f"no line of the key files has a key of {safe(name)}: {some}")
