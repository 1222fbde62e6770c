"""The base of rules of access that a test makes up: plain keys alone, of no file, none of them revoked."""

from __future__ import annotations

from collections.abc import Sequence

from ferry.errors import Refusal
from ferry.names import Fingerprint
from ferry.policy.keys import KeyLine
from ferry.policy.shut_lines import ShutLine
from ferry.protocol.certificates import Certificate
from ferry.ssh.access_lines import Found


class AccessStandIn:
    """What its heirs leave out."""

    def shut_lines_of(self, _fingerprint: Fingerprint) -> Sequence[ShutLine]:
        return ()

    def place_of(self, _name: str) -> str | None:
        return None

    def lines_for(self, _certificate: Certificate, _user: str) -> Sequence[KeyLine]:
        return ()

    def revocation_of(self, _fingerprint: Fingerprint, _certificate: Certificate | None) -> Refusal | None:
        return None

    def hides(self, _line: KeyLine) -> bool:
        return False

    def read(self) -> Found | None:
        return None

    def use(self, found: Found | None) -> None:
        assert found is None
