"""The rule for each field, by name. It costs one dict look-up per field of a message."""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from typing import Final

from ferry.errors import RemoteProtocolError

from .claims import CLAIM_PREFIXES, CLAIMS

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


class Rule(enum.Enum):
    """What to do with a field."""

    KEEP = enum.auto()
    DROP = enum.auto()
    HOST = enum.auto()
    LENGTH = enum.auto()
    CODING = enum.auto()
    CONNECTION = enum.auto()
    UPGRADE = enum.auto()
    EXPECT = enum.auto()
    LOOP = enum.auto()
    """Read, and written anew (RFC 8586)."""
    AUTHENTICATION = enum.auto()
    """Kept; but NTLM and Negotiate bind the connection (RFC 4559 §6)."""


_USUAL: Final = dict.fromkeys(  # named so that most fields need no second look
    (
        b"user-agent accept accept-encoding accept-language cookie referer origin cache-control pragma dnt "
        b"content-type if-none-match if-modified-since range priority upgrade-insecure-requests sec-fetch-site "
        b"sec-fetch-mode sec-fetch-dest sec-fetch-user sec-ch-ua sec-ch-ua-mobile sec-ch-ua-platform sec-gpc"
    ).split(),
    Rule.KEEP,
)
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

_REQUEST: Final = (
    _USUAL
    | _HOP_BY_HOP
    | {
        b"host": Rule.HOST,
        b"expect": Rule.EXPECT,
        b"authorization": Rule.AUTHENTICATION,
        b"cdn-loop": Rule.LOOP,
    }
    | dict.fromkeys(CLAIMS, Rule.DROP)
)
_DROP_PREFIXES: Final = tuple(CLAIM_PREFIXES)
# Which octets of a name are none of a letter, a digit or a hyphen, though a token may hold them (RFC 9110 §5.6.2)
_TO_HYPHEN: Final = bytes.maketrans(b"!#$%&'*+.^_`|~", b"-" * 14)

REQUEST_RULES: Final[Mapping[bytes, Rule]] = _REQUEST | {name.title(): rule for name, rule in _REQUEST.items()}
"""By name in its two usual spellings, so that most fields cost one look-up; for a miss ask `request_rule`. A plain dict:
the `get` of a MappingProxyType takes 44 ns where this takes 24, and a head has a dozen fields."""

_RESPONSE_USUAL: Final = (
    b"date server content-type etag last-modified cache-control vary set-cookie location accept-ranges expires age "
    b"content-encoding x-powered-by access-control-allow-origin strict-transport-security content-security-policy"
)
_RESPONSE: Final = (
    dict.fromkeys(_RESPONSE_USUAL.split(), Rule.KEEP) | _HOP_BY_HOP | {b"www-authenticate": Rule.AUTHENTICATION}
)
RESPONSE_RULES: Final[Mapping[bytes, Rule]] = _RESPONSE | {name.title(): rule for name, rule in _RESPONSE.items()}
"""The same for responses; for a miss ask `response_rule`."""


def request_rule(name: bytes) -> Rule:
    """The rule for a request field, in any spelling.

    CGI and WSGI read `X_Forwarded_For` and `X-Forwarded-For` as one variable, lighttpd `X.Forwarded.For` too, so a name
    with such characters is judged as if it were spelled with hyphens; if it is none of ours it passes. Raises
    RemoteProtocolError (400) for a second spelling of a field that routes or frames the message.
    """
    lower = name.lower()
    if (rule := _REQUEST.get(lower)) is not None:
        return rule
    twin = lower.translate(_TO_HYPHEN)
    rule = _REQUEST.get(twin)
    if rule in (Rule.HOST, Rule.LENGTH, Rule.CODING):
        raise RemoteProtocolError("Host or a framing field is spelled with another character for its hyphen")
    dropped = rule not in (None, Rule.KEEP) or twin.startswith(_DROP_PREFIXES)
    return Rule.DROP if dropped else Rule.KEEP


def response_rule(name: bytes) -> Rule:
    """The rule for a response field, in any spelling."""
    return _RESPONSE.get(name.lower(), Rule.KEEP)


_OPTIONS: Final = frozenset((b"close", b"keep-alive", b"upgrade"))


def end_to_end(fields: list[tuple[bytes, bytes]], connection: list[bytes]) -> list[tuple[bytes, bytes]]:
    """`fields` without those that Connection names (RFC 9110 §7.6.1)."""
    named = set(connection) - _OPTIONS if connection else None
    return [field for field in fields if field[0].lower() not in named] if named else fields


# RFC 9110 §11.6.1: a field may hold several challenges, and the first need not be the one.
_BINDING: Final = re.compile(rb"(?:\A|,)[ \t]*(?:ntlm|negotiate)", re.IGNORECASE)


def binds_connection(value: bytes) -> bool:
    """Whether credentials or challenges are of a kind that authenticates the connection, not the request."""
    return _BINDING.search(value) is not None
