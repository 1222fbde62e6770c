"""The lean packet path and asyncssh's own send and receive the same, for any cuts of the bytes."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any, ClassVar, cast

import pytest
import uvloop
from asyncssh.constants import MSG_CHANNEL_DATA
from asyncssh.packet import String, UInt32
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ferry.ssh.wire.connection import HardenedConnection
from ferry.ssh.wire.gcm import PacketGcm
from ferry.ssh.wire.packets import PacketConnection
from inside_gateway import SECONDS, inside_gateway
from ssh.wire.lean_script import AsyncsshsOwn, Play, Step, play
from ssh.wire.lean_steps import OPEN, steps
from turns import until

CHANNEL_WINDOW_BYTES = 768 * 1024
GCM = "aes128-gcm@openssh.com"
SCRIPTS = st.tuples(st.lists(OPEN, min_size=1, max_size=3), st.lists(steps(), max_size=40)).map(
    lambda two: two[0] + two[1]
)

EVERYTHING: list[Step] = [
    ("open", 5000, 32_768), ("open", 2**21, 32_768), ("open", 0, 300),
    *(("data", 0, size) for size in (0, 1, 4, 5, 15, 16, 17, 40_000)), ("ours",), ("data", 1, 32_768), ("debug",),
    *(("write", 1, size) for size in (0, 1, 15, 16, 17, 32_768, 65_536)), ("ignore", 3), ("theirs",), ("odd",),
    ("write", 0, 9000), ("adjust", 0, 100_000), ("pause", 1), ("data", 1, CHANNEL_WINDOW_BYTES), ("ours",),
    ("resume", 1), ("data", 1, 100_000), ("write", 2, 300), ("peer eof", 2), ("adjust", 2, 300), ("write eof", 2),
    ("odd",), ("abort", 0), ("data", 0, 17), ("peer close", 0), ("open", 17, 256), ("write", 3, 40), ("close", 3),
    ("theirs",), ("adjust", 3, 40), ("peer close", 3),
]  # fmt: skip


def on_uvloop(coroutine: Any) -> Any:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(coroutine)


class Lean(HardenedConnection):
    """The product's own, which counts what has taken the lean path."""

    taken: ClassVar[dict[str, int]] = {"out": 0, "in": 0}

    def _send_lean(self, payload: bytes) -> None:
        Lean.taken["out"] += 1
        super()._send_lean(payload)

    def _recv_packets(self, cipher: PacketGcm) -> None:
        Lean.taken["in"] += 1
        super()._recv_packets(cipher)


@pytest.mark.parametrize(
    ("kind", "cipher"),
    [(AsyncsshsOwn, GCM), (AsyncsshsOwn, "aes256-ctr"), (Lean, "chacha20-poly1305@openssh.com"), (Lean, "aes128-ctr")],
)
def test_the_lean_path_and_asyncssh_exchange_the_same_packets(
    new_key: Any, kind: type[HardenedConnection], cipher: str
) -> None:
    key = new_key()
    Lean.taken.update({"out": 0, "in": 0})
    lean = on_uvloop(play(EVERYTHING, key, Lean, GCM))
    assert min(Lean.taken.values()) > 20
    assert on_uvloop(play(EVERYTHING, key, kind, cipher)) == lean
    assert [bytes, "eof", "close"] == [type(x) if isinstance(x, bytes) else x for x in lean[1][1]]


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(script=SCRIPTS)
def test_any_script_looks_the_same_on_both_paths(session_key: Path, script: list[Step]) -> None:
    assert on_uvloop(play(script, session_key, HardenedConnection, GCM)) == on_uvloop(
        play(script, session_key, AsyncsshsOwn, GCM)
    )


@pytest.fixture(scope="module")
def session_key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from ssh_command import make_key

    return make_key(tmp_path_factory.mktemp("key") / "key")


class Chopped(HardenedConnection):
    """What arrives is cut anywhere."""

    most: ClassVar[int] = 1
    random: ClassVar[random.Random]

    def data_received(self, data: bytes, datatype: Any = None) -> None:
        at = 0
        while at < len(data):
            size = self.random.randint(1, self.most)
            super().data_received(data[at : at + size], datatype)
            at += size


@pytest.mark.parametrize("most", [1, 7, 60, 5000])
def test_reads_may_cut_packets_anywhere(session_key: Path, most: int) -> None:
    script = [step for step in EVERYTHING if step[0] != "data" or step[2] < 50_000 or most > 1000]
    Chopped.most, Chopped.random = most, random.Random(most)
    assert on_uvloop(play(script, session_key, Chopped, GCM)) == on_uvloop(
        play(script, session_key, HardenedConnection, GCM)
    )


async def three_packets(session_key: Path, offset: int | None) -> tuple[int, list[object], str]:
    """Send `one`, `two` and `six` in a packet each, with the byte at `offset` of the second changed.

    Gives the second packet's size on the wire, what the sink heard, and the reason that the client was told.
    """
    async with asyncio.timeout(SECONDS), inside_gateway() as gateway, gateway.client(session_key) as client:
        assert await client.forward(b"lean", 80)
        await gateway.let_through()
        stage = Play(gateway, client)
        await stage.open(2**20, 2**15)
        await stage.settle()
        peer_side: Any = client.connection
        wires: list[bytes] = []
        peer_side._send = wires.append  # caught on their way to the socket
        packets = []
        for word in (b"one", b"two", b"six"):
            wires.clear()
            client.send(MSG_CHANNEL_DATA, UInt32(stage.peers[0].theirs), String(word))
            packets.append(b"".join(wires))
        size = len(packets[1])
        if offset is not None:
            changed = bytearray(packets[1])
            changed[offset] ^= 1 << offset % 8
            packets[1] = bytes(changed)
        received: Any = stage.connection
        # behind them more than the longest packet: a length that was made greater waits for no more than that
        received.data_received(b"".join(packets) + (bytes(2**19) if offset is not None else b""))
        if offset is None:
            return size, list(stage.sinks[0].heard), ""
        reason = await client.said_at_the_end()
        await until(lambda: "broken" in stage.sinks[0].heard)
        return size, stage.sinks[0].heard, reason


def test_a_byte_changed_anywhere_ends_the_connection_and_its_packet_is_unused(session_key: Path) -> None:
    size, heard, _ = on_uvloop(three_packets(session_key, None))
    assert heard == ["opened", b"one", b"two", b"six"]
    for offset in range(size):
        _, heard, reason = on_uvloop(three_packets(session_key, offset))
        assert heard == ["opened", b"one", "broken"], offset
        assert reason in ("MAC verification failed", "Max packet size exceeded"), (offset, reason)


@pytest.mark.parametrize("size", range(40))
def test_a_packet_is_padded_as_the_rfc_says(size: int) -> None:
    """RFC 4253 §6: four bytes of padding at least, and whole blocks (RFC 5647 §7.2: the length field is not encrypted)."""
    sealed: list[bytes] = []

    class Stub:
        _seal, _may_be_lean = object(), True
        _send_sealed = sealed.append
        _turn_packets = 0

    PacketConnection._send_lean(cast(Any, Stub()), b"p" * size)
    PacketConnection.send_data(cast(Any, Stub()), 7, b"p" * size)
    for packet, head in zip(sealed, (b"", b"\x5e\0\0\0\x07\0\0\0" + bytes([size])), strict=True):
        assert len(packet) % 16 == 0
        assert packet[0] >= 4
        assert packet[1 : len(packet) - packet[0]] == head + b"p" * size
