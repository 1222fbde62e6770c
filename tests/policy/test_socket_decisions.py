"""Which Unix sockets of the gateway a client may reach."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ferry.errors import LocalProtocolError, Refusal
from ferry.names import Fingerprint, Identity, IdentityId
from ferry.policy.allowance import Allowance
from ferry.policy.grants import SocketGrant
from ferry.policy.keys import ANY_KEY
from ferry.policy.sockets import decide_socket
from ferry.policy.sshd import Forwarding, SshdOptions
from ferry.protocol.permits import ANYWHERE, Permit
from granted import RULES as BASE

RULES = replace(BASE, sockets="/run/ferry")
WEB = Identity(IdentityId("web"), "web-1", Fingerprint("SHA256:web"))
NOBODY = Identity(IdentityId("anonymous:1"), None, None, anonymous=True)


def decided(path: bytes, identity: Identity = WEB, *, permits: tuple[Permit, ...] | None = None) -> str:
    """The path of the socket that is opened, or the code of the refusal."""
    options = SshdOptions(allow_streamlocal_forwarding=Forwarding.ALL, permit_open=permits)
    found = decide_socket(Allowance(ANY_KEY, options), identity, path, RULES, None)
    return found.code if isinstance(found, Refusal) else str(found)


def test_a_client_reaches_the_sockets_in_the_folder_of_its_identity() -> None:
    assert decided(b"/db.sock") == decided(b"/run/ferry/web-1/db.sock") == "/run/ferry/web-1/db.sock"
    assert decided(b"/run/ferry/web-2/db.sock") == "invalid"
    assert decided(b"/db.sock", NOBODY) == "needs_key"


@pytest.mark.parametrize(
    ("permits", "opens"),
    [
        (None, True), (ANYWHERE, True), ((), False), ((Permit("/run/ferry/web-1/db.sock", None),), True),
        ((Permit("/run/ferry/web-?/*", None),), True), ((Permit("/run/ferry/web-1/x.sock", None),), False),
        ((Permit("*", 22),), False),
    ],
)  # fmt: skip
def test_permit_open_has_to_name_the_socket(permits: tuple[Permit, ...] | None, *, opens: bool) -> None:
    assert decided(b"/db.sock", permits=permits) == ("/run/ferry/web-1/db.sock" if opens else "sshd_socket")


def test_nobody_else_makes_a_grant_for_a_socket() -> None:
    with pytest.raises(LocalProtocolError):
        SocketGrant("/run/ferry", "web-1", "db.sock", object())
