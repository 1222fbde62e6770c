from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ferry.cli import locate
from ferry.cli.locate import (
    CONTROL_SOCKET,
    answers,
    candidate_folders,
    find_data,
    find_installation,
    find_state,
    is_closed,
    state_of_file,
)
from ferry.errors import FerryError, InvalidInput
from ferry.ownership import rights_of
from other_user import NOBODY, needs_root, passable_folder


@contextmanager
def gateway(state: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A listening control socket. Bound from inside its folder, because the path may be longer than a socket's."""
    state.mkdir(parents=True, exist_ok=True)
    with socket.socket(socket.AF_UNIX) as listener, monkeypatch.context() as there:
        there.chdir(state)
        listener.bind(CONTROL_SOCKET)
        listener.listen()
        yield state


def test_the_working_directory_comes_before_the_clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, clone = tmp_path / "here", tmp_path / "clone"
    environ = {"FERRY_CLONE": str(clone)}
    with gateway(clone / "ferry-data", monkeypatch):
        assert find_state(None, environ, cwd=here) == clone / "ferry-data"
        with gateway(here / "ferry-data", monkeypatch):
            assert find_state(None, environ, cwd=here) == here / "ferry-data"


def test_the_search_for_a_gateway_passes_over_a_dead_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, clone = tmp_path / "here", tmp_path / "clone"
    with gateway(here / "ferry-data", monkeypatch):
        pass  # the file stays, as after kill -9
    assert not answers(here / "ferry-data")
    with gateway(clone / "ferry-data", monkeypatch):
        assert find_state(None, {"FERRY_CLONE": str(clone)}, cwd=here) == clone / "ferry-data"
    with pytest.raises(FerryError, match=r"here/ferry-data \(this folder\): the gateway there has stopped"):
        find_state(None, {"FERRY_CLONE": str(clone)}, cwd=here)


def test_a_folder_that_was_named_is_the_only_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with gateway(tmp_path / "ferry-data", monkeypatch):
        with pytest.raises(FerryError) as caught:
            find_state(Path("other"), {"FERRY_CLONE": str(tmp_path)}, cwd=tmp_path)
        assert f"{tmp_path}/other (--state): no control.sock there" in str(caught.value)
        assert "this folder" not in str(caught.value)
        with pytest.raises(FerryError, match=r"\(\$FERRY_STATE\)"):
            find_state(None, {"FERRY_STATE": "other"}, cwd=tmp_path)
        assert find_state(None, {"FERRY_STATE": "ferry-data"}, cwd=tmp_path) == tmp_path / "ferry-data"


def test_the_state_of_a_configuration_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "etc" / "ferry.toml"
    file.parent.mkdir()
    file.write_text('state = "../data"\n')
    with gateway(tmp_path / "data", monkeypatch):
        assert find_state(None, {}, config=file, cwd=tmp_path).resolve() == tmp_path / "data"
    file.write_text("")
    assert state_of_file(file) == tmp_path / "etc" / "ferry-data"
    for state in ("3", '""', '"a\\u0000b"'):
        file.write_text(f"state = {state}")
        with pytest.raises(InvalidInput, match='write state = "/var/lib/ferry"'):
            state_of_file(file)
    file.write_text("x = " + "[" * 5_000)
    with pytest.raises(InvalidInput, match=r"ferry\.toml: "):
        state_of_file(file)
    with pytest.raises(InvalidInput, match="No such file"):
        state_of_file(tmp_path / "none.toml")


def test_the_folder_of_a_file_may_be_in_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    (tmp_path / "ferry.toml").write_text('state = "~/data"\n')
    assert state_of_file(tmp_path / "ferry.toml") == Path("/home/ann/data")


def test_the_installation_that_is_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What runs comes before what has run, and a folder's own data before the system's configuration."""
    here, clone, system = tmp_path / "here", tmp_path / "clone", tmp_path / "etc" / "ferry.toml"
    monkeypatch.setattr(locate, "SYSTEM_CONFIG", system)
    monkeypatch.setattr(locate, "SYSTEM_STATE", tmp_path / "var")
    environ = {"FERRY_CLONE": str(clone)}
    assert find_installation(environ, cwd=here) is None
    system.parent.mkdir()
    system.write_text(f'state = "{tmp_path}/data"\n')
    found = find_installation(environ, cwd=here)
    assert found is not None
    assert (found.config, found.state) == (system, tmp_path / "data")
    system.write_text("state =")
    broken = find_installation(environ, cwd=here)
    assert broken is not None
    assert broken.config == system
    system.write_text(f'state = "{tmp_path}/var"\n')
    (here / "ferry-data").mkdir(parents=True)
    (here / "ferry-data" / "ferry.db").touch()
    found = find_installation(environ, cwd=here)
    assert found is not None
    assert (found.config, found.state) == (None, here / "ferry-data")
    with gateway(clone / "ferry-data", monkeypatch):
        found = find_installation(environ, cwd=here)
        assert found is not None
        assert found.state == clone / "ferry-data"


def test_the_data_that_are_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a gateway that need not run, or need not be there yet."""
    monkeypatch.setattr(locate, "SYSTEM_CONFIG", tmp_path / "none")
    monkeypatch.setattr(locate, "SYSTEM_STATE", tmp_path / "var")
    clone = {"FERRY_CLONE": str(tmp_path / "clone")}
    with pytest.raises(
        FerryError, match=r"no gateway's data found\. Looked in\n(?s:.*)/clone/ferry-data \(the clone\)"
    ):
        find_data(None, clone, cwd=tmp_path)
    assert find_data(None, clone, cwd=tmp_path, needed=False) == tmp_path / "ferry-data"
    (tmp_path / "clone" / "ferry-data").mkdir(parents=True)
    (tmp_path / "clone" / "ferry-data" / "ferry.db").touch()
    assert find_data(None, clone, cwd=tmp_path) == tmp_path / "clone" / "ferry-data"
    (tmp_path / "f.toml").write_text('state = "of-file"\n')
    for explicit, environ, config, found in (
        (Path("new"), {}, None, "new"),
        (None, {"FERRY_STATE": "new"}, None, "new"),
        (None, {}, Path("f.toml"), "of-file"),
    ):
        assert find_data(explicit, clone | environ, config=config, cwd=tmp_path) == tmp_path / found


@needs_root
def test_a_folder_that_a_user_may_not_look_into_is_closed_to_that_user(monkeypatch: pytest.MonkeyPatch) -> None:
    with passable_folder() as folder, gateway(folder / "state", monkeypatch) as state:
        state.chmod(0o700)
        for owner, closed in ((None, False), (NOBODY, True)):
            with rights_of(owner):
                assert is_closed(state) is closed
        assert not is_closed(folder / "none")


def test_paths_longer_than_a_unix_socket_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = tmp_path / ("long" * 40)
    with gateway(state, monkeypatch):
        assert len(str(state)) > 108
        assert find_state(state, {}) == state


def test_the_message_says_where_it_looked_and_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(FerryError) as caught:
        find_state(None, {"FERRY_CLONE": "/srv/clone"}, cwd=tmp_path)
    text = str(caught.value)
    for folder in (tmp_path / "ferry-data", "/srv/clone/ferry-data", "/var/lib/ferry"):
        assert f"  {folder} (" in text
    assert text.endswith("`--state FOLDER` or FERRY_STATE=FOLDER")


def test_each_folder_is_looked_at_once(tmp_path: Path) -> None:
    found = [folder.state for folder in candidate_folders(None, {"FERRY_CLONE": str(tmp_path)}, cwd=tmp_path)]
    assert len(found) == len(set(found))
