"""The chunked transfer coding (RFC 9112 §7.1), strictly and to the exact octet.

A lax decoder lets an attacker smuggle a second request behind a line end or a chunk size, and a decoder that does not know
where the coding ended cannot serve a pipelining visitor. So it accepts CRLF only, hexadecimal digits only, and nothing but
an extension between the size and CRLF; `feed` returns how much of the data it consumed.
"""

from __future__ import annotations

import enum
import re
from typing import Final

from ferry import limits
from ferry.errors import RemoteProtocolError

from .octets import CRLF, FIELD_VALUE, is_token

LAST_CHUNK: Final = b"0\r\n\r\n"
_HEX: Final = b"0123456789abcdefABCDEF"
_SIZE_DIGITS: Final = 15  # hexadecimal; a chunk of 2^60 bytes fits every integer
# RFC 9112 §7.1.1: names, with or without a value. A quote that is opened must be closed: to a server that looks for the
# other one, the chunk's data would still be extension. Possessive quantifiers: nothing is tried twice.
_WORD: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
_QUOTED: Final = rb'"(?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*+"'
_EXTENSION: Final = re.compile(rb"(?:[ \t]*+;[ \t]*+%b(?:[ \t]*+=[ \t]*+(?:%b|%b))?+)*+" % (_WORD, _WORD, _QUOTED))


class _ChunkState(enum.Enum):
    SIZE = enum.auto()
    DATA = enum.auto()
    DATA_END = enum.auto()
    TRAILER = enum.auto()
    DONE = enum.auto()


class ChunkedDecoder:
    """Decodes one body. Trailer fields are read, checked and dropped (RFC 9110 §6.5.1 lets a recipient)."""

    __slots__ = ("_left", "_line", "_state", "_trailer")

    def __init__(self) -> None:
        self._state = _ChunkState.SIZE
        self._left = 0  # octets of the current chunk still to come
        self._line = b""  # a line, or the CRLF after a chunk, of which only a part has come
        self._trailer = 0  # octets of trailer section so far

    @property
    def done(self) -> bool:
        """The last chunk and the trailer section have been read."""
        return self._state is _ChunkState.DONE

    def feed(self, data: bytes, pieces: list[bytes]) -> int:
        """Append the payload in `data` to `pieces`. Returns how many octets of `data` were consumed.

        That is less than `len(data)` when the body is done, or after CHUNKS_IN_A_PIECE lines: chunks of one octet cost as
        much work as large ones. Raises RemoteProtocolError (400).
        """
        at, size, lines = 0, len(data), 0
        while at < size and self._state is not _ChunkState.DONE:
            if self._state is _ChunkState.DATA:
                piece = data[at : at + self._left] if at or self._left < size else data
                pieces.append(piece)
                at += len(piece)
                self._left -= len(piece)
                if not self._left:
                    self._state = _ChunkState.DATA_END
            elif self._state is _ChunkState.DATA_END:
                at = self._data_end(data, at)
            elif lines == limits.CHUNKS_IN_A_PIECE:
                break
            else:
                lines += 1
                at = self._read_line(data, at)
        return at

    def _data_end(self, data: bytes, at: int) -> int:
        # RFC 9112 §7.1: chunk-data is followed by CRLF and nothing else
        wanted = CRLF[len(self._line) :]
        got = data[at : at + len(wanted)]
        if not wanted.startswith(got):
            raise RemoteProtocolError("a chunk does not end in CRLF where its size says")
        if len(got) < len(wanted):
            self._line = got
        else:
            self._line = b""
            self._state = _ChunkState.SIZE
        return at + len(got)

    def _read_line(self, data: bytes, at: int) -> int:
        """Collect one line up to its CRLF and act on it. Bounded, and refused at the first bare LF."""
        most = limits.CHUNK_LINE_BYTES if self._state is _ChunkState.SIZE else limits.TRAILER_BYTES - self._trailer
        end = data.find(b"\n", at, at + most - len(self._line) + 1)
        if end < 0:
            self._line += data[at : at + most + 1]
            if len(self._line) >= most:
                raise RemoteProtocolError(
                    "a chunk size line is too long"
                    if self._state is _ChunkState.SIZE
                    else "the trailer section is too long",
                    status=400 if self._state is _ChunkState.SIZE else 431,
                )
            if b"\r" in self._line[:-1]:
                raise RemoteProtocolError("a line of the chunked coding holds a bare CR")
            return len(data)
        line = self._line + data[at:end] if self._line else data[at:end]
        self._line = b""
        # Stricter than RFC 9112 §2.2: a bare LF does not end a line. A bare CR stands in no size and in no field.
        if line[-1:] != b"\r":
            raise RemoteProtocolError("a line of the chunked coding does not end in CRLF")
        if self._state is _ChunkState.SIZE:
            self._size_line(line[:-1])
        else:
            self._trailer_line(line[:-1])
        return end + 1

    def _size_line(self, line: bytes) -> None:
        digits, semicolon, _ = line.partition(b";")
        # RFC 9112 §7.1: chunk-size is 1*HEXDIG. Stricter: no whitespace between it and the extension (§7.1.1 BWS),
        # which is checked and dropped.
        if not digits or len(digits) > _SIZE_DIGITS or digits.translate(None, _HEX):
            raise RemoteProtocolError("a chunk size is not a hexadecimal number")
        if semicolon:
            _check_extension(line, len(digits))
        self._left = int(digits, 16)
        self._state = _ChunkState.DATA if self._left else _ChunkState.TRAILER

    def _trailer_line(self, line: bytes) -> None:
        if not line:
            self._state = _ChunkState.DONE
            return
        self._trailer += len(line) + 2
        name, colon, value = line.partition(b":")
        if not colon or not is_token(name) or value.translate(None, FIELD_VALUE):
            raise RemoteProtocolError("a trailer field is malformed")


def _check_extension(line: bytes, at: int) -> None:
    if _EXTENSION.fullmatch(line, at) is None:
        raise RemoteProtocolError("a chunk extension is malformed")


def encode_chunk(pieces: list[bytes]) -> bytes:
    """All `pieces` (at least one octet in sum) as one chunk."""
    size = sum(map(len, pieces))
    return b"".join((b"%x\r\n" % size, *pieces, CRLF))
