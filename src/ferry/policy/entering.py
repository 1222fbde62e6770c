"""Whether the operator's settings with sshd's names let a key of the files in, before anybody comes with it: by the
algorithms with which it can sign (PubkeyAcceptedAlgorithms), and by the keys that can sign beside it (AuthenticationMethods).

`sshd.algorithm_refusal` and `several_keys` decide on a log-in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ferry.errors import Refusal
from ferry.names import Fingerprint
from ferry.protocol.key_algorithms import ALL, SIGNATURES, of_certificate, signatures_of

from .keys import KeyLine
from .several_keys import NEEDS_KEY, account_of, methods_text
from .sshd import SshdOptions

_KEYS_OF_CERTIFICATES = tuple(map(of_certificate, SIGNATURES))


@dataclass(slots=True)
class Accounts:
    """The lines of keys, by the account of which the keys of a log-in have to be."""

    _lines: dict[tuple[str, str], dict[Fingerprint, list[KeyLine]]] = field(default_factory=dict)

    @classmethod
    def of_lines(cls, lines: Mapping[Fingerprint, Sequence[KeyLine]]) -> Accounts:
        """Those of all keys."""
        made = cls()
        for key, of_key in lines.items():
            for line in of_key:
                if (account := account_of(line)) is not None:
                    made._lines.setdefault(account, {}).setdefault(key, []).append(line)
        return made

    def of(self, line: KeyLine) -> Mapping[Fingerprint, Sequence[KeyLine]]:
        """The keys of the account of a line, with their lines there."""
        account = account_of(line)
        return {} if account is None else self._lines.get(account, {})


def takes(options: SshdOptions, algorithms: Iterable[str]) -> bool:
    """Whether the operator takes one of these signature algorithms."""
    accepted = options.pubkey_accepted_algorithms
    return accepted is None or not accepted.isdisjoint(algorithms)


def takes_certificates(options: SshdOptions) -> bool:
    """Whether the operator takes the signatures of some certificate."""
    return takes(options, _KEYS_OF_CERTIFICATES)


def key_refusal(options: SshdOptions, algorithm: str) -> Refusal | None:
    """The refusal of a key of this algorithm; empty: of whatever key."""
    signatures = signatures_of(algorithm) if algorithm else ALL
    which = " or ".join(signatures) if algorithm else "any key"
    return None if takes(options, signatures) else _strange(options, which)


def certificates_refusal(options: SshdOptions) -> Refusal | None:
    """The refusal of a certificate whose key is not known."""
    return None if takes_certificates(options) else _strange(options, "certificates")


def no_key_refusal(options: SshdOptions) -> Refusal:
    """The refusal of somebody without a key."""
    return Refusal(
        NEEDS_KEY,
        code="sshd_methods",
        detail="a log-in needs a key (AuthenticationMethods)",
        rule=options.rule("keys_needed"),
    )


def alone_refusal(
    options: SshdOptions, line: KeyLine, accounts: Accounts, able: Sequence[Fingerprint]
) -> Refusal | None:
    """The refusal of a log-in with the key of a line, where it needs others beside it. `able`: those of the same account that
    may do the same."""
    needed = options.keys_needed or 0
    if len(able) + 1 >= needed:
        return None
    head, account = f"{methods_text(needed)} asks for {needed} keys", account_of(line)
    there = len(accounts.of(line))
    if account is None:
        why = f"{head} of one name, and this one has none: write the same name= behind each key of a person"
    elif there < needed:
        write = f" and name={line.name}" if line.name else ""
        why = f"{head}, and {account[1]} has {there}: add a line with another key{write}"
    else:
        others = f"{len(able)} others do" if len(able) > 1 else "1 other does" if able else "no other does"
        why = f"{head} whose lines all allow it, and of the keys of {account[1]} {others}"
    return Refusal(
        "a log-in needs more keys here than you have", code="sshd_methods", detail=why, rule=options.rule("keys_needed")
    )


def _strange(options: SshdOptions, which: str) -> Refusal:
    return Refusal(
        f"the operator does not accept {which} here (PubkeyAcceptedAlgorithms)",
        code="sshd_algorithm",
        detail=f"PubkeyAcceptedAlgorithms does not take {which}",
        rule=options.rule("pubkey_accepted_algorithms"),
    )
