"""What an sshd_config says about who may log in, and is lost because Ferry has no accounts: by whose keys more is allowed
then, and what to write.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Final, NamedTuple

from ferry.protocol.authorized_keys import RSA_BITS
from ferry.protocol.sshd_config import count
from ferry.protocol.sshd_keywords import SPELLED

_OF_ACCOUNT: Final = re.compile("(?<!%)(?:%%)*%[huU]")
_BY_NAME: Final = frozenset({"user", "group", "invalid-user"})
"""Criteria of Match that look at the login name."""
_FILES: Final = frozenset({"authorizedkeysfile", "authorizedprincipalsfile", "revokedkeys", "trustedusercakeys"})
"""Keywords that name files, of which Ferry has one value for everybody."""
_NAMING: Final = frozenset({"denyusers", "denygroups", "permitrootlogin"})
_NOBODY: Final = frozenset({("pubkeyauthentication", "no"), ("refuseconnection", "yes")})


class Lost(NamedTuple):
    """A setting that stays behind."""

    keyword: str
    """In lower case."""
    values: Sequence[str]
    criteria: Collection[str]
    """Of the Match lines above it, in lower case; none: it is for everybody."""
    files: Sequence[str]
    """The values of AuthorizedKeysFile."""
    has_cas: bool
    """There is a file of TrustedUserCAKeys."""


def allows_more(lost: Lost) -> str:
    """What follows for the people whom the setting would keep out, to add to the reason why it stays behind. Empty if
    nobody may more with Ferry."""
    if (fix := _fix(lost)) is None:
        return ""
    if lost.keyword.startswith("allow"):
        who = "other people"
    else:
        who = "these people" if lost.criteria or lost.keyword in _NAMING else "everybody"
    written = " ".join((SPELLED[lost.keyword], *lost.values))
    return f". So {who} may do more than with sshd: {written} does not hold. {fix[0].upper()}{fix[1:]}"


def _fix(lost: Lost) -> str | None:
    """What to write instead; None if the setting keeps nobody out whom Ferry lets in."""
    keyword, values, criteria = lost.keyword, lost.values, lost.criteria
    word = values[0].lower() if values else ""
    match keyword:
        case "allowusers" | "allowgroups" | "denyusers" | "denygroups" if any("@" in value for value in values):
            return "write from= with these addresses into the lines of the keys"
        case "allowusers" | "allowgroups":
            return _take_away("other accounts", lost)
        case "denyusers" | "denygroups":
            return _take_away("these accounts", lost)
        case "permitrootlogin" if word == "no":
            return _take_away("root", lost)
        case "permitrootlogin" if word == "forced-commands-only":
            return _take_away("root without command= in the line of its key", lost)
        case "authenticationmethods" if word != "any" and "publickey" not in values:
            return "a key alone lets them in: write authentication_methods for two keys, or take their keys away"
        case "pubkeyauthoptions" if "verify-required" in (option for value in values for option in value.split(",")):
            return "write verify-required into the lines of the keys"
        case "requiredrsasize" if (bits := count(word)) is not None and bits > RSA_BITS[0]:
            return "take the lines with smaller RSA keys away"
        case _ if (keyword, word) in _NOBODY or (keyword in _FILES and criteria):
            if not criteria:
                return "take all lines out of the files of access.keys, as sshd lets no key in"
            if set(criteria) <= _BY_NAME:
                return _take_away("them", lost)
            return "write from= into the lines of the keys, with the addresses from where they may come"
    return None


def _take_away(whom: str, lost: Lost) -> str | None:
    """What lets somebody in by their login name. None if nothing does: where all accounts have the same files, a login name
    keeps nobody out."""
    files = [path for path in lost.files if path != "none" and (not path.startswith("/") or _OF_ACCOUNT.search(path))]
    ways = [f"{', '.join(files)} in access.keys"] if files else []
    ways += ["certificates with their names"] if lost.has_cas else []
    return f"take away what lets {whom} in: {', and '.join(ways)}" if ways else None
