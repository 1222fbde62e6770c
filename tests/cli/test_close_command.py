from __future__ import annotations

from pathlib import Path

from console_commands import run, running
from ferry.cli.close import close
from small_gateway import SmallGateway, tunnel


async def test_a_tunnel_by_name_and_a_connection_by_id(tmp_path: Path) -> None:
    where = ("--state", str(tmp_path / "state"))
    async with running(tmp_path / "state") as gateway:
        tunnel = await run(close, "blog", *where)
        assert tunnel.text.startswith("closed blog.example.com of web-1 (SHA256:")
        connection = await run(close, "s2", "--json", *where)
        assert connection.json["what"] == "connection"
        port = await run(close, "30042", *where)
        assert port.text.startswith("closed port 30042 of ")
        assert [t.id for t in gateway.open_tunnels] == ["t3cc", "t4dd"]
        assert [s.id for s in gateway.open_connections] == ["s1"]
    assert (tunnel.code, connection.code, port.code) == (0, 0, 0)


async def test_closing_a_connection_names_its_identity_and_peer(tmp_path: Path) -> None:
    async with running(tmp_path / "state"):
        result = await run(close, "s1", "--state", str(tmp_path / "state"))
    assert result.text.startswith("closed connection s1 of SHA256:")
    assert result.text.endswith(" from 192.0.2.7:50122\n")


async def test_an_unknown_target_fails_with_the_nearest_name(tmp_path: Path) -> None:
    where = ("--state", str(tmp_path / "state"))
    async with running(tmp_path / "state") as gateway:
        unknown = await run(close, "blgo", *where)
        several = await run(close, "laptop", *where)
        assert gateway.told == []
    assert str(unknown.error) == "no tunnel is called 'blgo': did you mean blog?"
    assert str(several.error) == "'laptop' means 2 tunnels: write which: laptop:22 (t3cc), laptop:80 (t4dd)"


async def test_a_connection_that_is_called_like_several_tunnels_is_not_closed_for_them(tmp_path: Path) -> None:
    gateway = SmallGateway([tunnel("t1", "alias", "s1:22", None), tunnel("t2", "alias", "s1:80", None)])
    async with running(tmp_path / "state", gateway):
        several = await run(close, "s1", "--state", str(tmp_path / "state"))
    assert str(several.error) == "'s1' means 2 tunnels: write which: s1:22 (t1), s1:80 (t2)"
    assert gateway.told == []


async def test_a_target_may_be_a_whole_url(tmp_path: Path) -> None:
    async with running(tmp_path / "state"):
        result = await run(close, "https://blog.example.com:8443/a?b=c#d%2F é", "--state", str(tmp_path / "state"))
    assert result.text.startswith("closed blog.example.com ")
