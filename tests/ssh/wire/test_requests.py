"""Before a log-in, and while the gateway disconnects a client, it serves no request."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from asyncssh.constants import OPEN_ADMINISTRATIVELY_PROHIBITED, OPEN_RESOURCE_SHORTAGE
from asyncssh.misc import ChannelOpenError
from asyncssh.packet import SSHPacket, String, UInt32

from ferry.protocol.socket_path import SOCKET_PORT
from ferry.ssh.wire.requests import CHANNELS, GLOBAL_REQUESTS, NOBODY

HOST_AND_PORT = String(b"localhost") + UInt32(80)


class Connection:
    """Nobody has logged in on it."""

    handler = NOBODY

    def __init__(self) -> None:
        self.decided: list[tuple[int, int | None]] = []

    def may_request(self) -> bool:
        return True

    def forward_decided(
        self, port: int, bound: int | None, *, sent: Callable[[float], None] | None = None, held: bool = False
    ) -> None:
        assert (sent, held) == (None, False)
        self.decided.append((port, bound))

    def prove_host_keys(self, wanted: Sequence[bytes]) -> bool:
        raise AssertionError(f"nobody asks for {wanted}")


def test_a_forward_is_refused_in_its_turn() -> None:
    connection = Connection()
    step = GLOBAL_REQUESTS[b"tcpip-forward"](connection, SSHPacket(HOST_AND_PORT))
    assert connection.decided == []
    assert step() is None
    assert connection.decided == [(80, None)]


def test_a_forward_of_a_socket_is_refused_in_its_turn() -> None:
    connection = Connection()
    step = GLOBAL_REQUESTS[b"streamlocal-forward@openssh.com"](connection, SSHPacket(String(b"/run/x")))
    assert step() is None
    assert connection.decided == [(SOCKET_PORT, None)]


def test_a_cancel_is_refused() -> None:
    assert GLOBAL_REQUESTS[b"cancel-tcpip-forward"](Connection(), SSHPacket(HOST_AND_PORT))() is False


@pytest.mark.parametrize(
    ("kind", "rest", "code"),
    [
        (b"session", b"", OPEN_RESOURCE_SHORTAGE),
        (b"direct-tcpip", HOST_AND_PORT * 2, OPEN_ADMINISTRATIVELY_PROHIBITED),
        (b"tun@openssh.com", b"", OPEN_ADMINISTRATIVELY_PROHIBITED),
    ],
    ids=["session", "direct", "tun"],
)
def test_no_channel_is_opened(kind: bytes, rest: bytes, code: int) -> None:
    with pytest.raises(ChannelOpenError) as raised:
        CHANNELS[kind](Connection(), SSHPacket(rest))
    assert raised.value.code == code
