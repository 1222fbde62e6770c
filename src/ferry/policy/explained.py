"""What the policy and the line of a key say about one question, before somebody asks it in earnest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ferry.errors import Refusal
from ferry.hostnames import Domain

from .aims import Act, Aim, What
from .keys import Caller, KeyLine, listen_refusal, log_in, names_open, open_refusal
from .rulebook import Rulebook
from .rules import Asker, Rule

_WEB_PORTS = (80, 443)  # of `-R NAME:80:...`, and where the local service speaks TLS


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer for one identity with one key."""

    asker: Asker
    aim: Aim
    by_policy: Rule | Refusal | None
    """None: there is no policy file."""
    line: KeyLine | None
    """The line of its key; None: no line lets it in."""
    by_key: Refusal | None
    """The refusal by the options of that line."""
    own_only: bool = False
    """It is allowed for its own tunnels alone: no rule, and no exact `permitopen=`, names the target."""

    @property
    def allowed(self) -> bool:
        """Both allow it."""
        return self.line is not None and self.by_key is None and not isinstance(self.by_policy, Refusal)


def verdict(book: Rulebook | None, asker: Asker, aims: Sequence[Aim], line: KeyLine | None, domain: Domain) -> Verdict:
    """The answer about the first of `aims` that is allowed, or about the first of all."""
    found = [
        Verdict(
            asker,
            aim,
            None if book is None else book.decide(asker, aim),
            line,
            None if line is None else _by_key(line, asker, aim, domain),
            own_only=book is None and line is not None and aim.act is Act.REACH and not names_open(line, *_sent(aim)),
        )
        for aim in aims
    ]
    return next((each for each in found if each.allowed), found[0])


def _by_key(line: KeyLine, asker: Asker, aim: Aim, domain: Domain) -> Refusal | None:
    if not asker.address:  # then `from=` is not asked
        line = replace(line, options=replace(line.options, origins=None))
    let_in = log_in([line], Caller(line.user or "", asker.address, asker.host, asker.now))
    if isinstance(let_in, Refusal):
        return let_in
    return _by_options(line, aim, domain)


def _sent(aim: Aim) -> tuple[bytes, int]:
    """The host and the port that ssh sends."""
    return aim.name.encode() or b"localhost", aim.port


def _by_options(line: KeyLine, aim: Aim, domain: Domain) -> Refusal | None:
    """The refusal of an aim, as stock ssh would ask for it."""
    name, _ = _sent(aim)
    if aim.act is Act.REACH:
        return open_refusal(line, name, aim.port)
    if aim.what is What.PORT:
        return listen_refusal(line, name, aim.port)
    names = (aim.name, domain.host(aim.name))
    ports = _WEB_PORTS if aim.what is What.NAME else (aim.port,)
    refusals = [listen_refusal(line, name, port, names) for port in ports]
    return None if None in refusals else refusals[0]
