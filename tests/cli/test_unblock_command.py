from __future__ import annotations

from pathlib import Path

from console_commands import run, running
from ferry.cli.status import status
from ferry.cli.unblock import unblock
from ferry.console.models import BlockedAddress
from ferry.errors import InvalidInput
from small_gateway import SmallGateway

OFFENDERS = [
    BlockedAddress(address="203.0.113.7", seconds=75.0, why="offered no acceptable key"),
    BlockedAddress(address="2001:db8::/64", seconds=20.0, why="sent data that is not SSH"),
]


async def test_blocked_addresses_are_listed_and_lifted(tmp_path: Path) -> None:
    where = ("--state", str(tmp_path))
    async with running(tmp_path, SmallGateway(offenders=OFFENDERS)) as gateway:
        listed = await run(unblock, *where)
        assert listed.lines == [
            "203.0.113.7  1m 15s more: offered no acceptable key",
            "2001:db8::/64  20s more: sent data that is not SSH",
        ]
        assert "  blocked     2 (`ferry unblock` lists them)" in (await run(status, *where)).lines
        assert (await run(unblock, "2001:db8::/64", *where)).text == "unblocked 2001:db8::/64\n"
        assert (await run(unblock, "203.0.113.7", "--json", *where)).json["what"] == "address"
        assert gateway.offenders == []
        again = await run(unblock, "203.0.113.7", *where)
        assert str(again.error) == "'203.0.113.7' is not blocked: `ferry unblock` lists those that are"
        mistyped = await run(unblock, "foo", *where)
        assert isinstance(mistyped.error, InvalidInput)  # exit code 2
        assert str(mistyped.error) == "'foo' is not an IPv4 or IPv6 address"
        assert (await run(unblock, *where)).text == "no address is blocked\n"
        assert (await run(unblock, "--json", *where)).json == []
