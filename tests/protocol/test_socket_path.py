"""The path of a Unix socket in -R: a name in the client's own folder, or a refusal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferry.errors import InvalidInput
from ferry.protocol.socket_path import is_name, parse_socket_path

OWN = "/run/ferry/sockets/web-1"


@pytest.mark.parametrize("path", ["/run/ferry/sockets/web-1/x.sock", "/x.sock", "./x.sock", "x.sock"])
def test_each_form_of_a_name(path: str) -> None:
    assert parse_socket_path(path.encode(), OWN) == "x.sock"


@pytest.mark.parametrize(
    "path",
    [
        "", "/", "//x", "/.", "/..", "/.hidden", "../web-2/x.sock", "/run/ferry/sockets/web-2/x.sock", f"{OWN}/a/x.sock",
        f"{OWN}/../web-2/x.sock", f"{OWN}//x.sock", f"{OWN}/", OWN, "/tmp/x.sock", "/a/b", "/x\0y", "/x y", "/é", "\0x",
        "/" + "x" * 64, "/-x", "/x\n",
    ],
)  # fmt: skip
def test_any_other_path_is_refused_with_what_to_write(path: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_socket_path(path.encode(), OWN)
    assert f"write {OWN}/NAME, or /NAME" in str(refused.value)
    assert path not in refused.value.detail or not path


@given(path=st.binary(max_size=100))
def test_whatever_is_sent_names_a_file_of_the_folder(path: bytes) -> None:
    try:
        name = parse_socket_path(path, OWN)
    except InvalidInput:
        return
    assert is_name(name)
    assert "/" not in name
    assert name not in (".", "..")
