"""What happens to each field by name. One dict look-up per field of a message."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from ferry.errors import RemoteProtocolError

METHODS: Final = frozenset(
    (
        b"GET HEAD POST PUT DELETE OPTIONS PATCH QUERY "  # RFC 9110 §9, RFC 5789
        b"COPY LOCK MKCOL MOVE PROPFIND PROPPATCH UNLOCK SEARCH BIND REBIND UNBIND ACL REPORT "  # WebDAV
        b"MKACTIVITY CHECKOUT MERGE MKCALENDAR LINK UNLINK "  # Subversion, CalDAV, RFC 2068
        b"M-SEARCH NOTIFY SUBSCRIBE UNSUBSCRIBE PURGE SOURCE"
    ).split()
)
"""The methods that pass: those that llhttp knows too, without CONNECT, TRACE, PRI and RTSP's."""

IDEMPOTENT: Final = frozenset((b"GET", b"HEAD", b"PUT", b"DELETE", b"OPTIONS"))  # RFC 9110 §9.2.2, without TRACE


class Rule(enum.IntEnum):
    """What to do with a field."""

    DROP = 0
    HOST = 1
    LENGTH = 2
    CODING = 3
    CONNECTION = 4
    UPGRADE = 5
    EXPECT = 6
    AUTHENTICATION = 7
    """Kept; but NTLM and Negotiate bind the connection (RFC 4559 §6)."""


_HOP_BY_HOP: Final = {  # RFC 9110 §7.6.1; Trailer because trailers are dropped
    b"connection": Rule.CONNECTION,
    b"keep-alive": Rule.DROP,
    b"proxy-connection": Rule.DROP,
    b"te": Rule.DROP,
    b"trailer": Rule.DROP,
    b"upgrade": Rule.UPGRADE,
    b"content-length": Rule.LENGTH,
    b"transfer-encoding": Rule.CODING,
}

REQUEST_RULES: Final[Mapping[bytes, Rule]] = MappingProxyType(
    _HOP_BY_HOP
    | {
        b"host": Rule.HOST,
        b"expect": Rule.EXPECT,
        b"authorization": Rule.AUTHENTICATION,
        b"proxy-authorization": Rule.DROP,  # RFC 9110 §11.7.2: meant for us, and we ask for none
        b"http2-settings": Rule.DROP,  # RFC 9113 §3.1: h2c is not offered
        b"proxy": Rule.DROP,  # would be HTTP_PROXY in a CGI program's environment
        # Who the visitor is and how it came is ours to say (RFC 7239 §4); what it claims itself is dropped.
        b"forwarded": Rule.DROP,
        b"x-real-ip": Rule.DROP,
        b"x-client-ip": Rule.DROP,
        b"x-cluster-client-ip": Rule.DROP,
        b"true-client-ip": Rule.DROP,
        b"cf-connecting-ip": Rule.DROP,
        b"fastly-client-ip": Rule.DROP,
    }
)
REQUEST_DROP_PREFIXES: Final = (b"x-forwarded-", b"ferry-")

RESPONSE_RULES: Final[Mapping[bytes, Rule]] = MappingProxyType(_HOP_BY_HOP | {b"www-authenticate": Rule.AUTHENTICATION})


def underscore_rule(lower: bytes) -> Rule | None:
    """The rule for a request field with "_" in its name.

    CGI and WSGI read `X_Forwarded_For` and `X-Forwarded-For` as one variable, so such a name is judged as if it
    were spelled with hyphens. Other names with underscores pass. Raises RemoteProtocolError (400) for a second
    spelling of a field that routes or frames the message.
    """
    twin = lower.replace(b"_", b"-")
    rule = REQUEST_RULES.get(twin)
    if rule in (Rule.HOST, Rule.LENGTH, Rule.CODING):
        raise RemoteProtocolError("Host or a framing field is spelled with an underscore")
    return Rule.DROP if rule is not None or twin.startswith(REQUEST_DROP_PREFIXES) else None


def binds_connection(value: bytes) -> bool:
    """Whether credentials or a challenge are of a kind that authenticates the connection, not the request."""
    scheme = value.lstrip().lower()
    return scheme.startswith((b"ntlm", b"negotiate"))
