"""Remembers the keys that were not let in, so that `ferry allow` can let one in by its fingerprint.

A client only offers a key here: it has not proved that it holds it. That is enough to allow the key, because a log-in
needs the proof.
"""

from __future__ import annotations

import base64
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ferry import limits
from ferry.names import Fingerprint, network_of, printable


class RefusedKey(NamedTuple):
    """A key that was offered, and is in no file."""

    fingerprint: Fingerprint
    line: str
    """The key as in an `authorized_keys` file, without options and comment."""
    host: str
    """The address that offered it last."""
    network: str
    """The network of that, by which keys are counted: to work it out anew for all keys takes 4 ms."""
    users: tuple[str, ...]
    """The last REFUSED_KEY_USERS login names with it, the latest last. Whoever knows the key can add one."""
    at: float
    """Seconds since the epoch."""

    @property
    def algorithm(self) -> str:
        """Its type, as in the line."""
        return self.line.partition(" ")[0]


class RefusedKeys:
    """The last REFUSED_KEYS of them, and of each network REFUSED_KEYS_PER_NETWORK."""

    def __init__(self) -> None:
        self._keys: OrderedDict[Fingerprint, RefusedKey] = OrderedDict()

    def __iter__(self) -> Iterator[RefusedKey]:
        """The one that was offered last comes last."""
        return iter(list(self._keys.values()))

    def offered(
        self, fingerprint: Fingerprint, algorithm: bytes, data: bytes, *, host: str, user: str, now: float
    ) -> None:
        """Remember a key. A key above REFUSED_KEY_BYTES is not kept."""
        if len(data) > limits.REFUSED_KEY_BYTES:
            return
        line = f"{printable(algorithm.decode('ascii', 'replace'), 64)} {base64.b64encode(data).decode()}"
        network = network_of(host)
        before = self._keys.pop(fingerprint, None)
        name = printable(user, 64)
        others = [each for each in before.users if each != name] if before is not None else []
        users = (*others, name)[-limits.REFUSED_KEY_USERS :]
        self._keys[fingerprint] = RefusedKey(fingerprint, line, host, network, users, now)
        of_network = [key.fingerprint for key in self._keys.values() if key.network == network]
        for oldest in of_network[: -limits.REFUSED_KEYS_PER_NETWORK]:
            del self._keys[oldest]
        if len(self._keys) > limits.REFUSED_KEYS:
            self._keys.popitem(last=False)


def refused_banner(fingerprints: Sequence[Fingerprint], gateway: str) -> str:
    """What a client reads before `Permission denied`: its keys, and what to do. `gateway` is its host, and its port if
    that is not 22."""
    if not fingerprints:
        return (
            "ferry: this gateway lets in known keys only, and your client offered none.\r\n"
            "ferry: Make one with ssh-keygen -t ed25519, and send its .pub file to\r\n"
            f"ferry: the operator of {gateway}.\r\n"
        )
    shown = "".join(f"ferry:   {fingerprint}\r\n" for fingerprint in fingerprints)
    which = "your key" if len(fingerprints) == 1 else "one of your keys"
    return (
        f"ferry: this gateway does not know {which}:\r\n{shown}"
        f"ferry: send that to the operator of {gateway}, who can run\r\n"
        f"ferry:   ferry allow {fingerprints[0]}\r\n"  # a line of its own: PuTTY breaks lines at 77 columns
    )
