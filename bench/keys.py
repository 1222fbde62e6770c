"""Key pairs for the clients: everybody has one of their own, as people do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import asyncssh


@dataclass(frozen=True, slots=True)
class Keys:
    """Private keys in files, numbered from 0, and one file with all their public halves."""

    folder: Path
    count: int

    @property
    def authorized(self) -> Path:
        return self.folder / "authorized_keys"

    def __getitem__(self, number: int) -> Path:
        return self.folder / f"key{number}"

    @classmethod
    def make(cls, folder: Path, count: int) -> Keys:
        """New ed25519 keys."""
        folder.mkdir()
        keys = cls(folder, count)
        public = []
        for number in range(count):
            key = asyncssh.generate_private_key("ssh-ed25519", comment=f"bench{number}")
            keys[number].touch(mode=0o600)
            key.write_private_key(str(keys[number]))
            public.append(key.export_public_key().decode())
        keys.authorized.write_text("".join(public))
        keys.authorized.chmod(0o600)
        return keys
