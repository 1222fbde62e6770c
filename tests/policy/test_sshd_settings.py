"""The operator's settings with sshd's names: which of them count for whom, and what they allow."""

from __future__ import annotations

from ferry.errors import Refusal
from ferry.names import CertificateName, Endpoint, Fingerprint, Identity, IdentityId
from ferry.policy.allowance import Allowance
from ferry.policy.keys import ANY_KEY, KeyLine
from ferry.policy.rulebook import Rulebook
from ferry.policy.rules import Members, Policy
from ferry.policy.sshd import UNSET, Forwarding, Match, SshdOptions, SshdRules, Who, limits_of
from ferry.protocol.host_patterns import parse_host_list
from ferry.protocol.key_algorithms import SIGNATURES, parse_algorithms
from ferry.protocol.key_options import parse_options
from ferry.protocol.permits import ANYWHERE, Permit, parse_permit_listen, parse_permit_open
from known_system import KNOWN

WEB = Identity(IdentityId("web"), "web-1", Fingerprint("SHA256:web"))
NAMELESS = Identity(IdentityId("key"), None, Fingerprint("SHA256:key"))
NONE, LOCAL, REMOTE = Forwarding.NONE, Forwarding.LOCAL, Forwarding.REMOTE


def who(user: str = "tunnel", identity: Identity = WEB, address: str = "192.0.2.7") -> Who:
    return Who(user, identity, address, Endpoint("198.51.100.1", 22))


def listen(*texts: str) -> tuple[Permit, ...]:
    return tuple(parse_permit_listen(text, KNOWN.port_of) for text in texts)


def opens(*texts: str) -> tuple[Permit, ...]:
    return tuple(parse_permit_open(text, KNOWN.port_of) for text in texts)


def test_the_first_match_that_sets_a_keyword_decides_on_it() -> None:
    rules = SshdRules(
        SshdOptions(allow_tcp_forwarding=NONE, max_sessions=4, places={"max_sessions": "sshd: max_sessions"}),
        (
            Match(SshdOptions(disable_forwarding=False), user="nobody"),
            Match(SshdOptions(allow_tcp_forwarding=REMOTE), user="tun*,!tunnel2"),
            Match(SshdOptions(allow_tcp_forwarding=LOCAL, permit_open=()), user="*"),
        ),
    )
    mine = rules.of(who())
    assert (mine.allow_tcp_forwarding, mine.permit_open, mine.max_sessions) == (REMOTE, (), 4)
    assert mine.disable_forwarding is None
    assert rules.of(who("tunnel2")).allow_tcp_forwarding is LOCAL
    assert mine.rule("max_sessions") == "sshd: max_sessions"
    assert SshdRules().of(who()) == UNSET


def test_each_criterion() -> None:
    near, far = parse_host_list("192.0.2.0/24,!192.0.2.9"), parse_host_list("198.51.100.1")
    assert Match(UNSET, user="a,tunnel", identity="web-?", address=near, local_address=far, local_port=(22,)).holds(
        who(), None
    )
    assert not Match(UNSET, user="root").holds(who(), None)
    assert not Match(UNSET, identity="web-?").holds(who(identity=NAMELESS), None)
    assert Match(UNSET, identity="SHA256:k*").holds(who(identity=NAMELESS), None)
    assert not Match(UNSET, address=near).holds(who(address="192.0.2.9"), None)
    assert not Match(UNSET, local_address=near).holds(who(), None)
    assert not Match(UNSET, local_port=(2222,)).holds(who(), None)


def test_a_tag_is_that_of_the_policy() -> None:
    tags = {
        "fleet": Members(names=("web-*",)),
        "staff": Members(names=("ann",), keyed=False),
        "old": Members(("web-1",)),
    }
    book = Rulebook(Policy("/policy", (), tags))

    def holds(tag: str, identity: Identity = WEB) -> bool:
        return Match(UNSET, tag=tag).holds(who(identity=identity), book)

    assert holds("fleet")
    assert holds("staff,fleet")
    assert holds("*")
    assert not holds("staff")
    assert not holds("*,!old"), "a tag that is left out leaves out all who have it"
    assert not holds("*", NAMELESS)
    assert not Match(UNSET, tag="fleet").holds(who(), None)
    rules = SshdRules(matches=(Match(SshdOptions(max_sessions=0), tag="fleet"),), book=book)
    assert (rules.of(who()).max_sessions, rules.of(who(identity=NAMELESS)).max_sessions) == (0, None)


def test_the_algorithms_that_clients_are_told_are_those_that_some_may_use() -> None:
    def told(mine: str, matched: str | None) -> list[str]:
        """With a setting for all, and one for some."""
        every, some = (None if each is None else parse_algorithms([each]) for each in (mine, matched))
        matches = (Match(SshdOptions(pubkey_accepted_algorithms=some)),)
        return SshdRules(SshdOptions(pubkey_accepted_algorithms=every), matches).signatures

    assert told("ssh-ed25519", None) == ["ssh-ed25519"]
    assert told("ssh-ed25519", "rsa-sha2-512") == ["ssh-ed25519", "rsa-sha2-512"]
    assert told("ssh-ed25519-cert-v01@openssh.com", None) == ["ssh-ed25519"]
    assert SshdRules().signatures == list(SIGNATURES)


