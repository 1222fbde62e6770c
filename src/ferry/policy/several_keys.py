"""Decides which keys may log in together, where a log-in needs several (sshd_config(5), AuthenticationMethods).

As in sshd a key counts once, as a plain key or in a certificate, and all keys have to be of one account. An account here is
an identity's name (`name=`), the owner of a CA's key id, or a login name to which a line binds its keys: by `%u` in the
file's path, or by a certificate whose principal is the login name. A key that only stands in a file for everybody is of no
account. If any other key could stand beside it, one person's key would be the second key of all others.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from ferry.errors import Refusal
from ferry.names import Fingerprint
from ferry.protocol.certificates import Certificate

from .keys import KeyLine, OtherKey
from .sshd import SshdOptions, algorithm_refusal

NEEDS_KEY: Final = "you need a key here (AuthenticationMethods publickey): make one with ssh-keygen -t ed25519"


class Proven(NamedTuple):
    """A key that has signed in a log-in."""

    user: str
    """The login name."""
    fingerprint: Fingerprint
    """Of the key itself, with a certificate too."""
    certificate: Certificate | None
    line: KeyLine
    """The line that lets it in."""
    algorithms: frozenset[str] = frozenset()
    """The signature algorithms, as the client names them."""


def methods_text(needed: int) -> str:
    """The setting, as sshd writes it."""
    return f"AuthenticationMethods {','.join(['publickey'] * needed)}"


def missing(proven: int, needed: int) -> str:
    """What a client reads that has no further key."""
    return (
        f"{proven} of {needed} keys that this gateway asks you for has signed ({methods_text(needed)}): name them all, with "
        "-i KEYFILE for each"
    )


def entry_refusal(options: SshdOptions, keys: int, algorithms: Iterable[str]) -> str | None:
    """Why a client would not get in by the operator's settings now, that is here with so many keys, and these algorithms."""
    needed = options.keys_needed or 0
    if keys >= needed:
        refusal = algorithm_refusal(options, algorithms)
        return None if refusal is None else refusal.public
    if needed == 1:
        return NEEDS_KEY
    return f"you need {needed} keys here now ({methods_text(needed)}): log in again with all of them"


def refusal_beside(proven: Sequence[Proven], key: Proven, needed: int) -> Refusal | None:
    """The refusal of a key of a log-in that needs several, and in which `proven` have signed before."""
    if needed <= 1:
        return None
    if any(each.fingerprint == key.fingerprint for each in proven):
        return USED
    common = _accounts(key)
    for each in proven:
        common &= _accounts(each)
    if common:
        return None
    if proven:
        return Refusal(
            "your keys are not of one person or machine here: the operator gives the lines of both the same name=",
            code="key_beside",
            rule=key.line.rule("name"),
        )
    return Refusal(
        f"your key cannot be one of the {needed} that this gateway asks for ({methods_text(needed)}): the operator writes "
        "name= into its line, the same for all keys of yours",
        code="key_alone",
        rule=key.line.rule("name"),
    )


USED: Final = Refusal("your key has signed already: a log-in needs another one beside it", code="key_used")


def together(proven: Sequence[Proven]) -> KeyLine:
    """The line of the first key, with those of the others beside it."""
    first, *others = proven
    return replace(first.line, beside=tuple(OtherKey(each.fingerprint, each.line) for each in others))


def account_of(line: KeyLine) -> tuple[str, str] | None:
    """The account of which the key of a line is, whoever logs in with it; None: it is of none."""
    if line.name is not None:
        return "name", line.name
    return None if line.user is None else ("user", line.user)


def _accounts(key: Proven) -> frozenset[tuple[str, ...]]:
    """The accounts that a key is of."""
    line, found = key.line, list[tuple[str, ...]]()
    if line.name is not None:
        return frozenset({("name", line.name)})
    if line.user is not None:
        found.append(("user", key.user))
    if line.certified is not None:
        certificate = line.certified.certificate
        if line.options.principals is None:  # its principal had to be the login name
            found.append(("user", key.user))
        if certificate.key_id:
            found.append(("certificate", certificate.ca_fingerprint, certificate.key_id))
    return frozenset(found)
