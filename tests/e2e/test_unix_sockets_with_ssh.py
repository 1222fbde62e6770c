"""`ssh -R /x.sock:...`: Unix sockets of the gateway, in the folder of an identity."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway_process import Gateway
from line_service import LineService
from sockets_gateway import SOCKETS, gateway_with_sockets
from ssh_command import StockSsh


def say(path: Path, text: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as visitor:
        visitor.settimeout(20)
        visitor.connect(str(path))
        visitor.sendall(text)
        visitor.shutdown(socket.SHUT_WR)
        answer = b""
        while data := visitor.recv(65536):
            answer += data
        return answer


@pytest.fixture(scope="module")
def sockets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Gateway, Path]]:
    """A gateway with a folder of sockets, and keys with names and options."""
    folder = tmp_path_factory.mktemp("sockets")
    options = {
        "web-1": "",
        "web-2": "",
        "listed": 'permitlisten="*:*"',
        "told": f'permitlisten="[{folder / SOCKETS}/told/*.sock]:*"',
        "off": "",
    }
    match = [{"identity": ["off"], "allow_streamlocal_forwarding": "local"}]
    with gateway_with_sockets(folder, options, streamlocal_bind_unlink=True, match=match) as made:
        yield made


@pytest.fixture
def of(sockets: tuple[Gateway, Path], tmp_path: Path) -> Callable[[str], StockSsh]:
    return lambda name: sockets[0].ssh(tmp_path, sockets[0].folder / name)


@pytest.fixture
def root(sockets: tuple[Gateway, Path]) -> Path:
    return sockets[1]


def test_a_socket_leads_to_the_local_service_and_goes_with_its_forward(
    of: Callable[[str], StockSsh], root: Path, lines: LineService
) -> None:
    path = root / "web-1" / "x.sock"
    with of("web-1").start("-R", f"/x.sock:localhost:{lines.port}") as child:
        child.line(f"^Forwarding a Unix socket from {path}$")
        child.line("programs on the gateway's own machine can connect there, of its user and of root")
        assert say(path, b"hello\n") == b"HELLO\nbye\n"
        assert "socket web-1/x.sock" in of("web-1").run(words="ls").out
    deadline = of("web-1").run(words="names")
    assert "web-1/x.sock" in deadline.out


def test_the_whole_path_and_a_socket_as_the_local_service(
    of: Callable[[str], StockSsh], root: Path, tmp_path: Path
) -> None:
    """Ssh itself dials a socket at the client."""
    local, path = tmp_path / "local.sock", root / "web-1" / "y.sock"
    with socket.socket(socket.AF_UNIX) as service:
        service.bind(str(local))
        service.listen()
        with of("web-1").start("-R", f"{path}:{local}") as child:
            child.line(f"^Forwarding a Unix socket from {path}$")
            with socket.socket(socket.AF_UNIX) as visitor:
                visitor.connect(str(path))
                visitor.sendall(b"hi")
                accepted, _ = service.accept()
                with accepted:
                    assert accepted.recv(2) == b"hi"
                    accepted.sendall(b"there")
                    assert visitor.recv(5) == b"there"


@pytest.mark.parametrize(
    "path", ["/tmp/x.sock", "{root}/web-2/x.sock", "{root}/web-1/../web-2/x.sock", "/a/b.sock", "/.x"]
)
def test_no_other_path_is_opened(of: Callable[[str], StockSsh], root: Path, path: str) -> None:
    ended = of("web-1").run("-R", f"{path.format(root=root)}:localhost:1")
    assert ended.code == 1
    assert f"your sockets are in {root}/web-1 alone" in ended.err


@pytest.mark.parametrize(
    ("who", "why"),
    [
        ("listed", 'your key may not use this socket (permitlisten=): only the operator can write permitlisten="['),
        ("off", "the operator lets you open no Unix sockets with -R (AllowStreamLocalForwarding)"),
    ],
)
def test_who_may_open_none(of: Callable[[str], StockSsh], root: Path, who: str, why: str) -> None:
    ended = of(who).run("-R", "/x.sock:localhost:1")
    assert ended.code == 1
    assert why in ended.err
    assert not (root / who).exists()


def test_a_key_that_is_told_may(of: Callable[[str], StockSsh], root: Path, lines: LineService) -> None:
    with of("told").start("-R", f"/x.sock:localhost:{lines.port}") as child:
        child.line(f"^Forwarding a Unix socket from {root}/told/x.sock$")
    assert of("told").run("-R", "/x.other:localhost:1").code == 1


def test_a_newer_connection_takes_the_socket_over(
    of: Callable[[str], StockSsh], root: Path, lines: LineService
) -> None:
    path = root / "web-2" / "x.sock"
    with of("web-2").start("-R", f"/x.sock:localhost:{lines.port}") as first:
        first.line("^Forwarding")
        with of("web-2").start("-R", f"/x.sock:localhost:{lines.port}") as second:
            second.line("^Forwarding")
            first.error_line("was taken over")
            assert say(path, b"hello\n") == b"HELLO\nbye\n"


def test_ssh_cancels_it(of: Callable[[str], StockSsh], root: Path, lines: LineService, tmp_path: Path) -> None:
    mux, path = tmp_path / "mux", root / "web-1" / "z.sock"
    ssh = of("web-1")
    with ssh.start("-M", "-S", str(mux), "-R", f"/z.sock:localhost:{lines.port}") as child:
        child.line("^Forwarding")
        assert ssh.run("-S", str(mux), "-O", "cancel", "-R", f"/z.sock:localhost:{lines.port}").code == 0
        child.line("No longer forwarding web-1/z.sock")
        assert not path.exists()


def test_a_folder_is_needed(tmp_path: Path) -> None:
    from ferry_command import ferry

    file = tmp_path / "ferry.toml"
    file.write_text('[sshd]\nallow_streamlocal_forwarding = "yes"\n')
    said = ferry("check-config", "--config", file, cwd=tmp_path).err
    assert (
        'allow_streamlocal_forwarding = "yes" needs a folder: write streamlocal_folder = "/run/ferry/sockets"' in said
    )
    file.write_text('state = "data"\n[sshd]\nstreamlocal_folder = "data/sockets"\n')
    assert "are one inside the other: write another folder" in ferry("check-config", "--config", file, cwd=tmp_path).err
