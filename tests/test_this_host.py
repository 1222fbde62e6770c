"""What this host says about itself."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from ferry.this_host import is_own_address


@pytest.mark.parametrize(("address", "own"), [("127.0.0.1", True), ("198.51.100.7", False), ("2001:db8::7", False)])
def test_an_address_is_its_own_or_somebody_elses(address: str, own: bool) -> None:
    """The last two are of documentation: nobody has them (RFC 5737, RFC 3849)."""
    assert is_own_address(ip_address(address)) is own
