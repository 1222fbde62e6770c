"""Certificates of ssh-keygen, and a client that offers any bytes as one."""

from __future__ import annotations

import base64
import subprocess
from pathlib import Path

import asyncssh


def certify(ca: Path, key: Path, *arguments: str, key_id: str = "web-1") -> Path:
    """Let a CA sign a public key; `arguments` are those of `ssh-keygen -s`. The certificate lies beside the key."""
    command = ["ssh-keygen", "-q", "-s", str(ca), "-I", key_id, *arguments, f"{key}.pub"]
    subprocess.run(command, check=True, timeout=30, capture_output=True)
    return key.parent / f"{key.name}-cert.pub"


def blob_in(certificate: Path) -> bytes:
    """The wire form in a `-cert.pub` file."""
    return base64.b64decode(certificate.read_text().split()[1])


class Shown(asyncssh.SSHKeyPair):
    """A key whose certificate are these bytes, right or wrong, of any kind. It signs as the key does."""

    def __init__(self, key: asyncssh.SSHKey, blob: bytes) -> None:
        super().__init__(key.algorithm, key.algorithm, key.sig_algorithms, key.sig_algorithms, key.public_data, None)
        size = int.from_bytes(blob[:4], "big")
        self.algorithm = blob[4 : 4 + size]
        self.host_key_algorithms = key.cert_algorithms or (self.algorithm,)
        self.public_data = blob
        self._key = key

    def set_sig_algorithm(self, sig_algorithm: bytes) -> None:
        """A certificate of an RSA key is named by the signature (RFC 8332 §3, as OpenSSH does it)."""
        self.sig_algorithm = sig_algorithm
        if sig_algorithm.startswith(b"rsa-"):
            self.algorithm = sig_algorithm + b"-cert-v01@openssh.com"

    def sign(self, data: bytes) -> bytes:
        return self._key.sign(data, self.sig_algorithm)
