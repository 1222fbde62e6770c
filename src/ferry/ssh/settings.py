"""The settings of all SSH connections: of log-ins, forwards, notices and bounds."""

from __future__ import annotations

from dataclasses import dataclass, fields

from ferry.policy.sshd import SshdRules

from .forward_settings import ForwardSettings
from .login import LoginSettings
from .notices import Notices
from .wire.connection import ConnectionBounds


@dataclass(slots=True)
class SshSettings:
    """The settings in force. Everything that needs a part of them holds this one object, and reads the part each time.

    So `use` changes them for present connections too.
    """

    login: LoginSettings
    forwards: ForwardSettings
    notices: Notices
    request_log: bool
    """Whether sessions show a line per visit."""
    end_refused: bool
    """Whether a connection ends if all its forwards are refused and it opens no session."""
    bounds: ConnectionBounds
    sshd: SshdRules
    """The operator's rules with sshd's names."""

    def use(self, new: SshSettings) -> None:
        """Change to the settings of `new`."""
        for field in fields(self):
            setattr(self, field.name, getattr(new, field.name))
