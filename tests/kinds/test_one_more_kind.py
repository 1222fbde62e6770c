"""One object adds a kind. The other code calls that object."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
from asyncssh.packet import String

import ferry.kinds
from ferry.console.targets import find_tunnel
from ferry.errors import Refusal
from ferry.hostnames import Urls
from ferry.kinds import KINDS, parse_forward
from ferry.kinds.base import ForwardRequest, ForwardShown, NoticeContext, TunnelKind
from ferry.kinds.rules import ForwardRules, Web
from ferry.kinds.web import HTTP
from ferry.names import Address, Endpoint, Identity, IdentityId, Kind, TunnelId
from ferry.observe.metrics import Metrics
from ferry.policy.forwards import candidate_addresses, listen_grant, requested
from ferry.policy.grants import Grant
from ferry.policy.visits import Target
from ferry.protocol.forward_spec import BindRequest
from ferry.ssh.display.visit_lines import visit_line
from ferry.visits import Visit
from inside_gateway import Inside
from raw_session import open_session
from small_gateway import tunnel

PORT: Final = 993
SOURCE = Path(ferry.kinds.__file__).parents[1]


class Passed(TunnelKind):
    """`-R blog:993:...`: TLS, passed on as it comes."""

    __slots__ = ()

    kind = Kind.TLS
    has_host = True

    def _below(self, label: str, rules: ForwardRules) -> Address:
        return Address(self.kind, rules.domain.host(label))

    def parse(self, bind: BindRequest, web: Web) -> ForwardRequest | None:
        del web
        return ForwardRequest(self.kind, bind.label, 0) if bind.port == PORT else None

    def requested(self, request: ForwardRequest, rules: ForwardRules) -> Address | None:
        return None if request.name is None else self._below(request.name, rules)

    def candidate_addresses(
        self, identity: IdentityId, secret: bytes, rules: ForwardRules, had: Sequence[Address]
    ) -> Iterator[Address]:
        del identity, secret
        yield from had
        yield self._below("given", rules)

    def label_of(self, address: Address, rules: ForwardRules) -> str:
        return rules.domain.relative(address.name)

    def duplicate_hint(self, request: ForwardRequest, port: int) -> str:
        del request
        return f"-R other:{port}:..."

    def forward_lines(self, shown: ForwardShown, context: NoticeContext) -> list[str]:
        return [f"Forwarding TLS traffic from {self.url(shown.address, context.urls)}"]

    def forward_fields(self, shown: ForwardShown, context: NoticeContext) -> dict[str, object]:
        del context
        return {"sni": shown.address.name}

    def help_lines(self, context: NoticeContext) -> list[str]:
        return [f"TLS, passed on as it comes: ssh -R blog:{PORT}:localhost:8443 {context.urls.gateway}"]

    def url(self, address: Address, urls: Urls) -> str:
        del urls
        return f"tls://{address.name}"

    def short(self, text: str) -> str:
        return text.partition(".")[0]


BLOG, GIVEN = Address(Kind.TLS, "blog.localhost"), Address(Kind.TLS, "given.localhost")
NOBODY = Identity(IdentityId("anonymous:1"), None, None, anonymous=True)


@pytest.fixture(autouse=True)
def offered(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is offered, and is shown every request first."""
    monkeypatch.setattr(ferry.kinds, "KINDS", {Kind.TLS: Passed(), **KINDS})


async def test_a_further_kind_is_requested_granted_and_visited(inside: Inside) -> None:
    rules = inside.rules
    web = Web(rules.domain, frozenset({80}), frozenset({443}))
    request = parse_forward(b"blog", PORT, web, rules)
    assert request == ForwardRequest(Kind.TLS, "blog", 0)
    assert requested(request, rules) == BLOG
    assert isinstance(listen_grant(NOBODY, BLOG, rules), Grant)
    refused = listen_grant(NOBODY, BLOG, replace(rules, reserved_names=frozenset({"blog"})))
    assert isinstance(refused, Refusal)
    assert refused.code == "reserved_name"
    ours = parse_forward(b"", PORT, web, rules)
    assert requested(ours, rules) is None
    had = [HTTP.address("blog.localhost"), BLOG]
    assert list(candidate_addresses(ours, rules, NOBODY, b"secret", had)) == [BLOG, GIVEN]
    visit = inside.visits.policy.decide_for_all(Target(BLOG, NOBODY.id))
    assert isinstance(visit, Grant)
    others = [parse_forward(b"blog", port, web, rules).kind for port in (80, 443, PORT + 1)]
    assert others == [Kind.HTTP, Kind.HTTP, Kind.ALIAS]


