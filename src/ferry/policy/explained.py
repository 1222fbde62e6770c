"""What the policy and the line of a key say about one question, before somebody asks it in earnest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ferry.errors import Refusal
from ferry.kinds.alias import ALIAS
from ferry.kinds.port import TCP
from ferry.kinds.rules import ForwardRules
from ferry.kinds.unix_socket import SOCKET, folder_of
from ferry.kinds.web import HTTP
from ferry.names import Address, CertificateName, Fingerprint, Identity, IdentityId, printable

from .addresses import form_refusal
from .aims import EVERY_ADDRESS, Act, Aim, What
from .allowance import Allowance
from .entering import Accounts, alone_refusal, certificates_refusal, key_refusal, no_key_refusal
from .forwards import listen_grant
from .keys import ANY_KEY, Caller, KeyLine, line_refusal, log_in, names_open
from .machine_names import PlaceOf, aim_refusal, nowhere
from .port_lines import PortLine, kept_for_another
from .rulebook import Rulebook
from .rules import Asker, Rule
from .sshd import ANY_END, UNSET, Forwarding, SshdOptions, SshdRules, Who

_ALL_ON = replace(UNSET, allow_streamlocal_forwarding=Forwarding.ALL)  # no setting of the operator's refuses anything
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
    """The refusal by the options of that line, by the list of revoked keys, or without a policy file by the lines that say
    whose the target is. Where there is no such line: by one that is refused or disabled."""
    by_gateway: Refusal | None = None
    """The refusal by the configuration, whoever asks or for this identity: its ranges of ports, reserved names, `[sshd]`."""
    is_own: bool = False
    """Without a policy file: it is allowed because the target is its own, and not because `permitopen=` names it."""

    @property
    def refusals(self) -> int:
        """How many of key, policy and configuration refuse it."""
        return sum(isinstance(each, Refusal) for each in (self.by_key, self.by_policy, self.by_gateway))

    @property
    def allowed(self) -> bool:
        """None of them refuses it."""
        return self.refusals == 0 and self.line is not None


@dataclass(frozen=True, slots=True)
class Settings:
    """All that decides, but the lines of keys."""

    book: Rulebook | None
    rules: ForwardRules
    sshd: SshdRules
    ports: Mapping[int, Sequence[PortLine]] = field(default_factory=dict)
    """The lines that name ports, by the port."""
    user: str | None = None
    """The login name; None: it is not looked at, and no `[[sshd.match]]` for a login name counts."""
    revocation_of: Callable[[Fingerprint], Refusal | None] = lambda _: None
    """The refusal of a key that is on the list of revoked ones."""
    keys: Mapping[Fingerprint, Sequence[KeyLine]] = field(default_factory=dict)
    """The lines of all keys, in their order."""
    accounts: Accounts = field(default_factory=Accounts)
    """The same, by what a log-in with several keys goes by."""
    has_cas: bool = False
    """There are CAs: who has a certificate of one is not known."""
    place_of_name: PlaceOf = nowhere
    """Where a name is given to a key."""

    def sshd_of(self, asker: Asker, line: KeyLine | None) -> SshdOptions:
        """The operator's settings with sshd's names that count for somebody with the key of a line."""
        user = self.user if self.user is not None else line.user if line is not None else None
        return self.sshd.of(Who(user or "", _identity(asker), asker.address, ANY_END))


def verdict(
    settings: Settings, asker: Asker, aims: Sequence[Aim], line: KeyLine | None, by_key: Refusal | None = None
) -> Verdict:
    """The answer about the first of `aims` that is allowed, else that has the fewest refusals. `by_key`: where there is no
    line that lets the key in, the reason why."""
    found = [_verdict(settings, asker, aim, line, by_key) for aim in aims]
    return min(found, key=lambda each: (not each.allowed, each.refusals))


def _verdict(settings: Settings, asker: Asker, aim: Aim, line: KeyLine | None, by_key: Refusal | None) -> Verdict:
    is_own = False
    if line is not None:
        by_key, is_own = _by_line(settings, asker, aim, line)
    by_policy = None if settings.book is None else settings.book.decide_asked(asker, _as_given(settings, asker, aim))
    options = settings.sshd_of(asker, line)
    by_gateway = _by_log_in(settings, options, asker, aim, line) or _by_gateway(settings, options, asker, aim)
    return Verdict(asker, aim, by_policy, line, by_key, by_gateway, is_own)


def _by_line(settings: Settings, asker: Asker, aim: Aim, line: KeyLine) -> tuple[Refusal | None, bool]:
    """The refusal by a line, and whether it allows the aim because that is the asker's own."""
    refusal = _by_key(line, asker, aim, settings)
    if refusal is None and settings.book is None and may_be_of_others(aim) and not names_open(line, *_sent(aim)):
        refusal = _of_another(settings, asker, aim, line)
        return refusal, refusal is None
    return refusal, False


