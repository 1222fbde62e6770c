"""An error of the gateway in the check of one client ends that client and is logged once. The next client is
checked."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest
from asyncssh.constants import DISC_BY_APPLICATION

from ferry.ssh.wire.channel import TunnelChannel
from ferry.ssh.wire.channel_state import State
from ferry.ssh.wire.connection import HardenedConnection
from ferry.ssh.wire.endings import Endings
from ferry.ssh.wire.pieces import Pieces
from inside_gateway import SECONDS, inside_gateway
from turns import until

BROKEN, WELL = "broken", "well"
STUCK_SECONDS = 30.0


async def test_a_failed_check_ends_its_client_and_the_others_are_checked(
    new_key: Callable[[], Path], caplog: pytest.LogCaptureFixture
) -> None:
    looked_at: list[str] = []

    class Fails(HardenedConnection):
        """The look at it fails, where its user is called so."""

        def stuck(self, now: float) -> str | None:
            if self.get_extra_info("username") == BROKEN:
                raise KeyError("an error of our own")
            looked_at.append(self.get_extra_info("username"))
            return super().stuck(now)

    async with (
        inside_gateway(kind=Fails) as gateway,
        gateway.client(new_key(), username=BROKEN) as broken,
        gateway.client(new_key(), username=WELL) as well,
    ):
        await gateway.tick()
        assert looked_at == [WELL]
        await broken.connection.wait_closed()
        assert await well.lives()
        assert [client.user for client in gateway.clients] == [WELL]
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert ["an error of our own" in str(record.exc_info) for record in errors] == [True]


async def test_a_failed_goodbye_ends_its_client_and_the_others_get_theirs(
    new_key: Callable[[], Path], caplog: pytest.LogCaptureFixture
) -> None:
    class Fails(HardenedConnection):
        """It cannot be told that the gateway stops, where its user is called so."""

        def end(self, reason: str, code: int = DISC_BY_APPLICATION) -> None:
            if self.get_extra_info("username") == BROKEN:
                raise KeyError("an error of our own")
            super().end(reason, code)

    async with (
        inside_gateway(kind=Fails) as gateway,
        gateway.client(new_key(), username=BROKEN) as broken,
        gateway.client(new_key(), username=WELL) as well,
    ):
        async with asyncio.timeout(SECONDS):
            await gateway.stop()
            await well.connection.wait_closed()
            await broken.connection.wait_closed()
        assert gateway.clients == []
        stopped = [
            str(told["reason"]).startswith("the gateway is stopping") for told in gateway.said("connection.closed")
        ]
        assert stopped == [True, True]
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert ["an error of our own" in str(record.exc_info) for record in errors] == [True]


class FullOfErrors:
    """Rows about connections: the end of one fails."""

    def connection_started(self, *_: object) -> None:
        """Nothing to keep."""

    def connection_ended(self, *_: object) -> None:
        raise KeyError("an error of our own")

    def host_told(self, *_: object) -> None:
        """Nothing to keep."""

    async def prune(self, _before: float) -> int:
        return 0


async def test_a_failed_end_removes_its_client_and_is_logged(key: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with asyncio.timeout(SECONDS), inside_gateway(connections=FullOfErrors()) as gateway:
        async with gateway.client(key) as client:
            assert await client.forward(b"", 80)
        await until(lambda: not (gateway.clients or gateway.tunnels))
        assert len(gateway.said("tunnel.closed")) == 1
        async with gateway.client(key) as again:
            assert await again.forward(b"", 80)
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert {"an error of our own" in str(record.exc_info) for record in errors} == {True}
    assert len(errors) == 2


class Ending:
    """A channel whose peer takes nothing; the end of one is the end of all, as of a connection that breaks."""

    def __init__(self, endings: Endings, together: list[Ending]) -> None:
        self.state = State.OPEN
        self._endings = endings
        self._together = together
        together.append(self)

    def abort(self) -> None:
        for one in self._together:
            one.state = State.CLOSED
            self._endings.discard(one)


def test_channels_may_end_while_an_earlier_channel_is_being_ended() -> None:
    endings, together = Endings(), list[Ending]()
    unsent = Pieces()
    unsent.add(b"nobody takes it")
    for _ in range(3):
        endings.add(cast(TunnelChannel, Ending(endings, together)), unsent)
    endings.look(0.0)
    endings.look(STUCK_SECONDS + 1)
    assert [one.state for one in together] == [State.CLOSED] * 3
    endings.look(2 * STUCK_SECONDS + 2)
