"""The two ends of a relay. They record the calls that they get."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Generic, Self, TypeVar

from ferry.relay import Relay
from ferry.streams import Direction, OpenFailure, Sink


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


RelayT = TypeVar("RelayT", bound=Relay[Any])


class TwoEnds(ABC, Generic[RelayT]):
    """Both ends of one relay, with their calls. It is the relay's tap too, if there is one."""

    def __init__(self, relay: RelayT, calls: list[str], *, tap: bool) -> None:
        self.relay = relay
        self.calls = calls
        self._tap = self if tap else None

    @abstractmethod
    def near(self) -> End:
        """The visitor's side."""

    @abstractmethod
    def actions(self) -> dict[str, Callable[[], Any]]:
        """The events of `play`, by name."""

    def join(self) -> Self:
        self.relay.join(self.near(), self._dial, self._tap)
        return self

    def _dial(self, sink: Sink) -> End:
        assert sink is self.relay
        return End(self.calls, ">")

    def seen(self, direction: Direction, data: bytes) -> None:
        self.calls.append(f"tap {direction.value} {data.decode()}")

    def ended(self, error: Exception | None) -> None:
        self.calls.append(f"tap ended {error}")

    def play(self, *events: str) -> str:
        """Play events and return the calls they caused, as one line."""
        self.calls.clear()
        actions = self.actions()
        for event in events:
            actions[event]()
        return ", ".join(self.calls)


def refused(calls: list[str]) -> Callable[[Sink], End]:
    """Dials a stream that is refused before the call returns."""

    def dial(sink: Sink) -> End:
        sink.stream_refused(OpenFailure.LIMIT)
        return End(calls, ">")

    return dial
