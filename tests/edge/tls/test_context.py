"""The TLS alert for a failed handshake, and its exception."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from ferry.clock import SystemClock
from ferry.edge.tls.context import server_context
from ferry.edge.tls.local_ca import LocalCa


def test_a_handshake_that_failed_stays_failed_for_the_first_reason() -> None:
    """Its alert goes out first; what the client says to that is no new failure."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = server_context().wrap_bio(to_server, to_client, server_side=True)
    to_server.write(b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00")  # a ClientHello with nothing in it
    with pytest.raises(ssl.SSLWantReadError):
        server.do_handshake()
    assert to_client.read().startswith(b"\x15\x03")  # the alert
    reasons = []
    for answer in (b"", b"\x15\x03\x01\x00\x02\x01\x00"):  # nothing yet, and then its own close
        to_server.write(answer)
        with pytest.raises(ssl.SSLError) as failed:
            server.do_handshake()
        reasons.append(failed.value.reason)
    assert reasons[0]
    assert reasons[0] == reasons[1]
    assert "LENGTH" in reasons[0]


def test_a_client_that_refuses_the_certificate_is_not_waited_for(tmp_path: Path) -> None:
    """Its alert has come, and the gateway has none of its own to send."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = LocalCa.open(tmp_path, "localhost", clock=SystemClock()).leaf("localhost").context
    server = context.wrap_bio(to_server, to_client, server_side=True)
    client = ssl.create_default_context().wrap_bio(to_client, to_server, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    with pytest.raises(ssl.SSLWantReadError):
        server.do_handshake()
    with pytest.raises(ssl.SSLCertVerificationError):
        client.do_handshake()
    to_client.read()  # the rest of what the server has sent, which the client does not look at any more
    with pytest.raises(ssl.SSLError, match="UNKNOWN_CA"):
        server.do_handshake()
