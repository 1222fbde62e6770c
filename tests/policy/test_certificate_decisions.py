"""Certificates: which lines speak for one, and who logs in with it."""

from __future__ import annotations

import pytest

from ferry.errors import Refusal
from ferry.names import Fingerprint
from ferry.policy.authorities import Authorities
from ferry.policy.certificates import log_in
from ferry.policy.keys import Caller, KeyLine, command_refusal, forwards_refusal, limits_of
from ferry.protocol.key_options import parse_options
from known_system import KNOWN
from made_certificate import PERMIT, made, options, text

CALLER = Caller("dev", "192.0.2.7", "web.example.com", 1_900_000_000.0)
FORCED = options(("force-command", text("/bin/x")))


def line(given: str = "cert-authority", user: str | None = None, number: int = 1) -> KeyLine:
    return KeyLine(None, parse_options(given, KNOWN), user, "/keys", number)


def admitted(given: str, **certificate: object) -> KeyLine:
    found = log_in(made(**certificate), [line(given)], CALLER)
    assert isinstance(found, KeyLine), found
    return found


def refused(given: str, **certificate: object) -> Refusal:
    found = log_in(made(**certificate), [line(given)], CALLER)
    assert isinstance(found, Refusal), found
    return found


def test_what_the_line_and_the_certificate_allow_both_is_allowed() -> None:
    for given, extensions, off in (
        ("cert-authority", PERMIT, ""),
        ("cert-authority,restrict", PERMIT, "restrict"),
        ("cert-authority", b"", "permit-port-forwarding"),
        ("cert-authority,no-port-forwarding", b"", "no-port-forwarding"),
    ):
        assert admitted(given, extensions=extensions).options.forwards_off == off
    touches = {
        (given, one): admitted(f"cert-authority{given}", extensions=one).options.touch_required
        for given in ("", ",no-touch-required")
        for one in (b"", options(("no-touch-required", b"")))
    }
    assert list(touches.values()) == [True, True, True, False]
    verify = options(("verify-required", b""))
    assert admitted("cert-authority", critical=verify).options.verify_required
    assert admitted("cert-authority,verify-required").options.verify_required
    found = admitted('cert-authority,permitlisten="22022"')
    assert [str(permit) for permit in found.options.permit_listen] == ["22022"]


@pytest.mark.parametrize(
    ("given", "fields", "code"),
    [
        ("cert-authority", {"kind": 2}, "certificate_kind"),
        ("cert-authority", {"principals": ("ops",)}, "certificate_principal"),
        ("cert-authority", {"principals": ()}, "certificate_principal"),
        ('cert-authority,principals="ops,web"', {}, "certificate_principal"),
        ('cert-authority,principals="ops,web"', {"principals": ("ops,web",)}, "certificate_principal"),
        ('cert-authority,principals=""', {}, "certificate_principal"),
        ("cert-authority", {"after": 1_900_000_001}, "certificate_time"),
        ("cert-authority", {"before": 1_900_000_000}, "certificate_time"),
        ("cert-authority", {"critical": options(("x", b""))}, "certificate_options"),
        ("cert-authority", {"critical": options(("source-address", text("10.0.0.0/8")))}, "certificate_from"),
        ('cert-authority,command="/bin/y"', {"critical": FORCED}, "certificate_command"),
        ('cert-authority,from="10.0.0.0/8"', {}, "key_from"),
        ('cert-authority,expiry-time="20200101Z"', {}, "key_expired"),
    ],
)
def test_a_refusal_names_its_reason_and_the_line(given: str, fields: dict[str, object], code: str) -> None:
    refusal = refused(given, **fields)
    assert refusal.code == code
    assert refusal.rule is not None
    assert refusal.rule.startswith("/keys, line 1: ")


def test_what_a_client_reads_has_no_date_and_no_option_of_the_line() -> None:
    """It has shown a certificate, which is no secret, and has proved nothing."""
    late = refused("cert-authority", before=1_800_000_000)
    assert late.public == "your certificate has run out: ask for a new one"
    assert "from 1970-01-01 00:00:00 UTC to 2027-01-15 08:00:00 UTC" in late.detail
    assert "ops" not in refused('cert-authority,principals="ops"').public


def test_times_that_no_calendar_has_are_told_as_numbers() -> None:
    refusal = refused("cert-authority", after=2**64 - 2)
    assert "18446744073709551616 seconds after 1970" in refusal.detail or "seconds after 1970" in refusal.detail


def test_the_first_line_for_the_login_name_that_admits_it_decides() -> None:
    lines = [
        line(user="ops"),
        line('cert-authority,from="10.0.0.0/8"', number=2),
        line("cert-authority,restrict", number=3),
    ]
    found = log_in(made(), lines, CALLER)
    assert isinstance(found, KeyLine)
    assert found.number == 3
    assert log_in(made(), lines[:1], CALLER) is None


def test_a_forced_command_keeps_from_commands_alone_and_says_whose_it_is() -> None:
    found = admitted("cert-authority", critical=FORCED)
    refusal = command_refusal(found)
    assert refusal is not None
    assert "your certificate runs no commands here (force-command)" in refusal.public
    assert forwards_refusal(found) is None
    same = command_refusal(admitted('cert-authority,command="/bin/x"', critical=FORCED))
    assert same is not None
    assert "your key runs no commands here (command=)" in same.public


def test_the_limits_of_a_certificate_are_told_to_its_holder() -> None:
    found = admitted("cert-authority", extensions=b"", before=1_900_000_100)
    assert limits_of(found) == [
        "Your certificate may not forward anything: it has no permit-port-forwarding.",
        "Your certificate lets you in until 2030-03-17 17:48:20 UTC.",
    ]
    assert limits_of(admitted("cert-authority", before=2**64 - 1)) == []  # for ever


# --- the lines that speak for one

CA = made().ca_fingerprint


def numbers(authorities: Authorities, user: str = "dev", **certificate: object) -> list[int]:
    return [one.number for one in authorities.lines_of(made(**certificate), user)]


def test_lines_of_a_ca_count_in_the_order_of_the_files_and_before_its_trust_for_all() -> None:
    found = Authorities()
    found.add_trusted(CA, "/cas", 9)
    found.add_line(CA, line(user="dev", number=1))
    found.add_line(CA, line(number=2))
    found.add_line(CA, line(user="ops", number=3))
    found.add_line(Fingerprint("SHA256:other"), line(number=4))
    assert (numbers(found), numbers(found, "ops"), len(found)) == ([1, 2, 9], [2, 3, 9], 2)
    assert numbers(Authorities()) == []


def test_a_trusted_ca_needs_the_login_name_or_where_there_are_files_a_principal_of_them() -> None:
    found = Authorities(has_principals=True)
    found.add_trusted(CA, "/cas", 9)
    for number, (principal, user) in enumerate((("far", None), ("ops", "dev"), ("web", None)), 1):
        of = KeyLine(None, parse_options("", KNOWN), user, "/principals", number)
        found.add_principal(principal, of)
    assert numbers(found, principals=("web", "ops")) == [2]
    assert numbers(found, "ann", principals=("web", "ops")) == [3]
    assert numbers(found, principals=("dev",)) == [9]
    nobody = log_in(made(), found.lines_of(made(), "dev"), CALLER)
    assert isinstance(nobody, Refusal)
    assert nobody.code == "certificate_principal"
