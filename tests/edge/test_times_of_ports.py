"""How long ports wait for newcomers where nothing is configured, and what is done about descriptors as the gateway is
shipped. The figures are this page's own."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from pathlib import Path

import pytest

from ferry.edge.descriptors import DescriptorGate
from ferry.edge.listeners import bind_all
from ferry.edge.shared_port import SharedPort
from ferry.edge.tls.certificates import Certificates
from ferry.edge.tls.local_ca import LocalCa
from ferry.names import Endpoint
from ferry.report import no_report
from hurried_loop import LoopsClock, Watch, hurried

FOR_EVER = 300
HELLO = b"\x16\x03\x01\x02\x00\x01"  # a ClientHello begins


@pytest.mark.parametrize(
    ("ssh", "says", "becomes", "seconds"),
    [
        pytest.param(True, b"", "ssh", 2, id="FIRST_BYTES_SECONDS"),
        pytest.param(True, b"S", "gone", 10, id="IDENTIFY_SECONDS"),
        pytest.param(False, b"", "gone", 10, id="IDENTIFY_SECONDS without SSH"),
        pytest.param(True, HELLO, "gone", 10, id="TLS_HANDSHAKE_SECONDS"),
    ],
)
@hurried
async def test_silent_clients_on_the_https_port(
    ssh: bool, says: bytes, becomes: str, seconds: float, tmp_path: Path
) -> None:
    """Silence means SSH; half a word or half a handshake ends."""
    certificates = Certificates(
        domain="localhost",
        local=LocalCa.open(tmp_path, "localhost", clock=LoopsClock()),
        allowed=lambda _host: True,
        report=no_report,
        clock=LoopsClock(),
    )
    taken: list[socket.socket] = []
    sockets = bind_all([Endpoint("127.0.0.1", 0)], report=no_report)
    port = SharedPort(
        sockets,
        ssh=taken.append if ssh else None,
        tls_protocol=asyncio.Protocol,
        redirect=asyncio.Protocol,
        context=certificates.context,
        report=no_report,
    )
    address = sockets[0].getsockname()
    port.start()
    reader, writer = await asyncio.open_connection(*address)
    watch = Watch()
    writer.write(says)
    async with asyncio.timeout(FOR_EVER):
        with suppress(ConnectionResetError):
            while not taken and await reader.read(1) != b"" if becomes == "gone" else not taken:
                await asyncio.sleep(0.1)
    assert (becomes == "ssh") == bool(taken)
    assert watch.seconds > seconds - 0.1
    assert watch.skipped < seconds + 0.3
    for sock in taken:
        sock.close()
    writer.close()
    port.close()


class Listener:
    """Accepts, or has been told not to."""

    def __init__(self) -> None:
        self._accepting = asyncio.Event()
        self._accepting.set()

    @property
    def accepts(self) -> bool:
        return self._accepting.is_set()

    async def accepting(self) -> None:
        """Wait until it may accept."""
        await self._accepting.wait()

    def pause(self) -> None:
        self._accepting.clear()

    def resume(self) -> None:
        self._accepting.set()


@hurried
async def test_a_tenth_of_the_descriptors_is_kept_and_accepting_goes_on_once_some_are_free() -> None:
    """DESCRIPTORS_PAUSE, DESCRIPTORS_RESUME, DESCRIPTORS_ENOUGH, DESCRIPTORS_LOOK_SECONDS and DESCRIPTORS_QUIET_SECONDS."""
    opened, said = 900, list[tuple[str, float, float]]()
    watch = Watch()
    gate = DescriptorGate(
        report=lambda event, /, **_: said.append((event, watch.seconds, watch.skipped)), most=1000, count=lambda: opened
    )
    listener = Listener()
    gate.add(listener)
    gate.seen(849)
    assert not gate.short
    gate.seen(899)
    assert gate.short
    assert listener.accepts
    gate.seen(900)
    assert not listener.accepts
    opened = 850
    await asyncio.sleep(5)
    assert not listener.accepts
    opened = 849
    await asyncio.sleep(0.3)
    assert listener.accepts
    resumed, resumed_ahead = watch.seconds, watch.skipped
    assert gate.short  # a newcomer still takes somebody's place
    assert 0 < gate.excess <= 50
    opened = 800
    await asyncio.sleep(0.3)
    assert gate.short
    opened = 799
    await asyncio.sleep(0.3)
    assert not gate.short
    await asyncio.sleep(10)
    assert [event for event, *_ in said] == ["accept.stopped", "accept.resumed"]
    assert said[1][1] - resumed > 2.6
    assert said[1][2] - resumed_ahead < 3.1
    gate.close()


@hurried
@pytest.mark.parametrize(
    ("most", "least", "at_most"), [(240, 0.0199, 0.03), (5_000, 0.09, 0.11), (1_000_000, 0.2, 0.3)]
)
async def test_a_small_reserve_of_descriptors_is_counted_more_often(most: int, least: float, at_most: float) -> None:
    """DESCRIPTORS_LOOK_LEAST_SECONDS and DESCRIPTOR_LOOK_SECONDS: a rush takes twelve of 240 in a moment, and counting a
    million is work."""
    gate = DescriptorGate(report=no_report, most=most, count=lambda: 0)
    listener = Listener()
    gate.add(listener)
    watch = Watch()
    gate.seen(most)
    assert not listener.accepts
    await listener.accepting()
    assert watch.seconds > least
    assert watch.skipped < at_most
    gate.close()


@hurried
async def test_a_rush_is_noticed_before_it_uses_up_the_reserve() -> None:
    """DESCRIPTORS_SAMPLE: of those that come at once some are looked at."""

    class Transport(asyncio.Transport):
        def __init__(self, descriptor: int) -> None:
            super().__init__()
            self._descriptor = descriptor

        def get_extra_info(self, name: str, default: object = None) -> object:
            assert name == "socket"
            return self

        def fileno(self) -> int:
            return self._descriptor

    gate = DescriptorGate(report=no_report, most=2560, count=lambda: 2304)
    came = 0
    while not gate.paused and came < 256:
        gate.seen_on(Transport(2304 + came - 1))
        came += 1
    assert came <= 32
    gate.close()
