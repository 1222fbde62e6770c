"""The TLS alert for a failed handshake, and its exception."""

from __future__ import annotations

import ssl

import pytest

from ferry.edge.tls.context import server_context


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