def _by_log_in(
    settings: Settings, options: SshdOptions, asker: Asker, aim: Aim, line: KeyLine | None
) -> Refusal | None:
    """The refusal of the log-in itself by the operator's settings."""
    needed = options.keys_needed or 0
    if asker.anonymous:
        return no_key_refusal(options) if needed else None
    if line is None:
        return None
    strange = certificates_refusal(options) if asker.holder is not None else key_refusal(options, line.algorithm)
    if strange is not None or needed <= 1 or asker.holder is not None or (line.user is not None and settings.has_cas):
        return strange
    able = [
        key
        for key, lines in settings.accounts.of(line).items()
        if key != asker.fingerprint and any(_may_beside(settings, options, asker, aim, key, each) for each in lines)
    ]
    return alone_refusal(options, line, settings.accounts, able)


def _may_beside(
    settings: Settings, options: SshdOptions, asker: Asker, aim: Aim, key: Fingerprint, line: KeyLine
) -> bool:
    """Whether another key may sign beside that of the asker, and its line allows the aim too."""
    other = asker._replace(fingerprint=key)
    return key_refusal(options, line.algorithm) is None and _by_line(settings, other, aim, line)[0] is None


def _of_another(settings: Settings, asker: Asker, aim: Aim, line: KeyLine) -> Refusal | None:
    """The refusal of a target that is not the asker's own, as far as the files say; None if it is. Which ports and aliases
    somebody has by use alone, they do not say."""
    holders = settings.ports.get(aim.port, ()) if aim.what is What.PORT else ()
    if any(each.is_of(_identity(asker)) for each in holders):
        return None
    if aim.what is What.ALIAS and asker.name is not None and asker.name.lower() == aim.name:
        return None
    if holders:
        why = f"{aim.target} is kept for {holders[0].holder} ({holders[0].line.place})"
    elif aim.what is What.HOST:
        why = f"permitopen= does not name {aim.target}"
    else:
        why = f"no line of a key file says that {aim.target} is its own, and permitopen= does not name it"
    host = f"[{aim.name}]" if ":" in aim.name else aim.name or "localhost"
    return Refusal(
        "through this gateway you can reach your own aliases and ports only",
        code="not_yours",
        detail=f'only its own tunnels, and {why}: write permitopen="{host}:{aim.port}" in the line',
        rule=line.place or None,
    )


def may_be_of_others(aim: Aim) -> bool:
    """Whether the target may be somebody else's. A socket is always in the folder of who asks."""
    return aim.act is Act.REACH and aim.what is not What.SOCKET


def _by_key(line: KeyLine, asker: Asker, aim: Aim, settings: Settings) -> Refusal | None:
    if asker.fingerprint is not None and (revoked := settings.revocation_of(asker.fingerprint)) is not None:
        return revoked
    if not asker.address:  # then `from=` is not asked
        line = replace(line, options=replace(line.options, origins=None))
    user = settings.user if settings.user is not None else line.user or ""
    caller = Caller(user, asker.address, asker.host, asker.now)
    if (first := _line_before(settings, asker, line, caller)) is not None:
        return Refusal(
            "another line of your key decides",
            code="key_line_before",
            detail=f"{first.place} has the same key and lets it in, and the first line that does so decides",
            rule=line.place,
        )
    let_in = log_in([line], caller)
    if let_in is None:
        return Refusal(
            "your key may not log in by this name",
            code="login_name",
            detail=f"the file is that of the login name {printable(line.user or '', 60)} (%u in access.keys)",
            rule=line.place,
        )
    if isinstance(let_in, Refusal):
        return let_in
    return _by_options(Allowance(line, _ALL_ON), _identity(asker), aim, settings.rules)


