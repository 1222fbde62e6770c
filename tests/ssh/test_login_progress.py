"""Admission knows the progress of each log-in: newcomers displace one with an acceptable key last."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest

from ferry.limiters.handshakes import Progress
from inside_gateway import SECONDS, inside_gateway


async def test_admission_learns_of_the_key_exchange_and_the_acceptable_key(
    key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[Progress] = []
    async with inside_gateway() as inside:

        def progressed(_connection: Any, progress: Progress) -> None:
            heard.append(progress)

        monkeypatch.setattr(inside.admission, "progressed", progressed)
        async with inside.client(key):
            assert heard[0] is Progress.EXCHANGED
            assert set(heard[1:]) == {Progress.PROMISING}


async def test_a_client_displaced_before_its_transport_begins_no_log_in() -> None:
    """Its place is another's by then: it would be one more than there may be."""
    async with asyncio.timeout(SECONDS), inside_gateway() as inside:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            theirs = socket.create_connection(listener.getsockname())
            ours, _ = listener.accept()
        for one in (ours, theirs):
            one.setblocking(False)
        inside.take(ours)
        (attempt,) = inside.admission.in_progress
        inside.admission.over(attempt, "displaced")
        attempt.give_way("others wait to log in")
        with theirs:
            assert await asyncio.get_running_loop().sock_recv(theirs, 100) == b""
        assert inside.clients == []
        assert [ended["outcome"] for ended in inside.said("handshake.ended")] == ["displaced"]
