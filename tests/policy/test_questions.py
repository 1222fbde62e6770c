"""What somebody may ask about before it is asked in earnest, as it is typed behind `ssh -R` and `ssh -L`."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ferry.errors import InvalidInput
from ferry.policy.aims import EVERY_ADDRESS, Act, What, parse_publish, parse_reach


@pytest.mark.parametrize("parse", [parse_publish, parse_reach])
def test_a_name_longer_than_any_host_is_none(parse: Callable[[str], object]) -> None:
    """HOST_BYTES."""
    with pytest.raises(InvalidInput, match="513 characters are no name with a port: write web-1:22"):
        parse(f"{'a.' * 255}b:2")


@pytest.mark.parametrize(
    ("text", "typed"),
    [
        ("21002", ""),
        ("localhost:21002", ""),
        ("127.0.0.1:21002", "127.0.0.1"),
        ("192.0.2.7:21002", "192.0.2.7"),
        ("[2001:db8::7]:21002", "2001:db8::7"),
        (":21002", EVERY_ADDRESS),
        ("*:21002", EVERY_ADDRESS),
    ],
)
def test_a_port_is_asked_about_on_the_address_that_is_typed(text: str, typed: str) -> None:
    aim = parse_publish(text)
    assert (aim.act, aim.what, aim.port, aim.typed) == (Act.PUBLISH, What.PORT, 21002, typed)


@pytest.mark.parametrize("text", ["blog:0", "web-1:0"])
def test_a_name_is_asked_about_with_its_port(text: str) -> None:
    with pytest.raises(InvalidInput, match=f"a name has a port: write {text[:-2]}:80, or {text[:-2]}:22"):
        parse_publish(text)


def test_a_target_is_an_alias_before_it_is_a_host() -> None:
    assert [aim.what for aim in parse_reach("web-1:22")] == [What.ALIAS, What.HOST]
    assert [aim.what for aim in parse_reach("localhost:22")] == [What.PORT, What.HOST]
    assert [aim.what for aim in parse_reach("db.example.com:22")] == [What.HOST]
    assert [aim.is_any_port for aim in (parse_publish("0"), parse_publish("80"), parse_publish("blog"))] == [
        True, False, False,
    ]  # fmt: skip
