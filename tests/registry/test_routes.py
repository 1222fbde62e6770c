"""The worker's route table: the newest tunnel serves, and the late end of an older one leaves its route."""

from __future__ import annotations

import pytest

import ferry.registry.routes
from edge.tcp_tunnel import TcpTunnel
from ferry.errors import LocalProtocolError
from ferry.names import Address, IdentityId, Kind
from ferry.registry.routes import Routes, Tunnel
from granted import Spot, to_listen, to_visit


def tunnel(address: Address) -> TcpTunnel:
    made = TcpTunnel("unused", ("127.0.0.1", 1))
    made.address = address
    return made


BLOG = Address(Kind.HTTP, "blog.localhost")
PORT = Address(Kind.TCP, "", 30000)
ALIAS = Address(Kind.ALIAS, "laptop", 22)


@pytest.mark.parametrize("address", [BLOG, PORT, ALIAS], ids=str)
def test_the_newest_route_serves_and_the_end_of_an_older_one_keeps_it(address: Address) -> None:
    routes, older, newer = Routes(), tunnel(address), tunnel(address)
    gone: list[Tunnel] = []
    routes.on_gone.append(gone.append)
    assert routes.get(address) is None
    assert routes.add(older, to_listen(older)) is None
    assert gone == []
    assert routes.add(newer, to_listen(newer)) is older
    assert routes.get(address) is newer
    assert not routes.remove(older)
    assert gone == [older]
    assert routes.get(address) is newer
    assert routes.hosts[Kind.HTTP].get(address.name) is (newer if address.kind is Kind.HTTP else None)
    assert routes.by_address == {address: newer}
    assert routes.remove(newer)
    assert not routes.remove(newer)
    assert gone == [older, newer]
    assert routes.get(address) is None
    assert routes.hosts == {Kind.HTTP: {}}
    assert routes.by_address == {}


def test_a_device_is_known_by_its_owners_name_while_it_holds_a_port() -> None:
    routes, older, newer, other = Routes(), tunnel(PORT), tunnel(PORT), tunnel(ALIAS)
    older.owner_name, newer.owner_name, other.owner_name = "Web-1", "web-2", "web-1"
    for each in (older, other):
        routes.add(each, to_listen(each))
    assert routes.devices == {"web-1": {30000: older}}
    routes.add(newer, to_listen(newer))
    assert routes.devices == {"web-2": {30000: newer}}
    for each in (older, newer, other):
        routes.remove(each)
    assert routes.devices == {}


def test_a_device_keeps_its_port_when_its_alias_of_the_same_number_ends() -> None:
    routes, port, alias = Routes(), tunnel(PORT), tunnel(Address(Kind.ALIAS, "web-1", PORT.port))
    for each in (port, alias):
        each.owner_name = "web-1"
        routes.add(each, to_listen(each))
    assert routes.remove(alias)
    assert routes.devices == {"web-1": {PORT.port: port}}


@pytest.mark.parametrize("way", ["removed", "replaced"])
def test_a_subscriber_that_fails_keeps_no_other_from_hearing_of_a_tunnel_that_is_gone(
    way: str, caplog: pytest.LogCaptureFixture
) -> None:
    routes, older, newer = Routes(), tunnel(BLOG), tunnel(BLOG)
    gone: list[Tunnel] = []

    def fails(_: Tunnel) -> None:
        raise KeyError("an error of our own")

    routes.on_gone += [gone.append, fails, gone.append]
    routes.add(older, to_listen(older))
    if way == "removed":
        assert routes.remove(older)
    else:
        assert routes.add(newer, to_listen(newer)) is older
    assert gone == [older, older]
    assert routes.get(BLOG) is (None if way == "removed" else newer)
    (record,) = caplog.records
    assert "an error of our own" in str(record.exc_info)
    assert record.filename == "routes.py"  # by the place, the log counts and omits the errors that come again


@pytest.mark.parametrize("other", ["address", "owner", "use"])
def test_no_route_opens_without_a_grant_to_listen_at_that_address_for_that_owner(other: str) -> None:
    routes, blog = Routes(), tunnel(BLOG)
    grant = {
        "address": to_listen(Spot(PORT, blog.owner)), "owner": to_listen(Spot(BLOG, IdentityId("another"))), "use": to_visit(blog),
    }[other]  # fmt: skip
    with pytest.raises(LocalProtocolError):
        routes.add(blog, grant)
    assert (routes.by_address, routes.hosts, routes.seen_hosts) == ({}, {Kind.HTTP: {}}, {})


def test_only_web_addresses_are_found_by_host() -> None:
    routes = Routes()
    for address in (BLOG, PORT, ALIAS):
        routes.add(made := tunnel(address), to_listen(made))
    assert list(routes.hosts[Kind.HTTP]) == ["blog.localhost"]
    assert list(routes.seen_hosts) == ["blog.localhost"]
    assert routes.remove(routes.by_address[ALIAS])
    assert list(routes.hosts[Kind.HTTP]) == ["blog.localhost"]


def test_a_host_is_remembered_after_its_tunnel_and_the_oldest_is_forgotten_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ferry.registry.routes, "HOSTS_SEEN", 3)
    routes, blog = Routes(), tunnel(BLOG)
    routes.add(blog, to_listen(blog))
    routes.remove(blog)
    for host in ("two", "three"):
        routes.note_host(host)
    routes.note_host("blog.localhost")  # seen again: now the newest
    routes.note_host("four")
    assert list(routes.seen_hosts) == ["three", "blog.localhost", "four"]


def test_as_shipped_the_number_of_remembered_hosts() -> None:
    """HOSTS_SEEN."""
    routes = Routes()
    for number in range(100_007):
        routes.note_host(f"{number}.localhost")
    assert len(routes.seen_hosts) == 100_000
