"""The standing of a port's visitor, and the note of its visit, after a trace of its bridge."""

from __future__ import annotations

from typing import cast

import pytest

from edge.tcp_tunnel import TcpTunnel
from edge.test_bridge import Trace, Visits
from ferry.edge.bridge import Bridge
from ferry.edge.socks_guard import GuardedBridge
from ferry.edge.tcp_visitor import TcpVisitor
from ferry.limiters.shortage import Standing
from ferry.names import Endpoint
from ferry.registry.routes import Tunnel
from ferry.visits import Traffic

SINCE = 50.0


class Guest:
    """One visitor."""

    def __init__(self) -> None:
        self.trace = Trace().join()
        self.ended: list[Bridge] = []
        bridge = self.trace.relay
        self.visitor = TcpVisitor(
            bridge, bridge.near, Endpoint("192.0.2.7", 4711), SINCE, "192.0.2.7", False, self.ended.append
        )

    @property
    def note(self) -> str:
        return self.visitor.visit(cast(Tunnel, TcpTunnel("x", ("127.0.0.1", 1))), SINCE + 3).note


async def test_the_standing_in_each_phase() -> None:
    guest = Guest()
    assert guest.visitor.standing() == (Standing.SILENT, 0)
    assert guest.visitor.last_check() == (SINCE, 0)
    guest.trace.play("v:data")
    assert guest.visitor.standing() == (Standing.WAITING, 0)
    assert guest.visitor.last_check() == (SINCE, 0)
    guest.trace.play("s:data")
    assert guest.visitor.standing() == (Standing.STREAM, len("up") + len("down"))
    assert guest.visitor.last_check() is None
    guest.trace.buffered = 1
    guest.trace.play("v:full")
    assert guest.visitor.standing() == (Standing.UNREAD, len("down") - 1)
    guest.trace.buffered = 0
    assert guest.visitor.standing() == (Standing.UNREAD, len("down"))
    guest.trace.play("v:drained", "v:data")
    assert guest.visitor.standing() == (Standing.STREAM, 2 * len("up") + len("down"))


@pytest.mark.parametrize("how", ["displace", "disconnect"])
async def test_a_displaced_visitor_ends_at_once_with_a_note(how: str) -> None:
    guest = Guest()
    guest.trace.play("v:data")
    guest.trace.calls.clear()
    getattr(guest.visitor, how)()
    assert guest.trace.calls == ["> abort", "< abort"]
    assert guest.ended == [guest.trace.relay]
    assert guest.note == "cut: there are too many visitors, and this one lost its place to another"


async def test_a_visit_with_a_normal_end_has_no_note() -> None:
    guest = Guest()
    guest.trace.play("v:data", "s:data", "v:eof", "s:eof", "v:lost")
    assert guest.note == ""


@pytest.mark.parametrize(
    ("answer", "proxy"), [(b"\x05\x00", True), (b"HTTP/1.1 200 OK", False), (b"\x05", False), (b"", False)]
)
async def test_only_a_proxy_is_noted_as_one(answer: bytes, proxy: bool) -> None:
    found: list[str] = []
    bridge = GuardedBridge(traffic=Traffic(), owner=Visits([]), found=lambda: found.append("proxy"))
    guest = Guest()
    guest.trace.relay = bridge
    guest.trace.join()
    guest.visitor.bridge = bridge
    bridge.near_data(b"\x05\x01\x00")
    if answer:
        bridge.data_received(answer)
    assert guest.note == ("cut: a SOCKS proxy answered on a public port" if proxy else "")
    assert found == ["proxy"] * proxy
    bridge.eof_received()
    bridge.stream_lost(None)
    assert bridge.open_proxy is proxy  # the end changes nothing of it
