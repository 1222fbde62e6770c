"""Hostnames, URLs and the gateway's spellings: one module makes and parses them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ferry.hostnames import Domain, Urls, first_label, normal, wildcard_above

SOURCE = Path(__file__).parent.parent / "src/ferry"
GATEWAY = Domain("gw.example.com")
BLOG = "blog.gw.example.com"
BY_HAND = re.compile(
    r"""(?:\w|\}|\*)\.\{[^{}]*domain\b     # f"{label}.{domain}"
    | removesuffix\((?:f"\.|"\."\s*\+)     # host.removesuffix(f".{domain}")
    | endswith\((?:f"\.|"\."\s*\+)         # host.endswith("." + domain)
    | removesuffix\("\."\)                  # host.lower().removesuffix(".")
    | \b(?:host|name|text|bare)\b[^.]*\.partition\(["']\.["']\)  # host.partition(".")[0]
    | "\*\."\s*\+                          # "*." + host
    | -p\s\{[^{}]*ssh_port\}\s               # f"-p {ssh_port} {domain}"
    """,
    re.VERBOSE,
)


def urls(*, ssh: int = 22, http: int | None = 80, https: int | None = 443, trusted: bool = True) -> Urls:
    return Urls(GATEWAY, ssh, http, https, lambda _host: trusted)


def test_a_hostname_is_made_and_taken_apart() -> None:
    assert (GATEWAY.host("blog"), GATEWAY.wildcard, str(GATEWAY)) == (BLOG, "*.gw.example.com", "gw.example.com")
    assert GATEWAY.relative(BLOG) == "blog"
    assert GATEWAY.relative("a.b.gw.example.com") == "a.b"


@pytest.mark.parametrize("text", ["gw.example.com", "blog", "blog.example.com", "bloggw.example.com", ""])
def test_a_name_outside_the_domain_stays_as_it_is(text: str) -> None:
    assert GATEWAY.relative(text) == text


@pytest.mark.parametrize(
    ("host", "has"),
    [
        ("gw.example.com", True),
        (BLOG, True),
        ("a.b.gw.example.com", True),
        ("example.com", False),
        ("other.example.com", False),
        ("bloggw.example.com", False),
        ("gw.example.com.attacker.example", False),
    ],
)
def test_a_domain_contains_itself_and_its_subdomains(host: str, *, has: bool) -> None:
    assert GATEWAY.has(host) is has


def test_a_host_is_compared_in_lower_case_without_a_final_dot() -> None:
    assert [normal(text) for text in ("Blog.GW.example.com.", "blog", "")] == ["blog.gw.example.com", "blog", ""]


def test_the_wildcard_above_a_host_stands_for_its_first_label() -> None:
    assert (first_label(BLOG), wildcard_above(BLOG)) == ("blog", "*.gw.example.com")
    assert (first_label("blog"), wildcard_above("blog")) == ("blog", "*.")


def test_a_port_is_named_where_it_is_not_the_protocols_own() -> None:
    standard, moved = urls(), urls(ssh=2222, http=8080, https=8443)
    assert (standard.http(BLOG), standard.https(BLOG)) == (f"http://{BLOG}", f"https://{BLOG}")
    assert (moved.http(BLOG), moved.https(BLOG)) == (f"http://{BLOG}:8080", f"https://{BLOG}:8443")
    assert {standard.gateway, standard.jump, standard.known_hosts} == {"gw.example.com"}
    assert moved.gateway == "-p 2222 gw.example.com"
    assert moved.jump == "gw.example.com:2222"
    assert moved.known_hosts == "[gw.example.com]:2222"
    assert (moved.host_port(5), moved.tcp(5)) == ("gw.example.com:5", "tcp://gw.example.com:5")


def test_a_scheme_that_is_off_has_no_url() -> None:
    assert (urls(http=None).http(BLOG), urls(https=None).https(BLOG)) == (None, None)


@pytest.mark.parametrize(
    ("of", "best"),
    [
        (urls(), f"https://{BLOG}"),
        (urls(trusted=False), f"http://{BLOG}"),
        (urls(http=None, trusted=False), f"https://{BLOG}"),
        (urls(https=None), f"http://{BLOG}"),
        (urls(http=None, https=None), BLOG),
    ],
)
def test_https_is_given_where_it_is_trusted_or_alone(of: Urls, best: str) -> None:
    assert of.best(BLOG) == best
    assert of.prefers_https(BLOG) is best.startswith("https://")


@pytest.mark.parametrize(
    "line",
    [
        'name = f"{label}.{rules.domain}"',
        'name = f"blog.{config.domain}"',
        'f"*.{domain}"',
        'host.removesuffix(f".{domain}")',
        'host.removesuffix("." + domain)',
        'host == domain or host.endswith("." + domain)',
        'f"-p {config.ssh_port} {config.domain}"',
        'host.decode("ascii").lower().removesuffix(".")',
        'label = text.partition(".")[0]',
        """f"{text[2:].partition('.')[0]}" """,
        'names.get("*." + host.partition(".")[2])',
    ],
)
def test_the_search_below_finds_hostnames_that_are_made_by_hand(line: str) -> None:
    assert BY_HAND.search(line)


def test_only_one_module_builds_and_parses_hostnames() -> None:
    by_hand = [
        f"{file.relative_to(SOURCE)}:{number}: {line.strip()}"
        for file in sorted(SOURCE.rglob("*.py"))
        if file.name not in ("hostnames.py", "names.py")  # which is below: it checks the spelling of each label
        for number, line in enumerate(file.read_text().splitlines(), 1)
        if BY_HAND.search(line)
    ]
    assert by_hand == []
