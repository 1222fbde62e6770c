"""An RSA host key for gateways of tests. One takes longer to make than most tests, so all share one."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import asyncssh


@cache
def _files() -> dict[str, bytes]:
    """The files of one as `ferry serve` makes it. Made once in a process."""
    key = asyncssh.generate_private_key("ssh-rsa", comment="ferry", key_size=3072)
    return {"ssh_host_rsa_key": key.export_private_key(), "ssh_host_rsa_key.pub": key.export_public_key()}


def put_rsa_key(state: Path) -> None:
    """Put it into a state folder that has none, and make the folder if it is missing."""
    state.mkdir(mode=0o700, exist_ok=True)
    for name, content in _files().items():
        if not (path := state / name).exists():
            path.write_bytes(content)
            path.chmod(0o600)