def _line_before(settings: Settings, asker: Asker, line: KeyLine, caller: Caller) -> KeyLine | None:
    """The line of the same key that decides in place of `line` at each log-in for which that counts; None if there is none."""
    for each in settings.keys.get(asker.fingerprint, ()) if asker.fingerprint is not None else ():
        if each.file == line.file and each.number == line.number:
            return None
        anywhere = each.options.origins is None or bool(asker.address)
        if each.user in (None, line.user, settings.user) and anywhere and line_refusal(each, caller) is None:
            return each
    return None


def _by_gateway(settings: Settings, options: SshdOptions, asker: Asker, aim: Aim) -> Refusal | None:
    who = _identity(asker)
    anything = Allowance(ANY_KEY, options)
    refusal = (
        _by_options(anything, who, aim, settings.rules)
        or form_refusal(aim)
        or aim_refusal(who.name, aim, settings.rules.domain.relative(aim.name), settings.place_of_name)
    )
    if refusal is not None or may_be_of_others(aim):
        return refusal
    aim = _as_given(settings, asker, aim)
    address = _address(who, aim, settings.rules)
    grant = listen_grant(who, address, settings.rules)
    if isinstance(grant, Refusal):
        return grant
    return kept_for_another(who, address, settings.ports.get(aim.port, ()) if aim.what is What.PORT else ())


def _as_given(settings: Settings, asker: Asker, aim: Aim) -> Aim:
    """An aim with the first port that the gateway may give for port 0: of its own range, by the first rule that allows any of
    it, and named by nobody's line. Any other aim as it is."""
    whole = settings.rules.allocate_from
    if not aim.is_any_port or whole is None:
        return aim
    parts = [(whole.first, whole.last)]
    if settings.book is not None:
        permits = settings.book.permits_of(asker, Act.PUBLISH, What.PORT)
        parts = [(max(one.first, whole.first), min(one.last, whole.last)) for _, one in permits]
    who, ports = _identity(asker), (port for first, last in parts for port in range(first, last + 1))
    free = (port for port in ports if not (own := settings.ports.get(port)) or any(line.is_of(who) for line in own))
    return aim._replace(port=next(free, whole.first))


def _identity(asker: Asker) -> Identity:
    certificate = None
    if asker.holder is not None:
        form, digest, key_id = asker.holder.split(":", 2)
        certificate = CertificateName(Fingerprint(f"{form}:{digest}"), key_id, 0)
    return Identity(IdentityId(""), asker.name, asker.fingerprint, asker.anonymous, certificate)


def _address(who: Identity, aim: Aim, rules: ForwardRules) -> Address:
    match aim.what:
        case What.PORT:
            return TCP.address(aim.port)
        case What.NAME:
            return HTTP.address(rules.domain.host(aim.name))
        case What.SOCKET:
            return SOCKET.address(who, aim.name)
        case _:
            return ALIAS.address(aim.name, aim.port)


def _sent(aim: Aim) -> tuple[bytes, int]:
    """The host and the port that ssh sends."""
    if aim.typed == EVERY_ADDRESS:
        return b"", aim.port
    return (aim.typed or aim.name).encode() or b"localhost", aim.port


def _by_options(may: Allowance, who: Identity, aim: Aim, rules: ForwardRules) -> Refusal | None:
    """The refusal of an aim, as stock ssh would ask for it."""
    if aim.what is What.SOCKET:
        return may.socket_refusal(f"{rules.sockets}/{folder_of(who)}/{aim.name}", listens=aim.act is Act.PUBLISH)
    name, _ = _sent(aim)
    if aim.act is Act.REACH:
        return may.open_refusal(name, aim.port)
    if aim.what is What.PORT:
        return may.listen_refusal(name, aim.port)
    names = (aim.name, rules.domain.host(aim.name))
    ports = _WEB_PORTS if aim.what is What.NAME else (aim.port,)
    refusals = [may.listen_refusal(name, port, names) for port in ports]
    return None if None in refusals else refusals[0]
