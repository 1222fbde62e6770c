"""Options of a key's line that are correct, and do something else than their author means."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from ferry.names import printable
from ferry.protocol.forward_spec import LOCAL, LOOPBACK

from .keys import KeyLine


def traps_of(line: KeyLine, *, now: float, use_dns: bool, is_public: Callable[[int], bool]) -> Iterator[str]:
    """Each trap of a line, with what to write. `now` is in seconds since the epoch; `use_dns`: names of hosts are looked
    up; `is_public`: whether a TCP port is in a public range."""
    options = line.options
    if options.forwards_off and (options.permit_listen or options.permit_open):
        permits = "permitlisten=" if options.permit_listen else "permitopen="
        yield (
            f"{options.forwards_off} turns all forwards off, and {permits} turns none on: "
            + ("add port-forwarding behind restrict" if options.forwards_off == "restrict" else "remove that option")
        )
    for permit in options.permit_listen:
        if permit.host != permit.host.lower() and not permit.host.startswith("/"):  # a path keeps its case
            yield f'permitlisten="{printable(str(permit), 80)}" matches nothing: write its host in lower case'
        if permit.host in LOCAL and permit.port is not None and is_public(permit.port):
            yield (
                f'permitlisten="{printable(str(permit), 80)}" opens a public port, for the range decides that and not the '
                "host: use a port of a loopback range (tcp.ranges)"
            )
        elif (
            permit.host in LOOPBACK
            and permit.port is not None
            and not any(each.listens("localhost", permit.port) for each in options.permit_listen)
        ):
            typed = f"-R {str(permit).rpartition(':')[0]}:{permit.port}:..."
            yield (
                f'permitlisten="{permit}" allows {typed} alone, for ssh asks for localhost where no host is typed: write '
                f'permitlisten="localhost:{permit.port}"'
            )
    for permit in options.permit_open:
        if permit.host == "any":
            port = "*" if permit.port is None else permit.port
            yield f'permitopen="{permit}" names a host that is called any: write permitopen="*:{port}" for any host'
    if options.origins is not None and not use_dns and (names := options.origins.names):
        shown = printable(names[0], 80)
        yield f"from= has the name {shown}, which matches nothing: write addresses, or access.use_dns = true"
    if options.expires is not None and options.expires < int(now):
        at = datetime.fromtimestamp(options.expires, UTC)
        yield f"its expiry-time= has passed, on {at:%Y-%m-%d %H:%M:%S} UTC: it lets nobody in"
