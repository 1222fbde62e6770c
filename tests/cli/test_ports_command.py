"""`ferry ports` shows the port table."""

from __future__ import annotations

import re
from pathlib import Path

from console_commands import run, running
from ferry.cli.ports import ports
from ferry.clock import SystemClock
from ferry.console.models import PortInfo
from small_gateway import KEY, STARTED, SmallGateway


def row(port: int, state: str, **more: object) -> PortInfo:
    fields: dict[str, object] = {"label": "ssh", "host": None, "holder": f"web-1 ({KEY})", "since": STARTED}
    fields |= {"kept_until": None, "kept_for_good": True, "lines": []} | more
    return PortInfo.model_validate({"port": port, "state": state, **fields})


TABLE = [
    row(21001, "up", host="web-1.example\x1b[2J"),
    row(21002, "down", kept_for_good=False, kept_until=STARTED, label=None),
    row(21004, "down", kept_for_good=False, kept_until=SystemClock().now() + 3600),
    row(21003, "never seen", since=None, holder=KEY, lines=["/etc/ferry/keys, line 3"]),
]


async def test_each_port_has_a_row(tmp_path: Path) -> None:
    async with running(tmp_path / "state", SmallGateway(port_table=TABLE)):
        result = await run(ports, "--state", str(tmp_path / "state"))
    title, *rows = result.lines
    assert title.split("  ")[0] == "HOST"
    words = [line.split() for line in rows]
    assert words[0][:5] == ["web-1.example\\x1b[2J", "21001", "ssh", "web-1", "up"]
    assert words[1][:5] == ["-", "21002", "-", "web-1", "down"]
    assert "until 2023-11-14" in rows[1]
    assert re.search(r"until 20[0-9-]{8} [0-9]{2}:[0-9]{2} UTC", rows[2]), "it ends soon"
    assert "never seen  -" in rows[3]
    assert re.search(r"for good +/etc/ferry/keys, line 3$", rows[3])


async def test_a_key_without_a_name_has_its_comment_and_a_port_that_is_up_its_addresses(tmp_path: Path) -> None:
    rows = [row(22001, "up", holder=KEY, comment="root@web-1", bound=["0.0.0.0", "[::]"]), row(22002, "disabled")]
    async with running(tmp_path / "state", SmallGateway(port_table=rows)):
        result = await run(ports, "--state", str(tmp_path / "state"))
    title, first, second = result.lines
    assert "LISTENS ON" in title
    assert first.startswith("(root@web-1)  22001")
    assert "0.0.0.0 [::]" in first
    assert "disabled" in second


async def test_programs_get_the_same_as_json(tmp_path: Path) -> None:
    async with running(tmp_path / "state", SmallGateway(port_table=TABLE)):
        result = await run(ports, "--json", "--state", str(tmp_path / "state"))
    assert [(one["port"], one["state"], one["since"]) for one in result.json] == [
        (21001, "up", "2023-11-14T22:13:20.000Z"),
        (21002, "down", "2023-11-14T22:13:20.000Z"),
        (21004, "down", "2023-11-14T22:13:20.000Z"),
        (21003, "never seen", None),
    ]


async def test_an_empty_table_says_so(tmp_path: Path) -> None:
    async with running(tmp_path / "state", SmallGateway()):
        result = await run(ports, "--state", str(tmp_path / "state"))
    assert result.lines == ["no port is up, reserved, or named by a key"]
