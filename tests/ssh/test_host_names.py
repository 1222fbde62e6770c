"""The name of a client's host: one that leads back to its address, or none."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator

import pytest

from ferry.ssh.host_names import HostNames
from hurried_loop import Watch, hurried
from turns import timers, turns

ADDRESS = "192.0.2.7"
HOST_NAME_LOOKUPS_PER_NETWORK = 4


class Resolver:
    """The system's, with one name for ADDRESS."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.name = "Web.Example.com"
        self.leads_to = [ADDRESS]
        self.lets_go = threading.Event()
        self.lets_go.set()
        self.asked = 0
        patch.setattr(socket, "getnameinfo", self._name)
        patch.setattr(socket, "getaddrinfo", self._addresses)

    def _name(self, address: tuple[str, int], flags: int) -> tuple[str, str]:
        assert (address[0].startswith("192.0."), flags) == (True, socket.NI_NAMEREQD)
        self.asked += 1
        assert self.lets_go.wait(20)
        if not self.name:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return self.name, "0"

    def _addresses(self, name: str, port: None, **kind: int) -> list[tuple[int, int, int, str, tuple[str, int]]]:
        assert (name, port, kind) == (self.name.lower(), None, {"type": socket.SOCK_STREAM})
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in self.leads_to]


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Resolver]:
    made = Resolver(monkeypatch)
    yield made
    made.lets_go.set()


@pytest.mark.parametrize(
    ("name", "leads_to", "found"),
    [
        ("Web.Example.com", ["192.0.2.8", ADDRESS], "web.example.com"), ("web.example.com", ["192.0.2.8"], ADDRESS),
        ("", [], ADDRESS), ("10.0.0.1", [ADDRESS], ADDRESS), ("::1", [ADDRESS], ADDRESS),
    ],
)  # fmt: skip
async def test_a_name_counts_only_if_it_leads_back(
    resolver: Resolver, name: str, leads_to: list[str], found: str
) -> None:
    resolver.name, resolver.leads_to = name, leads_to
    assert await HostNames().name_of(ADDRESS) == found


async def test_a_slow_look_up_is_given_up_and_others_do_not_queue_behind_it(
    resolver: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has a network has its reverse zone too, and can make it slow: it takes the places of its own network."""
    monkeypatch.setattr("ferry.limits.HOST_NAME_SECONDS", 0.01)
    resolver.lets_go.clear()
    names = HostNames()
    for number in range(HOST_NAME_LOOKUPS_PER_NETWORK):
        slow = f"192.0.3.{number}"
        assert [await names.name_of(slow), await names.name_of(slow)] == [slow, slow]
    assert await names.name_of("192.0.3.99") is None
    monkeypatch.setattr("ferry.limits.HOST_NAME_SECONDS", 20)
    asked = asyncio.ensure_future(names.name_of(ADDRESS))
    resolver.lets_go.set()
    assert await asked == "web.example.com"
    assert resolver.asked == HOST_NAME_LOOKUPS_PER_NETWORK + 1
    async with asyncio.timeout(20):
        while await names.name_of("192.0.3.99") is None:  # until one of the others has ended
            await turns()


@hurried
async def test_as_shipped_the_number_of_names_looked_up_at_once(resolver: Resolver) -> None:
    """HOST_NAME_LOOKUPS, and HOST_NAME_SECONDS for those that are slow. What the networks are does not count."""
    resolver.lets_go.clear()
    names, watch = HostNames(), Watch()
    slow = [f"192.0.{network}.1" for network in range(64)]
    async with asyncio.timeout(6):
        assert await asyncio.gather(*map(names.name_of, slow)) == slow
    assert watch.skipped <= 5 <= watch.seconds
    assert await names.name_of(ADDRESS) is None


@hurried
async def test_a_name_counts_for_a_minute_for_further_log_ins_from_the_address(
    resolver: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HOST_NAME_KEEP_SECONDS."""
    monkeypatch.setattr("ferry.limits.HOST_NAME_SECONDS", None)  # the thread takes its own time
    names = HostNames()
    assert [await names.name_of(ADDRESS) for _ in range(3)] == ["web.example.com"] * 3
    asked = [resolver.asked]
    for seconds in (59, 2):
        await timers(seconds)
        assert await names.name_of(ADDRESS) == "web.example.com"
        asked.append(resolver.asked)
    assert asked == [1, 1, 2]


async def test_as_shipped_the_number_of_names_that_are_kept(resolver: Resolver) -> None:
    """HOST_NAMES."""
    names = HostNames()
    addresses = [f"192.0.{number // 256}.{number % 256}" for number in range(1025)]
    for address in addresses:
        await names.name_of(address)
    for address in addresses[1:3]:
        await names.name_of(address)
    assert resolver.asked == len(addresses), "the latest are kept"
    await names.name_of(addresses[0])
    assert resolver.asked == len(addresses) + 1
