"""`ferry` whose log says when keys were exchanged, and which exchanges them after as many bytes as the first argument says.

The product has no setting for it: asyncssh's own bound is 1 GiB, and a run of the suite should see a hundred exchanges.
"""

from __future__ import annotations

import json
import sys
from functools import partial
from typing import Any
from unittest.mock import patch

import asyncssh

import ferry.gateway.serve
from ferry.cli.main import main
from ferry.gateway.worker import build_worker
from ferry.ssh.wire.connection import HardenedConnection

EXCHANGED = "keys exchanged"


class Counted(HardenedConnection):
    """The product's own, and a line a key exchange."""

    def send_newkeys(self, k: bytes, h: bytes) -> None:
        super().send_newkeys(k, h)
        print(json.dumps({"event": EXCHANGED}), file=sys.stderr, flush=True)


def rekey_after(size: int) -> None:
    """Have all connections made from now on exchange keys after `size` bytes."""
    options = asyncssh.SSHServerConnectionOptions
    construct = options.construct

    async def constructed(**given: Any) -> Any:
        return await construct(**given, rekey_bytes=size)

    setattr(options, "construct", constructed)  # noqa: B010  # the gateway passes no `rekey_bytes` of its own


if __name__ == "__main__":
    if after := int(sys.argv.pop(1)):
        rekey_after(after)
    with patch.object(ferry.gateway.serve, "build_worker", partial(build_worker, make_connection=Counted)):
        main()
