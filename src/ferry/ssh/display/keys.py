"""The keys that a person types into a session. A terminal sends some keys as escape sequences, which mean nothing here."""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from ferry import limits


class Key(enum.Enum):
    """What a key asks for."""

    HELP = "help"
    CLEAR = "clear"
    STATISTICS = "statistics"
    QR_CODE = "QR code"
    PAUSE = "pause"
    QUIT = "quit"
    ANSWER = "answer"
    """The terminal itself has answered `terminal.QUERY`."""


_MEANT: Final[Mapping[int, Key]] = MappingProxyType(
    {
        byte: key
        for key, typed in (
            (Key.HELP, b"?hH"),
            (Key.CLEAR, b"cC\x0c"),
            (Key.STATISTICS, b"sS"),
            (Key.QR_CODE, b"rR"),
            (Key.PAUSE, b"pP"),
            (Key.QUIT, b"qQ\x03\x04"),
        )
        for byte in typed
    }
)
"""By byte. 3, 4 and 12 are Ctrl-C, Ctrl-D and Ctrl-L."""
# Home is ESC [ H and F2 is ESC O Q: without this they would show the help, and end the session
_SEQUENCE: Final = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|O[ -~]|[^\[O])", re.DOTALL)
_ANSWER: Final = re.compile(rb"\x1b\[\?[0-9;]*c")  # to a request for device attributes (DA1)
_BEGUN: Final = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*|O)\Z")


class Keys:
    """Finds the keys in the input of one session, which may come in any pieces."""

    __slots__ = ("_begun",)

    def __init__(self) -> None:
        self._begun = b""
        """An escape sequence that goes on."""

    def typed(self, data: bytes) -> list[Key]:
        """The keys in `data`, each once: a page of question marks gets one answer. Ctrl-C and Ctrl-D count anywhere, and
        alone. Others count in the first TYPED_BYTES."""
        if b"\x03" in data or b"\x04" in data:
            return [Key.QUIT]
        data = self._begun + data[: limits.TYPED_BYTES]
        answered = [Key.ANSWER] if _ANSWER.search(data) else []
        data = _SEQUENCE.sub(b"", data)
        begun = _BEGUN.search(data)
        self._begun = b""
        if begun is not None:
            data = data[: begun.start()]
            if len(begun[0]) <= limits.ESCAPE_SEQUENCE_BYTES:
                self._begun = begun[0]
        seen = set(data)
        return answered + list(dict.fromkeys(key for byte, key in _MEANT.items() if byte in seen))
