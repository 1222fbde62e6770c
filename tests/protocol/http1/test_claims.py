"""Each field of the table of claims, in each spelling that some server reads as the same variable."""

from __future__ import annotations

import pytest

from ferry.errors import RemoteProtocolError
from ferry.protocol.http1.claims import CLAIM_PREFIXES, CLAIMS
from ferry.protocol.http1.request import parse_request

# As the issue that named them had them: what frameworks are known to believe, whatever the table says.
KNOWN = [
    "X-Forwarded",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Proto",
    "X-Forwarded-Ssl",
    "X-Forwarded-User",
    "Forwarded",
    "X-Original-URL",
    "X-Original-Host",
    "X-Rewrite-URL",
    "X-Host",
    "X-Scheme",
    "Front-End-Https",
    "Client-IP",
    "Fly-Client-IP",
    "X-Originating-IP",
    "X-Remote-IP",
    "X-Remote-Addr",
    "True-Client-IP",
    "CF-Connecting-IP",
    "X-Real-IP",
    "X-Client-IP",
    "X-Cluster-Client-IP",
    "X-ProxyUser-Ip",
    "X-Envoy-External-Address",
    "X-Original-Forwarded-For",
    "Remote-User",
    "X-Auth-Request-Email",
    "Client-Cert",
    "Proxy",
    "Ferry-Identity",
    "X-Custom-IP-Authorization",
    "Forwarded-For",
    "X-Forward-For",
    "X-Originally-Forwarded-For",
    "Remote-Addr",
    "HTTP_X_FORWARDED_FOR",
    "HTTP_CLIENT_IP",
    "Forwarded-Host",
    "Forwarded-Proto",
    "X-Protocol",
    "X-Proto",
    "X-SSL",
    "X-HTTPS",
    "Ssl-Offloaded",
    "Request-Uri",
    "X-Request-URI",
    "X-Script-Name",
    "Script-Name",
    "Path-Info",
    "X-Wsgi-Url-Scheme",
    "X-Authenticated-User",
    "X-Authentik-Username",
    "X-Webauth-User",
    "X-Webauth-Role",
    "X-Consumer-Username",
    "X-Appengine-User-Ip",
    "X-Appengine-Cron",
    "X-Accel-Mapping",
    "X-Sendfile-Type",
]


def passes(name: str) -> bool:
    head = f"GET / HTTP/1.1\r\nHost: a.localhost\r\nAccept: */*\r\n{name}: 6.6.6.6\r\n\r\n".encode()
    return [field[0] for field in parse_request(head, most_fields=9).fields] != [b"Accept"]


@pytest.mark.parametrize("name", [*KNOWN, *(n.decode() for n in CLAIMS), *(f"{n.decode()}x" for n in CLAIM_PREFIXES)])
def test_a_claim_does_not_pass_in_any_spelling(name: str) -> None:
    spellings = {name, name.lower(), name.upper(), name.title()}
    for other in "_.!~":  # CGI and WSGI read the first as a hyphen, lighttpd the others too
        spellings |= {name.replace("-", other), name.replace("-", other, 1).lower()}
    assert [spelling for spelling in sorted(spellings) if passes(spelling)] == []


@pytest.mark.parametrize(
    "name",
    [
        "X-HTTP-Method-Override",
        "X-Forward",
        "X-Request-ID",
        "X_Other",
        "Via",
        "X-Api-Key",
        "X-User",  # an API's own, with a secret beside it
        "X-User-Id",
        "X-Email",
        "X-Role",
        "X-Auth-User",
        "X-Auth-Token",
        "X-Protocol-Version",
        "X-Prototype-Version",
        "X-Accel-Buffering",
        "X-Client-Data",
        "Http-X",
        "Cookie",
        "Referer",
        "Origin",
        "Traceparent",
        "X-Requested-With",
    ],
)
def test_fields_without_a_claim_pass(name: str) -> None:
    assert passes(name)


@pytest.mark.parametrize("name", ["Content_Length", "content.length", "Transfer_Encoding", "Transfer~Encoding"])
def test_a_framing_field_in_another_spelling_is_refused(name: str) -> None:
    with pytest.raises(RemoteProtocolError) as refused:
        passes(name)
    assert refused.value.status == 400


def test_each_row_names_a_program_that_trusts_the_field() -> None:
    assert all(CLAIMS.values())
    assert all(CLAIM_PREFIXES.values())
    assert all(name == name.lower() and b"_" not in name for name in (*CLAIMS, *CLAIM_PREFIXES))
