"""A client is told of an originator that a socket can have: Go's x/crypto/ssh refuses the channel otherwise."""

from __future__ import annotations

import pytest

from ferry.names import Endpoint
from ferry.ssh.wire.originator import valid_originator


@pytest.mark.parametrize("port", [1, 4711, 65535])
def test_a_visitors_address_is_passed_unchanged(port: int) -> None:
    assert valid_originator(Endpoint("192.0.2.7", port)) == Endpoint("192.0.2.7", port)


@pytest.mark.parametrize("left", [Endpoint("192.0.2.7", 0), Endpoint("192.0.2.7", 65536), Endpoint("", 4711)])
def test_a_visitor_that_has_left_has_a_valid_originator(left: Endpoint) -> None:
    told = valid_originator(left)
    assert told != left
    assert told.host
    assert 0 < told.port < 65536
