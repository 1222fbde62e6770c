"""Files of principals (sshd_config(5), AuthorizedPrincipalsFile): the principals with which certificates of trusted CAs let
their holders in.

    ops
    from="192.0.2.0/24",no-port-forwarding backup

Options as in key files may stand before a principal, `principals=` and `cert-authority` excepted. `#` begins a comment, in a
line too.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from ferry import limits
from ferry.errors import InvalidInput

from .authorized_keys import BadLine, checked_size
from .key_options import KeyOptions, System, options_end, parse_options


class PrincipalLine(NamedTuple):
    """One line."""

    number: int
    """From 1."""
    principal: str
    options: KeyOptions
    """With the principal in `principals`."""


def parse_principals(text: str, system: System) -> tuple[list[PrincipalLine], list[BadLine]]:
    """All lines of a file, and all that are refused."""
    lines: list[PrincipalLine] = []
    bad: list[BadLine] = []
    for number, raw in enumerate(text.split("\n"), 1):
        line = raw.partition("#")[0].strip(" \t\r")
        if not line:
            continue
        try:
            checked_size(line)
            principal, options = _parse_line(line, system)
        except InvalidInput as error:
            bad.append(BadLine(number, str(error), error.detail))
        else:
            lines.append(PrincipalLine(number, principal, replace(options, principals=(principal,))))
    return lines, bad


def _parse_line(line: str, system: System) -> tuple[str, KeyOptions]:
    words = line.replace("\t", " ").rpartition(" ")
    given = words[0].rstrip(" ")
    if options_end(given) != len(given):
        raise InvalidInput(
            "a line has one principal, behind its options: write another line for each principal",
            detail="a line has more than one principal",
        )
    options = parse_options(given, system)
    if options.cert_authority or options.principals is not None:
        name = "cert-authority" if options.cert_authority else "principals="
        raise InvalidInput(f"{name} is for files of keys (access.keys): remove it here")
    if len(words[2].encode()) > limits.SSH_CERTIFICATE_NAME_BYTES:
        raise InvalidInput(f"a principal may have {limits.SSH_CERTIFICATE_NAME_BYTES} bytes: write a shorter one")
    return words[2], options
