"""`http`: a hostname below the domain, visited over HTTP and HTTPS."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from ferry.errors import Refusal
from ferry.hostnames import Urls, first_label
from ferry.names import Address, IdentityId, Kind
from ferry.protocol.forward_spec import BindRequest

from .alias import ALIAS
from .base import NEW_EACH_TIME, WHILE_CONNECTED, ForwardRequest, ForwardShown, NoticeContext, TunnelKind
from .derived import derived_labels
from .port import TCP
from .rules import ForwardRules, Web, either

CA_NOTE: Final = "  https uses this gateway's own CA: `ferry ca` there says how to trust it"


class WebKind(TunnelKind):
    """`-R 80:...`, `-R blog:80:...`, and `443` where the local service speaks TLS."""

    __slots__ = ()

    kind = Kind.HTTP
    has_host = True
    has_status = True
    holds_idle_streams = True

    def address(self, host: str) -> Address:
        """The address of a hostname."""
        return Address(self.kind, host)

    def parse(self, bind: BindRequest, web: Web) -> ForwardRequest | None:
        tls = bind.port in web.https_ports
        if not tls and bind.port not in web.http_ports:
            return None
        return ForwardRequest(self.kind, bind.label, 0, tls_upstream=tls)

    def off(self, port: int, web: Web, rules: ForwardRules) -> Refusal | None:
        return _web_off(rules) if web.has(port) and not rules.serves_web else None

    def form(self, label: str, rules: ForwardRules) -> str | None:
        return f"-R {label}:80:... for a web address" if rules.serves_web else None

    def requested(self, request: ForwardRequest, rules: ForwardRules) -> Address | None:
        return None if request.name is None else self.address(rules.domain.host(request.name))

    def of_login_name(self, label: str, rules: ForwardRules) -> Address:
        return self.address(rules.domain.host(label))

    def candidate_addresses(
        self, identity: IdentityId, secret: bytes, rules: ForwardRules, had: Sequence[Address]
    ) -> Iterator[Address]:
        yield from had
        for label in derived_labels(secret, identity):
            yield self.address(rules.domain.host(label))

    def label_of(self, address: Address, rules: ForwardRules) -> str:
        return rules.domain.relative(address.name)

    def refuse_address(self, address: Address, rules: ForwardRules) -> Refusal | None:
        del address
        return None if rules.serves_web else _web_off(rules)

    def duplicate_hint(self, request: ForwardRequest, port: int) -> str:
        del request
        return f"-R one:{port}:... -R two:{port}:..."

    def again(self, address: Address) -> str:
        """Often `-R blog:80:... -R blog:443:...`."""
        return (
            f"this connection holds {address} already, for http:// and https:// alike: leave this one out, "
            "or ask for another name"
        )

    def forward_lines(self, shown: ForwardShown, context: NoticeContext) -> list[str]:
        urls, host = context.urls, shown.address.name
        plain, secure = urls.http(host), urls.https(host)
        if secure and urls.trusted(host):
            lines = [f"Forwarding HTTP traffic from {secure}"]
        else:
            lines = [f"Forwarding HTTP traffic from {plain}"] if plain else []
            if not plain and not secure:  # they were on when the forward was granted
                lines.append(f"HTTP and HTTPS are off on this gateway: nobody reaches {host}")
            if secure:
                lines += [f"Forwarding HTTP traffic from {secure}", CA_NOTE]
        if shown.tls_upstream:
            lines.append("  the gateway speaks TLS to your local service and does not check its certificate")
        if shown.anonymous:
            kept = NEW_EACH_TIME if shown.derived else WHILE_CONNECTED
            lines.append(f"  you came without a key: the name {kept}")
        elif shown.derived:
            lines.append(f"  the name stays yours; for another: ssh -R NAME:{shown.bind[1]}:... {urls.gateway}")
        return lines

    def host_line(self, host: str) -> str:
        return f"  your local service gets Host: {host}"

    def forward_fields(self, shown: ForwardShown, context: NoticeContext) -> dict[str, object]:
        urls, host = context.urls, shown.address.name
        all_urls = [url for url in (urls.http(host), urls.https(host)) if url]
        out: dict[str, object] = {"url": urls.best(host), "urls": all_urls}
        if shown.host_header:
            out["host_header"] = shown.host_header.decode()
        return out

    def example(self, rules: ForwardRules) -> str | None:
        return "80:localhost:3000" if rules.serves_web else None

    def help_lines(self, context: NoticeContext) -> list[str]:
        if not context.rules.serves_web:
            return []
        gateway = context.urls.gateway
        return [
            "A web address for a local service:",
            f"  ssh -R 80:localhost:3000 {gateway}",
            "      a name of your own, the same every day",
            f"  ssh -R blog:80:localhost:3000 {gateway}",
            f"      {context.urls.domain.host('blog')}",
            f"  ssh -R 443:localhost:8443 {gateway}",
            "      the local service speaks TLS",
        ]

    def url(self, address: Address, urls: Urls) -> str:
        return urls.best(address.name)

    def plain_url(self, address: Address, urls: Urls) -> str | None:
        return urls.http(address.name)

    def for_people(self, address: Address, urls: Urls) -> str:
        return urls.best(address.name)

    def short(self, text: str) -> str:
        return first_label(text)


HTTP: Final = WebKind()


def _web_off(rules: ForwardRules) -> Refusal:
    forms = [form for kind in (TCP, ALIAS) if (form := kind.form("NAME", rules)) is not None]
    return Refusal(
        f"HTTP and HTTPS are off on this gateway, so it has no web addresses: ask for {either(forms)}", code="web_off"
    )
