from __future__ import annotations

import pytest

from ferry.console.targets import Ambiguous, NotFound, find_connection, find_name, find_tunnel
from small_gateway import SmallGateway, connection, name, tunnel

TUNNELS = SmallGateway().open_tunnels


@pytest.mark.parametrize(
    ("target", "id_"),
    [
        ("t1aa", "t1aa"),
        ("blog", "t1aa"),
        ("Blog.Example.COM", "t1aa"),
        ("https://blog.example.com:8443/a/b?c", "t1aa"),
        ("http://blog.example.com", "t1aa"),
        ("http://blog.example.com:", "t1aa"),
        ("30042", "t2bb"),
        (":30042", "t2bb"),
        ("port 30042", "t2bb"),
        ("tcp://example.com:30042", "t2bb"),
        ("laptop:80", "t4dd"),
    ],
)
def test_a_tunnel_is_found_by_all_its_spellings(target: str, id_: str) -> None:
    assert find_tunnel(target, TUNNELS).id == id_


def test_a_full_address_wins_over_a_short_form() -> None:
    other = tunnel("t9", "http", "blog", "https://blog")
    assert find_tunnel("blog", [*TUNNELS, other]).id == "t9"


def test_an_ambiguous_target_lists_all_matches() -> None:
    with pytest.raises(Ambiguous, match="means 2 tunnels") as caught:
        find_tunnel("laptop", TUNNELS)
    assert caught.value.fix == "write which: laptop:22 (t3cc), laptop:80 (t4dd)"


def test_the_nearest_is_named() -> None:
    with pytest.raises(NotFound, match="no tunnel is called 'blgo'") as caught:
        find_tunnel("blgo", TUNNELS)
    assert caught.value.fix == "did you mean blog?"


def test_an_unknown_target_without_a_near_match_lists_some_tunnels() -> None:
    with pytest.raises(NotFound) as caught:
        find_tunnel("zzzzzzzzz", TUNNELS)
    assert caught.value.fix == "there are: blog, 30042, laptop, …"


def test_an_empty_list_says_so_and_the_target_is_escaped() -> None:
    with pytest.raises(NotFound) as caught:
        find_tunnel("\x1b[2J", [])
    assert "\x1b" not in str(caught.value)
    assert caught.value.fix == "no tunnel is open: `ferry ls` lists them"


def test_connections_and_names() -> None:
    assert find_connection("S2", [connection("s1", []), connection("s2", [])]).id == "s2"
    names = [name("http:blog.example.com"), name("tcp::30042"), name("alias:blog:22")]
    assert find_name("tcp::30042", names).address == "port 30042"
    assert find_name("blog.example.com", names).kind == "http"
    with pytest.raises(Ambiguous, match="means 2 names") as caught:
        find_name("blog", names)
    assert "http:blog.example.com" in caught.value.fix
