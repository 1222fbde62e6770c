"""Reads the path of a Unix socket in `-R /PATH:…` and `-L …:/PATH` (PROTOCOL of OpenSSH, §2.4).

A client has one folder of sockets, and may name those in it alone: by the whole path, or by `/NAME` and `./NAME` (ssh takes
text for a path only with a `/` in it). There are no folders below it.
"""

from __future__ import annotations

import re
from typing import Final

from ferry.errors import InvalidInput

SOCKET_PORT: Final = -1
"""Stands for the port where a request is about a Unix socket: its host is the path then."""
_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,62}")
_LONGEST: Final = 1024  # bytes of a path that are looked at


def is_name(text: str) -> bool:
    """Whether a text may be the name of a socket, or of a folder of sockets."""
    return _NAME.fullmatch(text) is not None


def parse_socket_path(path: bytes, folder: str) -> str:
    """The name of the socket that `path` means in `folder`. Raises InvalidInput with what to write instead."""
    text = path[:_LONGEST].decode("utf-8", "replace")
    name = text.removeprefix(f"{folder}/") if text.startswith(f"{folder}/") else re.sub(r"^\.?/", "", text)
    if is_name(name):
        return name
    raise InvalidInput(
        f"your sockets are in {folder} alone, and have names of letters, digits, dots, hyphens and underscores: write "
        f"{folder}/NAME, or /NAME",
        detail="a path outside the folder of the identity, or no name of a socket",
    )
