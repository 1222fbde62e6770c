"""Every error that crosses a room, in one tree.

FerryError
├── Refused            a `Refusal` on its way out of an edge, where no value can be answered
├── InvalidInput       something a person typed or wrote cannot be understood; the text says what to write instead; what
│                      the log gets does not repeat what was typed where that may be a secret
├── StartupError       the gateway cannot start; the text names the fix
├── RemoteProtocolError  the peer broke its protocol (its fault; carries an HTTP status hint where one applies)
└── LocalProtocolError   we were about to break it (our fault, always a bug)

A decision that denies is no error: it answers a `Refusal`, which is a value.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request was understood and denied. Three texts: what is told, what the log gets, what is kept."""

    public: str
    """For whoever asked; it names the fix."""
    _: KW_ONLY
    code: str
    """A short stable word for metrics (`reason` label) and machine-readable output."""
    detail: str = ""
    """For the log only; `public` where nothing is given."""
    rule: str | None = None
    """The operator's rule that decided; None where it is Ferry's own."""
    repeats_input: bool = False
    """`public` repeats what was typed, which may be a secret: it goes to whoever typed it, and nowhere else."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "detail", self.detail or self.public)

    @property
    def kept(self) -> str:
        """What is remembered and shown to later connections of the same identity."""
        return self.detail if self.repeats_input else self.public


class FerryError(Exception):
    """Base of all errors that Ferry raises on purpose."""


class Refused(FerryError):
    """An edge denies what it was asked for: `refusal` says why."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.public)
        self.refusal = refusal


class InvalidInput(FerryError):
    """Input that cannot be understood. The message says what to write instead, to whoever typed it.

    `detail` goes to the log and is remembered; it defaults to the message, which then repeats nothing that may be secret.
    """

    def __init__(self, message: str, *, detail: str | None = None) -> None:
        super().__init__(message)
        self.detail = detail if detail is not None else message


class StartupError(FerryError):
    """The gateway cannot start. The message names the fix; the process exits with 3."""


class RemoteProtocolError(FerryError):
    """The other side broke its protocol. `status` is the HTTP status to answer with, where there is one."""

    def __init__(self, message: str, *, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class LocalProtocolError(FerryError):
    """We were about to break a protocol: a bug on our side."""
