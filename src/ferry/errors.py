"""All errors that pass from one package to another, in one tree.

FerryError
├── InvalidInput       a person's input cannot be parsed; the text says what to write instead; the text for the log
│                      does not repeat input that may be a secret
├── StartupError       the gateway cannot start; the text names the fix
├── RemoteProtocolError  the peer broke its protocol (its fault; carries an HTTP status where one applies)
└── LocalProtocolError   we were about to break the protocol (our fault, always a bug)

A decision to deny is not an error: it returns a `Refusal`, which is a value.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Final, Self

INTERNAL: Final = "an error in the gateway ended this: its log says more"
"""What a person is told of an error of ours."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A valid request was denied. It has three texts: for the asker, for the log, and to be kept."""

    public: str
    """For the asker; it names the fix."""
    _: KW_ONLY
    code: str
    """A short stable word for metrics (`reason` label) and machine-readable output."""
    detail: str = ""
    """For the log only; `public` by default."""
    rule: str | None = None
    """The operator's rule that decided; None for Ferry's own rules."""
    repeats_input: bool = False
    """`public` repeats the person's input, which may be a secret: only that person may see it."""
    retry_after: int = 0
    """Seconds after which the same request may be granted, because the reason passes by itself; 0: it does not."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "detail", self.detail or self.public)

    @classmethod
    def of_input(cls, error: InvalidInput) -> Self:
        """The refusal of a request that cannot be parsed. Only the asker sees what they have typed."""
        return cls(str(error), code="invalid", detail=error.detail, repeats_input=True)

    @property
    def kept(self) -> str:
        """The text that is remembered and shown to later connections of the same identity."""
        return self.detail if self.repeats_input else self.public


class FerryError(Exception):
    """Base of all errors that Ferry raises on purpose."""


class InvalidInput(FerryError):
    """Input that cannot be parsed. The message tells the person what to write instead.

    `detail` goes to the log and is remembered. It defaults to the message, which must then not repeat a secret.
    """

    def __init__(self, message: str, *, detail: str | None = None) -> None:
        super().__init__(message)
        self.detail = detail if detail is not None else message


def unreadable(path: Path, error: OSError) -> InvalidInput:
    """The error for a configuration file that cannot be read."""
    match error:
        case FileNotFoundError():
            fix = "name the right one with --config, or write one with `ferry init`"
        case PermissionError():
            fix = "run this with sudo, or let this user read it"
        case _:
            fix = "name a file with --config"
    return InvalidInput(f"{path}: cannot be read: {error.strerror}: {fix}")


class StartupError(FerryError):
    """The gateway cannot start. The message names the fix; the process exits with 3."""


class RemoteProtocolError(FerryError):
    """The other side broke its protocol. `status` is the HTTP status to answer with, where there is one."""

    def __init__(self, message: str, *, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class LocalProtocolError(FerryError):
    """We were about to break a protocol: a bug on our side."""
