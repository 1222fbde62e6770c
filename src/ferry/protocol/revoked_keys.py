"""Lists of revoked keys (sshd_config(5), RevokedKeys), as text: one public key, certificate or fingerprint a line.

    ssh-ed25519 AAAA... web-1, lost
    ssh-ed25519-cert-v01@openssh.com AAAA...
    SHA256:PcpBBA...

A certificate revokes its key, with this certificate and with any other. A key that is a CA's revokes all that it has
signed. A binary list (KRL) is read by `revocations`.
"""

from __future__ import annotations

import re
from typing import Final

from ferry.errors import InvalidInput
from ferry.names import Fingerprint, typed_name

from .authorized_keys import KEY_TYPE, checked_size, decoded, fingerprint_of, numbered
from .certificates import CERTIFICATE_ALGORITHMS, parse_certificate
from .revocations import KRL_MAGIC, Revocations, parse_krl

_FINGERPRINT: Final = re.compile(r"SHA256:[A-Za-z0-9+/]{43}")


def parse_revoked(data: bytes) -> Revocations:
    """A list of revoked keys, of either kind. Raises InvalidInput for any line that cannot be read: the key in it would count
    as good otherwise."""
    if data.startswith(KRL_MAGIC):
        return parse_krl(data)
    found: set[Fingerprint] = set()
    for number, line in numbered(data.decode("utf-8", "replace")):
        try:
            found.add(_revoked_in(line))
        except InvalidInput as error:
            raise InvalidInput(f"line {number}: {error}", detail=f"line {number}: {error.detail}") from None
    return Revocations(frozenset(found))


def _revoked_in(line: str) -> Fingerprint:
    checked_size(line)
    first, _, rest = line.replace("\t", " ").partition(" ")
    if first.isdecimal():  # as ssh-keygen -l prints it, behind the size of the key
        first, _, rest = rest.partition(" ")
    if first.startswith("SHA256:"):
        if not _FINGERPRINT.fullmatch(first):
            raise InvalidInput("the fingerprint is cut short: copy it again (ssh-keygen -l -f KEY.pub)")
        return Fingerprint(first)
    if not KEY_TYPE.fullmatch(first):
        raise InvalidInput(
            f"{typed_name(first)} is neither a key type nor a fingerprint: write a line as in KEY.pub, without options, or "
            "SHA256:..."
        )
    blob = decoded(rest.lstrip(" ").partition(" ")[0])
    if first in CERTIFICATE_ALGORITHMS:
        return parse_certificate(blob).fingerprint
    # a type that may not log in here is no mistake: sshd may have the same list
    if not blob.startswith(len(first).to_bytes(4, "big") + first.encode()):
        raise InvalidInput("the key is cut short, or of another type: copy the whole .pub line again")
    return fingerprint_of(blob)
