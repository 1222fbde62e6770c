"""Keys that let nobody in by the algorithms that the operator takes."""

from __future__ import annotations

import pytest

from ferry.names import Fingerprint
from ferry.policy.keys import KeyLine
from ferry.policy.locked_out import locked_out
from ferry.policy.sshd import Match, SshdOptions, SshdRules
from ferry.protocol.key_algorithms import parse_algorithms

PLACE = {"pubkey_accepted_algorithms": "ferry.toml, line 9"}
FILE = {
    Fingerprint("a"): (KeyLine("ann", file="/keys", number=1, algorithm="ssh-ed25519"),),
    Fingerprint("b"): (KeyLine("bob", file="/keys", number=2, algorithm="ssh-rsa"),),
    Fingerprint("c"): (KeyLine("ann", file="/keys", number=3, algorithm="ssh-ed25519"),),
}


def taking(*words: str, **more: int) -> SshdOptions:
    return SshdOptions(pubkey_accepted_algorithms=parse_algorithms(words), places=PLACE, keys_needed=more.get("keys"))


def test_keys_of_algorithms_that_nobody_takes_are_told_with_their_lines() -> None:
    texts, everybody = locked_out(SshdRules(taking("sk-*")), FILE, has_cas=False)
    assert everybody
    assert texts == [
        "/keys, lines 1, 3: these keys let nobody in: PubkeyAcceptedAlgorithms does not take ssh-ed25519 (ferry.toml, line "
        "9): add ssh-ed25519 there, or write other keys into the file",
        "/keys, line 2: this key lets nobody in: PubkeyAcceptedAlgorithms does not take rsa-sha2-256 or rsa-sha2-512 "
        "(ferry.toml, line 9): add rsa-sha2-256 or rsa-sha2-512 there, or write other keys into the file",
    ]
    assert locked_out(SshdRules(taking("ssh-ed25519", "rsa-sha2-256")), FILE, has_cas=False) == ([], False)
    assert locked_out(SshdRules(SshdOptions(max_sessions=1)), FILE, has_cas=False) == ((), False)


@pytest.mark.parametrize(
    ("rules", "lines", "everybody"),
    [
        (SshdRules(taking("ssh-ed25519")), [2], False),
        (SshdRules(taking("sk-*"), (Match(taking("ssh-*"), identity="ann"),)), [2], False),
        (SshdRules(taking("sk-*"), (Match(taking("ssh-*"), user="root"),)), [2], False),
        (SshdRules(taking("ssh-*"), (Match(taking("sk-*"), user="root"),)), [2], False),
        (SshdRules(taking("ssh-ed25519"), (Match(taking("sk-*"), identity="ann"),)), [1, 2, 3], True),
        (SshdRules(matches=(Match(taking("sk-*"), identity="bob"),)), [2], False),
        (SshdRules(taking("ssh-ed25519", keys=2)), [2], False),
        (SshdRules(taking("rsa-*", keys=2)), [1, 2, 3], True),
        (SshdRules(SshdOptions(keys_needed=2)), [2], False),
    ],
)
def test_a_line_is_told_if_no_log_in_takes_its_key(rules: SshdRules, lines: list[int], everybody: bool) -> None:
    found = locked_out(rules, FILE, has_cas=False)
    numbers = sorted(
        int(word) for text in found.texts for word in text.partition(": ")[0].replace(",", "").split() if word.isdigit()
    )
    assert (numbers, found.everybody) == (lines, everybody)


def test_where_certificates_are_taken_somebody_may_come_with_one() -> None:
    assert locked_out(SshdRules(taking("*-cert-v01@openssh.com")), FILE, has_cas=True).everybody is False
    assert locked_out(SshdRules(taking("sk-ssh-ed25519@openssh.com")), FILE, has_cas=True).everybody
