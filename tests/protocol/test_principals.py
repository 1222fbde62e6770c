"""Files of principals."""

from __future__ import annotations

import pytest

from ferry.protocol.principals import parse_principals
from known_system import KNOWN


def test_lines_comments_and_options() -> None:
    text = 'ops # on call\n\n  # none\nfrom="192.0.2.1",no-port-forwarding\tbackup\ncommand="a b" told\r\n'
    lines, bad = parse_principals(text, KNOWN)
    assert bad == []
    assert [(line.number, line.principal, line.options.principals) for line in lines] == [
        (1, "ops", ("ops",)), (4, "backup", ("backup",)), (5, "told", ("told",)),
    ]  # fmt: skip
    assert (lines[1].options.forwards_off, lines[2].options.command) == ("no-port-forwarding", "a b")


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("ops dev more", "a line has one principal"),
        ("cert-authority ops", "cert-authority is for files of keys"),
        ('principals="x" ops', "principals= is for files of keys"),
        ("nonsense ops", "nonsense is no option"),
        ("x" * 1025, "may have 1024 bytes"),  # SSH_CERTIFICATE_NAME_BYTES
        ("no-pty," * 3000 + "no-pty ops", "16 KiB are allowed"),
    ],
)
def test_a_line_that_is_refused_says_why(line: str, why: str) -> None:
    lines, [bad] = parse_principals(line, KNOWN)
    assert (lines, bad.number, why in bad.why) == ([], 1, True), bad.why
