from __future__ import annotations

import asyncio
import contextlib
import os
import pty
import struct
import subprocess
import sys
import termios
from fcntl import ioctl
from pathlib import Path

import pytest

from console_commands import run, running
from ferry.cli.client import Gateway
from ferry.cli.ls import ls
from ferry.errors import FerryError, InvalidInput
from small_gateway import SmallGateway, connection, name, tunnel


async def test_ls_prints_whole_plain_lines_to_a_pipe(tmp_path: Path) -> None:
    long = "a" * 63 + "." + "b" * 63 + ".example.com"
    gateway = SmallGateway()
    gateway.open_tunnels.append(tunnel("t5", "http", long, f"https://{long}:8443", identity="[red]x\x1b[2J"))
    async with running(tmp_path / "state", gateway):
        result = await run(ls, "--state", str(tmp_path / "state"))
    head, blog, port, alias, _, last = result.lines
    assert head.split() == ["TUNNEL", "IDENTITY", "OPEN", "VISITS", "IN", "OUT", "CONNECTION", "FROM", "ID"]
    assert blog.split()[:2] == ["https://blog.example.com", "web-1"]
    assert "  3  1.5 MB  20 B  s1" in blog
    assert port.startswith("tcp://example.com:30042 ")
    assert alias.startswith("laptop:22 ")
    assert last.startswith(f"https://{long}:8443  [red]x\\x1b[2J  ")
    assert "\x1b" not in result.text
    assert all(line == line.rstrip() for line in result.lines)


async def test_a_client_that_does_not_answer_is_marked(tmp_path: Path) -> None:
    gateway = SmallGateway()
    silent = {"silent_seconds": 31.2}
    gateway.open_tunnels[0] = gateway.open_tunnels[0].model_copy(update=silent)
    gateway.open_connections[0] = gateway.open_connections[0].model_copy(update=silent)
    where = ("--state", str(tmp_path / "state"))
    async with running(tmp_path / "state", gateway):
        tunnels, connections = (await run(ls, *where)).lines, (await run(ls, "--connections", *where)).lines
    assert [" silent 31s" in line for line in tunnels] == [False, True, False, False, False]
    assert [" silent 31s" in line for line in connections] == [False, True, False]


async def test_connections_and_names(tmp_path: Path) -> None:
    where = ("--state", str(tmp_path / "state"))
    async with running(tmp_path / "state"):
        connections = await run(ls, "--connections", *where)
        names = await run(ls, "--names", *where)
    assert "s1" in connections.lines[1]
    assert "blog.example.com, laptop:22  SSH-2.0-OpenSSH_9.2\\x1b[2J" in connections.lines[1]
    assert "SHA256:n4bQgYhMf.." in connections.lines[1]
    assert [line.split()[0] for line in names.lines] == ["NAME", "blog.example.com", "port"]
    assert names.lines[1].endswith("ago  yes   asked for")


async def test_a_name_that_was_never_used_is_marked(tmp_path: Path) -> None:
    reserved = [
        name("http:blog.example.com", used=False),
        name("tcp::30042", used=False, live=True),
        name("tcp::30043", used=False).model_copy(update={"label": "ssh"}),  # kept for good, used or not
    ]
    async with running(tmp_path / "state", SmallGateway(reserved=reserved)):
        names = await run(ls, "--names", "--state", str(tmp_path / "state"))
    assert ["ago, unused" in line for line in names.lines[1:]] == [True, False, False]


async def test_json(tmp_path: Path) -> None:
    where = ("--json", "--state", str(tmp_path / "state"))
    async with running(tmp_path / "state"):
        assert [t["id"] for t in (await run(ls, *where)).json] == ["t1aa", "t2bb", "t3cc", "t4dd"]
        assert [s["id"] for s in (await run(ls, "--connections", *where)).json] == ["s1", "s2"]
        assert [n["key"] for n in (await run(ls, *where, "--names")).json] == ["http:blog.example.com", "tcp::30042"]


async def test_nothing_to_list_says_so(tmp_path: Path) -> None:
    where = ("--state", str(tmp_path / "state"))
    async with running(tmp_path / "state", SmallGateway([], [], [])):
        assert (await run(ls, *where)).text == "no tunnels\n"
        assert (await run(ls, "--connections", *where)).text == "nobody is connected\n"
        assert (await run(ls, "--names", *where)).text == "no names\n"
        assert (await run(ls, "--json", *where)).json == []


async def test_two_lists_at_once_are_refused() -> None:
    assert isinstance((await run(ls, "--names", "--connections")).error, InvalidInput)


async def test_on_a_terminal_of_80_columns_no_line_is_longer(tmp_path: Path) -> None:
    gateway = SmallGateway()
    gateway.open_tunnels.append(tunnel("t5", "http", "x", f"https://{'a' * 63}.example.com:8443", identity="y" * 60))
    gateway.open_connections.append(connection("s3", ["blog.example.com"] * 12))
    async with running(tmp_path / "state", gateway):
        for option in ("{'connections': False, 'names': False}", "{'connections': True, 'names': False}"):
            text = await asyncio.to_thread(_on_terminal, tmp_path / "state", option)
            lines = text.replace("\x1b[1m", "").replace("\x1b[0m", "").splitlines()
            assert lines[0].split()[0] in ("TUNNEL", "CONNECTION")
            assert "CLIENT" not in text  # optional columns
            assert max(map(len, lines)) <= 80, text
            assert "blog.example.com" in text
            if "TUNNEL " in lines[0]:
                folded = "".join(line.split()[0] for line in lines[5:])
                assert f"https://{'a' * 63}.example.com:8443" in folded


async def test_a_wide_terminal_has_all_columns(tmp_path: Path) -> None:
    async with running(tmp_path / "state"):
        text = await asyncio.to_thread(_on_terminal, tmp_path / "state", "{'connections': True, 'names': False}", 200)
    assert "CLIENT" in text


def _on_terminal(state: Path, option: str, columns: int = 80) -> str:
    """What `ls` prints on a terminal."""
    ours, its = pty.openpty()
    ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    code = f"from pathlib import Path; from ferry.cli.ls import ls; ls(**{option}, state=Path({str(state)!r}))"
    environ = {"TERM": "xterm", "PATH": os.environ["PATH"]}
    process = subprocess.Popen([sys.executable, "-c", code], stdin=its, stdout=its, stderr=its, env=environ)
    os.close(its)
    text = b""
    with contextlib.suppress(OSError):  # EIO: the process has closed the terminal
        while chunk := os.read(ours, 65536):
            text += chunk
    os.close(ours)
    assert process.wait(10) == 0, text
    return text.decode()


async def test_a_gateway_of_another_version_gives_no_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It runs on after an upgrade of the program."""
    async with running(tmp_path / "state"):
        monkeypatch.setattr(Gateway, "get", lambda *_path, **_query: [{"url": "https://blog.example.com"}])
        result = await run(ls, "--state", str(tmp_path / "state"))
    assert type(result.error) is FerryError
    assert "it is of another version. Restart it (`systemctl restart ferry`)" in str(result.error)
