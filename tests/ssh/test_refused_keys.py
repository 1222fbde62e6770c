"""The keys that were not let in, as the gateway remembers them."""

from __future__ import annotations

from ferry.names import Fingerprint
from ferry.ssh.refused_keys import RefusedKeys

REFUSED_KEYS = 100
REFUSED_KEYS_PER_NETWORK = 8
REFUSED_KEY_BYTES = 4096
REFUSED_KEY_USERS = 4


def offered(keys: RefusedKeys, number: int, host: str, size: int = 51) -> None:
    keys.offered(
        Fingerprint(f"SHA256:{number}"), b"ssh-ed25519", bytes(size), host=host, user="anna", now=float(number)
    )


def remembered(keys: RefusedKeys) -> list[str]:
    return [key.fingerprint for key in keys]


def test_the_last_keys_of_all_networks_are_kept() -> None:
    keys = RefusedKeys()
    for number in range(REFUSED_KEYS + 3):
        offered(keys, number, f"10.0.{number}.1")
    assert remembered(keys) == [f"SHA256:{number}" for number in range(3, REFUSED_KEYS + 3)]


def test_one_network_does_not_drive_out_the_keys_of_others() -> None:
    keys = RefusedKeys()
    offered(keys, 0, "10.0.1.1")
    for number in range(1, REFUSED_KEYS):
        offered(keys, number, f"10.0.0.{number}")
    assert remembered(keys) == [
        "SHA256:0",
        *(f"SHA256:{number}" for number in range(REFUSED_KEYS - REFUSED_KEYS_PER_NETWORK, REFUSED_KEYS)),
    ]


def test_a_key_that_comes_again_is_the_last_one() -> None:
    keys = RefusedKeys()
    for number in (0, 1, 0):
        offered(keys, number, "10.0.0.1")
    assert remembered(keys) == ["SHA256:1", "SHA256:0"]


def test_a_huge_key_is_not_kept() -> None:
    keys = RefusedKeys()
    offered(keys, 0, "10.0.0.1", size=REFUSED_KEY_BYTES + 1)
    assert remembered(keys) == []


def test_what_a_stranger_writes_is_escaped() -> None:
    keys = RefusedKeys()
    keys.offered(Fingerprint("SHA256:x"), b"ssh-\x1b[2J", b"", host="10.0.0.1", user="\x1b[2J", now=0.0)
    (key,) = keys
    assert "\x1b" not in "".join(key.users) + key.line


def test_a_stranger_with_the_same_key_does_not_overwrite_its_login_name() -> None:
    keys = RefusedKeys()
    for user in ("anna", "root", "anna", "root", "root"):
        keys.offered(Fingerprint("SHA256:x"), b"ssh-ed25519", b"", host="10.0.0.1", user=user, now=0.0)
    (key,) = keys
    assert key.users == ("anna", "root")
    for number in range(REFUSED_KEY_USERS):
        keys.offered(Fingerprint("SHA256:x"), b"ssh-ed25519", b"", host="10.0.0.1", user=f"u{number}", now=0.0)
    (key,) = keys
    assert key.users == ("u0", "u1", "u2", "u3")


class _Host(str):
    """Counts how often its network is worked out."""

    __slots__ = ()
    parsed = 0

    def partition(self, separator: str, /) -> tuple[str, str, str]:
        _Host.parsed += 1
        return super().partition(separator)


def test_a_key_costs_the_same_however_many_are_remembered() -> None:
    """Before the log-in: to work out the networks of 100 keys takes 4 ms."""
    keys = RefusedKeys()
    for number in range(REFUSED_KEYS):
        offered(keys, number, _Host(f"2001:db8:{number:x}::1"))
    assert _Host.parsed == REFUSED_KEYS
