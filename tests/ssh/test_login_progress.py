"""The door hears how far each log-in is: who shows a good key is the last to go for a newcomer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ferry.policy.handshakes import Progress
from inside_gateway import inside_gateway


async def test_the_door_hears_of_the_key_exchange_and_of_the_good_key(
    key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[Progress] = []
    async with inside_gateway() as inside:

        def progressed(_connection: Any, progress: Progress) -> None:
            heard.append(progress)

        monkeypatch.setattr(inside.front.admission, "progressed", progressed)
        async with inside.client(key):
            assert heard[0] is Progress.EXCHANGED
            assert set(heard[1:]) == {Progress.PROMISING}
