"""`ferry release` gives back reservations, whoever owns them."""

from __future__ import annotations

from pathlib import Path

from console_commands import run, running
from ferry.cli.release import release
from ferry.console.models import PortInfo
from small_gateway import SmallGateway


async def test_names_are_given_back_and_one_that_is_up_is_said_to_be(tmp_path: Path) -> None:
    async with running(tmp_path / "state") as gateway:
        result = await run(release, "30042", "blog", "--state", str(tmp_path / "state"))
        assert gateway.reserved == []
        assert len(gateway.open_tunnels) == 4
    port, blog = result.lines
    assert port.startswith("released port 30042 of web-1 (SHA256:")
    assert blog.startswith("released blog.example.com of web-1 (SHA256:")
    assert blog.endswith("): it is free when its tunnel closes")
    assert (result.code, port.endswith(")")) == (0, True)


async def test_a_port_that_a_line_keeps_still_is_said_to_be(tmp_path: Path) -> None:
    row = PortInfo(
        port=30042, label=None, host=None, holder="web-1", state="down", since=None, kept_until=None,
        kept_for_good=True, lines=["/etc/ferry/keys, line 3"],
    )  # fmt: skip
    async with running(tmp_path / "state", SmallGateway(port_table=[row])):
        result = await run(release, "30042", "--state", str(tmp_path / "state"))
    assert result.lines[1] == "  /etc/ferry/keys, line 3 keeps it still: take it out of permitlisten= there, too"


async def test_an_unknown_name_fails_with_the_nearest_and_those_before_it_are_given_back(tmp_path: Path) -> None:
    async with running(tmp_path / "state") as gateway:
        result = await run(release, "30042", "blgo", "--state", str(tmp_path / "state"))
        assert [one.key for one in gateway.reserved] == ["http:blog.example.com"]
    assert result.text.startswith("released port 30042 of ")
    assert (result.code, str(result.error)) == (1, "no name is called 'blgo': did you mean blog?")


async def test_in_json_there_is_one_object_for_each_name(tmp_path: Path) -> None:
    async with running(tmp_path / "state"):
        result = await run(release, "blog", "30042", "--json", "--state", str(tmp_path / "state"))
    assert [(one["what"], one["address"], one["live"]) for one in result.json] == [
        ("name", "blog.example.com", True),
        ("name", "port 30042", False),
    ]
