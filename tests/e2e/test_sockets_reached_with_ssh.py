"""`ssh -L 8080:/x.sock`: Unix sockets in the folder of an identity are reached, and no other."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ferry_command import ferry
from gateway_process import Gateway
from line_service import LineService, ask
from looks import until
from sockets_gateway import SOCKETS, gateway_with_sockets
from ssh_command import StockSsh


@pytest.fixture(scope="module")
def sockets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Gateway, Path]]:
    """A gateway with a folder of sockets, and keys with names and options."""
    folder = tmp_path_factory.mktemp("reached")
    options = {
        "ann": "",
        "bob": "",
        "listed": 'permitopen="*:*"',
        "told": f'permitopen="[{folder / SOCKETS}/told/db.sock]:*"',
        "remote": "",
    }
    match = [{"identity": ["remote"], "allow_streamlocal_forwarding": "remote"}]
    with gateway_with_sockets(folder, options, match=match) as (gateway, root):
        for name in options:
            (root / name).mkdir(mode=0o700)
        yield gateway, root


@pytest.fixture
def of(sockets: tuple[Gateway, Path], tmp_path: Path) -> dict[str, StockSsh]:
    """The ssh of each identity."""
    gateway, root = sockets
    return {folder.name: gateway.ssh(tmp_path, gateway.folder / folder.name) for folder in root.iterdir()}


@pytest.fixture
def root(sockets: tuple[Gateway, Path]) -> Path:
    return sockets[1]


@contextmanager
def answering(path: Path) -> Iterator[socket.socket]:
    """A service on a socket; it answers nothing by itself."""
    with socket.socket(socket.AF_UNIX) as service:
        service.bind(str(path))
        service.listen()
        service.settimeout(20)
        try:
            yield service
        finally:
            path.unlink()


@pytest.mark.parametrize("who", ["ann", "told"])
def test_a_socket_of_the_own_folder_is_reached(of: dict[str, StockSsh], root: Path, free_port: int, who: str) -> None:
    with (
        answering(root / who / "db.sock") as service,
        of[who].start("-N", "-v", "-L", f"{free_port}:{root}/{who}/db.sock") as child,
    ):
        child.error_line("Entering interactive session")
        with socket.create_connection(("127.0.0.1", free_port), timeout=20) as visitor:
            visitor.sendall(b"question")
            accepted, _ = service.accept()
            with accepted:
                assert accepted.recv(100) == b"question"
                visitor.shutdown(socket.SHUT_WR)
                assert accepted.recv(100) == b"", "an end-of-file arrives"
                accepted.sendall(b"answer")
            assert visitor.recv(100) == b"answer"
            assert visitor.recv(100) == b""


def test_a_socket_that_another_connection_of_the_identity_has_opened(
    of: dict[str, StockSsh], lines: LineService, free_port: int
) -> None:
    with of["ann"].start("-R", f"/x.sock:localhost:{lines.port}") as first:
        first.line("^Forwarding a Unix socket")
        with of["ann"].start("-N", "-v", "-L", f"{free_port}:/x.sock") as second:
            second.error_line("Entering interactive session")
            assert ask(free_port, b"hello\n") == b"HELLO\nbye\n"


@pytest.mark.parametrize("typed", ["/log.sock", "{root}/ann/log.sock"])
def test_the_audit_log_names_a_socket_once_and_as_it_was_typed(
    sockets: tuple[Gateway, Path], of: dict[str, StockSsh], free_port: int, typed: str
) -> None:
    gateway, root = sockets
    asked, path = typed.format(root=root), f"{root}/ann/log.sock"
    with answering(Path(path)) as service, of["ann"].start("-N", "-v", "-L", f"{free_port}:{asked}") as child:
        child.error_line("Entering interactive session")
        with socket.create_connection(("127.0.0.1", free_port), timeout=20) as visitor:
            service.accept()[0].close()
            assert visitor.recv(100) == b""
    closed = gateway.event(f'"host.closed".*"asked": "{re.escape(asked)}"')
    assert closed["address"] == path
    connection = str(closed["connection"])

    def records() -> list[dict[str, object]]:
        told = ferry("audit", "--kind", "reach", "--json", "--state", gateway.state, cwd=gateway.folder).out
        return [record for record in map(json.loads, told.splitlines()) if record["connection"] == connection]

    until(lambda: len(records()) == 2)
    what = path if asked == path else f"{asked} at {path}"
    assert [(record["outcome"], record["what"]) for record in records()] == [("ok", what), ("ended", what)]


@pytest.mark.parametrize(
    ("who", "path", "why"),
    [
        ("ann", "{root}/bob/db.sock", "administratively prohibited: your sockets are in {root}/ann alone"),
        ("ann", "/run/docker.sock", "administratively prohibited: your sockets are in {root}/ann alone"),
        ("ann", "/link.sock", "connect failed: your socket cannot be reached"),
        ("ann", "/file.sock", "connect failed: your socket cannot be reached"),
        ("ann", "/none.sock", "connect failed: your socket cannot be reached"),
        ("ann", "/stale.sock", "connect failed: your socket cannot be reached"),
        ("listed", "/db.sock", "administratively prohibited: your key may not use this socket (permitopen=)"),
        ("told", "/other.sock", "administratively prohibited: your key may not use this socket (permitopen=)"),
        ("remote", "/db.sock", "administratively prohibited: the operator lets you reach no Unix sockets with -L"),
    ],
)
def test_no_other_socket_is_reached(
    of: dict[str, StockSsh], root: Path, tmp_path: Path, free_port: int, who: str, path: str, why: str
) -> None:
    for made in (root / "ann").iterdir():
        made.unlink()
    with answering(tmp_path / "elsewhere.sock"), socket.socket(socket.AF_UNIX) as stale:
        (root / "ann" / "link.sock").symlink_to(tmp_path / "elsewhere.sock")
        (root / "ann" / "file.sock").write_text("no socket")
        stale.bind(str(root / "ann" / "stale.sock"))
        with of[who].start("-N", "-v", "-L", f"{free_port}:{path.format(root=root)}") as child:
            child.error_line("Entering interactive session")
            with socket.create_connection(("127.0.0.1", free_port), timeout=20) as visitor:
                assert visitor.recv(100) == b""
            child.error_line(re.escape(why.format(root=root)))
