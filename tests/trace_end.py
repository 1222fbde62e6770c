"""One side of what a relay joins: it writes down what is asked of it."""

from __future__ import annotations


class End:
    """Each call is a line of `calls`, behind `side`: `>` for the stream, `<` for near."""

    def __init__(self, calls: list[str], side: str) -> None:
        self._calls = calls
        self._side = side

    def _say(self, call: str) -> None:
        self._calls.append(f"{self._side} {call}")

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._say(bytes(data).decode())

    def write_eof(self) -> None:
        self._say("eof")

    def close(self) -> None:
        self._say("close")

    def abort(self) -> None:
        self._say("abort")

    def pause_reading(self) -> None:
        self._say("pause")

    def resume_reading(self) -> None:
        self._say("resume")
