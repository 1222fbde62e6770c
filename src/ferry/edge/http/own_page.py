"""The page at the gateway's own name: what a gateway is, how to connect, and whom to tell about abuse.

It names no tunnel and is the same for every visitor, so that caches may keep it for a while.
"""

from __future__ import annotations

import json
import textwrap
from dataclasses import dataclass
from typing import Final

from ferry import limits
from ferry.hostnames import Domain
from ferry.protocol.http1.request import RequestHead

from . import pages

TITLE: Final = "This is a Ferry gateway"
WIDTH: Final = 80  # columns, of the text for programs such as curl
_ABOUT: Final = (
    "It gives programs on people's own computers a web address below this name. What such an address shows comes from "
    "the person who opened it, not from this gateway."
)
_HOW: Final = "To give a local port an address, type"
_BY_KEYS: Final = "The operator lets in known SSH keys only: ask for yours to be added."
_BY_ANYBODY: Final = "You need no account: ssh is enough."
_LOST: Final = "Were you given an address? It has one more name before this one."
_HARM: Final = (
    "Does an address below this name do harm, such as phishing or malware? Report it, with the whole address, to"
)
_LOCALHOST: Final = Domain("localhost")
_STYLE: Final = (
    "pre{margin:.75rem 0 0;padding:.75rem 1rem;background:var(--paper);border:1px solid var(--line);"
    "border-radius:.5rem;font-size:.9375rem;white-space:pre-wrap;overflow-wrap:anywhere}a{color:var(--mark);overflow-wrap:anywhere}"
)


@dataclass(frozen=True, slots=True)
class OwnPage:
    """The values of the page."""

    domain: str
    gateway: str
    """The arguments for `ssh`: `-p 2222 localhost`."""
    keys_only: bool
    """Only known keys may connect."""
    abuse_contact: str | None
    """An e-mail address or a URL."""

    def is_asked_for(self, request: RequestHead) -> bool:
        """Whether `request`, for the gateway's own name, is for the page. Nothing else is there."""
        return request.method in (b"GET", b"HEAD") and request.target.partition(b"?")[0] == b"/"

    def answer(self, request: RequestHead, *, close: bool, date: str) -> bytes:
        """The whole response: HTML for browsers, JSON or text for programs. `date` is the whole field."""
        kind = pages.kind_for(request)
        body = {"text/html": self._html, "application/json": self._json}.get(kind, self._text)()
        cache = f"public, max-age={limits.OWN_PAGE_SECONDS}"
        return pages.response(200, kind, body, request, cache=cache, close=close, date=date)

    @property
    def _command(self) -> str:
        return f"ssh -R 80:localhost:3000 {self.gateway}"

    @property
    def _who(self) -> str:
        return _BY_KEYS if self.keys_only else _BY_ANYBODY

    @property
    def _whom(self) -> str | None:
        """Whom to tell about abuse, if nobody is named; None on a gateway for one machine."""
        return None if _LOCALHOST.has(self.domain) else f"the owner of the domain {self.domain}"

    def _html(self) -> bytes:
        content = [
            pages.paragraph(_ABOUT),
            pages.paragraph(_HOW),
            f"<pre><code>{pages.escaped(self._command)}</code></pre>",
            pages.paragraph(self._who),
            pages.paragraph(_LOST, "dim"),
        ]
        if self.abuse_contact:
            link = self.abuse_contact if "://" in self.abuse_contact else f"mailto:{self.abuse_contact}"
            shown = f'<a href="{pages.escaped(link)}">{pages.escaped(self.abuse_contact)}</a>'
            content.append(f'<p class="owner">{pages.escaped(_HARM)} {shown}.</p>')
        elif self._whom:
            content.append(pages.paragraph(f"{_HARM} {self._whom}.", "owner"))
        return pages.html_page(f"{self.domain}: a Ferry gateway", self.domain, TITLE, "".join(content), style=_STYLE)

    def _json(self) -> bytes:
        document = {
            "status": 200,
            "gateway": self.domain,
            "about": _ABOUT,
            "connect": self._command,
            "access": "keys" if self.keys_only else "anyone",
            "abuse_contact": self.abuse_contact,
        }
        return json.dumps(document).encode() + b"\n"

    def _text(self) -> bytes:
        lines = [f"{TITLE}: {self.domain}", _wrapped(_ABOUT), f"{_HOW}\n  {self._command}", self._who]
        if whom := self.abuse_contact or self._whom:
            lines.append(_wrapped(f"{_HARM} {whom}"))
        return "".join(f"{line}\n" for line in lines).encode()


def _wrapped(line: str) -> str:
    return textwrap.fill(line, WIDTH, break_on_hyphens=False, break_long_words=False)
