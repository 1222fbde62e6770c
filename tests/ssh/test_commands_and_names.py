"""Commands: the names of an identity, the meaning of a word, and answers without the database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from asyncssh.packet import String

from ferry.config.policy_file import parse_policy
from ferry.names import Address, Fingerprint, Identity, IdentityId, Kind, WorkerId
from ferry.policy.rulebook import Rulebook
from ferry.registry.contract import Claimed, Reservation, StoreUnavailable, Terms
from hand_clock import HandClock
from inside_gateway import SECONDS, Inside, inside_gateway
from memory_registry import MemoryRegistry
from raw_client import RawClient
from raw_session import open_session
from ssh.test_revoked import Keys
from ssh_command import fingerprint

WORKER = WorkerId("w")


class Registry(MemoryRegistry):
    away = False

    async def reservations(self, owner: IdentityId | None) -> list[Reservation]:
        if self.away:
            raise StoreUnavailable("away")
        return await super().reservations(owner)


@dataclass
class Stage:
    inside: Inside
    client: RawClient
    registry: Registry
    clock: HandClock
    who: Identity
    numbers: int = 5000

    async def own(self, *addresses: Address, used: bool = True) -> None:
        """Reserved for the client, and not served."""
        rules = self.inside.rules
        terms = Terms(keep=rules.keep, rest=rules.rest, reserve=True, derived=False, max_reservations=99)
        for address in addresses:
            claimed = await self.registry.claim(address, self.who, WORKER, now=self.clock.now(), terms=terms)
            assert isinstance(claimed, Claimed)
            assert await self.registry.release(address, claimed.lease.generation, now=self.clock.now(), used=used)

    async def owned(self) -> list[Address]:
        return [found.address for found in await self.registry.reservations(None)]

    async def run(self, words: str) -> tuple[int, list[str]]:
        self.numbers += 1
        session = await open_session(self.client, self.numbers)
        assert session is not None
        assert await session.ask(b"exec", String(words)) if words else await session.ask(b"shell")
        status = await session.ended()
        return status, session.said.decode().splitlines()


@asynccontextmanager
async def on_stage(key: Path, username: str = "dev") -> AsyncIterator[Stage]:
    registry, clock = Registry(), HandClock()
    async with (
        asyncio.timeout(SECONDS),
        inside_gateway(registry=registry, clock=clock) as inside,
        inside.client(key, username=username) as client,
    ):
        mark = Fingerprint(fingerprint(key))
        yield Stage(inside, client, registry, clock, Identity(IdentityId(mark), None, mark))


@pytest.fixture
async def stage(key: Path) -> AsyncIterator[Stage]:
    async with on_stage(key) as made:
        yield made


BLOG, SHOP = Address(Kind.HTTP, "blog.localhost"), Address(Kind.HTTP, "shop.localhost")
PORT = Address(Kind.TCP, "", 30042)
LAPTOP, LAPTOP_WEB, ALIAS_BLOG = (
    Address(Kind.ALIAS, "laptop", 22),
    Address(Kind.ALIAS, "laptop", 80),
    Address(Kind.ALIAS, "blog", 22),
)


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("blog", BLOG),
        ("blog.localhost", BLOG),
        ("BLOG.localhost.", BLOG),
        ("30042", PORT),
        ("laptop", LAPTOP),
        ("laptop:22", LAPTOP),
        ("shop", SHOP),
    ],
)
async def test_release_gives_back_the_named_address_only(stage: Stage, word: str, meant: Address) -> None:
    everything = [BLOG, PORT, LAPTOP, SHOP]
    await stage.own(*everything)
    assert (await stage.run(f"release {word}"))[0] == 0
    assert set(everything) - set(await stage.owned()) == {meant}


async def test_release_gives_back_several_names_or_none_of_them(stage: Stage) -> None:
    everything = [BLOG, PORT, LAPTOP, SHOP]
    await stage.own(*everything)
    status, lines = await stage.run("release blog no-such 30042")
    assert (status, lines) == (1, ["no-such is not reserved for you: `names` lists what is. Nothing was given back"])
    assert await stage.owned() == everything
    status, lines = await stage.run("release blog 30042 blog.localhost")
    assert (status, lines) == (0, [f"{one} is no longer reserved for you" for one in (BLOG, PORT)])
    assert await stage.owned() == [LAPTOP, SHOP]


async def test_release_unused_gives_back_what_is_neither_up_nor_was_used(stage: Stage) -> None:
    await stage.own(PORT, LAPTOP)
    await stage.own(SHOP, ALIAS_BLOG, used=False)
    assert await stage.client.forward(b"blog", 80)
    status, lines = await stage.run("release --unused")
    assert (status, lines) == (0, [f"{one} is no longer reserved for you" for one in (SHOP, ALIAS_BLOG)])
    assert set(await stage.owned()) == {PORT, LAPTOP, BLOG}
    nothing = "nothing to give back: each name of yours is up or was used (`names` lists them)"
    assert await stage.run("release --unused") == (0, [nothing])


@pytest.mark.parametrize("word", ["0", "22", "30043", "localhost", "port", "laptop:23", "lap", ".localhost", ".", "-"])
async def test_release_of_an_unknown_name_gives_nothing_back(stage: Stage, word: str) -> None:
    """`release 0` gave back the first web name: it has no port, which is 0."""
    everything = [BLOG, PORT, LAPTOP, SHOP]
    await stage.own(*everything)
    assert (await stage.run(f"release {word}"))[0] == 1
    assert await stage.owned() == everything


@pytest.mark.parametrize(
    ("word", "both"), [("laptop", "laptop:22 and laptop:80"), ("blog", "blog.localhost and blog:22")]
)
async def test_an_ambiguous_name_releases_neither_and_names_both(stage: Stage, word: str, both: str) -> None:
    everything = [BLOG, LAPTOP, LAPTOP_WEB, ALIAS_BLOG]
    await stage.own(*everything)
    assert await stage.run(f"release {word}") == (1, [f"'{word}' may mean {both}: write one of them"])
    assert await stage.owned() == everything
    assert (await stage.run(f"release {both.split(maxsplit=1)[0]}"))[0] == 0
    assert len(await stage.owned()) == 3


async def test_names_lists_kept_and_used_names(stage: Stage) -> None:
    await stage.own(SHOP)
    assert await stage.client.forward(b"blog", 80)
    _, lines = await stage.run("names")
    assert [line.split()[0] for line in lines] == ["shop.localhost", "blog.localhost"]
    stage.clock.ahead = stage.inside.rules.keep + 60
    _, lines = await stage.run("names")
    assert [" ".join(line.split()) for line in lines] == ["blog.localhost in use now"]


@pytest.mark.parametrize(("username", "status"), [("dev", 1), ("nokey", 0)])
async def test_a_client_without_a_key_is_answered_without_the_database(key: Path, username: str, status: int) -> None:
    async with on_stage(key, username) as stage:
        stage.registry.away = True
        ended, lines = await stage.run("")
        assert ended == status
        assert any("new ones must wait" in line for line in lines) is (status == 1)
        assert any("To forward: " in line for line in lines) is (status == 0)


@pytest.mark.parametrize(
    ("username", "seconds", "told"), [("dev", 600.0, True), ("dev", 0.0, False), ("nokey", 600.0, False)]
)
async def test_a_client_that_must_earn_a_name_is_told_how(
    key: Path, username: str, *, seconds: float, told: bool
) -> None:
    async with on_stage(key, username) as stage:
        stage.inside.change(reserve_after=seconds)
        _, lines = await stage.run("")
        earned = [line for line in lines if line.startswith("A name is reserved")]
        assert earned == (["A name is reserved for you after 10 minutes of use."] if told else [])


async def test_commands_show_nothing_of_another_identity(new_key: Callable[[], Path]) -> None:
    async with on_stage(new_key()) as stage, stage.inside.client(new_key()) as other:
        assert await stage.client.forward(b"blog", 80)
        assert not await stage.client.forward(b"no_name", 80)
        stranger = replace(stage, client=other)
        for words in ("", "ls", "names"):
            _, lines = await stranger.run(words)
            assert not any("blog" in line or "no_name" in line for line in lines)
        assert (await stranger.run("release blog"))[0] == 1
        assert await stage.owned() == [BLOG]


@pytest.mark.parametrize(
    ("permit", "hosts"),
    [
        ("db:22", ["db"]),  # the key has no name=: with it, its own machine is left out
        ("db.example.com:22", ["db.example.com"]),
        ("*:22", []),
        ("web?:22", []),
        ("db:*", []),
        ("*:*", []),
        ("localhost:*", []),
        ("db:80", []),
        ("[2001:db8::1]:22", []),  # ssh_config has patterns for names, and an address is no name
    ],
)
async def test_ssh_config_has_the_machines_that_permits_name_exactly(key: Path, permit: str, hosts: list[str]) -> None:
    """`permitopen="*:22"` would be a block for all hosts that one logs in to."""
    everything = Rulebook(parse_policy('[[rule]]\nwho = "*"\nreach.hosts = "*:*"\n', "/policy", {}))
    async with on_stage(key) as stage:
        stage.inside.change(access=Keys(fingerprint(key), options=f'permitopen="{permit}"'), book=everything)
        async with stage.inside.client(key) as client:
            status, lines = await replace(stage, client=client).run("ssh-config")
    assert status == 0
    assert [line.split()[1] for line in lines if line.startswith("Host ")] == hosts
    assert lines[0].startswith("no machine of yours is here: on one of them write ssh -R laptop:22") is (not hosts)


@pytest.mark.parametrize(("whose", "host"), [("another's", "localhost"), ("own", "localhost"), ("nobody's", "[::1]")])
async def test_ssh_config_has_a_port_that_a_permit_names_once(
    key: Path, new_key: Callable[[], Path], whose: str, host: str
) -> None:
    """Whoever holds it, and while its machine is away too."""
    other = new_key()
    async with on_stage(key) as stage:
        port = stage.inside.ports.loopback[0]
        stage.inside.change(access=Keys(fingerprint(key), fingerprint(other), options=f'permitopen="{host}:{port}"'))
        async with stage.inside.client(key) as client, stage.inside.client(other) as stranger:
            if whose != "nobody's":
                assert await (client if whose == "own" else stranger).forward(b"localhost", port)
            _, lines = await replace(stage, client=client).run("ssh-config")
    assert [line for line in lines if line.startswith("Host ")] == [f"Host port-{port}"]


async def test_ssh_config_leaves_out_ones_own_machine_and_those_that_a_rule_refuses(key: Path) -> None:
    rules = '[[rule]]\nwho = "*"\nreach.hosts = ["db:22", "web:22"]\n'
    async with on_stage(key) as stage:
        named: dict[str, Any] = {fingerprint(key): "db"}
        access = Keys(options='permitopen="db:22",permitopen="web:22",permitopen="shop:22"', **named)
        stage.inside.change(access=access, book=Rulebook(parse_policy(rules, "/policy", {})))
        async with stage.inside.client(key) as client:
            _, lines = await replace(stage, client=client).run("ssh-config")
    assert [line for line in lines if line.startswith("Host ")] == ["Host web"]
