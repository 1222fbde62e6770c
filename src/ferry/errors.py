"""Every error that crosses a room, in one tree.

FerryError
├── Refused            a request was understood and denied; two texts: what the peer is told, what the log gets
├── InvalidInput       something a person typed or wrote cannot be understood; the text says what to write instead; what
│                      the log gets does not repeat what was typed where that may be a secret
├── StartupError       the gateway cannot start; the text names the fix
├── RemoteProtocolError  the peer broke its protocol (its fault; carries an HTTP status hint where one applies)
└── LocalProtocolError   we were about to break it (our fault, always a bug)
"""

from __future__ import annotations


class FerryError(Exception):
    """Base of all errors that Ferry raises on purpose."""


class Refused(FerryError):
    """A request was denied.

    `public` is shown to whoever asked and names the fix; `detail` goes to the log only and defaults to `public`;
    `code` is a short stable word for metrics (`reason` label) and machine-readable output.
    """

    def __init__(self, public: str, *, code: str, detail: str | None = None) -> None:
        super().__init__(public)
        self.public = public
        self.code = code
        self.detail = detail if detail is not None else public


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
