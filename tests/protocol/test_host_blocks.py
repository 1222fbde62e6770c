"""Host blocks: their names are unique, and none is a pattern or the gateway's."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from ferry.names import Address, Kind
from ferry.protocol.host_blocks import Held, gateway_block, host_blocks, machines_of


def port(number: int) -> Address:
    return Address(Kind.TCP, "", number)


def alias(name: str, number: int = 22) -> Address:
    return Address(Kind.ALIAS, name, number)


def hosts(*held: Held) -> dict[str, str]:
    """The machines: by name, their host and port."""
    return {one.host: f"{one.hostname}:{one.port}" for one in machines_of(held, lambda number: number < 30000)}


def test_ports_on_loopback_and_aliases_with_port_22_are_machines() -> None:
    assert hosts(
        Held(port(21022), "web-1"), Held(port(21023), None), Held(port(30022), "web-1"), Held(alias("laptop"), "ann"),
        Held(alias("laptop", 80), "ann"), Held(Address(Kind.HTTP, "blog.example.com"), "ann"),
    ) == {"laptop": "laptop:22", "port-21023": "localhost:21023", "web-1": "localhost:21022"}  # fmt: skip


def test_names_are_unique() -> None:
    assert hosts(
        Held(port(21001), "web-1"), Held(port(21002), "web-1"), Held(alias("web-2"), "web-2"), Held(port(21003), "web-2"),
        Held(alias("gw"), None),
    ) == {
        "web-1-21001": "localhost:21001", "web-1-21002": "localhost:21002", "web-2": "localhost:21003",
        "web-2-22": "web-2:22", "gw-22": "gw:22",
    }  # fmt: skip


def test_a_block_has_what_ssh_needs() -> None:
    (machine,) = machines_of([Held(port(21022), "web-1")], lambda _: True)
    assert list(host_blocks([machine], "gw")) == [
        "", "Host web-1", "    HostName localhost", "    Port 21022", "    ProxyJump gw", "    HostKeyAlias web-1",
    ]  # fmt: skip
    assert list(gateway_block("gw.example.com", 443)) == ["Host gw", "    HostName gw.example.com", "    Port 443"]


@given(
    st.lists(
        st.tuples(
            st.integers(1, 9), st.none() | st.sampled_from(["a", "*", "!a", "a b", "gw", "a\nHost *", "port-1", ""])
        )
    )
)
def test_no_name_is_a_pattern_or_stands_twice(held: list[tuple[int, str | None]]) -> None:
    addresses = {port(number): name for number, name in held}
    found = machines_of([Held(address, name) for address, name in addresses.items()], lambda _: True)
    names = [machine.host for machine in found]
    assert len(set(names)) == len(names) == len(addresses)
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+", name) for name in names)
    assert "gw" not in names
