"""A client that leaves while the gateway connects it to a socket or a host gives its place back, once."""

from __future__ import annotations

import asyncio
import errno
import gc
import socket
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any, cast

import pytest
import uvloop

from ferry.edge.hosts import Hosts
from ferry.errors import Refusal
from ferry.names import Endpoint
from ferry.policy.grants import grant_host, grant_socket
from ferry.policy.reach import Host
from ferry.streams import Sink, Stream
from turns import turns, until

TURNS = 12  # more than a connection takes
LOOPS = (asyncio.new_event_loop, uvloop.new_event_loop)


class Left:
    """A client that has left: its stream ends as soon as it is there."""

    def join(self, _grant: object, stream: Stream) -> Sink:
        stream.abort()
        return cast(Sink, self)

    def __getattr__(self, _name: str) -> Any:
        return lambda *_: None


@pytest.fixture
def there(tmp_path: Path) -> Iterator[Path]:
    """A socket on which somebody listens."""
    (tmp_path / "ann").mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(tmp_path / "ann" / "x"))
        sock.listen(64)
        yield tmp_path


@pytest.mark.parametrize("turn", range(TURNS))
@pytest.mark.parametrize("loop", LOOPS)
def test_of_a_socket(there: Path, loop: Callable[[], asyncio.AbstractEventLoop], turn: int) -> None:
    """Else the number of connections falls below 0, and nobody is connected to a host any more."""

    async def leave() -> None:
        hosts = Hosts(None)
        await _left(hosts, hosts.connect_socket("i", grant_socket(str(there), "ann", "x", None), Left().join), turn)

    _run(loop, leave)


@pytest.mark.parametrize("turn", range(TURNS))
@pytest.mark.parametrize("loop", LOOPS)
def test_of_a_host(loop: Callable[[], asyncio.AbstractEventLoop], turn: int) -> None:
    """Else its places run out."""

    async def leave() -> None:
        hosts, local = Hosts(None), ip_address("127.0.0.1")
        with socket.create_server(("127.0.0.1", 0)) as service:
            grant = grant_host(Endpoint("127.0.0.1", service.getsockname()[1]))
            await _left(
                hosts, hosts.connect("i", Host("127.0.0.1", local), lambda _found, _here: grant, Left().join), turn
            )

    _run(loop, leave)


async def test_a_socket_is_connected_to_only_where_a_place_is_free(there: Path) -> None:
    class Gate:
        short = True

    hosts = Hosts(cast(Any, Gate()))
    refusal = await hosts.connect_socket("i", grant_socket(str(there), "ann", "x", None), Left().join)
    assert isinstance(refusal, Refusal)
    assert refusal.code == "too_many_streams"


async def test_a_connection_to_a_socket_that_breaks_before_its_transport_leaves_nothing(
    there: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*_arguments: object, **_named: object) -> None:
        raise OSError(errno.EBADF, "Bad file descriptor")

    monkeypatch.setattr(asyncio.get_running_loop(), "create_unix_connection", fails, raising=False)
    hosts = Hosts(None)
    refusal = await hosts.connect_socket("i", grant_socket(str(there), "ann", "x", None), Left().join)
    assert isinstance(refusal, Refusal)
    assert (refusal.code, "Bad file descriptor" in refusal.detail) == ("host_unreached", True)
    assert len(hosts) == 0


async def _left(hosts: Hosts, connecting: Any, turn: int) -> None:
    task = asyncio.ensure_future(connecting)
    await turns(turn)
    task.cancel()
    await asyncio.wait([task])
    await until(lambda: not hosts._streams)
    await turns(5)
    assert len(hosts) == 0
    gc.collect()  # a socket that was closed behind its own back closes another's descriptor, and warns


def _run(loop: Callable[[], asyncio.AbstractEventLoop], test: Callable[[], Any]) -> None:
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(test())
