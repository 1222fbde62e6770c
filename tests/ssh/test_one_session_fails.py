"""An error of the gateway in showing a session ends that session with 1 and is logged once. It ends nothing else."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from asyncssh.packet import String

import ferry.kinds
from ferry.errors import Refusal
from ferry.kinds.base import ForwardShown, NoticeContext
from ferry.kinds.web import WebKind
from ferry.names import IdentityId, Kind
from ferry.registry.contract import Reservation
from ferry.ssh.forward_requests import ForwardRequests
from ferry.ssh.holding import Holding
from ferry.ssh.reasons import Reasons
from ferry.ssh.refusals import RefusedForward
from inside_gateway import SECONDS, inside_gateway
from memory_registry import MemoryRegistry
from raw_client import RawClient
from raw_session import Session, open_session
from turns import until

SAID = b"an error in the gateway ended this: its log says more\n"
ERROR = "an error of our own"


class Fails(WebKind):
    """The first notice of a forward fails."""

    __slots__ = ("failed",)

    def __init__(self) -> None:
        self.failed = False

    def forward_lines(self, shown: ForwardShown, context: NoticeContext) -> list[str]:
        if not self.failed:
            self.failed = True
            raise KeyError(ERROR)
        return super().forward_lines(shown, context)


class FailsOnce(MemoryRegistry):
    """The first list of an identity's reservations fails."""

    failed = False

    async def reservations(self, owner: IdentityId | None) -> list[Reservation]:
        if owner is not None and not self.failed:
            self.failed = True
            raise KeyError(ERROR)
        return await super().reservations(owner)


@pytest.fixture
def first_notice_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ferry.kinds, "KINDS", {**ferry.kinds.KINDS, Kind.HTTP: Fails()})


@asynccontextmanager
async def logged_in(key: Path, registry: MemoryRegistry | None = None) -> AsyncIterator[RawClient]:
    async with (
        asyncio.timeout(SECONDS),
        inside_gateway(registry=registry) as gateway,
        gateway.client(key) as client,
    ):
        yield client


async def begin(client: RawClient, words: bytes = b"", *, number: int = 5000) -> Session:
    session = await open_session(client, number)
    assert session is not None
    assert await session.ask(b"exec", String(words)) if words else await session.ask(b"shell")
    assert await client.lives()
    return session


async def ended(session: Session) -> tuple[int, bytes]:
    return await session.ended(), session.said


def logged(caplog: pytest.LogCaptureFixture) -> list[bool]:
    """Of every error in the log: whether it is ours."""
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    return [ERROR in str(record.exc_info) for record in errors]


@pytest.mark.usefixtures("first_notice_fails")
async def test_a_session_that_fails_to_show_a_forward_ends_and_the_next_session_shows_it(
    key: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with logged_in(key) as client:
        assert await client.forward(b"laptop", 22)
        fails, shows = await begin(client, number=5000), await begin(client, number=5001)
        fails.said = shows.said = b""
        assert await client.forward(b"blog", 80)
        assert await ended(fails) == (1, SAID)
        assert await client.lives()
        assert b"Forwarding HTTP traffic from http://blog.localhost" in shows.said
        assert not shows.status.done()
        status, said = await ended(await begin(client, b"names", number=5002))
        assert (status, b"blog.localhost" in said) == (0, True), "no forward waits for its decision"
    assert logged(caplog) == [True]


@pytest.mark.usefixtures("first_notice_fails")
async def test_a_session_that_fails_to_show_earlier_forwards_ends(key: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with logged_in(key) as client:
        assert await client.forward(b"blog", 80)
        assert await ended(await begin(client)) == (1, SAID)
        assert b"Forwarding HTTP" in (await begin(client, number=5001)).said
    assert logged(caplog) == [True]


async def test_a_command_that_fails_ends_its_session(key: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with logged_in(key, FailsOnce()) as client:
        assert await ended(await begin(client, b"names")) == (1, SAID)
        assert (await ended(await begin(client, b"names", number=5001)))[0] == 0
    assert logged(caplog) == [True]


class Refuses:
    """A client, and the tunnels that refuse it everything."""

    id = "c1"

    async def open(self, *_: object) -> Refusal:
        return Refusal("no", code="no")

    def forward_refused(self, *_: object) -> RefusedForward:
        return RefusedForward("-R blog:80", "no", "no", 0.0)

    def requests(self) -> ForwardRequests:
        """Of a library: no answer is held."""
        holding = Holding(lambda: asyncio.get_running_loop().create_future(), session_first=True)
        reasons = Reasons(
            cast(Any, self), "", end=fail, may_end=bool, all_decided=bool, watched=bool, released=lambda: None
        )
        return ForwardRequests(cast(Any, self), cast(Any, self), holding, reasons)


def fail(_: str) -> None:
    raise AssertionError("it ends no connection")


async def test_a_request_counts_as_decided_though_its_answer_fails(caplog: pytest.LogCaptureFixture) -> None:
    def answer(_port: int | None, **_: object) -> None:
        raise KeyError(ERROR)

    requests, settled = Refuses().requests(), asyncio.Event()
    requests.read(b"blog", 80)(answer)
    requests.when_settled(settled.set)
    async with asyncio.timeout(SECONDS):
        await settled.wait()
    assert requests.all_decided
    await until(lambda: bool(logged(caplog)))
    assert logged(caplog) == [True]


async def test_what_waits_for_the_decisions_goes_on_although_another_that_waits_fails(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fails() -> None:
        raise KeyError(ERROR)

    requests, settled = Refuses().requests(), asyncio.Event()
    requests.read(b"blog", 80)(lambda _port, **_: None)
    requests.when_settled(fails)
    requests.when_settled(settled.set)
    async with asyncio.timeout(SECONDS):
        await settled.wait()
    assert logged(caplog) == [True]
