"""The asyncssh options of all connections: host keys, algorithms, times."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import asyncssh

from ferry import __version__
from ferry.protocol.key_algorithms import SIGNATURES

from .host_keys import HostKey
from .wire.algorithms import CIPHERS, HOST_KEY_ALGORITHMS, KEX_ALGORITHMS, MACS
from .wire.keepalive import asks_within

ConnectionOptions: TypeAlias = asyncssh.SSHServerConnectionOptions


async def connection_options(
    host_keys: Sequence[HostKey], *, login_grace: float, keepalive_interval: float, keepalive_count: int
) -> ConnectionOptions:
    """The asyncssh options that all connections share, made once (making them costs 1 ms and more)."""
    options: ConnectionOptions = await asyncssh.SSHServerConnectionOptions.construct(
        server_factory=asyncssh.SSHServer,
        server_version=f"Ferry_{__version__}",
        server_host_keys=list(host_keys),
        kex_algs=KEX_ALGORITHMS,
        encryption_algs=CIPHERS,
        mac_algs=MACS,
        signature_algs=SIGNATURES,
        compression_algs=["none"],
        login_timeout=login_grace,
        keepalive_interval=keepalive_interval,
        keepalive_count_max=asks_within(keepalive_count),
        host_based_auth=False,
        password_auth=False,
        gss_host=None,
        agent_forwarding=False,
        x11_forwarding=False,
        allow_scp=False,
        line_editor=False,
        encoding=None,
        utf8_decode_errors="replace",
    )
    for algorithm in options.server_host_keys.keys() - HOST_KEY_ALGORITHMS:
        del options.server_host_keys[algorithm]
    return options
