"""The offence of an address for each end of a log-in, and the ends without one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from ferry.limiters.penalties import Offence, Penalties
from ferry.limiters.sources import ExemptNetworks
from ferry.names import Fingerprint, Identity
from ferry.registry.contract import StoreUnavailable
from inside_gateway import SECONDS, Inside, inside_gateway
from ssh.test_revoked import Keys
from turns import until

HERE = "127.0.0.1"


class Heard(Penalties):
    """Records offences, and blocks no address."""

    def __init__(self) -> None:
        super().__init__(ExemptNetworks([]))
        self.offences: list[Offence] = []

    def add_offence(self, host: str, offence: Offence, now: float) -> None:
        assert host == HERE
        self.offences.append(offence)


async def end_of(gateway: Inside, count: int = 1) -> tuple[str, list[Offence]]:
    """How the last of so many log-ins ended, and what all were blamed for."""
    await until(lambda: len(gateway.said("handshake.ended")) >= count)
    ended = gateway.said("handshake.ended")
    heard = gateway.penalties
    assert isinstance(heard, Heard)
    return ended[-1]["outcome"], heard.offences


def raw(*sent: bytes) -> Callable[[Inside], Awaitable[None]]:
    """Says that and leaves, once it has been heard."""

    async def says(gateway: Inside) -> None:
        reader, writer = await asyncio.open_connection(HERE, gateway.ssh_port)
        await reader.readline()
        writer.write(b"".join(sent))
        writer.write_eof()
        with suppress(ConnectionError):
            await reader.read()
        writer.close()

    return says


async def log_in(gateway: Inside, *keys: object) -> None:
    """Try to, with these keys in turn."""
    connection = await asyncssh.connect(
        HERE, gateway.ssh_port, username="dev", client_keys=list(keys), known_hosts=None, config=None, agent_path=None,
        kbdint_auth=False,
    )  # fmt: skip
    connection.abort()


def stolen() -> Any:
    """A key of which only the public half is there: its signatures are wrong."""
    own, victim = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
    (pair,) = asyncssh.load_keypairs([own])
    pair.public_data = victim.public_data
    return pair


async def wrong_signature(gateway: Inside) -> None:
    with pytest.raises(asyncssh.PermissionDenied):
        await log_in(gateway, stolen())


async def silent(gateway: Inside) -> None:
    reader, writer = await asyncio.open_connection(HERE, gateway.ssh_port)
    await reader.read()
    writer.close()


@pytest.mark.parametrize(
    ("does", "outcome", "blame"),
    [
        (raw(), "failed", Offence.NOTHING_OFFERED),
        (raw(b"SSH-2.0-scanner\r\n"), "failed", Offence.NOTHING_OFFERED),
        (raw(b"SSH-2.0-\xff\xfe\r\n"), "failed", Offence.GARBAGE),
        (raw(b"SSH-2.0-x\r\n", b"\xff" * 64), "failed", Offence.GARBAGE),
        (raw(b"SSH-2.0-x\r\n", b"\0\0\0\x0c\x0b" + bytes(11)), "failed", Offence.GARBAGE),
        (raw(b"SSH-1.5-old\r\n"), "failed", Offence.GARBAGE),
        (raw(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"), "failed", Offence.OTHER_PROTOCOL),
        (raw(b"\x16\x03\x01\x02\x00\x01" + bytes(32)), "failed", Offence.OTHER_PROTOCOL),
        (wrong_signature, "failed", Offence.KEYS_REFUSED),
    ],
    ids=[
        "leaves",
        "leaves later",
        "no text",
        "giant packet",
        "empty packet",
        "ssh-1",
        "http",
        "tls",
        "wrong signature",
    ],
)
async def test_a_failed_log_in_gets_the_penalty_of_its_offence(
    does: Callable[[Inside], Awaitable[None]], outcome: str, blame: Offence
) -> None:
    async with asyncio.timeout(SECONDS), inside_gateway(penalties=Heard()) as gateway:
        await does(gateway)
        assert await end_of(gateway) == (outcome, [blame])


async def test_a_log_in_past_its_time_gets_that_penalty() -> None:
    async with asyncio.timeout(SECONDS), inside_gateway(penalties=Heard(), login_grace=0.05) as gateway:
        await silent(gateway)
        assert await end_of(gateway) == ("timeout", [Offence.NEVER_ENDED])


class NoDatabase:
    """Saves no identity: its disk is full."""

    async def identity_for_key(self, fingerprint: Fingerprint, *_: object, **__: object) -> Identity:
        raise StoreUnavailable(f"no room for {fingerprint}")

    async def identity_for_certificate(self, *_: object, **__: object) -> Identity:
        raise StoreUnavailable("no room")


@pytest.mark.parametrize("tries", [0, 2])
async def test_a_client_that_has_signed_gets_no_penalty_for_our_database(tries: int) -> None:
    """Also after keys that did not do: they were somebody's who is known here."""
    own = asyncssh.generate_private_key("ssh-ed25519")
    async with asyncio.timeout(SECONDS), inside_gateway(penalties=Heard()) as gateway:
        gateway.change(identities=NoDatabase())
        with pytest.raises(asyncssh.DisconnectError, match="retry-after=30"):
            await log_in(gateway, *(stolen() for _ in range(tries)), own)
        assert await end_of(gateway) == ("failed", [])


async def test_a_client_that_has_signed_gets_no_penalty_for_too_many_connections(key: Path) -> None:
    async with (
        asyncio.timeout(SECONDS),
        inside_gateway(penalties=Heard(), limits={"connections_per_identity": 1}) as gateway,
        gateway.client(key),
    ):
        with suppress(asyncssh.DisconnectError):  # it may be told before its log-in has ended, for asyncssh
            async with gateway.client(key) as second:
                assert "1 connection open, which is the limit" in await second.said_at_the_end()
        assert await end_of(gateway, 2) == ("failed", [])


@pytest.mark.parametrize(("strangers", "gets_in"), [(5, True), (6, False)])
async def test_each_unknown_key_costs_one_try_and_a_known_key_none(strangers: int, gets_in: bool) -> None:
    """An agent may hold many keys; the one that is known may be its last."""
    own = asyncssh.generate_private_key("ssh-ed25519")
    keys = [asyncssh.generate_private_key("ssh-ed25519") for _ in range(strangers)]
    async with asyncio.timeout(SECONDS), inside_gateway(penalties=Heard()) as gateway:
        gateway.change(access=Keys(str(own.get_fingerprint())))
        if gets_in:
            await log_in(gateway, *keys, own)
            assert await end_of(gateway) == ("ok", [])
        else:
            with pytest.raises(asyncssh.DisconnectError, match="you tried 6 keys, and this gateway knows none of them"):
                await log_in(gateway, *keys, own)
            assert await end_of(gateway) == ("failed", [Offence.KEYS_REFUSED])
