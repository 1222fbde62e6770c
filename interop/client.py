"""What a step asks of a client, whatever it is made of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

SECONDS = 60.0  # for one command of a client, on a machine with other work


class CannotDo(Exception):
    """The client has no way to do it; the text says why."""


class Failed(Exception):
    """The client tried, and could not; the text is its own."""


@dataclass(frozen=True, slots=True)
class Login:
    """Whom to log in as, and where."""

    host: str
    port: int
    key: Path
    """In a folder of its own, and named for its type: `ed25519`, `ecdsa`, `rsa`."""
    host_keys: tuple[str, ...]
    """Fingerprints, for a client that takes no key unseen."""
    rekey_bytes: int = 0
    """After how many bytes the client is to exchange keys; 0 leaves it at its own."""
    user: str = "dev"


class Client(Protocol):
    """One client. Each call returns when the client says that it is done, and raises Failed or CannotDo."""

    version: str

    def login(self, login: Login) -> None: ...

    def forward(self, host: str, port: int, target: int) -> int:
        """Ask for `-R host:port:127.0.0.1:target`; the port that was granted."""
        ...

    def cancel(self, host: str, port: int) -> str:
        """Cancel that forward. Returns how, where it is not by cancel-tcpip-forward."""
        ...

    def exec(self, command: str) -> tuple[int, bytes]:
        """Run `command` in a session; its exit status and output."""
        ...

    def direct(self, host: str, port: int, target: int) -> None:
        """Open direct-tcpip to host:port, and join it with a connection to 127.0.0.1:target."""
        ...

    def rekey(self) -> None:
        """Exchange keys now, where `rekey_bytes` cannot be set; else nothing."""
        ...

    def quit(self) -> None:
        """End as a person would end it."""
        ...

    def close(self) -> None:
        """End it whatever state it is in."""
        ...
