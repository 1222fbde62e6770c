"""The failure codes of refused `direct-tcpip` opens (RFC 4254 §5.1). `ssh` prints the name of the code, and the text."""

from __future__ import annotations

from typing import Final

from asyncssh.constants import OPEN_ADMINISTRATIVELY_PROHIBITED, OPEN_CONNECT_FAILED, OPEN_RESOURCE_SHORTAGE
from asyncssh.misc import ChannelOpenError

from ferry.errors import Refusal

OWN_PORT: Final = "own_port"
TOO_MANY_OPENS: Final = "too_many_opens"
_SHORTAGES: Final = frozenset({OWN_PORT, TOO_MANY_OPENS, "too_many_lookups", "too_many_streams"})
"""The client may, and should come again."""
_UNREACHED: Final = frozenset({"host_unknown", "host_unreached"})
"""The client may, but the host is not there."""


def open_failure(refusal: Refusal) -> ChannelOpenError:
    """The answer to an open that was refused. It has the public text alone: the log has the addresses."""
    code: int = OPEN_ADMINISTRATIVELY_PROHIBITED
    if refusal.code in _SHORTAGES:
        code = OPEN_RESOURCE_SHORTAGE
    elif refusal.code in _UNREACHED:
        code = OPEN_CONNECT_FAILED
    return ChannelOpenError(code, refusal.public)
