"""Unix sockets in the folders of identities: nothing outside them is opened, followed or removed."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from ferry.edge.socket_folder import BoundSocket, InTheWay, bind, check, connect
from other_user import give_to_nobody, needs_root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "sockets").mkdir(mode=0o755)
    return tmp_path / "sockets"


@pytest.fixture
def bound(root: Path) -> Iterator[BoundSocket]:
    made = bind(str(root), "web-1", "x.sock", unlink=False)
    yield made
    made.sock.close()


def leave_stale(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))


def test_a_socket_is_for_its_user_alone_in_a_folder_of_the_identity(root: Path, bound: BoundSocket) -> None:
    path = root / "web-1" / "x.sock"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    with socket.socket(socket.AF_UNIX) as visitor:
        visitor.connect(str(path))
    bound.unlink()
    assert not path.exists()
    bound.unlink()


def test_only_the_own_socket_is_removed(root: Path, bound: BoundSocket) -> None:
    path = root / "web-1" / "x.sock"
    path.unlink()
    path.write_text("of somebody else")
    bound.unlink()
    assert path.read_text() == "of somebody else"


def test_a_socket_that_nobody_listens_on_gives_way_if_the_operator_allows_it(root: Path) -> None:
    (root / "web-1").mkdir(mode=0o700)
    leave_stale(root / "web-1" / "x.sock")
    with pytest.raises(InTheWay, match="a socket stands there already"):
        bind(str(root), "web-1", "x.sock", unlink=False)
    made = bind(str(root), "web-1", "x.sock", unlink=True)
    with made.sock, socket.socket(socket.AF_UNIX) as visitor:
        visitor.connect(str(root / "web-1" / "x.sock"))
        with pytest.raises(InTheWay, match="another program listens there"):
            bind(str(root), "web-1", "x.sock", unlink=True)


@pytest.mark.parametrize("unlink", [False, True])
def test_what_is_no_socket_stays(root: Path, *, unlink: bool) -> None:
    (root / "web-1").mkdir(mode=0o700)
    kept = root / "kept"
    kept.write_text("kept")
    for name in ("file", "folder", "link"):
        path = root / "web-1" / name
        match name:
            case "file":
                path.write_text("kept")
            case "folder":
                path.mkdir()
            case _:
                path.symlink_to(kept)
        with pytest.raises(InTheWay, match="no socket of the gateway"):
            bind(str(root), "web-1", name, unlink=unlink)
        assert os.path.lexists(path)
    assert kept.read_text() == "kept"


@needs_root
def test_a_socket_of_another_user_stays(root: Path) -> None:
    (root / "web-1").mkdir(mode=0o700)
    leave_stale(root / "web-1" / "x.sock")
    give_to_nobody(root / "web-1" / "x.sock")
    with pytest.raises(InTheWay, match="no socket of the gateway"):
        bind(str(root), "web-1", "x.sock", unlink=True)
    assert (root / "web-1" / "x.sock").is_socket()


def test_a_socket_that_cannot_be_made_is_refused_with_the_reason(root: Path) -> None:
    with pytest.raises(OSError, match="path too long"):
        bind(str(root), "web-1", 100 * "x", unlink=True)


def test_a_link_to_nowhere_leads_nowhere(root: Path, tmp_path: Path) -> None:
    """bind(2) does not follow it, as open(2) with O_CREAT would."""
    (root / "web-1").mkdir(mode=0o700)
    (root / "web-1" / "x.sock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InTheWay):
        bind(str(root), "web-1", "x.sock", unlink=True)
    assert not (tmp_path / "elsewhere").exists()


def test_a_folder_that_is_a_link_is_not_followed(root: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    (root / "web-1").symlink_to(elsewhere)
    (tmp_path / "link").symlink_to(root)
    for where, folder in ((root, "web-1"), (tmp_path / "link", "web-2")):
        with pytest.raises(NotADirectoryError):
            bind(str(where), folder, "x.sock", unlink=True)
    assert [*elsewhere.iterdir(), *(each for each in root.iterdir() if each.name != "web-1")] == []


@pytest.mark.parametrize("stands", ["a file", "a folder", "a link to a socket"])
def test_nothing_but_a_socket_is_connected_to(root: Path, bound: BoundSocket, stands: str) -> None:
    path = root / "web-1" / "y"
    match stands:
        case "a file":
            path.write_text("kept")
        case "a folder":
            path.mkdir()
        case _:
            path.symlink_to(root / "web-1" / bound.name)
    with pytest.raises(OSError, match="Socket operation on non-socket"):
        connect(str(root), "web-1", "y")
    connect(str(root), "web-1", bound.name).close()


@needs_root
def test_a_folder_of_another_user_has_no_sockets(root: Path) -> None:
    (root / "web-1").mkdir(mode=0o700)
    give_to_nobody(root / "web-1")
    with pytest.raises(PermissionError, match="it belongs to another user"):
        bind(str(root), "web-1", "x.sock", unlink=True)


def test_a_folder_in_which_others_may_write_has_no_sockets(root: Path) -> None:
    (root / "web-1").mkdir()
    (root / "web-1").chmod(0o777)
    with pytest.raises(PermissionError, match="others may write in it"):
        bind(str(root), "web-1", "x.sock", unlink=True)


@pytest.mark.parametrize("unlink", [False, True])
@pytest.mark.parametrize(
    "stands", ["no root", "an open folder", "a link", "a file", "nobody listens", "somebody listens"]
)
def test_a_check_raises_what_bind_raises_and_changes_nothing(root: Path, stands: str, *, unlink: bool) -> None:
    check(str(root), "web-1", "x.sock", unlink=unlink)
    assert not list(root.iterdir()), "the folder is made by bind alone"
    where, path = root, root / "web-1" / "x.sock"
    path.parent.mkdir(mode=0o700)
    listening = socket.socket(socket.AF_UNIX)
    match stands:
        case "no root":
            where = root / "none"
        case "an open folder":
            path.parent.chmod(0o777)
        case "a link":
            path.symlink_to(root)
        case "a file":
            path.write_text("kept")
        case _:
            listening.bind(str(path))
            if stands == "somebody listens":
                listening.listen()
    with listening:
        seen: list[tuple[type[Exception], str] | None] = []
        for look in (check, check, bind):
            try:
                made = look(str(where), "web-1", "x.sock", unlink=unlink)
            except (InTheWay, OSError) as error:
                seen.append((type(error), str(error)))
            else:
                seen.append(None)
                if made is not None:
                    made.sock.close()
    assert seen == [seen[0]] * 3
    assert (seen[0] is None) == (stands == "nobody listens" and unlink)