def codes(options: SshdOptions, line: KeyLine = ANY_KEY) -> list[str | None]:
    """Of -R 80 (a web address), -R 8080, -R blog:80, -W laptop:22."""
    may = Allowance(line, options)
    found = (
        may.listen_refusal(b"localhost", 80),
        may.listen_refusal(b"", 8080),
        may.listen_refusal(b"blog", 80, ("blog", "blog.example.com")),
        may.open_refusal(b"laptop", 22),
    )
    return [None if refusal is None else refusal.code for refusal in found]


def test_a_certificate_is_matched_by_its_ca_and_key_id_whatever_its_key() -> None:
    def matched(patterns: str, key: str) -> bool:
        name = CertificateName(Fingerprint("SHA256:ca"), "web-1", 7)
        holder = Identity(IdentityId("i"), None, Fingerprint(key), certificate=name)
        return Match(SshdOptions(), identity=patterns).holds(
            Who("u", holder, "192.0.2.1", Endpoint("198.51.100.1", 22)), None
        )

    for key in ("SHA256:before", "SHA256:renewed"):
        assert matched("SHA256:ca:web-1", key)
        assert matched("SHA256:ca:*", key)
        assert not matched("web-1", key)  # each CA may give that key id
        assert not matched("SHA256:other:web-1", key)
        assert not matched("*,!SHA256:ca:web-1", key)
    assert matched("SHA256:before", "SHA256:before")
    assert not matched("*,!SHA256:before", "SHA256:before")


def test_what_each_setting_refuses() -> None:
    off = "sshd_forwarding"
    assert codes(UNSET) == [None] * 4
    assert codes(SshdOptions(disable_forwarding=True, allow_tcp_forwarding=Forwarding.ALL)) == [off] * 4
    assert codes(SshdOptions(disable_forwarding=False)) == [None] * 4
    assert codes(SshdOptions(allow_tcp_forwarding=NONE)) == [off] * 4
    assert codes(SshdOptions(allow_tcp_forwarding=LOCAL)) == [off] * 3 + [None]
    assert codes(SshdOptions(allow_tcp_forwarding=REMOTE)) == [None] * 3 + [off]
    assert codes(SshdOptions(permit_listen=listen("80"))) == [None, "sshd_listen", "sshd_listen", None]
    assert codes(SshdOptions(permit_listen=listen("blog:80"))) == ["sshd_listen"] * 2 + [None] * 2
    assert codes(SshdOptions(permit_listen=())) == ["sshd_listen"] * 3 + [None]
    assert codes(SshdOptions(permit_listen=ANYWHERE, permit_open=ANYWHERE)) == [None] * 4
    assert codes(SshdOptions(permit_open=opens("laptop:22"))) == [None] * 4
    assert codes(SshdOptions(permit_open=opens("laptop:23"))) == [None] * 3 + ["sshd_open"]
    assert codes(SshdOptions(permit_open=())) == [None] * 3 + ["sshd_open"]


def test_both_the_key_and_the_operator_must_allow() -> None:
    line = KeyLine(options=parse_options('permitlisten="8080",permitopen="laptop:*"', KNOWN))
    assert codes(SshdOptions(permit_listen=listen("80")), line) == ["key_listen", "sshd_listen", "key_listen", None]
    assert codes(SshdOptions(permit_open=opens("laptop:23")), line)[3] == "sshd_open"


def test_a_refusal_says_what_to_write_and_which_setting_it_was() -> None:
    options = SshdOptions(
        permit_listen=listen("21001", "localhost:21002"), places={"permit_listen": "sshd.match 2: permit_listen"}
    )
    refused = Allowance(ANY_KEY, options).listen_refusal(b"localhost", 80)
    assert isinstance(refused, Refusal)
    assert refused.public == (
        "the operator lets you listen on 21001, localhost:21002 only (PermitListen), not on localhost:80: write -R 21001:..."
    )
    assert refused.rule == "sshd.match 2: permit_listen"
    nowhere = Allowance(ANY_KEY, SshdOptions(permit_listen=())).listen_refusal(b"", 80)
    assert isinstance(nowhere, Refusal)
    assert nowhere.public == "the operator lets you listen nowhere (PermitListen), not on *:80"


def test_what_somebody_is_told() -> None:
    assert limits_of(UNSET) == limits_of(SshdOptions(permit_listen=ANYWHERE, permit_open=ANYWHERE)) == []
    assert limits_of(SshdOptions(disable_forwarding=True)) == [
        "The operator has turned all forwarding off for you (DisableForwarding)."
    ]
    assert limits_of(SshdOptions(allow_tcp_forwarding=NONE)) == [
        "You may open nothing with -R here (AllowTcpForwarding).",
        "You may reach nothing with -L, -D, -J and -W here (AllowTcpForwarding).",
    ]
    assert limits_of(SshdOptions(permit_listen=listen("80"), permit_open=())) == [
        "You may listen on 80 only (PermitListen).",
        "You may reach nothing (PermitOpen).",
    ]
    assert limits_of(SshdOptions(permit_listen=(), permit_open=opens("a:1"))) == [
        "You may listen nowhere (PermitListen).",
        "You may reach at most a:1 (PermitOpen).",
    ]
    may = Allowance(ANY_KEY, SshdOptions(permit_listen=listen("21001")))
    assert may.example("80:localhost:3000") == "21001:localhost:3000"
    assert Allowance(ANY_KEY, SshdOptions(permit_listen=())).example("80:localhost:3000") is None
    assert Allowance(ANY_KEY, SshdOptions(permit_listen=ANYWHERE)).example("80:x") == "80:x"
