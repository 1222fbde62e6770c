"""A Unix socket in place of a port: its visitors, and its file."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from edge.http_rig import answering, service
from edge.tcp_tunnel import TcpTunnel
from ferry.clock import SystemClock
from ferry.edge.tcp import TcpEdge, TcpListener
from ferry.errors import Refusal
from ferry.kinds.base import ListenSocket
from ferry.names import Address, Identity, Kind
from ferry.policy.forwards import listen_grant
from ferry.policy.principals import Principal
from ferry.policy.visits import Target, VisitPolicy
from ferry.registry.visits_in_force import VisitsInForce
from ferry.report import no_report
from granted import RULES, granted


class Counting:
    """A rule that allows all visits."""

    def __init__(self, *, apart: bool) -> None:
        self.apart = apart
        self.asked = 0

    def depends_on_visitor(self, _target: Target) -> bool:
        return self.apart

    def refusal(self, _who: Principal, _target: Target) -> Refusal | None:
        self.asked += 1
        return None


@pytest.mark.parametrize(("apart", "asked"), [(False, 1), (True, 3)])
async def test_visitors_of_a_socket_reach_the_service_and_the_file_goes_with_the_tunnel(
    tmp_path: Path, *, apart: bool, asked: int
) -> None:
    """Where no rule tells two visitors apart, it is asked once for all of them."""
    rule, opening = Counting(apart=apart), ListenSocket(str(tmp_path), "ann", "x", unlink=False)
    edge = TcpEdge(
        report=no_report,
        clock=SystemClock(),
        visits=VisitsInForce(VisitPolicy("gw", (rule,))),
        open_proxy=lambda _tunnel: None,
    )
    assert edge.would_refuse(opening) is None
    assert not list(tmp_path.iterdir())
    async with asyncio.timeout(20), service(answering(b"hello")) as port:
        tunnel = TcpTunnel("unused", ("127.0.0.1", port))
        tunnel.address = Address(Kind.SOCKET, "ann/x")
        owner = Identity(tunnel.owner, "ann", None)
        grant = granted(listen_grant(owner, tunnel.address, replace(RULES, sockets=str(tmp_path))))
        listener = await edge.listen(tunnel, grant, opening)
        assert isinstance(listener, TcpListener)
        for refusal in (edge.would_refuse(opening), await edge.listen(tunnel, grant, opening)):
            assert isinstance(refusal, Refusal)
            assert refusal.code == "socket_in_use"
        for _ in range(3):
            reader, writer = await asyncio.open_unix_connection(tmp_path / "ann" / "x")
            writer.write(b"anything\r\n\r\n")
            assert await reader.readexactly(5) == b"hello"
            writer.close()
        assert rule.asked == asked
        listener.close(cut=True)
        assert not list((tmp_path / "ann").iterdir())
        tunnel.close()
        await tunnel.quiet()