async def test_its_tunnels_are_told_of_found_and_given_back_by_name(inside: Inside, key: Path) -> None:
    async with inside.client(key) as client:

        async def say(words: str) -> list[str]:
            session = await open_session(client)
            assert session is not None
            assert await session.ask(b"exec", String(words))
            assert await session.ended() == 0
            return session.said.removeprefix(session.complained).decode().splitlines()

        assert await client.forward(b"blog", PORT)
        assert not await client.forward(b"blog", PORT)
        assert await client.forward(b"", PORT)
        named, given = inside.tunnels
        assert (named.address, given.address) == (BLOG, GIVEN)
        assert inside.routes.hosts == {Kind.TLS: {BLOG.name: named, GIVEN.name: given}, Kind.HTTP: {}}
        assert [(told["kind"], told["url"]) for told in inside.said("tunnel.opened")] == [("tls", None)] * 2
        assert [told["detail"].partition("write ")[2] for told in inside.said("tunnel.refused")] == ["-R other:993:..."]
        assert [line.split()[0] for line in await say("ls")] == [BLOG.name, GIVEN.name]
        assert json.loads((await say("ls --output json"))[0]).items() >= {
            ("kind", "tls"), ("sni", BLOG.name), ("message", "Forwarding TLS traffic from tls://blog.localhost"),
        }  # fmt: skip
        assert (await say("help"))[0].startswith(f"TLS, passed on as it comes: ssh -R blog:{PORT}:")
        assert (await say("release blog"))[0].startswith("blog.localhost is no longer reserved for you")
        assert [kept.address for kept in await inside.registry.reservations(None)] == [GIVEN]
        assert await client.cancel(b"blog", PORT)
        assert inside.routes.hosts[Kind.TLS] == {GIVEN.name: given}


def test_an_operator_finds_its_tunnels_by_their_short_names() -> None:
    found = find_tunnel("blog", [tunnel("t1aa", "tls", "blog.localhost", None)])
    assert found.id == "t1aa"


@pytest.mark.parametrize(("has_status", "counted"), [(False, None), (True, 0)])
def test_its_visits_are_counted_by_their_outcome(
    monkeypatch: pytest.MonkeyPatch, *, has_status: bool, counted: float | None
) -> None:
    monkeypatch.setattr(Passed, "has_status", has_status)
    value = Metrics(version="1", started=0).registry.get_sample_value
    assert value("ferry_requests_total", {"kind": "tls", "class": "2xx"}) == counted
    assert value("ferry_requests_total", {"kind": "tls", "class": "none"}) == 0


def test_only_the_kinds_package_names_kinds() -> None:
    """But `names` writes addresses of all kinds."""
    found = [
        (str(path.relative_to(SOURCE)), node.attr)
        for path in SOURCE.rglob("*.py")
        if path.parent.name != "kinds" and path.name != "names.py"
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "Kind" and node.attr in Kind.__members__
    ]
    assert found == []


@pytest.mark.parametrize(("has_status", "line"), [(False, "blog"), (True, "GET")])
def test_its_kind_says_how_a_visit_is_shown(monkeypatch: pytest.MonkeyPatch, *, has_status: bool, line: str) -> None:
    monkeypatch.setattr(Passed, "has_status", has_status)
    visit = Visit(TunnelId("t"), "blog", "tls", Endpoint("192.0.2.1", 1), "GET", "blog", 0, 1.0, 1, 1)
    assert visit_line(BLOG, visit).startswith(line)


def compared_in(node: ast.AST) -> list[ast.expr]:
    """What is compared with one another there."""
    if isinstance(node, ast.Compare):
        return [node.left, *node.comparators]
    if isinstance(node, ast.Match):
        return [node.subject, *(part.value for part in ast.walk(node) if isinstance(part, ast.MatchValue))]
    return []


def words_for_kinds(source: str) -> list[str]:
    """Where a kind is compared with a word for one."""
    found = []
    for compared in map(compared_in, ast.walk(ast.parse(source))):
        words = {part.value for one in compared for part in ast.walk(one) if isinstance(part, ast.Constant)}
        if words & set(Kind) and any(ast.unparse(one).endswith(("kind", "kind.value")) for one in compared):
            found.append(" ".join(map(ast.unparse, compared)))
    return found


def test_only_the_kinds_package_compares_words_for_kinds() -> None:
    by_word = [
        'if a.kind == "tcp": pass',
        'match kind:\n case "alias": pass',
        'found = a.kind.value in ("tcp", "http")',
    ]
    assert [len(words_for_kinds(source)) for source in by_word] == [1, 1, 1]
    found = {str(path.relative_to(SOURCE)): words_for_kinds(path.read_text("utf-8")) for path in SOURCE.rglob("*.py")}
    assert {path: words for path, words in found.items() if words} == {}
