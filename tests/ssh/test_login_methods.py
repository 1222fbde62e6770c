"""Log-in methods, and refusals on the way. The gateway is in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import asyncssh
import pytest

from access_stand_in import AccessStandIn
from ferry.names import Fingerprint, Identity, IdentityId
from ferry.policy.keys import ANY_KEY, KeyLine
from inside_gateway import SECONDS, Inside, inside_gateway
from turns import until


class OnlyKeys(AccessStandIn):
    """Access for every key, as long as `known`; for no client without one."""

    allows_keyless = False
    known = True

    def lines_of(self, _fingerprint: Fingerprint) -> Sequence[KeyLine]:
        return [ANY_KEY] if self.known else []


def only_keys(gateway: Inside) -> OnlyKeys:
    access = OnlyKeys()
    gateway.change(access=access)
    return access


class TakesAway:
    """Looks identities up. Meanwhile the key is taken away, and who has none may come in from then on, if `keyless`."""

    def __init__(self, access: OnlyKeys, *, keyless: bool) -> None:
        self._access = access
        self._keyless = keyless

    async def identity_for_key(
        self, fingerprint: Fingerprint, algorithm: str, name: str | None, *, now: float
    ) -> Identity:
        del algorithm, now
        self._access.known, self._access.allows_keyless = False, self._keyless
        return Identity(IdentityId(fingerprint), name, fingerprint)

    async def identity_for_certificate(self, *_: object, **__: object) -> Identity:
        raise AssertionError("no certificate was offered")


@pytest.mark.parametrize("keys", [False, True])
async def test_the_methods_that_are_offered(*, keys: bool) -> None:
    """Where keys are required, keyboard-interactive asks nothing: it tells what to do with the keys that are refused."""
    async with asyncio.timeout(SECONDS), inside_gateway() as gateway:
        if keys:
            only_keys(gateway)
        offered = await asyncssh.get_server_auth_methods("127.0.0.1", gateway.ssh_port, "dev", config=None)
        assert set(offered) == {"publickey", "keyboard-interactive"}


@pytest.mark.parametrize(("user", "anonymous"), [("dev", False), ("nokey", True), ("nokeys", False)])
async def test_the_user_nokey_is_anonymous_even_with_a_key(key: Path, *, user: str, anonymous: bool) -> None:
    async with asyncio.timeout(SECONDS), inside_gateway() as gateway:
        async with gateway.client(key, username=user):
            assert [client.identity.anonymous for client in gateway.clients] == [anonymous]
        only_keys(gateway)
        async with gateway.client(key, username=user):  # the name means nothing where keys are asked for
            assert [client.identity.anonymous for client in gateway.clients if not client.is_closed][-1:] == [False]


async def test_a_key_removed_during_its_look_up_does_not_log_in(key: Path) -> None:
    async with asyncio.timeout(SECONDS), inside_gateway() as gateway:
        access = only_keys(gateway)
        gateway.change(identities=TakesAway(access, keyless=False))
        with pytest.raises((asyncssh.PermissionDenied, asyncssh.DisconnectError)):
            async with gateway.client(key):
                pass
        assert gateway.said("connection.opened") == []


async def test_a_key_removed_during_its_look_up_is_not_the_identity_of_a_keyless_log_in(key: Path) -> None:
    """It has signed, and may not log in any more; without a key anybody may by then."""
    async with asyncio.timeout(SECONDS), inside_gateway() as gateway:
        access = only_keys(gateway)
        gateway.change(identities=TakesAway(access, keyless=True))
        async with gateway.client(key, password="no question is asked"):
            assert [client.identity.anonymous for client in gateway.clients] == [True]


async def test_a_client_that_offers_no_key_in_time_is_disconnected(key: Path) -> None:
    async with asyncio.timeout(SECONDS), inside_gateway() as gateway:
        gateway.change(key_grace=0.2)
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.ssh_port)
        async with gateway.client(key) as client:
            assert b"your client offered no acceptable key in time" in await reader.read()
            writer.close()
            await until(lambda: len(gateway.said("handshake.ended")) >= 2)
            ended = gateway.said("handshake.ended")
            assert sorted(str(one["outcome"]) for one in ended) == ["ok", "timeout"]
            assert await client.lives()


async def test_one_connection_more_than_an_identity_may_have_is_ended_with_the_reason(key: Path) -> None:
    async with (
        asyncio.timeout(SECONDS),
        inside_gateway(limits={"connections_per_identity": 2}) as gateway,
        gateway.client(key) as first,
        gateway.client(key),
        gateway.client(key) as third,
    ):
        assert "you have 2 connections open, which is the limit" in await third.said_at_the_end()
        assert await first.lives()
        assert len(gateway.said("connection.opened")) == 2
