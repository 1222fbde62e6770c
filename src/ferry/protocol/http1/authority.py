"""`Host` and the authority of an absolute request target, as one normal form."""

from __future__ import annotations

import functools
import re
from typing import Final, NamedTuple

from ferry.errors import RemoteProtocolError
from ferry.names import HOSTNAME_MAX

# RFC 3986 §3.2.2 allows percent-encoding and sub-delims in a reg-name. Stricter: a name is made of what DNS names
# and common practice (underscore) hold, because parsers disagree on the rest. Raw UTF-8, spaces, "@" and commas fall
# under that; punycode passes. IPv6 stands in brackets.
_AUTHORITY: Final = re.compile(
    rb"(?P<host>[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?|\[[0-9a-f:.]{2,45}\])\.?(?::(?P<port>[0-9]{1,5}))?", re.IGNORECASE
)


class Authority(NamedTuple):
    """`host` is lower-case, without a final dot, IPv6 in brackets; `port` is None where none is written."""

    host: str
    port: int | None

    def __str__(self) -> str:
        return self.host if self.port is None else f"{self.host}:{self.port}"


@functools.lru_cache(maxsize=1024)
def parse_authority(raw: bytes) -> Authority:
    """RFC 9110 §7.2, RFC 3986 §3.2. Raises RemoteProtocolError (400).

    The last valid results are cached: visitors ask for the same few names again and again.
    """
    match = _AUTHORITY.fullmatch(raw)
    if match is None or len(match["host"]) > HOSTNAME_MAX:
        raise RemoteProtocolError("Host is not a valid name with an optional port")
    host = match["host"].decode("ascii").lower()
    if ".." in host:
        raise RemoteProtocolError("Host holds an empty label")
    port = None if match["port"] is None else int(match["port"])
    if port is not None and port > 65535:
        raise RemoteProtocolError("Host names a port above 65535")
    return Authority(host, port)
